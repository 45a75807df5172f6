//! Groups of recipients: named, changed by a reload; empty or expired, and nothing is lost.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::sandbox::{Daemon, Sandbox};

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

/// A site whose landing is sealed to `[recipients.analysts]`, which has these keys.
fn site(group: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let own = config.lines().find(|line| line.starts_with("recipients = ")).unwrap().to_owned();
    sandbox.edit_config(&own, "recipients = \"group:analysts\"");
    sandbox.edit_config("[[landing]]", &format!("[recipients.analysts]\n{group}\n\n[[landing]]"));
    (sandbox, own)
}

fn reload(sandbox: &Sandbox, daemon: &Daemon) {
    let loads = sandbox.log_lines("config_loaded");
    daemon.signal(Signal::HUP);
    sandbox.wait_for("the reload", || sandbox.log_lines("config_loaded") > loads);
}

fn records(sandbox: &Sandbox, action: &str) -> Vec<Value> {
    sandbox.audit().into_iter().filter(|it| it["event"]["action"] == action).collect()
}

#[test]
fn an_empty_group_stops_its_landing_until_a_reload_mends_it() {
    let (sandbox, own) = site("recipients = []");
    let check = sandbox.veild(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(3));
    assert!(said.contains("error: [recipients.analysts] is empty: put somebody in, then reload"), "{said}");
    let daemon = sandbox.ready_daemon();
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.wait_for("the file", || sandbox.status()["landings"][0]["waiting"] == 1);
    let status = sandbox.status();
    assert_eq!(status["well"], false);
    assert_eq!(
        (&status["alerts"][0]["code"], &status["alerts"][0]["of"]),
        (&"recipients_empty".into(), &"group analysts".into())
    );
    assert!(status["landings"][0]["paused"].as_str().unwrap().contains("[recipients.analysts] is empty"), "{status}");
    assert_eq!((sandbox.log_lines("recipients_empty"), sandbox.counts("claimed")), (1, 0));
    assert_eq!(records(&sandbox, "alert.raised")[0]["veild"]["group"], "analysts");
    sandbox.edit_config("recipients = []", &own);
    reload(&sandbox, &daemon);
    sandbox.wait_for_sealed(1);
    daemon.stop();
    assert!(String::from_utf8(sandbox.vault_plaintext("people.csv")).unwrap().contains("US"));
    assert_eq!(sandbox.receipts()[0]["recipients"].as_array().unwrap().len(), 1);
    assert_eq!(records(&sandbox, "alert.cleared")[0]["veild"]["code"], "recipients_empty");
    assert_eq!(records(&sandbox, "config.loaded")[0]["veild"]["groups"], serde_json::json!(["analysts"]));
    for action in ["landing.paused", "landing.resumed"] {
        assert_eq!(records(&sandbox, action).len(), 1, "{action}");
    }
    assert_eq!(sandbox.veild(&["check"]).status.code(), Some(0));
    sandbox.assert_audit_holds();
}

#[test]
fn what_is_claimed_waits_when_its_group_expires_and_is_sealed_once_that_is_mended() {
    let (sandbox, own) = site("recipients = []");
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    sandbox.edit_config("recipients = []", &format!("{own}\nexpires = \"{soon}\""));
    sandbox.edit_config("[daemon]", "[daemon]\nworkers = 1\nshutdown_grace = \"1s\"");
    let daemon = sandbox.daemon_held_at("assigned");
    sandbox.wait_until_ready();
    for name in ["begun.csv", "claimed.csv"] {
        sandbox.drop_file(name, PEOPLE);
        let in_flight = if name == "begun.csv" { 1 } else { 2 };
        sandbox.wait_for("the claim", || sandbox.status()["landings"][0]["in_flight"] == in_flight);
    }
    sandbox.wait_for("the end of the group", || sandbox.log_lines("recipients_expired") == 1);
    sandbox.drop_file("late.csv", PEOPLE);
    sandbox.let_go();
    sandbox.wait_for_sealed(1);
    sandbox.wait_for("the late one", || sandbox.status()["landings"][0]["waiting"] == 1);
    assert_eq!(sandbox.status()["held"], 1, "what was claimed and not begun waits");
    let text = String::from_utf8(sandbox.veild(&["status"]).stdout).unwrap();
    assert!(text.contains("[recipients.analysts] has expired at") && text.contains("1 file held"), "{text}");
    daemon.stop();
    // Over a restart, too: it stays in its spool, and `--once` says that something is left.
    let once = sandbox.veild(&["run", "--once"]);
    let said = String::from_utf8_lossy(&once.stderr).into_owned();
    assert!(!once.status.success() && said.contains("has expired at"), "{said}");
    let daemon = sandbox.ready_daemon();
    sandbox.edit_config(&format!("expires = \"{soon}\""), "expires = \"2100-01-01\"");
    reload(&sandbox, &daemon);
    sandbox.wait_for_sealed(2);
    daemon.stop();
    let mut names: Vec<Value> = sandbox.receipts().iter().map(|it| it["original_name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, ["begun.csv", "claimed.csv", "late.csv"]);
    assert!(sandbox.landing_is_empty());
    sandbox.assert_audit_holds();
}

#[test]
fn an_original_is_not_left_unsealed_because_the_quarantines_group_is_empty() {
    let sandbox = Sandbox::new();
    sandbox.edit_config(
        "[[landing]]",
        "[quarantine]\nrecipients = [\"group:stewards\"]\n\n[recipients.stewards]\nfile = \"@\"\n\n[[landing]]",
    );
    let file = sandbox.path("stewards");
    sandbox.edit_config("file = \"@\"", &format!("file = {file:?}"));
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let own = config.lines().find(|line| line.starts_with("recipients = [\"age1")).unwrap();
    let somebody = format!("# one\n{}\n", own.split('"').nth(1).unwrap());
    fs::write(&file, &somebody).unwrap();
    // Claimed under a group that has somebody in it, recovered under one that has nobody.
    sandbox.drop_file("ragged.csv", "id,name,ssn,email,dob,country,notes\n1,Ann\n");
    let mut daemon = sandbox.daemon_with_fault(Some("begun"));
    sandbox.wait_for("the fault", || daemon.has_ended());
    fs::write(&file, "# nobody\n").unwrap();
    let daemon = sandbox.ready_daemon();
    sandbox.wait_for("the file", || sandbox.status()["held"] == 1);
    assert!(sandbox.quarantined().is_empty());
    fs::write(&file, &somebody).unwrap();
    reload(&sandbox, &daemon);
    sandbox.wait_for("the quarantine", || sandbox.counts("quarantined") == 1);
    daemon.stop();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    let original = fs::read(sandbox.site("state/quarantine").join(job).join("original.age")).unwrap();
    assert!(original.starts_with(b"age-encryption.org/v1"));
    sandbox.assert_audit_holds();
}

#[test]
fn groups_serve_outputs_views_archives_and_commands() {
    let (sandbox, own) = site("recipients = []");
    sandbox.edit_config("recipients = []", &own);
    sandbox.add_view();
    sandbox.archive_originals();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let mut text = String::new();
    for line in config.lines() {
        let is_view =
            line.starts_with("recipients = ") && config.find(line).unwrap() > config.find("[[landing.view]]").unwrap();
        match line.split_once(" = ") {
            Some(("archive_recipients", _)) => text.push_str("archive_recipients = [\"group:analysts\"]\n"),
            Some((_, given)) if is_view => {
                text.push_str(&format!("recipients = [\"group:analysts\", {}\n", &given[1..]))
            }
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    fs::write(sandbox.site("config.toml"), text).unwrap();
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.run_until_idle();
    let counts: Vec<_> = sandbox.receipts().iter().map(|it| it["recipients"].as_array().unwrap().len()).collect();
    assert_eq!(
        {
            let mut counts = counts;
            counts.sort_unstable();
            counts
        },
        [1, 2]
    );
    let archived = sandbox.json(&["vault", "list", "--archive"]);
    assert!(archived.to_string().contains(own.split('"').nth(1).unwrap()), "{archived}");
    fs::write(sandbox.path("in.csv"), PEOPLE).unwrap();
    let mask = |to: &str| {
        let file = sandbox.path("in.csv");
        sandbox.veild(&["mask", file.to_str().unwrap(), "--policy", "people", "--recipient", to])
    };
    assert!(mask("group:analysts").status.success());
    let refused = String::from_utf8_lossy(&mask("group:nobody").stderr).into_owned();
    assert!(refused.contains("there is no [recipients.nobody]"), "{refused}");
    let receipt: Value = serde_json::from_slice(&fs::read(sandbox.path("in.csv.receipt.json")).unwrap()).unwrap();
    assert_eq!(receipt["recipients"][0], own.split('"').nth(1).unwrap());
}
