//! Durability is a matter of order: what strace saw of one file's way.

use std::fs;
use std::process::{Command, Stdio};

use crate::sandbox::Sandbox;

const GOOD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

/// The steps of a command that strace saw; `None` where there is no strace.
fn steps(sandbox: &Sandbox, arguments: &[&str]) -> Option<Steps> {
    let trace = sandbox.path("trace");
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-s",
            "4096",
            "-e",
            "trace=fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir",
            "-o",
        ])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_veild"))
        .arg("--config")
        .arg(sandbox.site("config.toml"))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let Ok(status) = traced else {
        eprintln!("SKIPPED: needs the Debian package strace");
        return None;
    };
    assert!(status.success());
    let lines = fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect();
    Some(Steps { lines, from: 0 })
}

struct Steps {
    lines: Vec<String>,
    from: usize,
}

impl Steps {
    /// A step that must be seen after the one before it.
    fn then(&mut self, what: &str, parts: &[&str]) {
        let rest = &self.lines[self.from..];
        let found = rest.iter().position(|line| parts.iter().all(|part| line.contains(part)));
        let found = found.unwrap_or_else(|| panic!("{what} was not seen in its place:\n{}", self.lines.join("\n")));
        self.from += found + 1;
    }
}

#[test]
fn every_step_is_durable_before_the_next_depends_on_it() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    let Some(mut steps) = steps(&sandbox, &["run", "--once"]) else { return };
    let mut then = |what: &str, parts: &[&str]| steps.then(what, parts);
    then("the claim", &["renameat", "site/landing>, \"good.csv\"", ".veild/"]);
    then("the claim's durability", &["fsync(", "landing/.veild/"]);
    then("the landing's durability", &["fsync(", "site/landing>"]);
    then("the ledger's attempt", &["ledger.sqlite-wal"]);
    then("the object's content", &["fsync(", ".incoming/", ".age>"]);
    then("the receipt's content", &["fsync(", ".age.receipt>"]);
    then("the signature's content", &["fsync(", ".age.sig>"]);
    then("the receipt's name", &["rename(", ".receipt.json\""]);
    then("the signature's name", &["rename(", ".receipt.json.sig\""]);
    then("their durability", &["fsync(", "site/vault/people/"]);
    then("the object's name", &["renameat2(", ".csv.age\""]);
    then("its durability", &["fsync(", "site/vault/people/"]);
    then("the audit record", &["fdatasync(", "audit/audit-"]);
    then("the ledger's outcome", &["ledger.sqlite-wal"]);
    then("the source's removal", &["unlink", "good.csv"]);
}

#[test]
fn several_outputs_are_all_durable_before_the_first_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.archive_originals();
    sandbox.edit_config("quiet = ", "duplicates = \"skip\"\nquiet = ");
    sandbox.drop_file("good.csv", GOOD);
    let Some(mut steps) = steps(&sandbox, &["run", "--once"]) else { return };
    let mut then = |what: &str, parts: &[&str]| steps.then(what, parts);
    then("the claim", &["renameat", "site/landing>, \"good.csv\"", ".veild/"]);
    then("the ledger's attempt", &["ledger.sqlite-wal"]);
    then("the content's note", &["ledger.sqlite-wal"]);
    then("the main output's content", &["fsync(", ".incoming/", ".age>"]);
    then("the view's content", &["fsync(", ".incoming/", ".0.age>"]);
    then("the archived original's content", &["fsync(", ".incoming/", ".archive.age>"]);
    then("the intent's content", &["fsync(", ".incoming/", ".intent>"]);
    then("their names", &["fsync(", ".incoming>"]);
    then("the last signature's name", &["rename(", "vault/.archive/people/", ".receipt.json.sig\""]);
    then("the archive's durability", &["fsync(", "vault/.archive/people/"]);
    then("the receipts' durability", &["fsync(", "site/vault/people/"]);
    then("the archived original's name", &["renameat2(", "vault/.archive/people/", ".csv.age\""]);
    then("the view's name", &["renameat2(", ".statistics.csv.age\""]);
    then("the main output's name", &["renameat2(", ".csv.age\""]);
    then("the archive's durability", &["fsync(", "vault/.archive/people/"]);
    then("the outputs' durability", &["fsync(", "site/vault/people/"]);
    then("the intent's end", &["unlink", ".intent"]);
    then("the audit record", &["fdatasync(", "audit/audit-"]);
    then("the ledger's outcome", &["ledger.sqlite-wal"]);
    then("the source's removal", &["unlink", "good.csv"]);
}

const BAD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann\n";

#[test]
fn a_rejected_original_is_durable_with_its_reason_before_its_source_goes() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("bad.csv", BAD);
    let Some(mut steps) = steps(&sandbox, &["run", "--once"]) else { return };
    let mut then = |what: &str, parts: &[&str]| steps.then(what, parts);
    then("the claim", &["renameat", "site/landing>, \"bad.csv\"", ".veild/"]);
    then("the claim's durability", &["fsync(", "landing/.veild/"]);
    then("the landing's durability", &["fsync(", "site/landing>"]);
    then("the ledger's attempt", &["ledger.sqlite-wal"]);
    then("the entry's durability", &["fsync(", "state/quarantine>"]);
    then("the original's content", &["fsync(", "/original.tmp>"]);
    then("the original's name", &["rename(", "/original\""]);
    then("its durability", &["fsync(", "state/quarantine/"]);
    then("the reason's content", &["fsync(", "/reason.json.tmp>"]);
    then("the reason's name", &["rename(", "/reason.json\""]);
    then("its durability", &["fsync(", "state/quarantine/"]);
    then("the audit record", &["fdatasync(", "audit/audit-"]);
    then("the ledger's outcome", &["ledger.sqlite-wal"]);
    then("the source's removal", &["unlink", "bad.csv"]);
}

#[test]
fn a_sealed_original_is_durable_with_its_reason_before_its_source_goes() {
    let sandbox = Sandbox::new();
    sandbox.seal_quarantine();
    sandbox.drop_file("bad.csv", BAD);
    let Some(mut steps) = steps(&sandbox, &["run", "--once"]) else { return };
    let mut then = |what: &str, parts: &[&str]| steps.then(what, parts);
    then("the claim", &["renameat", "site/landing>, \"bad.csv\"", ".veild/"]);
    then("the ledger's second attempt, to seal", &["ledger.sqlite-wal"]);
    then("the entry's durability", &["fsync(", "state/quarantine>"]);
    then("the sealed original's content", &["fsync(", ".original.age>"]);
    then("its name", &["rename(", "/original.age\""]);
    then("its durability", &["fsync(", "state/quarantine/"]);
    then("the reason's content", &["fsync(", "/reason.json.tmp>"]);
    then("the reason's name", &["rename(", "/reason.json\""]);
    then("its durability", &["fsync(", "state/quarantine/"]);
    then("the audit record", &["fdatasync(", "audit/audit-"]);
    then("the ledger's outcome", &["ledger.sqlite-wal"]);
    then("the source's removal", &["unlink", "bad.csv"]);
}

#[test]
fn a_copy_that_was_handed_out_before_a_crash_is_durable_before_the_original_goes() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("ragged.csv", "id,name,ssn,email,country,dob,notes\n1,Ann\n");
    sandbox.run_until_idle();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    let to = sandbox.path("out.csv");
    let release = ["quarantine", "release", &job, "--to", to.to_str().unwrap(), "--reason", "r"];
    sandbox.veild_until("release_handed_out", &release);
    let Some(mut steps) = steps(&sandbox, &release) else { return };
    steps.then("its bytes", &["fsync", &format!("{}>", to.display())]);
    steps.then("its name", &["fsync", &format!("{}>", to.parent().unwrap().display())]);
    steps.then("the entry's end", &["rename", "/removed.json\""]);
    steps.then("its durability", &["fsync", "state/quarantine/"]);
    steps.then("the removal", &["unlink", "/original\""]);
}
