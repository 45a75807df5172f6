//! Recipients of age plugins, with a plugin of our own (`tests/peers/age-plugin-veildtest`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::recipients::age_key;
use crate::sandbox::{Daemon, Sandbox};

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// The search path with the test's plugin in it.
fn path() -> String {
    format!("{}:{}", dir().display(), std::env::var("PATH").unwrap())
}

/// A recipient of the plugin and its identity; the mode says how it behaves. `None` without Python.
fn generate(mode: u8) -> Option<(String, String)> {
    let made = Command::new(dir().join("age-plugin-veildtest")).args(["generate", &mode.to_string()]).output();
    let Some(made) = made.ok().filter(|made| made.status.success()) else {
        eprintln!("SKIPPED: needs python3");
        return None;
    };
    let text = String::from_utf8(made.stdout).unwrap();
    let (recipient, identity) = text.trim().split_once('\n').unwrap();
    Some((recipient.to_owned(), identity.to_owned()))
}

/// A site whose landing is sealed to these recipients, plugins allowed.
fn site(recipients: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.edit_config("[daemon]", "[daemon]\nallow_plugins = true");
    set_recipients(&sandbox, recipients);
    sandbox
}

fn set_recipients(sandbox: &Sandbox, recipients: &[&str]) {
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let own = config.lines().find(|line| line.starts_with("recipients = ")).unwrap();
    sandbox.edit_config(own, &format!("recipients = {recipients:?}"));
}

fn daemon(sandbox: &Sandbox) -> Daemon {
    let daemon = sandbox.daemon_with(&[("PATH", &path()), ("VEILD_PLUGIN_LASTS_MS", "2000")]);
    sandbox.wait_until_ready();
    daemon
}

fn children_named(of: &Daemon, name: &str) -> usize {
    let pid = of.id().to_string();
    let listed = Command::new("ps").args(["--ppid", &pid, "-o", "comm="]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.contains(name)).count()
}

#[test]
fn a_plugin_wraps_the_key_and_the_stock_tool_opens_it_with_the_plugin() {
    let Some((recipient, identity)) = generate(0) else { return };
    let Some((second, _)) = generate(0) else { return };
    let sandbox = site(&[]);
    let (own, public) = age_key(&sandbox, "own");
    set_recipients(&sandbox, &[&recipient, &public, &second]);
    let daemon = daemon(&sandbox);
    for name in ["a.csv", "b.csv", "c.csv"] {
        sandbox.drop_file(name, PEOPLE);
    }
    sandbox.wait_for_sealed(3);
    assert_eq!(
        (children_named(&daemon, "python"), children_named(&daemon, "age-plugin")),
        (0, 0),
        "nobody is left unburied"
    );
    daemon.stop();
    let receipt = &sandbox.receipts()[0];
    assert_eq!(receipt["recipients"], serde_json::json!([recipient, public, second]));
    let object = sandbox.site("vault").join(receipt["output"]["path"].as_str().unwrap());
    let by_plugin = sandbox.path("by-plugin");
    fs::write(&by_plugin, identity).unwrap();
    for identity in [&by_plugin, &own] {
        let opened = Command::new("age").env("PATH", path()).arg("-d").arg("-i").arg(identity).arg(&object).output();
        let Ok(opened) = opened else { return eprintln!("SKIPPED: needs age") };
        assert!(String::from_utf8_lossy(&opened.stdout).contains("US"), "{}", String::from_utf8_lossy(&opened.stderr));
    }
    let check = sandbox.veild(&["check"]);
    assert_eq!(check.status.code(), Some(3));
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("age-plugin-veildtest, which the daemon does not find"), "{said}");
}

#[test]
fn plugins_run_only_where_they_are_allowed() {
    let Some((recipient, _)) = generate(0) else { return };
    let sandbox = site(&[&recipient]);
    sandbox.edit_config("allow_plugins = true\n", "");
    let said = String::from_utf8_lossy(&sandbox.veild(&["check"]).stderr).into_owned();
    assert!(said.contains("recipient 1 is of the plugin age-plugin-veildtest: `allow_plugins = true`"), "{said}");
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("in.csv"), PEOPLE).unwrap();
    let file = sandbox.path("in.csv");
    let refused = sandbox.veild(&["mask", file.to_str().unwrap(), "--policy", "people", "-r", &recipient]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("plugins are not allowed"), "{said}");
}

#[test]
fn a_plugin_that_fails_hangs_or_is_not_there_loses_nothing() {
    for (mode, what) in [
        (1, "it has not answered after 2s"),
        (2, "the token is not there"),
        (3, "cannot share one object"),
        (4, "age-plugin-veildtest: "),
    ] {
        let Some((recipient, _)) = generate(mode) else { return };
        let sandbox = site(&[]);
        let (_, public) = age_key(&sandbox, "own");
        set_recipients(&sandbox, &[&public, &recipient]);
        sandbox.drop_file("people.csv", PEOPLE);
        let daemon = daemon(&sandbox);
        sandbox.wait_for("the failure", || sandbox.log_lines("commit_failed") >= 1);
        assert!(sandbox.log().contains(what), "{mode}: {}", sandbox.log());
        assert_eq!(children_named(&daemon, "age-plugin") + children_named(&daemon, "python"), 0);
        daemon.stop();
        set_recipients(&sandbox, &[&public]);
        sandbox.run_until_idle();
        assert_eq!(sandbox.receipts().len(), 1);
        assert!(sandbox.landing_is_empty());
        sandbox.assert_audit_holds();
    }
    let Some((recipient, _)) = generate(0) else { return };
    let sandbox = site(&[&recipient]);
    sandbox.drop_file("people.csv", PEOPLE);
    let daemon = sandbox.ready_daemon(); // without the plugin on its PATH
    sandbox.wait_for("the failure", || sandbox.log_lines("commit_failed") >= 1);
    assert!(sandbox.log().contains("there is no such program on PATH"), "{}", sandbox.log());
    daemon.signal(Signal::KILL);
    drop(daemon);
    let daemon = self::daemon(&sandbox);
    sandbox.wait_for_sealed(1);
    daemon.stop();
    sandbox.assert_audit_holds();
}
