//! Upgrades: today's daemon on what earlier versions left behind.

use std::fs;

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

/// The first run of a daemon on a site in which something is of a version that is not known yet.
fn refusal(change: impl FnOnce(&Sandbox)) -> String {
    let sandbox = Sandbox::from_fixture("state-v1");
    sandbox.run_until_idle();
    change(&sandbox);
    let output = sandbox.veild(&["run", "--once"]);
    assert!(!output.status.success(), "it ran");
    String::from_utf8(output.stderr).unwrap()
}

fn rewrite(path: &std::path::Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed);
    fs::write(path, changed).unwrap();
}

#[test]
fn newer_formats_are_refused_and_say_what_to_do() {
    let config = refusal(|sandbox| {
        sandbox.edit_config("config_version = 1", "config_version = 2\nsomething_new = true");
    });
    assert!(config.contains("config.toml:1:18: ") && config.contains("upgrade veild"), "{config}");
    let key = refusal(|sandbox| {
        rewrite(&sandbox.site("masking.key"), |text| text.replacen("veild-masking-key 1", "veild-masking-key 2", 1));
    });
    assert!(key.contains("masking.key: line 1: format 2") && key.contains("upgrade veild"), "{key}");
    let ledger = refusal(|sandbox| {
        let db = rusqlite::Connection::open(sandbox.site("state/ledger.sqlite")).unwrap();
        db.pragma_update(None, "user_version", 1000).unwrap();
    });
    assert!(ledger.contains("ledger.sqlite") && ledger.contains("upgrade veild"), "{ledger}");
    let audit = refusal(|sandbox| {
        let segment = crate::sandbox::files_below(&sandbox.site("audit")).into_iter().max().unwrap();
        rewrite(&segment, |text| {
            let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
            format!("{before}\n{}\n", last.replace("\"audit_version\":3", "\"audit_version\":4"))
        });
    });
    assert!(audit.contains("newer veild (audit_version 4); upgrade veild"), "{audit}");
}

#[test]
fn a_quarantine_entry_of_a_newer_version_is_left_alone() {
    let sandbox = Sandbox::from_fixture("state-v1");
    sandbox.run_until_idle();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    rewrite(&sandbox.site("state/quarantine").join(&job).join("reason.json"), |text| {
        text.replacen("\"reason_version\": 1", "\"reason_version\": 2", 1)
    });
    let discard = sandbox.veild(&["quarantine", "discard", &job, "--reason", "test"]);
    assert!(String::from_utf8_lossy(&discard.stderr).contains("upgrade veild"));
    sandbox.run_until_idle();
    assert!(sandbox.site("state/quarantine").join(&job).join("original").exists());
}
