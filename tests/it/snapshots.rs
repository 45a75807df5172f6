//! What people read, kept in `snapshots/`: help texts, messages, masked tables, receipts, audit lines.
//!
//! After a wanted change run `INSTA_UPDATE=always cargo test --test it snapshots`, and read the difference as a user
//! would before committing it.

use std::fs;
use std::process::{Command, Output, Stdio};

use regex::Regex;

use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";
/// Pseudonyms must be the same in every run.
const MASKING_KEY: &str = "veild-masking-key 1\n1 2026-01-01T00:00:00Z BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
const NO_JOB: &str = "01JQ8Z6V9M3T5K7N2P4R6S8W0X";

/// Replaces what differs from run to run.
fn redact(text: &str, sandbox: &Sandbox) -> String {
    let text = text.replace(sandbox.dir.path().to_str().unwrap(), "[DIR]");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = text.replace(&format!("\"{}\"", host.trim()), "\"[HOST]\"");
    let changing = [
        (r"-----BEGIN SSH SIGNATURE-----[^-]*-----END SSH SIGNATURE-----", "[SIGNATURE]"),
        (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "[JOB]"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
        (r"/\d{4}/\d\d/\d\d/", "/[DATE]/"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r#"("id": )"[0-9a-f]{32}""#, r#"$1"[ID]""#),
        (r"\bage1[0-9a-z]{58}\b", "[RECIPIENT]"),
        (r#""pid": ?\d+"#, r#""pid": "[PID]""#),
        // age adds a random stanza.
        (r#"("output": \{[^}]*"bytes": )\d+"#, r#"$1"[BYTES]""#),
    ];
    let redacted = changing
        .iter()
        .fold(text, |text, (pattern, with)| Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned());
    redacted.replace(env!("CARGO_PKG_VERSION"), "[VERSION]")
}

fn help_of(path: &[String], all: &mut String) {
    let output = Command::new(env!("CARGO_BIN_EXE_veild"))
        .args(path)
        .arg("--help")
        .env_remove("VEILD_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    all.push_str(&format!("$ veild {}\n{help}\n", [path, &["--help".to_owned()]].concat().join(" ")));
    let Some((_, commands)) = help.split_once("Commands:\n") else { return };
    for line in commands.lines().take_while(|line| line.starts_with("  ")) {
        let name = line.split_whitespace().next().unwrap_or("help");
        let is_name = line.as_bytes()[2] != b' ';
        if is_name && name != "help" {
            help_of(&[path, &[name.to_owned()]].concat(), all);
        }
    }
}

#[test]
fn help_texts() {
    let mut all = String::new();
    help_of(&[], &mut all);
    let silent = Regex::new(r"(?m)^ +(<[A-Z_]+>(\.\.\.)?|(-\w, +)?--[a-z-]+( <[A-Z_]+>)?) *$").unwrap();
    assert_eq!(silent.find(&all).map(|line| line.as_str()), None, "an argument that does not say what it is");
    insta::assert_snapshot!(all.replace(env!("CARGO_PKG_VERSION"), "[VERSION]"));
}

fn said(arguments: &[&str], output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let code = output.status.code().map_or("killed".to_owned(), |code| code.to_string());
    format!("$ veild {}\n{}exit code {code}\n\n", arguments.join(" "), String::from_utf8_lossy(&text))
}

#[test]
fn messages_of_what_cannot_be_done() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.site("masking.key"), MASKING_KEY).unwrap();
    let file = sandbox.path("people.csv");
    let file = file.to_str().unwrap();
    fs::write(file, PEOPLE.replace("country", "iban")).unwrap();
    fs::write(sandbox.path("ragged.csv"), format!("{PEOPLE}2,Bob\n")).unwrap();
    let ragged = sandbox.path("ragged.csv");
    let ragged = ragged.to_str().unwrap();
    let identity = sandbox.site("identity.txt");
    let (identity, key) = (identity.to_str().unwrap(), sandbox.site("masking.key"));
    let all: &[&[&str]] = &[
        &["status"],
        &["statsu"],
        &["quarantine", "list"],
        &["quarantine", "show", "42"],
        &["quarantine", "show", NO_JOB],
        &["quarantine", "retry", NO_JOB, "--reason", "policy mended"],
        &["quarantine", "discard", NO_JOB],
        &["vault", "list"],
        &["vault", "open", NO_JOB, "-i", identity],
        &["vault", "open", "people/x.csv.age", "-i", identity],
        &["vault", "verify", "-i", "/nowhere/identity.txt"],
        &["key", "generate", "masking", "--out", key.to_str().unwrap()],
        &["key", "generate", "signing", "--out", "/nowhere/signing.key"],
        &["key", "list"],
        &["key", "rotate", "--masking-key", "/nowhere/masking.key"],
        &["token", "reveal", "--reason", "ticket 7"],
        &["token", "reveal", "--reason", " ", "--column", "email"],
        &["token", "reveal", "--reason", "ticket 7", "--column", "email", "--policy", "people"],
        &["token", "reveal", "--reason", "ticket 7", "--column", "email", "/nowhere/people.csv"],
        &["token", "reveal", "--reason", "ticket 7", "--column", "fax", file],
        &["token", "reveal", "--reason", "ticket 7", "--column", "email", file],
        &["token", "map", "--column", "email", "--from", "1", "--to", "2", "-r", "age1x", "-o", "/nowhere/map", file],
        &["mask", file, "--policy", "people"],
        &["mask", file, "--policy", "peple", "-r", "age1x"],
        &["mask", file, "--policy", "people", "-r", "age1x"],
        &["mask", file, "--policy", "people", "-o", "-"],
        &["mask", file, "--policy", "people", "-o", "-", "--plaintext"],
        &["mask", ragged, "--policy", "people", "-o", "-", "--plaintext"],
        &["mask", file, "--policy", "/nowhere/policy.toml", "-o", "-", "--plaintext"],
        &["mask", "/nowhere/people.csv", "--policy", "people", "-o", "-", "--plaintext"],
        &["mask", file, "--policy", "people", "--landing", "hr", "-o", "-", "--plaintext"],
        &["policy", "test", file, "--policy", "people"],
        &["init", "/proc/site"],
    ];
    let mut text = String::new();
    for arguments in all {
        text.push_str(&said(arguments, &sandbox.veild(arguments)));
    }
    insta::assert_snapshot!(redact(&text, &sandbox));
}

#[test]
fn messages_about_the_configuration() {
    let slips = [
        ("config_version = 1", "config_version = 2"),
        ("[daemon]", "[deamon]"),
        ("min_free = \"64MiB\"", "min_free = 64"),
        ("quiet = \"0s\"", "quiet = \"0\""),
        ("policy = \"people\"", "policy = \"peple\""),
        ("recipients = ", "recipient = "),
        ("mask = \"partial\"", "mask = \"partail\""),
        ("keep_last = 4", "keep_lsat = 4"),
        ("keep_last = 4", "keep_last = 4\nto = \"year\""),
        ("keep_last = 4", "mask_last = 2"),
        ("length = 24", "length = 4"),
        ("to = \"year\"", "to = \"yaer\""),
        ("unlisted = \"reject\"", "unlisted = \"keeep\""),
        ("dir = \"", "dir = \"./"),
    ];
    let mut text = String::new();
    for (from, to) in slips {
        let sandbox = Sandbox::new();
        sandbox.edit_config(from, to);
        text.push_str(&format!("{from} becomes {to}\n"));
        text.push_str(&redact(&said(&["check"], &sandbox.veild(&["check"])), &sandbox));
    }
    insta::assert_snapshot!(text);
}

/// A policy with every mask and kind; the column's name says what is done.
const MASKS: &str = r#"
unlisted = "reject"
mistyped = "null"
column = [
  { name = "keep", mask = "keep" },
  { name = "drop", mask = "drop" },
  { name = "null", mask = "null" },
  { name = "redact", mask = "redact" },
  { name = "partial keep_last 4", mask = "partial", keep_last = 4 },
  { name = "hash", mask = "hash", length = 16 },
  { name = "hash blake3", mask = "hash", algorithm = "blake3", encoding = "base32" },
  { name = "hash normalize", mask = "hash", namespace = "hash", normalize = ["trim", "lowercase"], length = 16 },
  { name = "token", mask = "token" },
  { name = "fpe", mask = "fpe", length = 9 },
  { name = "fpe card", mask = "fpe", kind = "card", keep_first = 6, short = "redact" },
  { name = "fpe iban", mask = "fpe", kind = "iban", short = "hash" },
  { name = "fake name", mask = "fake", kind = "name" },
  { name = "fake address de", mask = "fake", kind = "address", locale = "de" },
  { name = "truncate 2", mask = "truncate", keep = 2 },
  { name = "truncate zip3", mask = "truncate", kind = "zip3" },
  { name = "truncate ip", mask = "truncate", kind = "ip" },
  { name = "truncate geohash", mask = "truncate", kind = "geohash" },
  { name = "generalize width", mask = "generalize", width = 10 },
  { name = "generalize edges", mask = "generalize", edges = [18, 40, 65] },
  { name = "generalize hierarchy", mask = "generalize", hierarchy = "@DIR@/education.csv", level = 1 },
  { name = "pattern", mask = "pattern", pattern = '\d{3,}', replace = '#' },
  { name = "date year", mask = "date", to = "year" },
  { name = "date quarter", mask = "date", to = "quarter" },
  { name = "date age_band", mask = "date", to = "age_band", as_of = "2026-01-01" },
  { name = "date_shift", mask = "date_shift", subject = "keep" },
  { name = "round 1000", mask = "round", to = 1000 },
  { name = "clamp 89", mask = "clamp", max = 89 },
]
"#;
const CELLS: [[&str; 3]; 28] = [
    ["007", "\"a, b\"", ""],
    ["x", "y", ""],
    ["x", "\"\"", ""],
    ["Ann", "\"O\"\"Neil, Bob\"", ""],
    ["123-45-6789", "1234567", ""],
    ["a@example.com", "a@example.com", ""],
    ["a@example.com", "b@example.com", ""],
    [" A@Example.com", "  ", ""],
    ["a@example.com", "Z", ""],
    ["123-45-6789", "12345678", ""],
    ["4111 1111 1111 1111", "4111 1111 1111 1112", ""],
    ["DE89 3704 0044 0532 0130 00", "DE88", ""],
    ["Ann Lee", "Bob Ray", ""],
    ["Hauptstraße 1", "-", ""],
    ["Łukasz", "J", ""],
    ["02139-4307", "05901", ""],
    ["192.0.2.77", "2001:db8:1:2::77", ""],
    ["u33dc0cpn5x8", "u33", ""],
    ["39", "-0.5", ""],
    ["39", "70", ""],
    ["Masters", "11th", ""],
    ["call 5551234", "no number", ""],
    ["1987-04-12", "1987-04-12T09:30:00Z", ""],
    ["1987-04-12", "12.04.1987", ""],
    ["1987-04-12", "1930-01-01", ""],
    ["1987-04-12T09:30", "12.04.1987", ""],
    ["48500", "-1499.99", ""],
    ["42", "104", ""],
];

#[test]
fn a_table_under_every_mask() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.site("masking.key"), MASKING_KEY).unwrap();
    fs::write(sandbox.path("education.csv"), "Masters;Higher;*\n11th;Secondary;*\n").unwrap();
    let dir = sandbox.dir.path().to_str().unwrap();
    fs::write(sandbox.path("masks.toml"), MASKS.replace("@DIR@", dir)).unwrap();
    let policy: toml::Value = toml::from_str(MASKS).unwrap();
    let names: Vec<&str> =
        policy["column"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    let rows = (0..3).map(|row| CELLS.map(|cells| cells[row]).join(","));
    let table = [names.join(",")].into_iter().chain(rows).collect::<Vec<_>>().join("\n") + "\n";
    fs::write(sandbox.path("table.csv"), &table).unwrap();
    let (table_path, policy_path) = (sandbox.path("table.csv"), sandbox.path("masks.toml"));
    let (table_path, policy_path) = (table_path.to_str().unwrap(), policy_path.to_str().unwrap());
    let output = sandbox.veild(&["mask", table_path, "--policy", policy_path, "-o", "-", "--plaintext"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!(format!("{table}\n{}", String::from_utf8(output.stdout).unwrap()));
}

#[test]
fn a_receipt_a_reason_and_the_audit_lines_about_them() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.run_until_idle();
    sandbox.drop_file("ragged.csv", format!("{PEOPLE}2,Bob\n"));
    sandbox.run_until_idle();
    let receipt = &sandbox.receipts()[0];
    let reason = &sandbox.quarantined()[0];
    let about = |line: &&serde_json::Value| line["event"]["action"].as_str().unwrap().starts_with("file.");
    let lines: Vec<_> = sandbox.audit();
    let lines: Vec<_> = lines.iter().filter(about).collect();
    let mut text = String::new();
    for (title, value) in [("receipt", receipt), ("reason", reason), ("sealed", lines[0]), ("quarantined", lines[1])] {
        text.push_str(&format!("{title}\n{}\n\n", serde_json::to_string_pretty(value).unwrap()));
    }
    insta::assert_snapshot!(redact(&text, &sandbox));
}

#[test]
fn a_receipt_in_plain_words() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.run_until_idle();
    let job = sandbox.receipts()[0]["job"].as_str().unwrap().to_owned();
    let output = sandbox.veild(&["receipt", "show", &job]);
    let text = String::from_utf8(output.stdout).unwrap();
    let text = Regex::new(r"\d+ bytes of sealed").unwrap().replace(&text, "[BYTES] of sealed").into_owned();
    insta::assert_snapshot!(redact(&text, &sandbox));
}
