//! A vault in the hands of somebody who may write there, and the commands that an administrator gives over it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::objects::{self, Object, days, fill, is_there, keep, problems, records};
use crate::sandbox::{Sandbox, files_below};

const SECRET: &str = "root's own secret";

fn said(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, String) {
    let output = sandbox.veild(arguments);
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn in_vault(sandbox: &Sandbox, object: &Object) -> PathBuf {
    sandbox.site("vault").join(&object.path)
}

/// Puts something else in the place of a file.
fn replace(path: &Path, with: impl FnOnce(&Path)) {
    fs::remove_file(path).unwrap();
    with(path);
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Whether any file below a directory holds the secret.
fn holds_secret(dir: &Path) -> bool {
    let holds = |path: &PathBuf| {
        let is_file = fs::symlink_metadata(path).unwrap().is_file();
        is_file && fs::read(path).unwrap().windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    };
    files_below(dir).iter().any(holds)
}

#[test]
fn links_and_pipes_in_the_vault_lead_nowhere_and_hold_nobody_up() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let objects = fill(&sandbox, "people", 4, days(20));
    let secret = sandbox.path("secret");
    fs::write(&secret, SECRET).unwrap();
    let [object, receipt, _] = objects::files_of(&in_vault(&sandbox, &objects[0]));
    replace(&object, |path| symlink(&secret, path).unwrap());
    replace(&objects::files_of(&in_vault(&sandbox, &objects[1]))[0], fifo);
    let [_, pipe, _] = objects::files_of(&in_vault(&sandbox, &objects[2]));
    replace(&pipe, fifo);
    let (identity, out) = (sandbox.site("identity.txt"), sandbox.path("out"));
    fs::create_dir(&out).unwrap();
    let (identity, tar) = (identity.to_str().unwrap(), out.join("export.tar"));
    let public = crate::recipients::age_key(&sandbox, "new").1;
    for (arguments, code) in [
        (vec!["vault", "open", &objects[0].job, "-i", identity], 1),
        (vec!["vault", "open", &objects[1].job, "-i", identity], 1),
        (vec!["vault", "open", object.to_str().unwrap(), "-i", identity], 1),
        // What its receipt says is not needed; that it is a pipe holds nobody up.
        (vec!["vault", "open", &objects[2].path, "-i", identity], 0),
        (vec!["vault", "list"], 0),
        (vec!["receipt", "show", &objects[0].job], 3),
        (vec!["vault", "verify", "-i", identity], 3),
        (vec!["vault", "rewrap", "-i", identity, "--all", "-r", &public, "--reason", "r"], 3),
        (vec!["vault", "prune", "--reason", "r"], 3),
        (vec!["vault", "export", "--all", "--out", tar.to_str().unwrap(), "--reason", "r"], 3),
    ] {
        let (found, text) = said(&sandbox, &arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {text}");
        assert!(!text.contains(SECRET), "{arguments:?}");
    }
    assert!(!holds_secret(&out) && secret.exists() && receipt.exists());
    // What is whole went; what is not stays as evidence.
    assert!(!is_there(&sandbox, &objects[3]) && fs::symlink_metadata(&object).unwrap().is_symlink());
    let found = problems(&sandbox).join("\n");
    assert!(objects[..3].iter().all(|it| found.contains(&it.path)), "{found}");
    // The daemon's own upkeep says so, and goes on.
    let daemon = sandbox.daemon();
    sandbox.wait_for("the alert", || sandbox.log_lines("vault_upkeep_failed") == 1);
    sandbox.drop_file("good.csv", crate::crash::GOOD);
    sandbox.wait_for("another file", || sandbox.landing_is_empty());
    daemon.stop();
    sandbox.assert_audit_holds();
}

#[test]
fn an_export_spells_hostile_names_so_that_nothing_else_is_checked() {
    let sandbox = Sandbox::new();
    let objects = fill(&sandbox, "people", 1, days(1));
    let path = in_vault(&sandbox, &objects[0]);
    // Its second line would vouch for a file of another name.
    for name in ["a\n0000  b.age", "back\\slash.age", "-rf.age", "c\r.age"] {
        fs::copy(&path, path.with_file_name(OsStr::from_bytes(name.as_bytes()))).unwrap();
    }
    let out = sandbox.path("export.tar");
    let (code, text) = said(&sandbox, &["vault", "export", "--all", "--out", out.to_str().unwrap(), "--reason", "r"]);
    assert!(code == Some(3) && text.contains("has no readable receipt"), "{text}");
    assert!(text.lines().all(|line| !line.starts_with("0000")), "{text}");
    let dir = sandbox.path("unpacked");
    fs::create_dir(&dir).unwrap();
    assert!(Command::new("tar").arg("-xf").arg(&out).arg("-C").arg(&dir).status().unwrap().success());
    let checked =
        Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(dir.join("veild-export")).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && !said.contains("FAILED"), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(said.matches(".age: OK").count(), 5, "{said}");
}

#[test]
fn forged_receipts_tombstones_and_journals_change_nothing() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let young = fill(&sandbox, "people", 2, days(1));
    // A receipt of another key that makes an object old.
    let other = sandbox.path("other");
    assert!(sandbox.veild(&["key", "generate", "signing", "--out", other.to_str().unwrap()]).status.success());
    let [_, receipt, signature] = objects::files_of(&in_vault(&sandbox, &young[0]));
    let genuine = fs::read(&receipt).unwrap();
    let mut forged: Value = serde_json::from_slice(&genuine).unwrap();
    for time in ["arrived_at", "claimed_at", "sealed_at"] {
        forged[time] = json!("2020-01-01T00:00:00Z");
    }
    replace(&receipt, |path| fs::write(path, forged.to_string()).unwrap());
    let key = veild::keys::SigningKey::load(&other).unwrap();
    let genuine_signature = fs::read(&signature).unwrap();
    replace(&signature, |path| fs::write(path, key.sign("veild-receipt", forged.to_string().as_bytes())).unwrap());
    let (code, text) = said(&sandbox, &["vault", "prune", "--reason", "r"]);
    assert!(code != Some(1) && in_vault(&sandbox, &young[0]).exists(), "{text}");
    assert!(problems(&sandbox).iter().any(|it| it.contains("bad signature of the receipt")));
    fs::remove_file(&receipt).unwrap();
    fs::remove_file(&signature).unwrap();
    fs::write(&receipt, &genuine).unwrap();
    fs::write(&signature, genuine_signature).unwrap();
    // A journal that wants an object pruned, of which the trail says nothing; and one that leads out of the vault.
    fs::create_dir_all(sandbox.site("vault/.changes")).unwrap();
    let outside = sandbox.path("outside.age");
    fs::write(&outside, SECRET).unwrap();
    for (index, path) in [young[1].path.as_str(), "../../outside.age"].iter().enumerate() {
        let mut object = json!({"path": path, "job": young[1].job, "landing": "people", "view": null,
            "claimed_at": "2020-01-01T00:00:00Z", "sealed_at": "2020-01-01T00:00:00Z", "sha256": "", "bytes": 0,
            "receipt_sha256": "", "why": "keep"});
        let journal = |objects: &Value| {
            json!({"change_version": 1, "id": format!("01M86GK5SGQ7X3HTBS5VT61XJ{index}"), "recorded_after": 0,
                "at": "2026-01-01T00:00:00Z", "cause": {"user": null, "reason": null},
                "deed": {"prune": {"objects": objects, "tombstone": "{}", "signature": ""}}})
        };
        let at = sandbox.site("vault/.changes").join(format!("01M86GK5SGQ7X3HTBS5VT61XJ{index}.json"));
        fs::write(&at, journal(&json!([object])).to_string()).unwrap();
        let (code, text) = said(&sandbox, &["vault", "prune", "--reason", "r"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(!at.exists() && is_there(&sandbox, &young[1]) && outside.exists());
        object["path"] = Value::Null;
        // One that cannot be read stops what would change something, and says where it lies.
        fs::write(&at, journal(&json!([object])).to_string()).unwrap();
        let (code, text) = said(&sandbox, &["vault", "prune", "--reason", "r"]);
        assert!(code == Some(1) && text.contains(at.to_str().unwrap()), "{text}");
        fs::remove_file(&at).unwrap();
    }
    assert_eq!(records(&sandbox, "vault.pruned"), Vec::<Value>::new());
    assert_eq!(problems(&sandbox), Vec::<String>::new());
}

#[test]
fn a_hold_that_cannot_be_read_keeps_everything() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let old = fill(&sandbox, "people", 2, days(20));
    let holds = sandbox.site("audit/holds");
    fs::create_dir_all(&holds).unwrap();
    let hold = ["audit", "hold", "add", "case-7", "--from", "2020-01-01", "--reason", "litigation"];
    assert_eq!(said(&sandbox, &hold).0, Some(0));
    let file = files_below(&holds).into_iter().find(|path| path.to_str().unwrap().contains("case-7")).unwrap();
    let text = fs::read(&file).unwrap();
    let secret = sandbox.path("elsewhere");
    for (what, harm) in [
        ("cut off", Box::new(|path: &Path| fs::write(path, &text[..text.len() / 2]).unwrap()) as Box<dyn Fn(&Path)>),
        ("empty", Box::new(|path: &Path| fs::write(path, "").unwrap())),
        ("a directory", Box::new(|path: &Path| fs::create_dir(path).unwrap())),
        ("a link to nothing", Box::new(|path: &Path| symlink(&secret, path).unwrap())),
    ] {
        let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
        harm(&file);
        let (code, text) = said(&sandbox, &["vault", "prune", "--reason", "r"]);
        assert!(code == Some(1) && text.contains("case-7"), "{what}: {text}");
        assert!(old.iter().all(|object| is_there(&sandbox, object)), "{what}");
    }
    let _ = fs::remove_file(&file);
    fs::write(&file, &text).unwrap();
    let (code, text) = said(&sandbox, &["vault", "prune", "--reason", "r"]);
    assert!(code == Some(0) && text.contains("2 more kept by a legal hold"), "{text}");
}

#[test]
fn an_object_that_is_hostile_to_a_rewrap_stays_and_the_others_get_their_readers() {
    let sandbox = Sandbox::new();
    let objects = fill(&sandbox, "people", 5, days(1));
    let harm = |index: usize, with: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let path = in_vault(&sandbox, &objects[index]);
        let bytes = fs::read(&path).unwrap();
        replace(&path, |path| fs::write(path, with(bytes)).unwrap());
    };
    harm(0, &|_| b"age-encryption.org/v1\n".repeat(2_000_000)); // a header without an end
    harm(1, &|_| {
        [b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 40\n", vec![b'A'; 43].as_slice(), b"\n--- "].concat()
    });
    harm(2, &|bytes| [bytes.as_slice(), b"more"].concat());
    harm(3, &|bytes| bytes[..bytes.len() - 20].to_vec());
    let (identity, public) = (sandbox.site("identity.txt"), crate::recipients::age_key(&sandbox, "new").1);
    let identity = identity.to_str().unwrap();
    let rewrap = ["vault", "rewrap", "-i", identity, "--all", "-r", &public, "--reason", "r"];
    let (code, text) = said(&sandbox, &rewrap);
    assert!(code == Some(3) && text.contains("1 object rewrapped"), "{text}");
    assert!(objects[..4].iter().all(|object| text.contains(&object.path)), "{text}");
    assert_eq!(records(&sandbox, "vault.rewrapped").len(), 1);
    let failed = sandbox.audit().into_iter().find(|it| it["event"]["outcome"] == "failure").unwrap();
    assert_eq!((&failed["event"]["action"], &failed["veild"]["problems"]), (&json!("vault.rewrapped"), &json!(4)));
    let opened = sandbox.veild(&["vault", "open", &objects[4].job, "-i", sandbox.path("new").to_str().unwrap()]);
    assert_eq!(opened.stdout, objects[4].plain);
    sandbox.assert_audit_holds();
}
