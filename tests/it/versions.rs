//! Upgrades: today's daemon on what earlier versions left behind.

use crate::sandbox::Sandbox;

fn names(values: &[serde_json::Value]) -> Vec<&str> {
    let mut names: Vec<&str> = values.iter().map(|it| it["original_name"].as_str().unwrap_or("no receipt")).collect();
    names.sort_unstable();
    names
}

#[test]
fn todays_daemon_goes_on_where_the_first_version_was_killed() {
    let sandbox = Sandbox::from_fixture("state-v1");
    let before = sandbox.receipts();
    sandbox.run_until_idle();
    assert!(sandbox.site("state/ledger.sqlite.v1").exists(), "no copy of the old ledger");
    let receipts = sandbox.receipts();
    assert_eq!(names(&receipts), ["cut_off.csv", "good1.csv", "good2.csv", "unfinished.csv", "waiting.csv"]);
    assert!(before.iter().all(|old| receipts.contains(old)), "an old receipt has changed");
    assert_eq!(names(&sandbox.quarantined()), ["bad.csv"]);
    assert!(sandbox.landing_is_empty());
    let audit = sandbox.audit();
    let sealed = audit.iter().filter(|it| it["event"]["action"] == "file.sealed").count();
    assert_eq!(sealed, 5);
    sandbox.assert_audit_holds();
    let identity = sandbox.site("identity.txt");
    let verdict = sandbox.json(&["vault", "verify", "-i", identity.to_str().unwrap()]);
    assert_eq!((verdict["objects"].as_u64(), verdict["problems"].as_array().unwrap().len()), (Some(5), 0), "{verdict}");
    let bad = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    assert!(sandbox.veild(&["quarantine", "retry", &bad, "--reason", "still bad"]).status.success());
    sandbox.run_until_idle();
    assert_eq!(names(&sandbox.quarantined()), ["bad.csv"]);
}
