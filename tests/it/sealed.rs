//! Checkpoints under the forward-secure key: from `init` to an auditor without veild.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::crash::{GOOD, assert_all_accounted, drop_all};
use crate::retention::pruned_trail;
use crate::sandbox::Sandbox;

fn verify(sandbox: &Sandbox) -> serde_json::Value {
    let secret = sandbox.site("audit-secret.txt");
    sandbox.json(&["audit", "verify", "--secret", secret.to_str().unwrap()])
}

/// The script's verdict; `None` where one of its tools is missing.
fn script(sandbox: &Sandbox) -> Option<(bool, String)> {
    for tool in ["python3", "zstd", "ssh-keygen"] {
        if Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().is_ok_and(|it| !it.status.success())
        {
            println!("SKIPPED: needs {tool}");
            return None;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/verify_audit.py");
    let mut command = Command::new(script);
    command.arg(sandbox.site("audit")).arg(sandbox.site("signing.key.allowed_signers"));
    let output = command.arg(sandbox.site("audit-secret.txt")).output().unwrap();
    Some((output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap()))
}

#[test]
fn init_shows_the_secret_once_and_keeps_it_only_when_asked() {
    let sandbox = Sandbox::new();
    let other = sandbox.path("other");
    let output = sandbox.veild(&["init", other.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let secret = text.lines().find(|line| line.starts_with("veild-audit-secret-1-")).unwrap();
    let stored = crate::sandbox::files_below(&other);
    // The first epoch's key is the secret, until the first checkpoint.
    let holders =
        stored.iter().filter(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).contains(&secret[21..]));
    assert_eq!(holders.count(), 1, "{stored:?}");
    sandbox.drop_file("good.csv", GOOD);
    sandbox.run_until_idle();
    let kept = fs::read_to_string(sandbox.site("audit-secret.txt")).unwrap();
    let key = fs::read_to_string(sandbox.site("state/audit-epoch.key")).unwrap();
    assert!(!key.contains(kept.trim().strip_prefix("veild-audit-secret-1-").unwrap()), "erased with its epoch");
    let verdict = verify(&sandbox);
    assert_eq!(
        (&verdict["problems"], &verdict["sealed_checkpoints"]),
        (&serde_json::json!([]), &verdict["checkpoints"])
    );
}

#[test]
fn a_kill_between_a_checkpoint_and_the_next_epoch_leaves_a_trail_that_verifies() {
    for step in
        ["checkpoint_written:1", "checkpoint_written:2", "epoch_advanced:1", "epoch_advanced:2", "epoch_advanced:3"]
    {
        let sandbox = Sandbox::new();
        drop_all(&sandbox);
        sandbox.veild_until(step, &["run", "--once"]);
        let verdict = verify(&sandbox);
        assert_eq!(verdict["problems"], serde_json::json!([]), "after {step}");
        sandbox.run_until_idle();
        assert_all_accounted(&sandbox, step);
        assert_eq!(verify(&sandbox)["problems"], serde_json::json!([]), "after {step}");
    }
}

#[test]
fn a_daemon_does_not_spend_its_key_for_a_forged_epoch() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.run_until_idle();
    let segment = crate::sandbox::files_below(&sandbox.site("audit")).pop().unwrap();
    let (key, trail) = (sandbox.site("state/audit-epoch.key"), fs::read_to_string(&segment).unwrap());
    let before = fs::read(&key).unwrap();
    let last = trail.split_inclusive('\n').next_back().unwrap();
    let parsed: serde_json::Value = serde_json::from_str(last).unwrap();
    let epoch = format!("\"epoch\":{}", parsed["veild"]["checkpoint"]["epoch"]);
    for forged in [9000, u64::MAX] {
        let line = last.replace(&epoch, &format!("\"epoch\":{forged}"));
        fs::write(&segment, trail.replace(last, &line)).unwrap();
        for arguments in [["run"].as_slice(), &["run", "--once"]] {
            let output = sandbox.veild(arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains("was forged"), "{said}");
        }
        assert_eq!(fs::read(&key).unwrap(), before);
        let verdict = verify(&sandbox);
        let problems = verdict["problems"].as_array().unwrap();
        let what = problems.iter().map(|problem| problem["what"].as_str().unwrap()).collect::<Vec<_>>().join("\n");
        assert!(what.contains("bad checkpoint") && !what.contains("does not come from"), "{what}");
        assert!(verdict["trusted_seq"].as_u64().unwrap() > 0, "{verdict}");
    }
    fs::write(&segment, trail).unwrap();
    sandbox.run_until_idle();
    assert_eq!(verify(&sandbox)["problems"], serde_json::json!([]));
}

#[test]
fn a_trail_of_an_earlier_version_is_sealed_from_now_on() {
    let sandbox = Sandbox::from_fixture("state-v1");
    sandbox.run_until_idle();
    let daemon = sandbox.ready_daemon();
    assert!(!sandbox.veild(&["audit", "seal"]).status.success(), "a running daemon would go on without it");
    daemon.stop();
    let output = sandbox.veild(&["audit", "seal"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(sandbox.site("audit-secret.txt"), &output.stdout).unwrap();
    assert!(!sandbox.veild(&["audit", "seal"]).status.success(), "once");
    sandbox.run_until_idle();
    let verdict = verify(&sandbox);
    assert_eq!(verdict["problems"], serde_json::json!([]));
    let (sealed, all) = (verdict["sealed_checkpoints"].as_u64().unwrap(), verdict["checkpoints"].as_u64().unwrap());
    assert!(0 < sealed && sealed < all, "{verdict}");
}

#[test]
fn a_checkpoint_from_the_operational_log_pins_what_was_before_it() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    let daemon = sandbox.ready_daemon();
    sandbox.wait_for_sealed(1);
    daemon.stop();
    let line = sandbox.log().lines().rfind(|line| line.contains("audit_checkpoint")).unwrap().to_owned();
    let kept = sandbox.path("kept");
    fs::write(&kept, line).unwrap();
    let check = ["audit", "verify", "--checkpoint", kept.to_str().unwrap()];
    assert_eq!(sandbox.json(&check)["problems"], serde_json::json!([]));
    let segment = crate::sandbox::files_below(&sandbox.site("audit")).remove(0);
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.split_inclusive('\n').next().unwrap()).unwrap();
    let verdict = sandbox.json(&check);
    assert!(verdict["problems"][0]["what"].as_str().unwrap().contains("rolled back"), "{verdict}");
}

#[test]
fn an_auditor_without_veild_verifies_the_trail() {
    let sandbox = Sandbox::new();
    pruned_trail(&sandbox);
    let Some((good, text)) = script(&sandbox) else { return };
    assert!(good && text.contains("the chain holds"), "{text}");
    assert_eq!(verify(&sandbox)["problems"], serde_json::json!([]));
    let files = crate::sandbox::files_below(&sandbox.site("audit")).into_iter();
    let segment = files.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).max().unwrap();
    let trail = fs::read_to_string(&segment).unwrap();
    for (from, to) in [("\"outcome\":\"success\"", "\"outcome\":\"failure\""), ("\"mac\":\"", "\"mac\":\"0")] {
        fs::write(&segment, trail.replacen(from, to, 1)).unwrap();
        let (good, text) = script(&sandbox).unwrap();
        assert!(!good && !text.contains("the chain holds"), "{from}: {text}");
        assert!(text.lines().count() == 1 && text.contains("record "), "{from}: {text}");
    }
    fs::write(&segment, &trail).unwrap();
    fs::write(sandbox.site("audit-secret.txt"), format!("veild-audit-secret-1-{}", "0".repeat(64))).unwrap();
    let (good, text) = script(&sandbox).unwrap();
    assert!(!good && text.contains("written anew"), "{text}");
}
