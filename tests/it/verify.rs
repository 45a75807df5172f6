//! The leak scan in the running system: what is blocked, sealed with a warning, accepted, and shown before.

use std::fs;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;

use crate::sandbox::Sandbox;

const POLICY: &str = "unlisted = \"reject\"\nverify = \"block\"\ncolumn = [\n  { name = \"customer\", mask = \"hash\" },\n  \
    { names = [\"contact\", \"notes\"], mask = \"keep\" },\n]\n";

fn people() -> String {
    let rows = (1..=30).map(|n| match n {
        12 => "CUST-77000012,-,QzCanary wrote from qzcanary@example.com\n".to_owned(),
        20 => "CUST-77000020,CUST-77000004,all well\n".to_owned(),
        n => format!("CUST-770000{n:02},-,all well\n"),
    });
    "customer,contact,notes\n".to_owned() + &rows.collect::<String>()
}

/// A site whose landing's policy is the one above, with other keys.
fn site(keys: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let (before, _) = config.split_once("[policy.people]").unwrap();
    let policy = format!("[policy.people]\n{}\n{keys}", POLICY.replace("\nverify = \"block\"", ""));
    fs::write(sandbox.site("config.toml"), format!("{before}{policy}")).unwrap();
    sandbox
}

const ACCEPTED: &str = "verify = \"block\"\n[[policy.people.accept]]\ncolumn = \"contact\"\nclass = \"repeated_value\"\n\
    [[policy.people.accept]]\ncolumn = \"Notes\"\nclass = [\"email\", \"iban\"]\n";

#[test]
fn a_leak_takes_the_whole_file_to_quarantine_until_it_is_accepted() {
    let sandbox = site("verify = \"block\"\n");
    sandbox.drop_file("people.csv", people());
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 0);
    let reason = &sandbox.quarantined()[0];
    assert_eq!((reason["code"].as_str(), reason["row"].as_u64()), (Some("leak"), Some(20)), "{reason}");
    assert_eq!(reason["column"], "contact");
    let all = format!("{reason} {:?}", sandbox.audit());
    assert!(!all.contains("qzcanary@") && !all.contains("CUST-77"), "{all}");
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    fs::write(sandbox.site("config.toml"), config.replace("verify = \"block\"\n", ACCEPTED)).unwrap();
    let job = reason["job"].as_str().unwrap();
    let retried = sandbox.veild(&["quarantine", "retry", job, "--reason", "a false alarm"]);
    assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
    sandbox.run_until_idle();
    let verify = &sandbox.receipts()[0]["verify"];
    let accepted = |column, class, cells| serde_json::json!({"column": column, "class": class, "cells": cells});
    let expected = serde_json::json!({
        "mode": "block",
        "accepted": [
            accepted("contact", "repeated_value", 1),
            accepted("Notes", "email", 1),
            accepted("Notes", "iban", 0),
        ],
    });
    assert_eq!(*verify, expected);
    assert_eq!(sandbox.json(&["vault", "verify"])["problems"], serde_json::json!([]));
}

#[test]
fn under_warn_a_leak_is_sealed_and_told() {
    let sandbox = site("verify = \"warn\"\n");
    sandbox.drop_file("people.csv", people());
    let daemon = sandbox.ready_daemon();
    sandbox.wait_for_sealed(1);
    daemon.stop();
    assert_eq!(sandbox.log_lines("leak_sealed"), 1, "{}", sandbox.log());
    assert!(!sandbox.log().contains("qzcanary@") && !sandbox.log().contains("CUST-77"));
    let receipt = &sandbox.receipts()[0];
    let leaks = receipt["verify"]["leaks"].as_array().unwrap();
    let told: Vec<(&str, &str, u64, u64)> = leaks
        .iter()
        .map(|leak| {
            let text = |key: &str| leak[key].as_str().unwrap();
            (text("column"), text("class"), leak["row"].as_u64().unwrap(), leak["cells"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(told, [("contact", "repeated_value", 20, 1), ("notes", "email", 12, 1)]);
    assert_eq!((&leaks[0]["of"], &receipt["receipt_version"]), (&"customer".into(), &2.into()));
}

#[test]
fn a_dry_run_shows_every_leak() {
    let sandbox = Sandbox::new();
    let (file, policy) = (sandbox.path("people.csv"), sandbox.path("policy.toml"));
    fs::write(&file, people()).unwrap();
    fs::write(&policy, POLICY).unwrap();
    let arguments = |more: &'static str| {
        let all = ["policy", "test", file.to_str().unwrap(), "--policy", policy.to_str().unwrap(), more];
        sandbox.veild(if more.is_empty() { &all[..5] } else { &all })
    };
    let shown = arguments("");
    let said = String::from_utf8_lossy(&[shown.stdout.clone(), shown.stderr].concat()).into_owned();
    assert_eq!(shown.status.code(), Some(3), "{said}");
    assert!(said.contains("leak: row 12, notes:") && said.contains("leak: row 20, contact:"), "{said}");
    assert!(said.contains("2 leaks") && !said.contains("qzcanary@") && !said.contains("CUST-77"), "{said}");
    let json = arguments("--json");
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json.status.code(), report["outputs"][0]["verify"]["leaks"].as_array().unwrap().len()), (Some(3), 2));
    let said = sandbox.masked(POLICY, "people.csv", &people()).unwrap_err();
    assert!(said.contains("row 20, contact:") && said.contains("1 leak more"), "{said}");
    let warned = sandbox.masked(&POLICY.replace("block", "warn"), "people.csv", &people()).unwrap();
    assert_eq!(warned.lines().count(), 31);
    let accepted = POLICY.to_owned() + &ACCEPTED.replace("verify = \"block\"\n", "").replace("policy.people.", "");
    fs::write(&policy, accepted).unwrap();
    let shown = arguments("");
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && said.contains("accepted: email in Notes, 1 cell"), "{said}");
}

#[test]
fn what_cannot_be_accepted_is_refused() {
    let sandbox = Sandbox::new();
    let refusal = |accept: &str| sandbox.masked(&format!("{POLICY}{accept}"), "a.csv", "a\n").unwrap_err();
    let said = refusal("[[accept]]\ncolumn = \"notes\"\nclass = \"e-mail\"\n");
    assert!(said.contains("there is no class \"e-mail\" of leaks, did you mean \"email\"?"), "{said}");
    let said = refusal("[[accept]]\ncolumn = \" \"\nclass = \"email\"\n");
    assert!(said.contains("a column's name must not be empty"), "{said}");
    let said = refusal("[[accept]]\ncolumn = \"notes\"\n");
    assert!(said.contains("missing field `class`"), "{said}");
    let said = sandbox.masked(&POLICY.replace("block", "maybe"), "a.csv", "a\n").unwrap_err();
    assert!(said.contains("`maybe` is not a value for this key"), "{said}");
}

/// Files whose names are values, in each format: where the leak is told to be.
fn called_by_values() -> Vec<(&'static str, Vec<u8>, u64, &'static str)> {
    let table = "4711,qzcanary@example.com,2024-01-31\n";
    let cell: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
    let batch = RecordBatch::try_from_iter([("4711", cell.clone()), ("qzcanary@example.com", cell)]).unwrap();
    let mut parquet = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    parquet.write(&batch).unwrap();
    let mut arrow = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.finish().unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("a.csv", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(table.as_bytes()).unwrap();
    let keys = "{\"id\": 1, \"total\": 2}\n{\"id\": 2, \"qzcanary@example.com\": 2}\n";
    vec![
        ("empty.csv", table.into(), 0, "column 2"),
        ("rows.csv", format!("{table}4712,bob,2024-02-01\n").into(), 0, "column 2"),
        ("keys.ndjson", keys.into(), 2, "*"),
        ("table.parquet", parquet.into_inner().unwrap(), 0, "column 2"),
        ("table.arrow", arrow.into_inner().unwrap(), 0, "column 2"),
        ("table.ods", crate::formats::ods(&[&["4711", "qzcanary@example.com"], &["1", "x"]]), 0, "column 2"),
        ("all.zip", zip.finish().unwrap().into_inner(), 0, "column 2"),
    ]
}

#[test]
fn names_that_are_values_do_not_go_out() {
    let sandbox = Sandbox::new();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let (before, _) = config.split_once("[policy.people]").unwrap();
    let policy = |keys: &str| {
        let member = "[[landing.member]]\nmember = \"*\"\n";
        let text = format!("{before}{member}[policy.people]\nunlisted = \"redact\"\nverify = \"block\"\n{keys}");
        fs::write(sandbox.site("config.toml"), text).unwrap();
    };
    policy("");
    for (name, content, ..) in called_by_values() {
        sandbox.drop_file(name, content);
    }
    sandbox.run_until_idle();
    let reasons = sandbox.quarantined();
    let all = format!("{reasons:?} {:?} {}", sandbox.audit(), sandbox.log());
    assert!(!all.contains("qzcanary@"), "{all}");
    for (name, _, row, column) in called_by_values() {
        let reason = reasons.iter().find(|reason| reason["original_name"] == name).unwrap_or_else(|| panic!("{name}"));
        let told = (reason["code"].as_str(), reason["row"].as_u64(), reason["column"].as_str());
        assert_eq!(told, (Some("leak"), Some(row), Some(column)), "{reason}");
    }
    policy("[[policy.people.accept]]\ncolumn = \"*\"\nclass = \"email\"\n");
    for reason in &reasons {
        let job = reason["job"].as_str().unwrap();
        assert!(sandbox.veild(&["quarantine", "retry", job, "--reason", "they are names"]).status.success());
    }
    sandbox.run_until_idle();
    let receipts = sandbox.receipts();
    assert_eq!(receipts.len(), reasons.len(), "{:?}", sandbox.quarantined());
    for receipt in receipts {
        let accepted = receipt["verify"]["accepted"].as_array().unwrap();
        assert_eq!(accepted.iter().map(|it| it["cells"].as_u64().unwrap()).sum::<u64>(), 1, "{receipt}");
        assert!(!receipt.to_string().contains("qzcanary@"));
    }
}
