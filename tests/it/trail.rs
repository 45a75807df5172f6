//! The audit trail in an auditor's hands: who checks it with what, and what is missed at its end.

use std::fs;

use crate::crash::GOOD;
use crate::sandbox::{Sandbox, files_below};

/// The segment that a new trail begins with.
const FIRST: &str = "audit-00000000000000000001.jsonl";

fn said(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, String) {
    let output = sandbox.veild(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn of_an_empty_trail_nothing_is_said_to_hold() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.site("audit")).unwrap();
    let (code, text) = said(&sandbox, &["audit", "verify"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("nothing was checked") && !text.contains("holds"), "{text}");
}

#[test]
fn a_trail_whose_end_was_cut_off_is_missed_by_the_ledger() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.run_until_idle();
    sandbox.assert_audit_holds();
    let segment = files_below(&sandbox.site("audit")).pop().unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    // Up to the checkpoint of the start: nothing in the trail itself tells that there was more.
    fs::write(&segment, text.split_inclusive('\n').next().unwrap()).unwrap();
    let (code, text) = said(&sandbox, &["audit", "verify"]);
    assert!(code == Some(3) && text.contains("was cut off or deleted"), "{text}");
    sandbox.run_until_idle();
    let audit = sandbox.audit();
    let alert = audit.iter().find(|it| it["veild"]["code"] == "audit_truncated");
    assert_eq!(alert.unwrap()["event"]["action"], "alert.raised");
    // The epochs of the checkpoints that were cut off have passed: their gap stays.
    let (code, text) = said(&sandbox, &["audit", "verify"]);
    assert!(
        code == Some(3) && text.contains("checkpoints were removed") && text.contains("trust ends there"),
        "{text}"
    );
    sandbox.drop_file("next.csv", GOOD);
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 2);
    let alerts = sandbox.audit().into_iter().filter(|it| it["veild"]["code"] == "audit_truncated").count();
    assert_eq!(alerts, 1, "said once");
}

#[test]
fn a_running_daemon_tells_where_its_trail_ends() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.ready_daemon();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.wait_for_sealed(1);
    let segment = files_below(&sandbox.site("audit")).pop().unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    let without_last = text.trim_end().rfind('\n').unwrap() + 1;
    let shorter = sandbox.path("shorter");
    fs::create_dir(&shorter).unwrap();
    fs::write(shorter.join(segment.file_name().unwrap()), &text[..without_last]).unwrap();
    let dir = |path: &std::path::Path| format!("dir = {path:?}");
    let (kept, given) = (dir(&sandbox.site("audit")), dir(&shorter));
    sandbox.edit_config(&kept, &given);
    let (code, text) = said(&sandbox, &["audit", "verify"]);
    assert!(code == Some(3) && text.contains("was cut off or deleted"), "{text}");
    sandbox.edit_config(&given, &kept);
    let (code, text) = said(&sandbox, &["audit", "verify"]);
    assert!(code == Some(0) && text.contains("holds"), "{text}");
    daemon.stop();
}

#[test]
fn what_is_no_secret_or_reason_says_nothing_of_the_trail() {
    let sandbox = Sandbox::new();
    sandbox.run_until_idle();
    let none = sandbox.path("none.txt");
    fs::write(&none, "no secret\n").unwrap();
    for (option, missing) in [("--secret", "no audit secret"), ("--checkpoint", "no checkpoint")] {
        let (code, text) = said(&sandbox, &["audit", "verify", option, none.to_str().unwrap()]);
        assert!(code == Some(1) && text.contains(missing) && !text.contains("broken"), "{text}");
    }
    let (code, text) = said(&sandbox, &["audit", "export", "--reason", " "]);
    assert!(code == Some(2) && text.contains("say why"), "{text}");
}

#[test]
fn the_public_key_is_enough_to_verify() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.run_until_idle();
    fs::rename(sandbox.site("signing.key"), sandbox.path("away")).unwrap();
    for given in [None, Some("signing.key.pub"), Some("signing.key.allowed_signers")] {
        let path = given.map(|name| sandbox.site(name).display().to_string());
        let key: Vec<&str> = path.iter().flat_map(|path| ["--public-key", path]).collect();
        let (code, text) = said(&sandbox, &[&["audit", "verify"], key.as_slice()].concat());
        assert!(code == Some(0) && text.contains("the chain holds"), "{given:?}: {text}");
        let (code, text) = said(&sandbox, &[&["vault", "verify"], key.as_slice()].concat());
        assert!(code == Some(0) && text.contains("stands in no audit trail"), "{given:?}: {text}");
    }
    let other = sandbox.path("other").display().to_string();
    sandbox.veild(&["key", "generate", "signing", "--out", &other]);
    let public = format!("{other}.pub");
    for command in ["audit", "vault"] {
        let (code, text) = said(&sandbox, &[command, "verify", "--public-key", &public]);
        assert_eq!(code, Some(3), "{text}");
    }
    fs::remove_file(sandbox.site("signing.key.pub")).unwrap();
    let (code, text) = said(&sandbox, &["audit", "verify"]);
    assert!(code == Some(1) && text.contains("cannot read key file"), "{text}");
}

#[test]
fn an_object_that_was_taken_away_with_its_receipt_is_missed() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.archive_originals();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.run_until_idle();
    let (code, text) = said(&sandbox, &["vault", "verify"]);
    assert_eq!(code, Some(0), "{text}");
    let objects = || {
        files_below(&sandbox.site("vault")).into_iter().filter(|path| path.extension().is_some_and(|it| it == "age"))
    };
    assert_eq!(objects().count(), 3);
    for object in objects().collect::<Vec<_>>() {
        let away = sandbox.path("away");
        fs::create_dir_all(&away).unwrap();
        let of_it = [object.clone(), object.with_extension("receipt.json"), object.with_extension("receipt.json.sig")];
        let elsewhere = of_it.each_ref().map(|path| away.join(path.file_name().unwrap()));
        of_it.iter().zip(&elsewhere).for_each(|(from, to)| fs::rename(from, to).unwrap());
        let (code, text) = said(&sandbox, &["vault", "verify"]);
        assert!(code == Some(3) && text.contains("is not there; the audit trail has it sealed at"), "{text}");
        of_it.iter().zip(&elsewhere).for_each(|(to, from)| fs::rename(from, to).unwrap());
    }
    let (code, text) = said(&sandbox, &["vault", "verify"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn who_looked_at_what_and_made_which_key_is_recorded() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.drop_file("bad.csv", crate::crash::BAD);
    let daemon = sandbox.ready_daemon();
    sandbox.wait_for_sealed(1);
    sandbox.wait_for("the rejected file", || sandbox.quarantined().len() == 1);
    let rejected = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    assert!(sandbox.veild(&["quarantine", "show", &rejected]).status.success());
    let other = sandbox.path("new.key").display().to_string();
    sandbox.veild(&["key", "generate", "masking", "--out", &other]);
    let stranger = sandbox.path("stranger");
    let identity = age::x25519::Identity::generate().to_string();
    fs::write(&stranger, age::secrecy::ExposeSecret::expose_secret(&identity)).unwrap();
    let sealed = sandbox.receipts()[0]["job"].as_str().unwrap().to_owned();
    assert!(!sandbox.veild(&["vault", "open", &sealed, "-i", stranger.to_str().unwrap()]).status.success());
    daemon.stop();
    let audit = sandbox.audit();
    let of =
        |action: &str| audit.iter().find(|it| it["event"]["action"] == action).unwrap_or_else(|| panic!("{action}"));
    assert_eq!(of("file.shown")["veild"]["job"], rejected.as_str());
    assert_eq!(of("vault.opened")["event"]["outcome"], "failure");
    assert_eq!(of("key.generated")["veild"]["key"]["kind"], "masking");
    let own = rustix::process::getuid().as_raw();
    for action in ["file.shown", "vault.opened", "key.generated"] {
        let record = of(action);
        assert_eq!(record["user"]["effective"]["id"], own.to_string(), "{record}");
        assert!(record["user"]["name"].is_string() && record["veild"]["peer_uid"] == own, "{record}");
    }
    let text = audit.iter().map(ToString::to_string).collect::<String>();
    assert!(!text.contains(fs::read_to_string(&other).unwrap().lines().last().unwrap().rsplit(' ').next().unwrap()));
    sandbox.assert_audit_holds();
}

#[test]
fn what_came_to_no_end_is_on_record_too() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.run_until_idle();
    let missing = "01J00000000000000000000000";
    let (identity, nobody, taken) = (sandbox.site("identity.txt"), sandbox.path("nobody"), sandbox.path("taken"));
    let [identity, nobody, taken] = [&identity, &nobody, &taken].map(|path| path.to_str().unwrap());
    fs::write(taken, "").unwrap();
    fs::create_dir_all(sandbox.site("vault/.changes")).unwrap();
    let public = crate::recipients::age_key(&sandbox, "new").1;
    let in_vain = |arguments: &[&str]| {
        let output = sandbox.veild(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("audit trail"), "{arguments:?}: {output:?}");
    };
    in_vain(&["vault", "open", missing, "-i", identity]);
    in_vain(&["vault", "open", "no/such.age", "-i", identity]);
    in_vain(&["vault", "verify", "-i", nobody]);
    in_vain(&["vault", "rewrap", "--all", "-i", nobody, "-r", &public, "--reason", "r"]);
    in_vain(&["vault", "export", "--all", "--out", taken, "--reason", "r"]);
    in_vain(&["key", "generate", "masking", "--out", taken]);
    fs::write(sandbox.site("vault/.changes/01J00000000000000000000001.json"), "{}").unwrap();
    in_vain(&["vault", "prune", "--older-than", "1s", "--reason", "r"]);
    let audit = sandbox.audit();
    let failed: Vec<_> = audit.iter().filter(|it| it["event"]["outcome"] == "failure").collect();
    let actions: Vec<_> = failed.iter().map(|it| it["event"]["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "vault.opened",
            "vault.opened",
            "vault.verified",
            "vault.rewrapped",
            "vault.exported",
            "key.generated",
            "vault.pruned"
        ]
    );
    let asked = failed[1]["file"]["path"].as_str().unwrap();
    assert!(failed[0]["veild"]["job"] == missing && asked.ends_with("vault/no/such.age"), "{failed:?}");
    sandbox.assert_audit_holds();
}

#[test]
fn what_lies_beside_the_segments_is_found() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.run_until_idle();
    let segment = files_below(&sandbox.site("audit")).into_iter().find(|it| it.ends_with(FIRST)).unwrap();
    let problems = || {
        let verdict = sandbox.json(&["audit", "verify"]);
        let problems = verdict["problems"].as_array().unwrap().clone();
        problems.iter().map(|it| format!("{}: {}", it["segment"], it["what"])).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(problems(), "");
    for name in ["audit-99999999999999999999.jsonl", "audit-1.jsonl.zst", "audit-.jsonl"] {
        let beside = segment.with_file_name(name);
        fs::copy(&segment, &beside).unwrap();
        assert!(problems().contains(name) && problems().contains("its number is none"), "{}", problems());
        fs::remove_file(beside).unwrap();
    }
    let compressed = segment.with_file_name(format!("{FIRST}.zst"));
    let whole = zstd::stream::encode_all(fs::read(&segment).unwrap().as_slice(), 3).unwrap();
    fs::write(&compressed, &whole).unwrap();
    assert_eq!(problems(), "", "compressing was cut off");
    for damaged in [&whole[..whole.len() - 9], b"no zstd", &zstd::stream::encode_all(&b"{}\n"[..], 3).unwrap()] {
        fs::write(&compressed, damaged).unwrap();
        assert!(problems().contains("damaged, or another one than that beside it"), "{}", problems());
    }
    fs::remove_file(compressed).unwrap();
    let moved = sandbox.path("moved");
    fs::rename(&segment, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &segment).unwrap();
    let (code, text) = said(&sandbox, &["audit", "verify"]);
    assert!(code == Some(3) && text.contains("it is a symbolic link"), "{text}");
}
