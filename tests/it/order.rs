//! Durability is a matter of order: what strace saw of one file's way.

use std::fs;
use std::process::{Command, Stdio};

use crate::sandbox::Sandbox;

const GOOD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

#[test]
fn every_step_is_durable_before_the_next_depends_on_it() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
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
        .args(["run", "--once"])
        .stderr(Stdio::null())
        .status();
    let Ok(status) = traced else { return eprintln!("SKIPPED: needs the Debian package strace") };
    assert!(status.success());
    let lines: Vec<String> = fs::read_to_string(&trace).unwrap().lines().map(str::to_owned).collect();
    let mut from = 0;
    // Each must be seen after the one before it.
    let mut then = |what: &str, parts: &[&str]| {
        let found = lines[from..].iter().position(|line| parts.iter().all(|part| line.contains(part)));
        let found = found.unwrap_or_else(|| panic!("{what} was not seen in its place:\n{}", lines.join("\n")));
        from += found + 1;
    };
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
