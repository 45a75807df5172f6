//! Kills at every named step, then a restart: invariants 1 to 3, 7 and 9.

use crate::sandbox::Sandbox;

const GOOD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";
const BAD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann\n";

/// Every file is in the vault or in quarantine exactly once, audited exactly once, and gone from the landing.
fn assert_all_accounted(sandbox: &Sandbox, fault: &str) {
    let names = |values: Vec<serde_json::Value>| {
        let mut names: Vec<String> =
            values.iter().map(|it| it["original_name"].as_str().unwrap_or("no receipt").to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(sandbox.receipts()), ["good0.csv", "good1.csv", "good2.csv"], "after {fault}");
    assert_eq!(names(sandbox.quarantined()), ["bad.csv"], "after {fault}");
    assert_eq!(sandbox.quarantined()[0]["code"], "ragged_row", "after {fault}");
    assert!(sandbox.landing_is_empty(), "after {fault}");
    let audit = sandbox.audit();
    let count = |action: &str| audit.iter().filter(|it| it["event"]["action"] == action).count();
    assert_eq!((count("file.sealed"), count("file.quarantined")), (3, 1), "after {fault}");
    let identity = sandbox.site("identity.txt");
    let verdict = sandbox.json(&["vault", "verify", "-i", identity.to_str().unwrap()]);
    assert_eq!(verdict["problems"].as_array().unwrap().len(), 0, "after {fault}: {verdict}");
    sandbox.assert_audit_holds();
}

fn drop_all(sandbox: &Sandbox) {
    for index in 0..3 {
        sandbox.drop_file(&format!("good{index}.csv"), GOOD);
    }
    sandbox.drop_file("bad.csv", BAD);
}

#[test]
fn a_kill_at_any_named_step_loses_and_doubles_nothing() {
    let steps = [
        "claimed",
        "begun",
        "staged",
        "staged_durable",
        "receipt_renamed",
        "object_renamed",
        "published",
        "quarantined",
        "audited",
        "ledger_done",
        "source_removed",
    ];
    for fault in steps.iter().flat_map(|step| [format!("{step}:1"), format!("{step}:2")]) {
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
fn a_worker_that_always_dies_costs_its_file_three_attempts_and_the_others_nothing() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good0.csv", GOOD);
    let daemon = sandbox.daemon_with_fault(Some("worker_started"));
    sandbox.wait_for("quarantine", || sandbox.quarantined().len() == 1);
    daemon.stop();
    let reason = &sandbox.quarantined()[0];
    assert_eq!((reason["code"].as_str(), reason["attempts"].as_u64()), (Some("worker_died"), Some(3)));
    sandbox.assert_audit_holds();
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
