//! Objects that were kept long enough: who goes, who is held, what stays of them; kills at every step.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::crash::GOOD;
use crate::objects::{self, Object, days, fill, is_there, keep, problems, records};
use crate::sandbox::{Sandbox, files_below};

const PRUNE: [&str; 4] = ["vault", "prune", "--reason", "retention"];

fn said(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, String) {
    let output = sandbox.veild(arguments);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn prune(sandbox: &Sandbox, more: &[&str]) -> String {
    let (code, text) = said(sandbox, &[&PRUNE, more].concat());
    assert_eq!(code, Some(0), "{text}");
    text
}

fn tombstones(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let mut found = files_below(&sandbox.site("vault/.pruned"));
    found.retain(|path| path.extension().is_some_and(|it| it == "json"));
    found
}

/// Each is gone and explained once, or there and whole; nothing is left over.
fn assert_pruned(sandbox: &Sandbox, gone: &[Object], kept: &[Object], after: &str) {
    assert!(gone.iter().all(|object| !is_there(sandbox, object)), "after {after}");
    assert!(kept.iter().all(|object| is_there(sandbox, object)), "after {after}");
    let mut recorded: Vec<String> =
        records(sandbox, "vault.pruned").iter().map(|it| it["veild"]["object"].as_str().unwrap().to_owned()).collect();
    recorded.sort();
    let mut paths: Vec<String> = gone.iter().map(|object| object.path.clone()).collect();
    paths.sort();
    assert_eq!(recorded, paths, "recorded once each after {after}");
    let listed = |path: &std::path::PathBuf| -> Vec<String> {
        let tombstone: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let objects = tombstone["objects"].as_array().unwrap().clone();
        objects.iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect()
    };
    let mut buried: Vec<String> = tombstones(sandbox).iter().flat_map(listed).collect();
    buried.sort();
    assert_eq!(buried, paths, "in one tombstone each after {after}");
    assert_eq!(problems(sandbox), Vec::<String>::new(), "after {after}");
    let left: Vec<_> =
        files_below(&sandbox.site("vault/.changes")).into_iter().filter(|it| !it.ends_with("lock")).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new(), "after {after}");
    sandbox.assert_audit_holds();
}

#[test]
fn what_is_older_than_its_landings_keep_goes_and_is_explained() {
    let sandbox = Sandbox::new();
    let (old, young) = (fill(&sandbox, "people", 3, days(10)), fill(&sandbox, "people", 2, days(4)));
    let others = fill(&sandbox, "others", 1, days(100));
    let (code, text) = said(&sandbox, &PRUNE);
    assert!(code == Some(1) && text.contains("no landing has `keep`"), "{text}");
    keep(&sandbox, "5d");
    let (code, text) = said(&sandbox, &["vault", "prune", "--dry-run"]);
    assert!(code == Some(0) && text.contains("3 objects of") && text.contains("would go"), "{text}");
    assert!(old.iter().all(|object| is_there(&sandbox, object) && text.contains(&object.path)));
    let (code, _) = said(&sandbox, &["vault", "prune"]);
    assert_eq!(code, Some(2), "a reason is asked for");
    prune(&sandbox, &[]);
    let kept: Vec<Object> = young.into_iter().chain(others).collect();
    assert_pruned(&sandbox, &old, &kept, "the first time");
    assert!(prune(&sandbox, &[]).contains("0 objects"));
    assert_pruned(&sandbox, &old, &kept, "the second time");
    let record = &records(&sandbox, "vault.pruned")[0];
    assert_eq!((&record["veild"]["reason"], &record["veild"]["why"]), (&json!("retention"), &json!("keep")));
    assert!(record["user"]["name"].is_string() && record["veild"]["receipt_sha256"].is_string(), "{record}");
    let tombstone = sandbox.site("vault").join(record["veild"]["tombstone"].as_str().unwrap());
    let sha256 = Command::new("sha256sum").arg(&tombstone).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&sha256).starts_with(record["veild"]["tombstone_sha256"].as_str().unwrap()));
    let checked = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", "veild-receipt", "-I", "veild", "-f"])
        .arg(sandbox.site("signing.key.allowed_signers"))
        .arg("-s")
        .arg(tombstone.with_extension("json.sig"))
        .stdin(fs::File::open(&tombstone).unwrap())
        .output();
    match checked {
        Ok(checked) => assert!(checked.status.success(), "{checked:?}"),
        Err(_) => eprintln!("SKIPPED: needs the Debian package openssh-client"),
    }
    let identity = sandbox.site("identity.txt");
    let (code, text) = said(&sandbox, &["vault", "open", &old[0].job, "-i", identity.to_str().unwrap()]);
    assert!(code == Some(1) && text.contains("were pruned at") && text.contains(tombstone.to_str().unwrap()), "{text}");
    let empty = sandbox.site("vault").join(Path::new(&old[0].path).parent().unwrap());
    assert!(!empty.exists(), "the directory of a day without objects goes");
}

#[test]
fn the_longer_of_two_times_counts() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "20d");
    let (ours, others) = (fill(&sandbox, "people", 1, days(30)), fill(&sandbox, "others", 1, days(30)));
    prune(&sandbox, &["--older-than", "40d"]);
    assert!(is_there(&sandbox, &ours[0]) && is_there(&sandbox, &others[0]));
    prune(&sandbox, &["--older-than", "1d", "--landing", "people"]);
    assert!(!is_there(&sandbox, &ours[0]) && is_there(&sandbox, &others[0]));
    let young = fill(&sandbox, "people", 1, days(10));
    prune(&sandbox, &["--older-than", "1d"]);
    assert!(is_there(&sandbox, &young[0]), "`keep` is a promise");
    assert!(!is_there(&sandbox, &others[0]));
    assert_eq!(records(&sandbox, "vault.pruned")[1]["veild"]["why"], "older_than");
    assert_eq!(problems(&sandbox), Vec::<String>::new());
}

#[test]
fn the_daemon_prunes_all_outputs_of_a_job_by_itself() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.archive_originals();
    sandbox.drop_file("people.csv", GOOD);
    sandbox.run_until_idle();
    keep(&sandbox, "1s");
    let daemon = sandbox.daemon_with(&[("VEILD_VAULT_UPKEEP_MS", "0")]);
    sandbox.wait_for("the pruning", || sandbox.log_lines("vault_pruned") == 3);
    daemon.stop();
    assert_eq!((sandbox.receipts().len(), records(&sandbox, "vault.pruned").len()), (0, 3));
    assert_eq!(problems(&sandbox), Vec::<String>::new());
    // With `--once` as well, which does not end before that.
    sandbox.drop_file("people.csv", GOOD);
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 2);
    std::thread::sleep(Duration::from_millis(1100)); // what is tested is an age
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 0);
    assert_eq!(problems(&sandbox), Vec::<String>::new());
}

#[test]
fn what_is_held_stays_until_the_hold_ends() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let (first, second) = (fill(&sandbox, "people", 2, days(20)), fill(&sandbox, "others", 1, days(20)));
    let hold = |arguments: &[&str]| {
        let (code, text) = said(&sandbox, &[&["audit", "hold"], arguments].concat());
        assert_eq!(code, Some(0), "{text}");
        text
    };
    let held = hold(&["add", "case-1", "--job", &first[0].job, "--reason", "litigation"]);
    assert!(held.contains(&format!("job {}", first[0].job)), "{held}");
    hold(&["add", "case-2", "--landing", "others", "--reason", "litigation"]);
    assert!(hold(&["list"]).contains("(of the objects only landing others)"));
    let text = prune(&sandbox, &["--older-than", "5d"]);
    assert!(text.contains("1 object of") && text.contains("2 more kept by a legal hold"), "{text}");
    assert!(is_there(&sandbox, &first[0]) && !is_there(&sandbox, &first[1]) && is_there(&sandbox, &second[0]));
    hold(&["remove", "case-1", "--reason", "settled"]);
    hold(&["remove", "case-2", "--reason", "settled"]);
    // Everything of a time, which is over before the second.
    hold(&["add", "case-3", "--to", "2020-01-01", "--reason", "another time"]);
    prune(&sandbox, &["--older-than", "5d"]);
    assert_pruned(&sandbox, &[first, second].into_iter().flatten().collect::<Vec<_>>(), &[], "all holds");
}

#[test]
fn a_hold_that_comes_between_record_and_removal_keeps_what_is_there() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let objects = fill(&sandbox, "people", 2, days(20));
    sandbox.veild_until("change_recorded", &PRUNE);
    let hold = ["audit", "hold", "add", "case-1", "--job", &objects[0].job, "--reason", "litigation"];
    assert!(sandbox.veild(&hold).status.success());
    let cut_off = problems(&sandbox);
    assert!(cut_off.len() == 2 && cut_off[0].contains("a change of it was cut off"), "{cut_off:?}");
    prune(&sandbox, &[]);
    assert!(is_there(&sandbox, &objects[0]) && !is_there(&sandbox, &objects[1]));
    assert_eq!(problems(&sandbox), Vec::<String>::new());
    assert!(sandbox.veild(&["audit", "hold", "remove", "case-1", "--reason", "settled"]).status.success());
    prune(&sandbox, &[]);
    assert!(!is_there(&sandbox, &objects[0]));
    assert_eq!(problems(&sandbox), Vec::<String>::new());
}

#[test]
fn what_is_not_as_its_receipt_says_stays_as_evidence() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let objects = fill(&sandbox, "people", 4, days(20));
    let [object, receipt, _] = objects::files_of(&sandbox.site("vault").join(&objects[0].path));
    fs::remove_file(&object).unwrap();
    fs::write(&object, "short").unwrap();
    let [changed, ..] = objects::files_of(&sandbox.site("vault").join(&objects[3].path));
    let mut bytes = fs::read(&changed).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&changed).unwrap();
    fs::write(&changed, bytes).unwrap();
    let (code, text) = said(&sandbox, &[&PRUNE[..], &["--dry-run"]].concat());
    assert!(code == Some(3) && text.contains("2 objects of ") && text.contains("digest differs"), "{text}");
    let [_, other, _] = objects::files_of(&sandbox.site("vault").join(&objects[1].path));
    fs::remove_file(&other).unwrap();
    fs::copy(&receipt, &other).unwrap();
    let (code, text) = said(&sandbox, &PRUNE);
    assert!(code == Some(3) && text.contains("stays: size is 5") && text.contains("stays: bad signature"), "{text}");
    assert!(text.contains("stays: digest differs"), "{text}");
    assert!(object.exists() && other.exists() && changed.exists() && !is_there(&sandbox, &objects[2]));
    assert_eq!(records(&sandbox, "vault.pruned").len(), 1);
    let daemon = sandbox.daemon();
    sandbox.wait_for("the alert", || sandbox.log_lines("vault_upkeep_failed") == 1);
    daemon.stop();
}

#[test]
fn verify_tells_what_went_from_what_was_taken() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let objects = fill(&sandbox, "people", 2, days(20));
    let kept = fill(&sandbox, "people", 1, days(1));
    let copies: Vec<_> = objects::files_of(&sandbox.site("vault").join(&objects[0].path))
        .iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    prune(&sandbox, &[]);
    let expect = |what: &str, of: &str| {
        let found = problems(&sandbox);
        assert!(found.iter().any(|it| it.contains(what) && it.starts_with(of)), "{what} in {found:?}");
    };
    // Restored from somewhere, though it had to go.
    for (path, content) in &copies {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    expect("is there, though the audit trail has it pruned", &objects[0].path);
    copies.iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
    assert_eq!(problems(&sandbox), Vec::<String>::new());
    // A tombstone that was changed explains nothing.
    let tombstone = tombstones(&sandbox).remove(0);
    let text = fs::read_to_string(&tombstone).unwrap();
    fs::remove_file(&tombstone).unwrap();
    fs::write(&tombstone, text.replace("\"keep\"", "\"kept\"")).unwrap();
    expect("bad signature of the tombstone", ".pruned/");
    expect("there is no tombstone of it", &objects[1].path);
    fs::remove_file(&tombstone).unwrap();
    expect("there is no tombstone of it", &objects[0].path);
    fs::write(&tombstone, text).unwrap();
    // Taken away without a word.
    let files = objects::files_of(&sandbox.site("vault").join(&kept[0].path));
    let contents: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    files.iter().for_each(|path| fs::remove_file(path).unwrap());
    expect("nobody has pruned it", &kept[0].path);
    files.iter().zip(&contents).for_each(|(path, content)| fs::write(path, content).unwrap());
    // What nobody has made.
    let stray = sandbox.site("vault/people/notes.txt");
    fs::write(&stray, "x").unwrap();
    expect("is neither an object nor a receipt", "people/notes.txt");
    fs::remove_file(stray).unwrap();
    assert_eq!(problems(&sandbox), Vec::<String>::new());
}

/// Signed with the host's key, and still not what was recorded when it was made.
#[test]
fn verify_finds_what_the_audit_trail_does_not_know() {
    let sandbox = Sandbox::new();
    let object = fill(&sandbox, "people", 1, days(1)).remove(0);
    let [_, receipt, signature] = objects::files_of(&sandbox.site("vault").join(&object.path));
    let forged = fs::read_to_string(&receipt).unwrap().replace("\"rows_out\": 1", "\"rows_out\": 2");
    let key = veild::keys::SigningKey::load(&sandbox.site("signing.key")).unwrap();
    for (path, content) in [(&signature, key.sign("veild-receipt", forged.as_bytes())), (&receipt, forged.clone())] {
        fs::remove_file(path).unwrap();
        fs::write(path, content).unwrap();
    }
    let found = problems(&sandbox);
    assert!(found.len() == 1 && found[0].contains("is not the one that the audit trail has recorded"), "{found:?}");
    // A whole object that no record speaks of.
    fs::remove_dir_all(sandbox.site("audit")).unwrap();
    sandbox.drop_file("people.csv", GOOD);
    sandbox.run_until_idle();
    let found = problems(&sandbox);
    assert!(found.iter().any(|it| it.contains("stands in no audit record")), "{found:?}");
}

const STEPS: [&str; 8] = [
    "change_journalled",
    "change_recorded",
    "tombstone_placed",
    "object_pruned",
    "object_pruned:2",
    "receipt_pruned",
    "receipt_pruned:2",
    "change_closed",
];

#[test]
fn a_kill_at_any_step_loses_and_doubles_nothing() {
    for step in STEPS {
        let sandbox = Sandbox::new();
        keep(&sandbox, "5d");
        let (old, young) = (fill(&sandbox, "people", 3, days(10)), fill(&sandbox, "people", 1, days(1)));
        sandbox.veild_until(step, &PRUNE);
        prune(&sandbox, &[]);
        assert_pruned(&sandbox, &old, &young, step);
    }
}

#[test]
fn a_kill_of_the_daemon_at_any_step_is_made_good_by_its_start() {
    for step in STEPS {
        let sandbox = Sandbox::new();
        keep(&sandbox, "5d");
        let (old, young) = (fill(&sandbox, "people", 3, days(10)), fill(&sandbox, "people", 1, days(1)));
        let mut daemon = sandbox.daemon_with_fault(Some(step));
        sandbox.wait_for("the fault", || daemon.has_ended());
        // Once more, while the first is being made good.
        let mut daemon = sandbox.daemon_with_fault(Some("change_recovered"));
        sandbox.wait_for("the fault, or the end", || {
            daemon.has_ended() || old.iter().all(|object| !sandbox.site("vault").join(&object.path).exists())
        });
        drop(daemon);
        sandbox.run_until_idle();
        assert_pruned(&sandbox, &old, &young, step);
    }
}

/// Half of them of the command, half of the daemon; the trail of a run without a daemon, and beside one.
#[test]
#[ignore = "takes half a minute; .ci/run has it"]
fn two_hundred_random_kills_of_pruning_lose_and_double_nothing() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let (old, young) = (fill(&sandbox, "people", 400, days(10)), fill(&sandbox, "people", 20, days(1)));
    let (mut seed, mut latest) = (0x2545_F491_4F6C_DD1D_u64, 160);
    for round in 0..200 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // Later than most of the starting, and before the end: where a start takes long, later still.
        if round % 10 == 9 && tombstones(&sandbox).len() < round / 4 {
            latest += latest / 8;
        }
        let moment = Duration::from_millis(20 + seed % latest);
        if round % 2 == 0 {
            let daemon = sandbox.daemon_with(&[("VEILD_VAULT_BATCH", "2")]);
            std::thread::sleep(moment); // the random input of this test
            drop(daemon);
        } else {
            kill_after(&sandbox, &PRUNE, moment);
        }
    }
    let (pruned, cut_off) = (tombstones(&sandbox).len(), crate::objects::journals(&sandbox));
    assert!(pruned > 40, "hardly anything was pruned before the last run: {pruned}");
    eprintln!("{pruned} batches were pruned between the kills; the last one left {cut_off} cut off");
    prune(&sandbox, &[]);
    assert_pruned(&sandbox, &old, &young, "random kills");
}

/// Runs a command in small batches, and kills it after a while.
pub fn kill_after(sandbox: &Sandbox, arguments: &[&str], moment: Duration) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
    command.env("VEILD_VAULT_BATCH", "2").arg("--config").arg(sandbox.site("config.toml")).args(arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(moment);
    let _ = child.kill(); // it may have ended
    child.wait().unwrap();
}
