//! Reloads while files are in flight: each finishes under the policy it started with; a refused file changes nothing.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::sandbox::{Daemon, Sandbox};

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

impl Sandbox {
    fn config(&self) -> String {
        fs::read_to_string(self.site("config.toml")).unwrap()
    }

    fn write_config(&self, text: &str) {
        fs::write(self.site("config.toml"), text).unwrap();
    }

    /// What the daemon says of itself, asked past a configuration file that may be broken.
    fn state(&self) -> Option<Value> {
        use veild::daemon::{control, event::Request};
        control::ask(&self.site("state"), &Request::Status).unwrap()
    }

    fn wait_until_it_runs(&self) {
        self.wait_for("the daemon", || self.state().is_some());
    }

    fn in_force(&self) -> Value {
        self.state().unwrap()["config_sha256"].clone()
    }

    /// Reloads and waits until the file that lies there is in force.
    fn reload(&self, daemon: &Daemon) {
        let before = self.in_force();
        daemon.signal(Signal::HUP);
        self.wait_for("the reload", || self.in_force() != before);
        assert_eq!(self.state().unwrap()["config_rejected"], Value::Null);
    }

    /// Reloads and returns why the file was refused.
    fn refusal(&self, daemon: &Daemon) -> String {
        let before = self.in_force();
        daemon.signal(Signal::HUP);
        self.wait_for("the refusal", || self.state().unwrap()["config_rejected"]["why"].is_string());
        assert_eq!(self.in_force(), before);
        self.state().unwrap()["config_rejected"]["why"].as_str().unwrap().to_owned()
    }

    fn new_dir(&self, name: &str) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir(&dir).unwrap();
        dir
    }

    /// Drops a finished file into any directory.
    fn drop_into(&self, dir: &Path, name: &str) {
        let outside = self.path("outside");
        fs::write(&outside, PEOPLE).unwrap();
        fs::rename(&outside, dir.join(name)).unwrap();
    }

    fn wait_until_sealed(&self, count: usize) {
        // Not through the command, which wants a configuration that is not broken.
        let sealed = || veild::vault::list(&self.site("vault")).unwrap().len();
        self.wait_for("the vault", || sealed() >= count);
        assert_eq!(sealed(), count);
    }

    fn wait_until_claimed(&self, count: usize) {
        self.wait_for("a claim", || self.state().unwrap()["landings"][0]["in_flight"] == count);
    }

    fn receipt(&self, name: &str) -> Value {
        self.receipts().into_iter().find(|it| it["original_name"] == name).unwrap()
    }

    fn open_object(&self, receipt: &Value) -> String {
        let object = self.site("vault").join(receipt["output"]["path"].as_str().unwrap());
        let identity = fs::read(self.site("identity.txt")).unwrap();
        let mut text = String::new();
        veild::seal::open(fs::File::open(object).unwrap(), &identity).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn actions(&self, action: &str) -> Vec<Value> {
        self.audit().into_iter().filter(|it| it["event"]["action"] == action).collect()
    }
}

/// Text that a policy puts in place of each name.
fn says(config: &str, text: &str) -> String {
    config.replace("text = \"***\"", &format!("text = \"{text}\""))
}

/// A further landing with the policy and recipients of the first.
fn with_landing(config: &str, name: &str, dir: &Path) -> String {
    let start = config.find("[[landing]]").unwrap();
    let end = config[start..].find("[policy").unwrap() + start;
    let first = &config[start..end];
    let dir_of_first = first.split("dir = \"").nth(1).unwrap().split('"').next().unwrap();
    let further =
        first.replace("\"people\"\ndir", &format!("\"{name}\"\ndir")).replace(dir_of_first, dir.to_str().unwrap());
    format!("{config}\n{further}")
}

#[test]
fn a_file_in_flight_finishes_under_the_policy_it_started_with() {
    let sandbox = Sandbox::new();
    let config = sandbox.config();
    sandbox.write_config(&says(&config, "BEFORE"));
    let daemon = sandbox.daemon_held_at("assigned");
    sandbox.drop_file("before.csv", PEOPLE);
    sandbox.wait_until_it_runs();
    sandbox.wait_until_claimed(1);
    sandbox.write_config(
        &says(&config, "AFTER")
            .replace("policy.people", "policy.renamed")
            .replace("policy = \"people\"", "policy = \"renamed\""),
    );
    sandbox.reload(&daemon);
    sandbox.drop_file("after.csv", PEOPLE);
    sandbox.let_go();
    sandbox.wait_until_sealed(2);
    daemon.stop();
    let text = |name: &str| String::from_utf8(sandbox.vault_plaintext(name)).unwrap();
    assert!(text("before.csv").contains("BEFORE") && text("after.csv").contains("AFTER"));
    let (before, after) = (&sandbox.receipt("before.csv")["policy"], &sandbox.receipt("after.csv")["policy"]);
    assert_eq!((before["name"].as_str(), after["name"].as_str()), (Some("people"), Some("renamed")));
    assert_ne!(before["sha256"], after["sha256"]);
    let loaded = sandbox.actions("config.loaded");
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0]["veild"]["landings"]["changed"], serde_json::json!(["people"]));
    sandbox.assert_audit_holds();
}

#[test]
fn a_refused_file_leaves_everything_as_it_was() {
    let sandbox = Sandbox::new();
    let config = sandbox.config();
    let daemon = sandbox.daemon();
    sandbox.wait_until_it_runs();
    let more = sandbox.new_dir("more");
    sandbox.write_config(&with_landing(&config, "more", &more).replace("mask = \"hash\"", "mask = \"hahs\""));
    let why = sandbox.refusal(&daemon);
    assert!(why.contains("config.toml:") && why.contains("did you mean \"hash\""), "{why}");
    sandbox.drop_into(&more, "of-a-refused-landing.csv");
    sandbox.drop_file("good.csv", PEOPLE);
    sandbox.wait_until_sealed(1);
    assert!(!more.join(".veild").exists(), "a refused landing was touched");
    let log = fs::read_to_string(sandbox.path("veild.log")).unwrap();
    assert!(log.contains("config_rejected") && log.contains("the old configuration stays in force"), "{log}");
    let status = sandbox.veild(&["status"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(3), "{said}");
    assert!(said.starts_with("1 thing needs attention:\n  config_rejected, since "), "{said}");
    sandbox.write_config(&with_landing(&config, "more", &more));
    assert_eq!(sandbox.actions("config.rejected").len(), 1);
    sandbox.reload(&daemon);
    sandbox.wait_until_sealed(2);
    daemon.stop();
    sandbox.assert_audit_holds();
}

#[test]
fn what_a_reload_cannot_do_says_so() {
    let sandbox = Sandbox::new();
    let config = sandbox.config();
    let daemon = sandbox.daemon();
    sandbox.wait_until_it_runs();
    let refused = |text: String, what: &[&str]| {
        sandbox.write_config(&text);
        let why = sandbox.refusal(&daemon);
        assert!(what.iter().all(|what| why.contains(what)), "{why}");
        sandbox.write_config(&(config.clone() + "# as it was\n"));
        sandbox.reload(&daemon);
        sandbox.write_config(&config);
        sandbox.reload(&daemon);
    };
    refused(config.replace("[vault]", "[vault]\nnames = \"opaque\""), &["[vault]", "restart needed"]);
    refused(config.replace("[daemon]", "[daemon]\nworkers = 7"), &["`workers`", "restart needed"]);
    let missing = sandbox.path("missing");
    refused(with_landing(&config, "missing", &missing), &["is not there", "install -d"]);
    assert!(!missing.exists());
    // Nobody may make a directory there, root included: as a unit's read-only view of the file system.
    refused(
        with_landing(&config, "sys", Path::new("/sys/kernel")),
        &["/sys/kernel", "restart needed", "ReadWritePaths="],
    );
    let at_once =
        config.replace("min_free = \"64MiB\"", "min_free = \"32MiB\"\nshutdown_grace = \"20s\"\nmax_attempts = 5");
    sandbox.write_config(&at_once);
    sandbox.reload(&daemon);
    daemon.stop();
}

#[test]
fn files_of_a_removed_landing_finish() {
    let sandbox = Sandbox::new();
    let config = sandbox.config();
    let more = sandbox.new_dir("more");
    sandbox.write_config(&with_landing(&config, "more", &more));
    let daemon = sandbox.daemon_held_at("assigned");
    sandbox.wait_until_it_runs();
    sandbox.drop_into(&more, "claimed.csv");
    sandbox.wait_for("a claim", || sandbox.state().unwrap()["landings"][1]["in_flight"] == 1);
    sandbox.write_config(&config);
    sandbox.reload(&daemon);
    assert_eq!(sandbox.state().unwrap()["leaving"], serde_json::json!({"more": 1}));
    sandbox.drop_into(&more, "unclaimed.csv");
    sandbox.let_go();
    sandbox.wait_until_sealed(1);
    sandbox.wait_for("the end of the removed landing", || sandbox.state().unwrap()["leaving"] == serde_json::json!({}));
    daemon.stop();
    assert_eq!(sandbox.receipt("claimed.csv")["landing"], "more");
    assert!(more.join("unclaimed.csv").exists(), "a landing that is none any more was emptied");
    sandbox.run_until_idle();
    assert_eq!(sandbox.actions("alert.raised").len(), 0, "its spool is empty");
}

#[test]
fn a_spool_of_a_landing_that_is_none_any_more_is_not_forgotten() {
    let sandbox = Sandbox::new();
    let config = sandbox.config();
    let more = sandbox.new_dir("more");
    sandbox.write_config(&with_landing(&config, "more", &more));
    let daemon = sandbox.daemon_held_at("assigned");
    sandbox.wait_until_it_runs();
    sandbox.drop_into(&more, "claimed.csv");
    sandbox.wait_for("a claim", || sandbox.state().unwrap()["landings"][1]["in_flight"] == 1);
    sandbox.write_config(&config);
    sandbox.reload(&daemon);
    drop(daemon); // kills it
    sandbox.let_go();
    for starts in 1..=2 {
        sandbox.run_until_idle();
        let alerts = sandbox.actions("alert.raised");
        assert_eq!(alerts.len(), starts);
        assert_eq!((&alerts[0]["veild"]["code"], &alerts[0]["veild"]["files"]), (&"spool_left".into(), &1.into()));
    }
    let check = sandbox.veild(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(3));
    assert!(said.contains("1 claimed file(s) wait in") && said.contains("put the landing back"), "{said}");
    // What the message says to do: under any name, by a reload.
    let daemon = sandbox.daemon();
    sandbox.wait_until_it_runs();
    sandbox.write_config(&with_landing(&config, "back", &more));
    sandbox.reload(&daemon);
    sandbox.wait_until_sealed(1);
    daemon.stop();
    assert_eq!(sandbox.receipt("claimed.csv")["landing"], "back");
    assert_eq!(fs::read_dir(more.join(".veild")).unwrap().count(), 0);
    assert_eq!(sandbox.veild(&["check"]).status.code(), Some(0));
    sandbox.assert_audit_holds();
}

#[test]
fn a_landing_moved_with_its_spool_goes_on_where_it_is_now() {
    let sandbox = Sandbox::new();
    let config = sandbox.config();
    sandbox.write_config(&says(&config, "BEFORE"));
    let daemon = sandbox.daemon_held_at("assigned");
    sandbox.wait_until_it_runs();
    sandbox.drop_file("moved.csv", PEOPLE);
    sandbox.wait_until_claimed(1);
    let elsewhere = sandbox.site("elsewhere");
    fs::rename(sandbox.site("landing"), &elsewhere).unwrap();
    sandbox.drop_into(&elsewhere, "new.csv");
    let old_dir = sandbox.site("landing").to_str().unwrap().to_owned();
    sandbox.write_config(&says(&config, "AFTER").replace(&old_dir, elsewhere.to_str().unwrap()));
    sandbox.reload(&daemon);
    sandbox.let_go();
    sandbox.wait_until_sealed(2);
    daemon.stop();
    let text = |name: &str| String::from_utf8(sandbox.vault_plaintext(name)).unwrap();
    assert!(text("moved.csv").contains("BEFORE") && text("new.csv").contains("AFTER"));
    assert_eq!(fs::read_dir(elsewhere.join(".veild")).unwrap().count(), 0);
    sandbox.assert_audit_holds();
}

#[test]
fn a_landing_renamed_after_a_crash_does_not_seal_twice() {
    for names in ["original", "opaque"] {
        let sandbox = Sandbox::new();
        sandbox.drop_file("once.csv", PEOPLE);
        let mut daemon = sandbox.daemon_with_fault(Some("published"));
        sandbox.wait_for("the fault", || daemon.has_ended());
        sandbox.edit_config("name = \"people\"", "name = \"persons\"");
        sandbox.edit_config("[vault]", &format!("[vault]\nnames = \"{names}\""));
        sandbox.run_until_idle();
        let receipts = sandbox.receipts();
        assert_eq!(receipts.len(), 1);
        assert_eq!((&receipts[0]["landing"], sandbox.actions("file.sealed").len()), (&"people".into(), 1));
        assert!(sandbox.landing_is_empty());
        sandbox.assert_audit_holds();
    }
}

/// Two landings under constant load while policies and landings come, go and change their names.
#[test]
fn reloads_under_load_lose_and_mix_nothing() {
    let sandbox = Sandbox::new();
    let more = sandbox.new_dir("more");
    let config = sandbox.config();
    let daemon = sandbox.daemon();
    sandbox.wait_until_it_runs();
    let mut dropped = 0;
    for round in 0..12 {
        let text = says(&config, &format!("ROUND-{round}"));
        let text = match round % 4 {
            0 => with_landing(&text, "more", &more),
            1 => with_landing(&text, "renamed", &more).replace("name = \"people\"", "name = \"persons\""),
            2 => text,
            _ => with_landing(&text, "more", &more)
                .replace("policy.people", "policy.other")
                .replace("policy = \"people\"", "policy = \"other\""),
        };
        for _ in 0..10 {
            sandbox.drop_file(&format!("a{dropped}.csv"), PEOPLE);
            sandbox.drop_into(&more, &format!("b{dropped}.csv"));
            dropped += 1;
        }
        sandbox.write_config(&text);
        sandbox.reload(&daemon);
    }
    sandbox.wait_until_sealed(2 * dropped);
    daemon.stop();
    let mut masked_by = std::collections::BTreeMap::new();
    for receipt in sandbox.receipts() {
        let masked = sandbox.open_object(&receipt);
        let round = masked.split("ROUND-").nth(1).unwrap_or("none").split(',').next().unwrap().to_owned();
        let sha256 = receipt["policy"]["sha256"].as_str().unwrap().to_owned();
        assert_eq!(masked_by.entry(sha256).or_insert(round.clone()), &round, "a receipt names another policy");
    }
    assert!(masked_by.len() > 2, "only {masked_by:?} were ever at work");
    assert_eq!(sandbox.actions("file.sealed").len(), 2 * dropped);
    assert_eq!(sandbox.actions("config.loaded").len(), 12);
    assert!(sandbox.landing_is_empty());
    sandbox.assert_audit_holds();
}
