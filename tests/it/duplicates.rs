//! Files whose content was sealed on their landing before.

use std::fs;

use serde_json::Value;

use crate::sandbox::Sandbox;

const GOOD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";
const OTHER: &str = "id,name,ssn,email,dob,country,notes\n2,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

fn site(duplicates: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.edit_config("quiet = ", &format!("duplicates = \"{duplicates}\"\nquiet = "));
    sandbox
}

fn records(sandbox: &Sandbox, action: &str) -> Vec<Value> {
    sandbox.audit().into_iter().filter(|it| it["event"]["action"] == action).collect()
}

#[test]
fn a_content_seen_before_is_skipped_and_recorded() {
    for digest in ["keyed", "sha256", "none"] {
        let sandbox = site("skip");
        sandbox.edit_config("[vault]", &format!("[vault]\ninput_digest = \"{digest}\""));
        sandbox.archive_originals();
        sandbox.drop_file("first.csv", GOOD);
        sandbox.drop_file("twin.csv", GOOD);
        sandbox.drop_file("other.csv", OTHER);
        sandbox.run_until_idle();
        sandbox.drop_file("later.csv", GOOD);
        sandbox.run_until_idle();
        assert_eq!(sandbox.receipts().len(), 2, "{digest}");
        assert!(sandbox.landing_is_empty() && sandbox.quarantined().is_empty());
        assert_eq!(fs::read_dir(sandbox.site("vault/.incoming")).unwrap().count(), 0);
        let sealed = records(&sandbox, "file.sealed");
        let skipped = records(&sandbox, "file.skipped");
        assert_eq!(skipped.len(), 2);
        assert_eq!(skipped[1]["file"]["name"], "later.csv");
        let of = &skipped[1]["veild"]["duplicate_of"];
        assert!(sealed.iter().any(|it| it["veild"]["job"] == *of && it["file"]["size"] == skipped[1]["file"]["size"]));
        sandbox.assert_audit_holds();
    }
}

#[test]
fn a_duplicate_can_be_quarantined_instead() {
    for sealed in [false, true] {
        let sandbox = site("quarantine");
        if sealed {
            let recipient = age::x25519::Identity::generate().to_public();
            let section = format!("[quarantine]\nrecipients = [\"{recipient}\"]\n\n[[landing]]");
            sandbox.edit_config("[[landing]]", &section);
        }
        sandbox.drop_file("first.csv", GOOD);
        sandbox.run_until_idle();
        sandbox.drop_file("twin.csv", GOOD);
        sandbox.run_until_idle();
        let reasons = sandbox.quarantined();
        assert_eq!((&reasons[0]["code"], &reasons[0]["original_name"]), (&"duplicate".into(), &"twin.csv".into()));
        assert_eq!(reasons[0]["sealed"], sealed);
        let first = sandbox.receipts()[0]["job"].as_str().unwrap().to_owned();
        assert!(reasons[0]["sentence"].as_str().unwrap().contains(&first), "{reasons:?}");
        assert_eq!((sandbox.receipts().len(), reasons.len()), (1, 1));
        assert_eq!(fs::read_dir(sandbox.site("vault/.incoming")).unwrap().count(), 0);
    }
}

#[test]
fn what_was_rejected_may_come_again_and_other_landings_are_others() {
    let sandbox = site("skip");
    fs::create_dir(sandbox.site("second")).unwrap();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let first = &config[config.find("[[landing]]").unwrap()..config.find("[policy.people]").unwrap()];
    let second = first.replace("\"people\"\ndir", "\"second\"\ndir").replace("/landing\"", "/second\"");
    sandbox.edit_config("[policy.people]", &format!("{second}[policy.people]"));
    sandbox.edit_config("\"country\"", "\"iban\"");
    sandbox.drop_file("rejected.csv", GOOD);
    sandbox.run_until_idle();
    assert_eq!(sandbox.quarantined().len(), 1);
    sandbox.edit_config("\"iban\"", "\"country\"");
    sandbox.drop_file("again.csv", GOOD);
    sandbox.drop_file("../second/elsewhere.csv", GOOD);
    sandbox.run_until_idle();
    let mut landings: Vec<Value> = sandbox.receipts().iter().map(|it| it["landing"].clone()).collect();
    landings.sort_by_key(Value::to_string);
    assert_eq!(landings, ["people", "second"]);
    assert!(records(&sandbox, "file.skipped").is_empty());
}

#[test]
fn a_kill_at_any_step_seals_one_of_two_equal_files_and_skips_the_other() {
    let faults = [
        "begun:1",
        "contents_noted:1",
        "staged_durable:1",
        "object_renamed:1",
        "published:1",
        "published:2",
        "audited:1",
        "audited:2",
        "ledger_done:1",
        "ledger_done:2",
        "source_removed:1",
        "source_removed:2",
    ];
    for fault in faults {
        let sandbox = site("skip");
        sandbox.add_view();
        sandbox.archive_originals();
        sandbox.drop_file("a.csv", GOOD);
        sandbox.drop_file("b.csv", GOOD);
        sandbox.veild_until(fault, &["run", "--once"]);
        sandbox.run_until_idle();
        assert_eq!(sandbox.receipts().len(), 2, "main output and view of one file after {fault}");
        let count = |action| records(&sandbox, action).len();
        assert_eq!((count("file.sealed"), count("file.skipped")), (1, 1), "after {fault}");
        assert!(sandbox.landing_is_empty(), "after {fault}");
        assert_eq!(sandbox.json(&["vault", "verify"])["problems"], Value::Array(vec![]), "after {fault}");
        sandbox.assert_audit_holds();
    }
}

#[test]
fn a_window_that_is_over_lets_a_content_through() {
    let sandbox = site("skip");
    sandbox.edit_config("quiet = ", "dedup_window = \"1s\"\nquiet = ");
    sandbox.drop_file("first.csv", GOOD);
    sandbox.run_until_idle();
    let first: jiff::Timestamp = sandbox.receipts()[0]["claimed_at"].as_str().unwrap().parse().unwrap();
    sandbox.wait_for("the end of the window", || jiff::Timestamp::now().duration_since(first).as_secs() >= 1);
    sandbox.drop_file("again.csv", GOOD);
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 2);
}
