//! Is all well, and if not, what is to be done?

use std::fs;

use serde_json::Value;

use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

/// Text and exit code of `veild status`.
fn status(sandbox: &Sandbox) -> (String, Option<i32>) {
    let output = sandbox.veild(&["status"]);
    (String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), output.status.code())
}

/// The daemon, answering.
fn running(sandbox: &Sandbox) -> crate::sandbox::Daemon {
    let daemon = sandbox.daemon();
    sandbox.wait_for("the daemon", || status(sandbox).1 != Some(1));
    daemon
}

/// Codes of what needs attention.
fn alerts(status: &Value) -> Vec<&str> {
    let alerts = status["alerts"].as_array().unwrap();
    alerts.iter().filter(|it| it["level"] == "error").map(|it| it["code"].as_str().unwrap()).collect()
}

#[test]
fn without_a_daemon_it_says_so() {
    let sandbox = Sandbox::new();
    let (text, code) = status(&sandbox);
    assert_eq!(code, Some(1));
    assert!(text.contains("no veild runs on") && text.contains("systemctl start veild"), "{text}");
}

#[test]
fn a_quiet_daemon_is_well_and_counts_what_it_has_done() {
    let sandbox = Sandbox::new();
    let daemon = running(&sandbox);
    sandbox.drop_file("good.csv", PEOPLE);
    sandbox.drop_file("bad.csv", format!("{PEOPLE}2,Bob\n"));
    let settled = |it: &Value| it["landings"][0]["sealed"] == 1 && it["landings"][0]["quarantined"] == 1;
    sandbox.wait_for("both outcomes", || settled(&sandbox.json(&["status"])));
    let (text, code) = status(&sandbox);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("All is well.\n"), "{text}");
    assert!(text.contains("quarantine   1 file, the first since"), "{text}");
    let status = sandbox.json(&["status"]);
    assert_eq!((&status["well"], &status["config_on_disk"]), (&Value::Bool(true), &Value::from("in force")));
    assert_eq!(status["quarantine"]["files"], 1);
    assert_eq!(status["rates"]["last_minute"]["files"], 1);
    assert_eq!(status["rates"]["last_minute"]["bytes"], PEOPLE.len());
    assert!(status["last_sealed_at"].is_string(), "{status}");
    daemon.stop();
}

#[test]
fn a_paused_landing_needs_attention_and_says_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"900TiB\"");
    let daemon = running(&sandbox);
    sandbox.drop_file("waiting.csv", PEOPLE);
    sandbox.wait_for("the waiting file", || {
        let status = sandbox.json(&["status"]);
        status["landings"][0]["paused"].is_string() && status["landings"][0]["waiting"] == 1
    });
    let (text, code) = status(&sandbox);
    assert_eq!(code, Some(3), "{text}");
    let first = text.lines().next().unwrap();
    assert!(first.contains("need") && first.contains("attention:"), "{text}");
    assert!(text.contains("disk_low, ") && text.contains("lower min_free"), "{text}");
    assert!(text.contains("\n  paused: ") && text.contains("\n  waiting longest: "), "{text}");
    daemon.stop();
}

#[test]
fn a_refused_reload_needs_attention_until_it_is_mended() {
    let sandbox = Sandbox::new();
    let daemon = running(&sandbox);
    sandbox.edit_config("[policy.people]", "[policy.people]\nunlistd = 1");
    assert_eq!(sandbox.json(&["status"])["config_on_disk"], "changed");
    daemon.signal(rustix::process::Signal::HUP);
    sandbox.wait_for("the refusal", || alerts(&sandbox.json(&["status"])) == ["config_rejected"]);
    let (text, code) = status(&sandbox);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.starts_with("1 thing needs attention:\n  config_rejected, since "), "{text}");
    assert!(text.contains("unknown key `unlistd`") && text.contains("what to do: mend the file"), "{text}");
    sandbox.edit_config("\nunlistd = 1", "");
    daemon.signal(rustix::process::Signal::HUP);
    sandbox.wait_for("the end of it", || status(&sandbox).1 == Some(0));
    daemon.stop();
}

#[test]
fn what_needs_a_restart_is_not_to_be_reloaded() {
    let sandbox = Sandbox::new();
    let daemon = running(&sandbox);
    assert!(sandbox.veild(&["key", "rotate"]).status.success());
    let (text, code) = status(&sandbox);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("version 2 of the masking key is there, and files are masked under version 1"), "{text}");
    assert_eq!(sandbox.json(&["status"])["masking_key"]["waiting_version"], 2);
    let later = ["key", "rotate", "--from", "2200-01-01T00:00:00Z"];
    assert!(sandbox.veild(&later).status.success());
    assert_eq!(sandbox.json(&["status"])["masking_key"]["waiting_version"], 2, "what is for later waits for nobody");
    sandbox.edit_config("[daemon]\n", "[daemon]\nworkers = 3\n");
    let (text, _) = status(&sandbox);
    assert!(text.contains("or says that a restart must"), "{text}");
    daemon.signal(rustix::process::Signal::HUP);
    sandbox.wait_for("the refusal", || alerts(&sandbox.json(&["status"])) == ["config_rejected"]);
    let (text, _) = status(&sandbox);
    assert!(text.contains("`systemctl restart veild`, or take the change back"), "{text}");
    assert!(text.contains("was refused at the last reload") && !text.contains("systemctl reload"), "{text}");
    daemon.stop();
    let daemon = running(&sandbox);
    let status = sandbox.json(&["status"]);
    assert_eq!(
        (&status["masking_key"]["version"], &status["masking_key"]["waiting_version"]),
        (&2.into(), &Value::Null)
    );
    daemon.stop();
}

#[test]
fn what_the_log_warns_of_is_to_be_known() {
    let sandbox = Sandbox::new();
    let daemon = running(&sandbox);
    fs::write(sandbox.path("elsewhere"), PEOPLE).unwrap();
    std::os::unix::fs::symlink(sandbox.path("elsewhere"), sandbox.site("landing/link.csv")).unwrap();
    sandbox.wait_for("the notice", || status(&sandbox).0.contains("file_irregular, people"));
    let (text, code) = status(&sandbox);
    assert_eq!(code, Some(0), "a warning is no trouble: {text}");
    assert!(text.starts_with("All is well.\nTo know:\n"), "{text}");
    assert!(text.contains("what to do: remove the link"), "{text}");
    daemon.stop();
}

/// Every code that the source gives to a log line.
fn codes() -> Vec<String> {
    let code = regex::Regex::new(r#"\bcode = "([a-z_]+)""#).unwrap();
    let mut codes = Vec::new();
    for path in crate::sandbox::files_below(concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref()) {
        let text = fs::read_to_string(path).unwrap();
        codes.extend(code.captures_iter(&text).map(|it| it[1].to_owned()));
    }
    codes
}

#[test]
fn the_readme_lists_every_code() {
    let readme = include_str!("../../README.md");
    let codes = codes();
    assert!(codes.len() > 15, "{codes:?}");
    for code in codes {
        assert!(readme.contains(&format!("`{code}`")), "README.md lacks the log code `{code}` and what to do about it");
    }
}
