//! Recipients and identities of age plugins, with a plugin of our own (`tests/peers/age-plugin-veildtest`).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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

/// A site with one object that only the plugin opens, in this mode, and the plugin's identity.
fn sealed_to_plugin(mode: u8) -> Option<(Sandbox, String, PathBuf)> {
    let (recipient, identity) = generate(mode)?;
    let sandbox = site(&[&recipient]);
    sandbox.drop_file("people.csv", PEOPLE);
    let daemon = daemon(&sandbox);
    sandbox.wait_for_sealed(1);
    daemon.stop();
    let file = sandbox.path("plugin.txt");
    fs::write(&file, format!("# kept by a plugin\n{identity}\n")).unwrap();
    let job = sandbox.receipts()[0]["job"].as_str().unwrap().to_owned();
    Some((sandbox, job, file))
}

/// Runs a command with the plugin on its PATH and these answers on standard input.
fn asked(sandbox: &Sandbox, arguments: &[&str], answers: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
    command.env("PATH", path()).env("VEILD_PLUGIN_LASTS_MS", "2000");
    command.arg("--config").arg(sandbox.site("config.toml")).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(answers.as_bytes()); // it may have ended without asking
    child.wait_with_output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

#[test]
fn what_a_plugin_keeps_opens_verifies_and_rewraps() {
    let Some((sandbox, job, file)) = sealed_to_plugin(0) else { return };
    let file = file.to_str().unwrap();
    let opened = asked(&sandbox, &["vault", "open", &job, "-i", file, "--reason", "ticket 1"], "");
    assert!(opened.status.success() && words(&opened).contains("US"), "{}", words(&opened));
    let verified = asked(&sandbox, &["vault", "verify", "--identity", file], "");
    assert!(words(&verified).contains("1 object(s) checked, 0 problem(s)"), "{}", words(&verified));
    // Somebody who has a key of another kind in the same file is not asked for a token.
    let (own, public) = age_key(&sandbox, "own");
    let rewrapped =
        asked(&sandbox, &["vault", "rewrap", "--all", "-i", file, "-r", &public, "--reason", "she has left"], "");
    assert!(words(&rewrapped).contains("1 object rewrapped"), "{}", words(&rewrapped));
    let Some((_, gone)) = generate(8) else { return };
    fs::write(file, format!("{gone}\n{}\n", fs::read_to_string(own).unwrap())).unwrap();
    let opened = asked(&sandbox, &["vault", "open", &job, "-i", file], "");
    assert!(opened.status.success() && words(&opened).contains("US"), "{}", words(&opened));
    let stranger = generate(0).unwrap().1;
    fs::write(file, stranger).unwrap();
    let refused = asked(&sandbox, &["vault", "open", &job, "-i", file], "");
    assert!(words(&refused).contains("none of the identities opens this object"), "{}", words(&refused));
    let outcomes: Vec<_> = sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "vault.opened").collect();
    let outcomes: Vec<_> = outcomes.iter().map(|it| it["event"]["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["success", "success", "failure"]);
    sandbox.edit_config("allow_plugins = true", "allow_plugins = false");
    sandbox.edit_config("recipients = [", &format!("recipients = [\"{public}\"] # "));
    let refused = asked(&sandbox, &["vault", "open", &job, "-i", file], "");
    assert!(words(&refused).contains("plugins are not allowed: `allow_plugins = true`"), "{}", words(&refused));
    sandbox.assert_audit_holds();
}

#[test]
fn a_plugin_asks_whoever_opens_and_is_refused_where_nobody_answers() {
    let Some((sandbox, job, file)) = sealed_to_plugin(5) else { return };
    let open = ["vault", "open", &job, "-i", file.to_str().unwrap()];
    let opened = asked(&sandbox, &open, "y\n4711\nsesame 123\n");
    assert!(opened.status.success() && String::from_utf8_lossy(&opened.stdout).contains("US"), "{}", words(&opened));
    let said = String::from_utf8(opened.stderr).unwrap();
    for wanted in [
        "age-plugin-veildtest: touch the [31m token",
        "age-plugin-veildtest: is it there: go on or leave it? [y/n]",
        "age-plugin-veildtest: number of the token: ",
    ] {
        assert!(said.contains(wanted) && !said.contains('\u{1b}'), "{said}");
    }
    for answers in ["", "n\n", "y\n", "y\n4711\n", "y\n4711\nwrong\n"] {
        let refused = asked(&sandbox, &open, answers);
        assert!(!refused.status.success() && refused.stdout.is_empty());
        assert!(words(&refused).contains("nobody is let in"), "{answers:?}: {}", words(&refused));
    }
}

#[test]
fn a_plugin_that_does_not_open_is_no_fault_of_the_object() {
    for (mode, what) in [(6, "it has not answered after 2s"), (7, "nobody is let in"), (8, "age-plugin-veildtest: ")] {
        let Some((sandbox, job, file)) = sealed_to_plugin(mode) else { return };
        let file = file.to_str().unwrap();
        let (_, public) = age_key(&sandbox, "own");
        for arguments in [
            &["vault", "open", &job, "-i", file][..],
            &["vault", "verify", "-i", file],
            &["vault", "rewrap", "--all", "-i", file, "-r", &public, "--reason", "x"],
        ] {
            let failed = asked(&sandbox, arguments, "");
            assert_eq!(failed.status.code(), Some(1), "{mode} {arguments:?}: {}", words(&failed));
            assert!(words(&failed).contains(what) && failed.stdout.is_empty(), "{}", words(&failed));
        }
        sandbox.assert_audit_holds();
        assert_eq!(sandbox.json(&["vault", "verify"])["problems"], serde_json::json!([]));
    }
}

#[test]
fn a_plugin_ends_with_whoever_wanted_it() {
    let Some((sandbox, job, file)) = sealed_to_plugin(6) else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
    command.env("PATH", path()).env("HOME", sandbox.path("home")).arg("--config").arg(sandbox.site("config.toml"));
    let mut child = command.args(["vault", "open", &job, "-i"]).arg(&file).stdin(Stdio::null()).spawn().unwrap();
    let plugins = || {
        let listed = Command::new("pgrep").args(["-f", &format!("{}.*identity-v1", dir().display())]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().filter(|pid| is_of(pid, &sandbox)).count()
    };
    sandbox.wait_for("the plugin", || plugins() == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    sandbox.wait_for("its end", || plugins() == 0);
    assert!(began.elapsed() < Duration::from_secs(20), "it did not end by itself");
}

/// Other tests run plugins, too: whether a process is one of this sandbox's.
fn is_of(pid: &str, sandbox: &Sandbox) -> bool {
    let home = format!("HOME={}", sandbox.path("home").display());
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| all.split(|it| *it == 0).any(|it| it == home.as_bytes()))
}
