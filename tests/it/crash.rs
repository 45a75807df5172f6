//! Kills of the daemon at every named step, then a restart: invariants 1 to 3, 7 and 9.

use std::collections::HashSet;

use crate::sandbox::{Sandbox, state_of};

pub const GOOD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";
pub const BAD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann\n";

/// Every file is in the vault or in quarantine exactly once, audited exactly once, and gone from the landing.
pub fn assert_all_accounted(sandbox: &Sandbox, fault: &str) {
    let names = |values: Vec<serde_json::Value>| {
        let mut names: Vec<String> =
            values.iter().map(|it| it["original_name"].as_str().unwrap_or("no receipt").to_owned()).collect();
        names.sort();
        names
    };
    for receipt in sandbox.receipts() {
        assert_eq!((&receipt["rows_in"], &receipt["rows_out"]), (&1.into(), &1.into()), "rows after {fault}");
    }
    assert_eq!(names(sandbox.receipts()), ["good0.csv", "good1.csv", "good2.csv"], "after {fault}");
    assert_eq!(names(sandbox.quarantined()), ["bad.csv"], "after {fault}");
    assert_eq!(sandbox.quarantined()[0]["code"], "ragged_row", "after {fault}");
    assert!(sandbox.landing_is_empty(), "after {fault}");
    let audit = sandbox.audit();
    let count = |action: &str| audit.iter().filter(|it| it["event"]["action"] == action).count();
    assert_eq!((count("file.sealed"), count("file.quarantined")), (3, 1), "after {fault}");
    let unfinished: Vec<_> = sandbox.ledger().into_iter().filter(|row| row.state != "done").collect();
    assert!(unfinished.is_empty() && sandbox.ledger().len() == 4, "after {fault}: {unfinished:?}");
    let entries = std::fs::read_dir(sandbox.site("state/quarantine")).unwrap().count();
    assert_eq!(entries, 1, "unfinished entries in quarantine after {fault}");
    let identity = sandbox.site("identity.txt");
    let verdict = sandbox.json(&["vault", "verify", "-i", identity.to_str().unwrap()]);
    assert_eq!(verdict["problems"].as_array().unwrap().len(), 0, "after {fault}: {verdict}");
    sandbox.assert_audit_holds();
}

pub fn drop_all(sandbox: &Sandbox) {
    for index in 0..3 {
        sandbox.drop_file(&format!("good{index}.csv"), GOOD);
    }
    sandbox.drop_file("bad.csv", BAD);
}

const STEPS: [&str; 14] = [
    "taken",
    "claimed",
    "begun",
    "staged",
    "staged_durable",
    "receipt_renamed",
    "object_renamed",
    "published",
    "original_stored",
    "quarantined",
    "audited",
    "ledger_done",
    "source_removed",
    "recovered",
];

#[test]
fn a_kill_at_any_named_step_loses_and_doubles_nothing() {
    for fault in STEPS.iter().flat_map(|step| [format!("{step}:1"), format!("{step}:2")]) {
        let sandbox = Sandbox::new();
        drop_all(&sandbox);
        let mut daemon = sandbox.daemon_with_fault(Some(&fault));
        // A second visit may never come: everything may have gone in one batch.
        sandbox.wait_for("the fault", || daemon.has_ended() || sandbox.landing_is_empty());
        assert!(daemon.has_ended() || fault.ends_with(":2"), "{fault} was never reached");
        drop(daemon);
        sandbox.run_until_idle();
        assert_all_accounted(&sandbox, &fault);
    }
}

#[test]
fn a_kill_at_the_same_step_again_and_again_changes_nothing() {
    for step in STEPS {
        let sandbox = Sandbox::new();
        sandbox.seal_quarantine();
        drop_all(&sandbox);
        for _ in 0..3 {
            let mut daemon = sandbox.daemon_with_fault(Some(step));
            sandbox.wait_for("the fault", || daemon.has_ended() || sandbox.landing_is_empty());
        }
        sandbox.run_until_idle();
        assert_all_accounted(&sandbox, step);
        let died = sandbox.ledger().into_iter().filter(|row| row.died > 0).count();
        assert_eq!(died, 0, "{step}: the daemon's own end was held against a file");
    }
}

#[test]
fn from_the_second_interruption_on_a_file_runs_alone_with_an_alert() {
    let sandbox = Sandbox::new();
    drop_all(&sandbox);
    let interrupted = || sandbox.ledger().into_iter().filter(|row| row.interrupted >= 2).count();
    for run in 0.. {
        let all_twice = run > 0 && interrupted() == 4;
        // Every worker stands still, and the daemon is killed while it waits for them.
        let daemon = sandbox.daemon_with(&[("VEILD_WORKER_FAULT", "worker_ready=stop")]);
        sandbox.wait_until_ready();
        sandbox.wait_for("the claims", || sandbox.status()["landings"][0]["in_flight"] == 4);
        sandbox.wait_for("work", || daemon.workers().into_iter().any(|it| state_of(it) == Some('T')));
        drop(daemon);
        let working: Vec<_> = sandbox.ledger().into_iter().filter(|row| row.state == "working").collect();
        assert!(working.len() == 1 || working.iter().all(|row| row.interrupted < 2), "not alone: {working:?}");
        if all_twice {
            break;
        }
        assert!(run < 10, "files are not taken up again: {:?}", sandbox.ledger());
    }
    sandbox.run_until_idle();
    assert_all_accounted(&sandbox, "three interruptions");
    let audit = sandbox.audit();
    let of = |action: &str| {
        let alerts = audit.iter().filter(|it| it["event"]["action"] == action);
        alerts
            .filter(|it| it["veild"]["code"] == "file_interrupted")
            .map(|it| &it["veild"]["job"])
            .collect::<HashSet<_>>()
    };
    assert_eq!((of("alert.raised").len(), of("alert.cleared").len()), (4, 4), "one alert for each file");
}

#[test]
fn a_wanted_stop_is_no_interruption() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("min_free = ", "shutdown_grace = \"100ms\"\nmin_free = ");
    sandbox.drop_file("good.csv", GOOD);
    let daemon = sandbox.daemon_with(&[("VEILD_WORKER_FAULT", "header_read=stop")]);
    sandbox.wait_for("the work", || daemon.workers().into_iter().any(|it| state_of(it) == Some('T')));
    daemon.stop();
    let row = &sandbox.ledger()[0];
    assert_eq!((row.state.as_str(), row.interrupted), ("waiting", 0));
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 1);
}

#[test]
fn two_hundred_random_kills_lose_and_double_nothing() {
    let sandbox = Sandbox::new();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut dropped = 0;
    for _ in 0..200 {
        for _ in 0..2 {
            sandbox.drop_file(&format!("f{dropped}.csv"), if dropped % 5 == 4 { BAD } else { GOOD });
            dropped += 1;
        }
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let daemon = sandbox.daemon();
        // The moment of the kill is the random input of this test.
        std::thread::sleep(std::time::Duration::from_millis(seed % 120));
        drop(daemon);
    }
    sandbox.run_until_idle();
    assert_eq!((sandbox.receipts().len(), sandbox.quarantined().len()), (dropped * 4 / 5, dropped / 5));
    assert!(sandbox.quarantined().iter().all(|it| it["code"] == "ragged_row"), "an innocent file was quarantined");
    assert!(sandbox.landing_is_empty());
    let audit = sandbox.audit();
    let outcomes = audit.iter().filter(|it| it["event"]["action"].as_str().unwrap().starts_with("file.")).count();
    assert_eq!(outcomes, dropped);
    sandbox.assert_audit_holds();
}
