//! From landing to vault or quarantine.

use std::fs;
use std::io::Write;
use std::process::Command;

use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n\
    007,Alice Liddell,123-45-6789,alice@example.com,1987-04-12,US,\"said \"\"hi\"\", left\"\n\
    008,Bob,987-65-4321,alice@example.com,1990-11-30,DE,\n";

#[test]
fn a_dropped_file_is_masked_sealed_and_gone() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.run_until_idle();
    let masked = String::from_utf8(sandbox.vault_plaintext("people.csv")).unwrap();
    let lines: Vec<&str> = masked.lines().collect();
    assert_eq!(lines[0], "id,name,ssn,email,dob,country,notes");
    assert!(lines[1].starts_with("007,***,***-**-6789,"), "{masked}");
    assert!(lines[1].ends_with(",1987,US,\"said \"\"hi\"\", left\""), "{masked}");
    let email = |line: &str| line.split(',').nth(3).unwrap().to_owned();
    assert_eq!(email(lines[1]).len(), 24);
    assert_eq!(email(lines[1]), email(lines[2]), "the same value has the same pseudonym");
    assert!(sandbox.landing_is_empty());
    sandbox.assert_audit_holds();
    let sealed: Vec<_> = sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "file.sealed").collect();
    assert_eq!(sealed.len(), 1);
    assert_eq!(sealed[0]["veild"]["rows_in"], 2);
}

#[test]
fn the_stock_tools_open_and_verify_what_veild_wrote() {
    let has = |tool: &str| Command::new("which").arg(tool).output().is_ok_and(|it| it.status.success());
    if !has("age") || !has("ssh-keygen") {
        return eprintln!("SKIPPED: needs the Debian packages age and openssh-client");
    }
    let sandbox = Sandbox::new();
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.run_until_idle();
    let receipt = &sandbox.receipts()[0];
    let object = sandbox.site("vault").join(receipt["output"]["path"].as_str().unwrap());
    let opened =
        Command::new("age").arg("-d").arg("-i").arg(sandbox.site("identity.txt")).arg(&object).output().unwrap();
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    assert!(String::from_utf8(opened.stdout).unwrap().contains("***-**-6789"));
    let receipt_path = object.with_extension("receipt.json");
    let verified = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", "veild-receipt", "-I", "veild", "-f"])
        .arg(sandbox.site("signing.key.allowed_signers"))
        .arg("-s")
        .arg(receipt_path.with_extension("json.sig"))
        .stdin(fs::File::open(&receipt_path).unwrap())
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn files_at_fault_go_to_quarantine_with_position_and_without_values() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("ragged.csv", PEOPLE.replace(",US,", ",US,extra,"));
    sandbox.drop_file("unlisted.csv", PEOPLE.replace("country", "iban"));
    sandbox.drop_file("empty.csv", "");
    sandbox.run_until_idle();
    let mut codes: Vec<String> =
        sandbox.quarantined().iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    assert_eq!(codes, ["empty_file", "ragged_row", "unlisted_column"]);
    let reasons = format!("{:?}", sandbox.quarantined());
    assert!(!reasons.contains("Liddell"), "{reasons}");
    assert_eq!(sandbox.receipts().len(), 0);
    assert!(sandbox.landing_is_empty());
}

#[test]
fn a_slow_upload_is_taken_whole_by_the_running_daemon() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.daemon();
    sandbox.wait_for("the daemon", || sandbox.site("state/control.sock").exists());
    let mut upload = fs::File::create(sandbox.site("landing/slow.csv")).unwrap();
    let (first, rest) = PEOPLE.split_at(60);
    upload.write_all(first.as_bytes()).unwrap();
    upload.sync_all().unwrap();
    sandbox.drop_file("quick.csv", PEOPLE);
    sandbox.wait_for("the other file", || sandbox.receipts().len() == 1);
    upload.write_all(rest.as_bytes()).unwrap();
    drop(upload);
    sandbox.wait_for("the slow file", || sandbox.receipts().len() == 2);
    // A receipt is visible before its outcome is audited and counted.
    sandbox.wait_for("both outcomes", || sandbox.json(&["status"])["counts"]["sealed"] == 2);
    daemon.stop();
    assert_eq!(sandbox.vault_plaintext("slow.csv"), sandbox.vault_plaintext("quick.csv"));
    sandbox.assert_audit_holds();
}

#[test]
fn a_bad_reload_leaves_the_old_configuration_running() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.daemon();
    sandbox.wait_for("the daemon", || sandbox.site("state/control.sock").exists());
    sandbox.edit_config("[policy.people]", "[policy.people]\nunlistd = 1");
    daemon.signal(rustix::process::Signal::HUP);
    let log = || fs::read_to_string(sandbox.path("veild.log")).unwrap();
    sandbox.wait_for("the refusal", || log().contains("config_rejected"));
    sandbox.edit_config("\nunlistd = 1", "");
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.wait_for("the file", || sandbox.receipts().len() == 1);
    daemon.stop();
}

#[test]
fn links_and_fifos_are_left_alone() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("secret"), PEOPLE).unwrap();
    std::os::unix::fs::symlink(sandbox.path("secret"), sandbox.site("landing/link.csv")).unwrap();
    assert!(Command::new("mkfifo").arg(sandbox.site("landing/fifo.csv")).status().unwrap().success());
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 1);
    assert!(sandbox.site("landing/link.csv").symlink_metadata().is_ok());
    assert!(sandbox.path("secret").exists());
}

#[test]
fn more_files_than_are_remembered_are_all_taken() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("quiet = \"0s\"", "quiet = \"1s\"");
    let _daemon = sandbox.daemon_with(&[("VEILD_MAX_CANDIDATES", "8")]);
    sandbox.wait_until_ready();
    for index in 0..50 {
        sandbox.drop_file(&format!("f{index}.csv"), PEOPLE);
    }
    sandbox.wait_for_sealed(50);
    assert!(sandbox.landing_is_empty());
    assert_eq!(sandbox.counts("arrived"), 50);
}

#[test]
fn a_backlog_of_more_files_than_are_remembered_is_taken() {
    let sandbox = Sandbox::new();
    for index in 0..200 {
        sandbox.drop_file(&format!("f{index}.csv"), PEOPLE);
    }
    let _daemon = sandbox.daemon_with(&[("VEILD_MAX_CANDIDATES", "8")]);
    sandbox.wait_until_ready();
    sandbox.wait_for_sealed(200);
    assert!(sandbox.landing_is_empty());
    assert_eq!(sandbox.counts("arrived"), 200);
}

#[test]
fn landings_share_the_places_in_flight() {
    let sandbox = Sandbox::new();
    sandbox.add_landing("second", "quiet = \"0s\"");
    for index in 0..60 {
        for landing in ["landing", "second"] {
            fs::write(sandbox.site(landing).join(format!("f{index}.csv")), PEOPLE).unwrap();
        }
    }
    let _daemon = sandbox.daemon_with(&[("VEILD_MAX_JOBS", "4"), ("VEILD_MAX_CANDIDATES", "20")]);
    sandbox.wait_until_ready();
    sandbox.wait_for_sealed(120);
    assert_eq!(sandbox.counts("arrived"), 120);
    assert!(sandbox.landing_is_empty());
    let left = fs::read_dir(sandbox.site("second")).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(left.collect::<Vec<_>>(), [".veild"]);
}
