//! `quarantine retry`, `release` and `discard`: whatever cuts them off, one rejected file never becomes two, none is lost,
//! and the audit trail says what happened, once.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;

const IBAN: &str = "id,name,ssn,email,dob,iban,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,DE02,x\n";

/// A site with one file in quarantine, which today's policy would let through; and its job.
fn rejected() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.edit_config("quiet = ", "recursive = true\nquiet = ");
    fs::create_dir_all(sandbox.site("landing/from/acme")).unwrap();
    sandbox.drop_file("from/acme/a.csv", IBAN);
    sandbox.run_until_idle();
    sandbox.edit_config("\"country\"", "\"iban\"");
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    (sandbox, job)
}

fn retry(sandbox: &Sandbox, job: &str) -> bool {
    sandbox.veild(&["quarantine", "retry", job, "--reason", "policy mended"]).status.success()
}

fn assert_sealed_once(sandbox: &Sandbox, after: &str) {
    let receipts = sandbox.receipts();
    assert_eq!(receipts.len(), 1, "after {after}: {receipts:?}");
    let path = receipts[0]["output"]["path"].as_str().unwrap();
    assert!(path.contains("/from/acme/a."), "its directory was lost: {path}");
    assert!(sandbox.quarantined().is_empty(), "after {after}");
    assert_eq!(fs::read_dir(sandbox.site("landing/.veild")).unwrap().count(), 0, "after {after}");
    assert_eq!(fs::read_dir(sandbox.site("state/quarantine")).unwrap().count(), 0, "after {after}");
    let retried = recorded(sandbox, "file.retried");
    assert_eq!(retried.len(), 1, "after {after}: {retried:?}");
    assert_eq!(retried[0]["veild"]["retried_as"], receipts[0]["job"], "after {after}");
    sandbox.assert_audit_holds();
}

#[test]
fn a_kill_at_any_step_followed_by_another_retry() {
    for fault in ["retry_ready", "retry_decided", "retry_recorded", "retry_placed"] {
        let (sandbox, job) = rejected();
        sandbox.veild_until(fault, &["quarantine", "retry", &job, "--reason", "first"]);
        assert!(retry(&sandbox, &job), "after {fault}");
        sandbox.run_until_idle();
        assert_sealed_once(&sandbox, fault);
        assert!(!retry(&sandbox, &job), "after {fault}: it was retried again");
    }
}

#[test]
fn a_kill_at_any_step_followed_by_a_start() {
    for (fault, is_recorded) in
        [("retry_ready", false), ("retry_decided", false), ("retry_recorded", true), ("retry_placed", true)]
    {
        let (sandbox, job) = rejected();
        sandbox.veild_until(fault, &["quarantine", "retry", &job, "--reason", "first"]);
        if is_recorded {
            let discard = sandbox.veild(&["quarantine", "discard", &job, "--reason", "too late"]);
            assert!(!discard.status.success(), "after {fault}: what is being retried was discarded");
        }
        sandbox.run_until_idle();
        assert_eq!(fs::read_dir(sandbox.site("landing/.veild")).unwrap().count(), 0, "after {fault}");
        if !is_recorded {
            assert_eq!(sandbox.quarantined().len(), 1, "after {fault}");
            assert!(retry(&sandbox, &job), "after {fault}");
            sandbox.run_until_idle();
        }
        assert_sealed_once(&sandbox, fault);
    }
}

#[test]
fn a_running_daemon_takes_it_up_at_once() {
    let (sandbox, job) = rejected();
    let daemon = sandbox.daemon();
    sandbox.wait_for("the daemon", || sandbox.site("state/control.sock").exists());
    assert!(retry(&sandbox, &job));
    sandbox.wait_for("the retried file", || sandbox.receipts().len() == 1);
    daemon.stop();
    assert_sealed_once(&sandbox, "a retry");
}

#[test]
fn a_copy_on_another_file_system_is_not_mistaken_for_one_that_was_placed() {
    let (sandbox, job) = rejected();
    sandbox.veild_until("retry_recorded", &["quarantine", "retry", &job, "--reason", "first"]);
    // The landing's file system is not mounted: an empty mount point stands there.
    fs::rename(sandbox.site("landing"), sandbox.path("unmounted")).unwrap();
    fs::create_dir(sandbox.site("landing")).unwrap();
    sandbox.run_until_idle();
    assert!(!retry(&sandbox, &job));
    assert_eq!(sandbox.quarantined().len(), 1);
    fs::remove_dir_all(sandbox.site("landing")).unwrap();
    fs::rename(sandbox.path("unmounted"), sandbox.site("landing")).unwrap();
    sandbox.run_until_idle();
    assert_sealed_once(&sandbox, "the mount");
}

fn recorded(sandbox: &Sandbox, action: &str) -> Vec<serde_json::Value> {
    sandbox.audit().into_iter().filter(|it| it["event"]["action"] == action).collect()
}

fn refuses(sandbox: &Sandbox, arguments: &[&str], what: &str) {
    let output = sandbox.veild(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(what), "{arguments:?}: {said}");
}

#[test]
fn a_discard_that_was_cut_off_is_finished_by_another_or_by_the_daemon() {
    for fault in ["discard_decided", "discard_recorded"] {
        for by_daemon in [false, true] {
            let (sandbox, job) = rejected();
            let discard = ["quarantine", "discard", &job, "--reason", "seen by legal"];
            sandbox.veild_until(fault, &discard);
            assert_eq!(sandbox.quarantined().len(), 1, "it goes last, after {fault}");
            // Whatever the trail says by now, nothing else becomes of it.
            let to = sandbox.path("late.csv");
            refuses(
                &sandbox,
                &["quarantine", "release", &job, "--to", to.to_str().unwrap(), "--reason", "r"],
                "discard",
            );
            refuses(&sandbox, &["quarantine", "retry", &job, "--reason", "r"], "discard");
            if by_daemon {
                let daemon = sandbox.daemon_with(&[("VEILD_QUARANTINE_UPKEEP_MS", "0")]);
                sandbox.wait_for("the removal", || sandbox.quarantined().is_empty());
                daemon.stop();
            } else {
                assert!(sandbox.veild(&discard).status.success(), "after {fault}");
            }
            let records = recorded(&sandbox, "file.discarded");
            assert_eq!(records.len(), 1, "after {fault}: {records:?}");
            assert_eq!(
                (&records[0]["veild"]["reason"], records[0]["user"]["id"].is_string()),
                (&"seen by legal".into(), true)
            );
            assert_eq!(fs::read_dir(sandbox.site("state/quarantine")).unwrap().count(), 0, "after {fault}");
            sandbox.assert_audit_holds();
        }
    }
}

type Damage = fn(&Path) -> std::io::Result<()>;

/// What makes an entry's `reason.json` useless.
const DAMAGES: [(&str, Damage); 3] = [
    ("cut off", |reason| fs::write(reason, "{")),
    ("a directory", |reason| fs::remove_file(reason).and_then(|()| fs::create_dir_all(reason.join("more")))),
    ("lost", |reason| fs::remove_file(reason)),
];

fn damage(sandbox: &Sandbox, job: &str, how: Damage) {
    how(&sandbox.site("state/quarantine").join(job).join("reason.json")).unwrap();
}

#[test]
fn a_discard_of_a_damaged_entry_is_finished_likewise() {
    for fault in ["discard_decided", "discard_recorded"] {
        for (kind, how) in DAMAGES {
            for by_daemon in [false, true] {
                let case = format!("after {fault}, by the daemon: {by_daemon}, reason.json {kind}");
                let (sandbox, job) = rejected();
                damage(&sandbox, &job, how);
                let discard = ["quarantine", "discard", &job, "--reason", "a bad disk"];
                sandbox.veild_until(fault, &discard);
                let original = sandbox.site("state/quarantine").join(&job).join("original");
                assert!(original.exists(), "it goes last, {case}");
                if by_daemon {
                    let daemon = sandbox.daemon_with(&[("VEILD_QUARANTINE_UPKEEP_MS", "0")]);
                    sandbox.wait_for("the removal", || sandbox.quarantined().is_empty() && !original.exists());
                    daemon.stop();
                    assert_eq!(sandbox.log_lines("quarantine_discarded"), 1, "{case}");
                } else {
                    assert!(sandbox.veild(&discard).status.success(), "{case}");
                }
                let records = recorded(&sandbox, "file.discarded");
                assert_eq!(records.len(), 1, "{case}: {records:?}");
                let record = &records[0]["veild"];
                assert_eq!((&record["job"], &record["reason"]), (&job.as_str().into(), &"a bad disk".into()), "{case}");
                assert_eq!(fs::read_dir(sandbox.site("state/quarantine")).unwrap().count(), 0, "{case}");
                sandbox.assert_audit_holds();
            }
        }
    }
}

/// What the audit trail says is in quarantine goes by a decision only.
#[test]
fn a_damaged_entry_outlives_a_start() {
    for (kind, how) in DAMAGES {
        let (sandbox, job) = rejected();
        damage(&sandbox, &job, how);
        sandbox.run_until_idle();
        let entry = sandbox.site("state/quarantine").join(&job);
        assert_eq!(fs::read_to_string(entry.join("original")).unwrap(), IBAN, "{kind}");
        let listed = sandbox.veild(&["quarantine", "list"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&job) && listed.contains("damaged"), "{kind}: {listed}");
        refuses(&sandbox, &["quarantine", "show", &job], "is damaged");
    }
}

#[test]
fn a_damaged_entry_can_be_discarded_whatever_was_cut_off() {
    for (kind, how) in DAMAGES {
        for (fault, discarded, sealed) in [("handout_recorded", 1, 0), ("retry_recorded", 1, 0), ("retry_placed", 0, 1)]
        {
            let case = format!("after {fault}, reason.json {kind}");
            let (sandbox, job) = rejected();
            let out = sandbox.path("out.csv");
            match fault.starts_with("retry") {
                true => sandbox.veild_until(fault, &["quarantine", "retry", &job, "--reason", "policy mended"]),
                false => sandbox.veild_until(
                    fault,
                    &["quarantine", "release", &job, "--to", out.to_str().unwrap(), "--reason", "asked for"],
                ),
            };
            damage(&sandbox, &job, how);
            let output = sandbox.veild(&["quarantine", "discard", &job, "--reason", "a bad disk"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{case}: {said}");
            assert_eq!(said.contains("out.csv"), fault == "handout_recorded", "{case}: {said}");
            assert_eq!(fs::read_dir(sandbox.site("state/quarantine")).unwrap().count(), 0, "{case}");
            assert_eq!(recorded(&sandbox, "file.discarded").len(), discarded, "{case}");
            assert_eq!(fs::read_dir(sandbox.site("landing/.veild")).unwrap().count(), sealed, "{case}");
            sandbox.run_until_idle();
            assert_eq!(sandbox.receipts().len(), sealed, "{case}");
            sandbox.assert_audit_holds();
        }
    }
}

/// Whatever it is that removes it.
#[test]
fn a_removal_that_was_cut_off_is_finished_by_a_running_daemon() {
    for fault in ["entry_going", "original_removed"] {
        let (sandbox, job) = rejected();
        let out = sandbox.path("out.csv");
        let release = ["quarantine", "release", &job, "--to", out.to_str().unwrap(), "--reason", "asked for"];
        sandbox.veild_until(fault, &release);
        assert!(sandbox.quarantined().is_empty(), "after {fault}");
        let entry = sandbox.site("state/quarantine").join(&job);
        let daemon = sandbox.daemon_with(&[("VEILD_QUARANTINE_UPKEEP_MS", "0")]);
        sandbox.wait_for("the removal", || !entry.exists());
        daemon.stop();
        assert_eq!(fs::read_to_string(&out).unwrap(), IBAN, "after {fault}");
        assert_eq!((recorded(&sandbox, "file.released").len(), recorded(&sandbox, "file.discarded").len()), (1, 0));
    }
}

#[test]
fn a_release_that_was_cut_off_is_finished_by_another() {
    for (fault, is_recorded) in [("release_decided", false), ("handout_recorded", true), ("release_handed_out", true)] {
        let (sandbox, job) = rejected();
        let out = sandbox.path("out");
        fs::create_dir(&out).unwrap();
        let (to, other) = (out.join("a.csv"), out.join("other.csv"));
        let release = |to: &std::path::Path| {
            ["quarantine", "release", &job, "--to", to.to_str().unwrap(), "--reason", "asked for"].map(str::to_owned)
        };
        let run = |arguments: &[String]| sandbox.veild(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        sandbox.veild_until(fault, &release(&to).each_ref().map(String::as_str));
        assert_eq!((sandbox.quarantined().len(), recorded(&sandbox, "file.released").len()), (1, is_recorded.into()));
        if is_recorded {
            refuses(&sandbox, &["quarantine", "discard", &job, "--reason", "r"], "was cut off");
            refuses(&sandbox, &["quarantine", "retry", &job, "--reason", "r"], "was cut off");
            refuses(&sandbox, &release(&other).each_ref().map(String::as_str), "give that path again");
            let (theirs, ours) = (out.join("ours"), to.exists());
            if ours {
                fs::rename(&to, &theirs).unwrap();
            }
            fs::write(&to, "somebody else's").unwrap();
            refuses(&sandbox, &release(&to).each_ref().map(String::as_str), "is not what lies in quarantine");
            fs::remove_file(&to).unwrap();
            if ours {
                fs::rename(&theirs, &to).unwrap();
            }
        }
        assert!(run(&release(&to)).status.success(), "after {fault}");
        assert_eq!(fs::read_to_string(&to).unwrap(), IBAN);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "after {fault}");
        let records = recorded(&sandbox, "file.released");
        assert_eq!(records.len(), 1, "after {fault}: {records:?}");
        assert_eq!(records[0]["veild"]["released_to"], to.to_str().unwrap());
        assert_eq!(fs::read_dir(sandbox.site("state/quarantine")).unwrap().count(), 0, "after {fault}");
        sandbox.assert_audit_holds();
    }
    // One of which the trail says nothing has never been.
    let (sandbox, job) = rejected();
    let to = sandbox.path("a.csv");
    sandbox.veild_until(
        "release_decided",
        &["quarantine", "release", &job, "--to", to.to_str().unwrap(), "--reason", "r"],
    );
    assert!(sandbox.veild(&["quarantine", "discard", &job, "--reason", "r"]).status.success());
    assert!(!to.exists() && recorded(&sandbox, "file.released").is_empty());
}

#[test]
fn what_is_said_to_have_failed_is_never_carried_out() {
    let (sandbox, job) = rejected();
    let to = sandbox.path("a.csv");
    // A daemon is just starting: it has the lock, and does not answer yet.
    let lock = fs::File::options().write(true).open(sandbox.site("state/lock")).unwrap();
    rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let discard = ["quarantine", "discard", &job, "--reason", "r"];
    let release = ["quarantine", "release", &job, "--to", to.to_str().unwrap(), "--reason", "r"];
    for deed in [&discard[..], &["quarantine", "retry", &job, "--reason", "r"], &release] {
        refuses(&sandbox, deed, "another veild runs");
        let entry = sandbox.site("state/quarantine").join(&job);
        let mut left: Vec<_> = fs::read_dir(entry).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["original", "reason.json"], "after {deed:?}");
    }
    drop(lock);
    assert!(sandbox.veild(&release).status.success());
    assert_eq!(fs::read_to_string(&to).unwrap(), IBAN);
    assert!(recorded(&sandbox, "file.discarded").is_empty() && recorded(&sandbox, "file.retried").is_empty());
}
