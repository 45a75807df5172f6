//! Old audit records: compressed, pruned, held, handed on; kills at every step of it.

use std::process::Stdio;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use veild::audit::{Action, Outcome, Record, Trail, TrailOptions};
use veild::keys::SigningKey;

use crate::sandbox::Sandbox;

/// Segments of the trail that [`long_trail`] makes, each of one day; the newest is of today.
const DAYS: i64 = 8;
/// Of them have no record of the last three days.
const PRUNED: usize = 5;

/// Gives a site a trail of the last days, of which three are to be kept.
pub fn long_trail(sandbox: &Sandbox) {
    let key = SigningKey::load(&sandbox.site("signing.key")).unwrap();
    let options = TrailOptions {
        rotate_daily: true,
        compress_after: Duration::MAX,
        epoch_key: sandbox.site("state/audit-epoch.key"),
        ..TrailOptions::keeping_all(sandbox.site("audit"), 1 << 30)
    };
    let now = Timestamp::now();
    let ago = |days: i64| now.checked_sub(SignedDuration::from_hours(24 * days)).unwrap();
    let mut trail = Trail::open(options, key, ago(DAYS)).unwrap();
    for day in (0..=DAYS).rev() {
        let record = |job: i64| {
            Record::new(ago(day), Action::FileSealed, Outcome::Success)
                .file("old.csv")
                .veild("rows_in", day)
                .veild("job", job.to_string())
        };
        trail.append(&[record(1), record(2)]).unwrap();
    }
    drop(trail);
    for (entry, path) in segments(sandbox) {
        let age = DAYS - entry as i64;
        std::fs::File::open(path).unwrap().set_modified(ago(age.max(0)).into()).unwrap();
    }
    sandbox.edit_config("[audit]\n", "[audit]\nkeep = \"3d\"\n");
}

fn segments(sandbox: &Sandbox) -> Vec<(usize, std::path::PathBuf)> {
    let entries = std::fs::read_dir(sandbox.site("audit")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.to_string_lossy().contains(".jsonl")).collect();
    paths.sort();
    paths.into_iter().enumerate().collect()
}

const QUICK: (&str, &str) = ("VEILD_AUDIT_UPKEEP_MS", "0");

pub fn stubs(sandbox: &Sandbox) -> usize {
    let names = std::fs::read_dir(sandbox.site("audit")).unwrap().map(|it| it.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".pruned.json")).count()
}

/// A site whose trail has been compressed and pruned.
pub fn pruned_trail(sandbox: &Sandbox) {
    long_trail(sandbox);
    assert_pruned_once(sandbox, "nothing");
}

/// What is there afterwards, whatever killed the daemon how often.
fn assert_pruned_once(sandbox: &Sandbox, after: &str) {
    let daemon = sandbox.daemon_with(&[QUICK]);
    sandbox.wait_until_ready(); // an earlier one may have done all: a stop must not come before it is asked for
    sandbox.wait_for("the pruning", || stubs(sandbox) == PRUNED);
    let plain = || segments(sandbox).iter().filter(|(_, path)| path.extension().unwrap() == "jsonl").count();
    sandbox.wait_for("the compression", || plain() == 2);
    daemon.stop();
    let records = sandbox.audit();
    let pruned: Vec<_> = records.iter().filter(|it| it["event"]["action"] == "audit.pruned").collect();
    let mut firsts: Vec<_> = pruned.iter().map(|it| it["veild"]["pruned"]["first_seq"].as_u64().unwrap()).collect();
    firsts.sort_unstable();
    let all = firsts.len();
    firsts.dedup();
    assert_eq!((all, firsts.len()), (PRUNED, PRUNED), "recorded once each after {after}: {pruned:?}");
    let kept = records.iter().filter(|it| it["file"]["name"] == "old.csv").count();
    assert_eq!(kept, 8, "today and the three days before, after {after}");
    let verdict = sandbox.json(&["audit", "verify"]);
    assert_eq!(verdict["problems"], serde_json::json!([]), "after {after}");
    assert_eq!(verdict["pruned_segments"], PRUNED, "after {after}");
}

#[test]
fn a_kill_at_any_step_of_retention_loses_and_doubles_nothing() {
    let steps = [
        "audit_compressed",
        "audit_plain_removed",
        "audit_stub_written",
        "audit_stub_written:3",
        "audit_pruning_recorded",
        "audit_segment_removed",
    ];
    for step in steps {
        let sandbox = Sandbox::new();
        long_trail(&sandbox);
        // Five are pruned: a third visit comes once.
        for _ in 0..if step.ends_with(":3") { 1 } else { 2 } {
            let mut daemon = sandbox.daemon_with(&[QUICK, ("VEILD_FAULT", step)]);
            sandbox.wait_for("the fault", || daemon.has_ended());
        }
        assert_pruned_once(&sandbox, step);
    }
}

#[test]
fn two_hundred_random_kills_of_retention_lose_and_double_nothing() {
    let sandbox = Sandbox::new();
    long_trail(&sandbox);
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..200 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let daemon = sandbox.daemon_with(&[QUICK]);
        // The moment of the kill is the random input of this test.
        std::thread::sleep(Duration::from_millis(seed % 60));
        drop(daemon);
    }
    assert_pruned_once(&sandbox, "random kills");
}

#[test]
fn two_hundred_random_kills_of_holds_and_daemon_keep_what_is_held() {
    let sandbox = Sandbox::new();
    long_trail(&sandbox);
    let hold = |verb: &str, name: &str| -> Vec<String> {
        ["audit", "hold", verb, name, "--reason", "litigation"].map(str::to_owned).to_vec()
    };
    let run = |arguments: &[String]| sandbox.veild(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(run(&hold("add", "all")).status.success());
    let in_force = |name: &str| sandbox.site("audit/holds").join(format!("{name}.json")).exists();
    let mut seed = 0xDA94_2042_E4DD_58B5_u64;
    for kill in 0..200 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let name = format!("case-{}", kill % 3);
        let daemon = (kill % 2 == 0).then(|| sandbox.daemon_with(&[QUICK]));
        let verb = if in_force(&name) { "remove" } else { "add" };
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_veild"));
        command.arg("--config").arg(sandbox.site("config.toml")).args(hold(verb, &name));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut command = command.spawn().unwrap();
        // The moment of the kills is the random input of this test.
        std::thread::sleep(Duration::from_millis(seed % 50));
        drop(daemon);
        command.kill().unwrap();
        command.wait().unwrap();
    }
    assert_eq!(stubs(&sandbox), 0, "all is held");
    let records = sandbox.audit();
    assert_eq!(records.iter().filter(|it| it["file"]["name"] == "old.csv").count() as i64, 2 * (DAYS + 1));
    for name in ["case-0", "case-1", "case-2"] {
        let about = |it: &&serde_json::Value| it["veild"]["hold"]["name"] == name;
        let last = records.iter().rfind(about).map(|it| it["event"]["action"].clone());
        // It may be in force and unrecorded after a kill, never the other way round.
        assert!(in_force(name) || last != Some("audit.hold_added".into()), "{name}");
        // What was cut off is done by the same command.
        let verb = if in_force(name) { "remove" } else { "add" };
        assert!(run(&hold(verb, name)).status.success() && in_force(name) == (verb == "add"));
        assert!(!in_force(name) || run(&hold("remove", name)).status.success());
    }
    sandbox.assert_audit_holds();
    assert!(run(&hold("remove", "all")).status.success());
    assert_pruned_once(&sandbox, "random kills of holds");
}

#[test]
fn what_is_held_stays_until_the_hold_ends() {
    let sandbox = Sandbox::new();
    long_trail(&sandbox);
    let bad = sandbox.veild(&["audit", "hold", "add", "A/b", "--reason", "x"]);
    assert_eq!(bad.status.code(), Some(1));
    let hold = ["audit", "hold", "add", "case-7", "--to", "2100-01-01", "--reason", "litigation"];
    sandbox.veild_until("hold_added", &hold);
    assert!(sandbox.veild(&hold).status.success(), "given again after a kill, it is recorded");
    assert!(!sandbox.veild(&["audit", "hold", "add", "case-7", "--reason", "other"]).status.success());
    let daemon = sandbox.daemon_with(&[QUICK]);
    let plain = || segments(&sandbox).iter().filter(|(_, path)| path.extension().unwrap() == "jsonl").count();
    sandbox.wait_for("the compression", || plain() == 2);
    assert_eq!(stubs(&sandbox), 0, "held");
    assert_eq!(sandbox.json(&["audit", "hold", "list"])[0]["name"], "case-7");
    let removed = sandbox.veild(&["audit", "hold", "remove", "case-7", "--reason", "settled"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    sandbox.wait_for("the pruning", || stubs(&sandbox) == PRUNED);
    daemon.stop();
    let records = sandbox.audit();
    let of = |action: &str| records.iter().filter(|it| it["event"]["action"] == action).cloned().collect::<Vec<_>>();
    let added = of("audit.hold_added");
    assert_eq!((added.len(), &added[0]["veild"]["reason"]), (1, &"litigation".into()));
    assert_eq!(of("audit.hold_removed")[0]["veild"]["hold"]["name"], "case-7");
    sandbox.assert_audit_holds();
}

#[test]
fn an_export_hands_on_the_lines_as_they_are() {
    let sandbox = Sandbox::new();
    long_trail(&sandbox);
    let daemon = sandbox.daemon_with(&[QUICK]);
    sandbox.wait_for("the pruning", || stubs(&sandbox) == PRUNED);
    let out = sandbox.path("export.jsonl");
    let arguments = ["audit", "export", "--action", "file.sealed", "-o", out.to_str().unwrap(), "--reason", "audit"];
    let done = sandbox.veild(&arguments);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read_to_string(&out).unwrap();
    assert_eq!(text.lines().count(), 8);
    let all = String::from_utf8(sandbox.veild(&["audit", "export"]).stdout).unwrap();
    assert!(text.lines().all(|line| all.contains(line)));
    assert!(!sandbox.veild(&arguments).status.success(), "an export overwrites nothing");
    daemon.stop();
    let exported = sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "audit.exported").count();
    assert_eq!(exported, 2);
}

#[test]
fn a_hold_in_force_outlives_a_repetition_that_cannot_be_recorded() {
    let sandbox = Sandbox::new();
    let hold = ["audit", "hold", "add", "case-7", "--reason", "litigation"];
    assert!(sandbox.veild(&hold).status.success());
    let dir = std::fs::File::open(sandbox.site("audit")).unwrap();
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(!sandbox.veild(&hold).status.success());
    drop(dir);
    assert_eq!(sandbox.json(&["audit", "hold", "list"]).as_array().unwrap().len(), 1);
    let misspelled = sandbox.veild(&["audit", "export", "--action", "vault.opend"]);
    assert_eq!(misspelled.status.code(), Some(2), "nothing would look like never");
}
