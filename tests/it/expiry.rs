//! Quarantined originals that were kept long enough, and a quarantine that holds too much.

use std::fs;

use serde_json::Value;

use crate::sandbox::Sandbox;

const RAGGED: &str = "id,name,ssn,email,country,dob,notes\n1,Ann\n";
const QUICK: (&str, &str) = ("VEILD_QUARANTINE_UPKEEP_MS", "0");

fn keeping(keys: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.edit_config("[[landing]]\n", &format!("[quarantine]\n{keys}\n\n[[landing]]\n"));
    sandbox
}

fn discarded(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "file.discarded").collect()
}

#[test]
fn what_nobody_asked_for_goes_after_keep_and_once_whatever_kills_it() {
    for step in ["discard_decided", "discard_recorded", "nothing"] {
        let sandbox = keeping("keep = \"1s\"");
        sandbox.drop_file("ragged.csv", RAGGED);
        for _ in 0..if step == "nothing" { 0 } else { 2 } {
            let mut daemon = sandbox.daemon_with(&[QUICK, ("VEILD_FAULT", step)]);
            sandbox.wait_for("the fault", || daemon.has_ended());
            assert_eq!(sandbox.quarantined().len(), 1, "it goes last, after {step}");
        }
        let daemon = sandbox.daemon_with(&[QUICK]);
        sandbox.wait_for("the record", || discarded(&sandbox).len() == 1);
        sandbox.wait_for("the removal", || sandbox.quarantined().is_empty());
        daemon.stop();
        let records = discarded(&sandbox);
        assert_eq!(records.len(), 1, "recorded once after {step}: {records:?}");
        assert_eq!(records[0]["file"]["name"], "ragged.csv");
        assert!(records[0]["veild"]["reason"].as_str().unwrap().contains("keep"));
        assert!(sandbox.log_lines("quarantine_discarded") >= 1);
        sandbox.assert_audit_holds();
    }
}

#[test]
fn a_damaged_entry_outlives_keep_with_one_alert() {
    for how in ["cut off", "lost"] {
        let sandbox = keeping("keep = \"1s\"");
        sandbox.drop_file("ragged.csv", RAGGED);
        sandbox.run_until_idle();
        let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
        let entry = sandbox.site("state/quarantine").join(&job);
        match how {
            "lost" => fs::remove_file(entry.join("reason.json")).unwrap(),
            _ => fs::write(entry.join("reason.json"), "{").unwrap(),
        }
        let alerts = || sandbox.audit().iter().filter(|it| it["event"]["action"] == "alert.raised").count();
        let daemon = sandbox.daemon_with(&[QUICK]);
        sandbox.wait_for("the alert", || alerts() == 1);
        daemon.stop();
        assert_eq!(alerts(), 1, "{how}");
        assert_eq!(fs::read_to_string(entry.join("original")).unwrap(), RAGGED, "{how}");
        sandbox.assert_audit_holds();
    }
}

#[test]
fn a_full_quarantine_pauses_intake_until_somebody_decides() {
    let sandbox = keeping("max_size = \"16B\"");
    sandbox.drop_file("ragged.csv", RAGGED);
    let daemon = sandbox.daemon_with(&[]);
    sandbox.wait_for("the pause", || sandbox.log_lines("landing_paused") == 1);
    assert_eq!(sandbox.log_lines("quarantine_full"), 1);
    sandbox.drop_file(
        "people.csv",
        "id,name,ssn,email,country,dob,notes\n1,Ann,123-45-6789,a@b.example,DE,1980-01-02,x\n",
    );
    let status = sandbox.status().to_string();
    assert!(status.contains("max_size"), "{status}");
    assert_eq!(status.matches("\"code\":\"quarantine_full\",\"of\"").count(), 1, "told once: {status}");
    assert_eq!((sandbox.counts("sealed"), sandbox.landing_is_empty()), (0, false));
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    assert!(sandbox.veild(&["quarantine", "discard", &job, "--reason", "seen"]).status.success());
    sandbox.wait_for_sealed(1);
    daemon.stop();
    let codes: Vec<Value> = sandbox.audit().iter().map(|it| it["veild"]["code"].clone()).collect();
    assert!(codes.iter().filter(|code| **code == "quarantine_full").count() >= 2, "raised and cleared: {codes:?}");
}

#[test]
fn what_the_trail_calls_discarded_is_handed_to_nobody() {
    let sandbox = keeping("keep = \"1s\"");
    sandbox.drop_file("ragged.csv", RAGGED);
    let mut daemon = sandbox.daemon_with(&[QUICK, ("VEILD_FAULT", "discard_recorded")]);
    sandbox.wait_for("the fault", || daemon.has_ended());
    sandbox.edit_config("keep = \"1s\"", "keep = \"14d\"");
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    for deed in [&["release", "--to", "/nowhere/a"][..], &["retry"], &["discard"]] {
        let mut arguments = vec!["quarantine", deed[0], &job, "--reason", "late"];
        arguments.extend(&deed[1..]);
        let said = String::from_utf8_lossy(&sandbox.veild(&arguments).stderr).into_owned();
        assert!(said.contains("is being discarded"), "{deed:?}: {said}");
    }
    let daemon = sandbox.daemon_with(&[QUICK]);
    sandbox.wait_for("the removal", || sandbox.quarantined().is_empty());
    daemon.stop();
    assert_eq!(discarded(&sandbox).len(), 1);
    sandbox.assert_audit_holds();
}

#[test]
fn an_entry_that_cannot_be_read_holds_up_no_other() {
    let sandbox = keeping("keep = \"1s\"");
    let unreadable = sandbox.site("state/quarantine/00000000000000000000000001");
    std::fs::create_dir_all(&unreadable).unwrap();
    std::fs::write(unreadable.join("reason.json"), "{").unwrap();
    sandbox.drop_file("ragged.csv", RAGGED);
    let daemon = sandbox.daemon_with(&[QUICK]);
    sandbox.wait_for("the record", || discarded(&sandbox).len() == 1);
    daemon.stop();
    assert!(unreadable.join("reason.json").exists());
}

#[test]
fn a_release_or_retry_that_was_cut_off_keeps_an_original_only_if_it_is_on_record() {
    for (deed, fault, is_recorded) in [
        ("release", "release_decided", false),
        ("retry", "retry_decided", false),
        ("release", "handout_recorded", true),
        ("retry", "retry_recorded", true),
    ] {
        let sandbox = keeping("keep = \"1s\"");
        sandbox.drop_file("ragged.csv", RAGGED);
        sandbox.run_until_idle();
        let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
        sandbox.drop_file("other.csv", RAGGED);
        sandbox.run_until_idle();
        let to = sandbox.path("a.csv");
        let mut arguments = vec!["quarantine", deed, &job, "--reason", "r"];
        if deed == "release" {
            arguments.extend(["--to", to.to_str().unwrap()]);
        }
        sandbox.veild_until(fault, &arguments);
        if deed == "retry" && is_recorded {
            // It cannot be finished at a start either.
            std::fs::rename(sandbox.site("landing/.veild"), sandbox.path("spool")).unwrap();
        }
        let daemon = sandbox.daemon_with(&[QUICK]);
        let left = usize::from(is_recorded);
        sandbox.wait_for("the removal", || sandbox.quarantined().len() == left);
        if is_recorded {
            sandbox.wait_for("the alert", || sandbox.log_lines("quarantine_upkeep_failed") == 1);
            sandbox.drop_file("later.csv", RAGGED);
            sandbox.wait_for("other looks", || sandbox.log_lines("quarantine_discarded") == 2);
            assert_eq!(sandbox.log_lines("quarantine_upkeep_failed"), 1, "said once, after {fault}");
        }
        daemon.stop();
        assert_eq!(discarded(&sandbox).len(), 2, "after {fault}");
        let alerts: Vec<Value> =
            sandbox.audit().into_iter().filter(|it| it["veild"]["code"] == "quarantine_upkeep_failed").collect();
        assert_eq!(alerts.len(), left, "after {fault}: {alerts:?}");
        if deed == "release" && is_recorded {
            assert!(alerts[0]["error"]["message"].as_str().unwrap().contains(to.to_str().unwrap()));
            assert!(sandbox.veild(&arguments).status.success() && to.exists());
        }
        sandbox.assert_audit_holds();
    }
}
