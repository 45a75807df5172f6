//! Changes of the vault where a disk is full: each is begun again with one page of room more, until it gets through.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::disks;
use crate::mounts::Mount;
use crate::objects::{Object, days, fill, is_there, keep, problems, records};
use crate::sandbox::{Sandbox, files_below};

const PAGE: u64 = 4096;
/// Pages after which a change must have got through.
const ENOUGH: u64 = 200;

fn said(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, String) {
    let output = sandbox.veild(arguments);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Fills a disk, then runs a command with ever more room there; returns how often it failed.
fn until_it_gets_through(sandbox: &Sandbox, full: &Path, arguments: &[&str], mut check: impl FnMut(&str)) -> u64 {
    let filler = disks::fill(full);
    let size = filler.metadata().unwrap().len();
    for pages in 0..ENOUGH {
        let (code, text) = said(sandbox, arguments);
        if code == Some(0) {
            fs::remove_file(filler).unwrap();
            return pages;
        }
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("make room") && text.contains("cannot"), "with {pages} pages of room: {text}");
        check(&text);
        let file = fs::File::options().write(true).open(&filler).unwrap();
        file.set_len(size.saturating_sub((pages + 1) * PAGE)).unwrap();
    }
    panic!("{arguments:?} never got through: {}", said(sandbox, arguments).1);
}

/// Nothing is under way, and all that was recorded is true.
fn assert_settled(sandbox: &Sandbox) {
    assert_eq!(problems(sandbox), Vec::<String>::new());
    let changes = sandbox.site("vault/.changes");
    let left = if changes.exists() { files_below(&changes) } else { Vec::new() };
    assert!(left.iter().all(|it| it.ends_with("lock")), "{left:?}");
    sandbox.assert_audit_holds();
}

/// Whether a change has its journal.
fn is_begun(sandbox: &Sandbox) -> bool {
    let changes = sandbox.site("vault/.changes");
    changes.exists() && files_below(&changes).iter().any(|it| it.extension().is_some_and(|it| it == "json"))
}

/// The paths that records of an action name, sorted.
fn recorded(sandbox: &Sandbox, action: &str) -> Vec<String> {
    let paths = records(sandbox, action).into_iter().map(|it| it["veild"]["object"].as_str().unwrap().to_owned());
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    paths
}

fn paths(objects: &[Object]) -> Vec<String> {
    let mut paths: Vec<String> = objects.iter().map(|object| object.path.clone()).collect();
    paths.sort();
    paths
}

#[test]
fn pruning_on_a_full_disk_prunes_nothing_by_halves() {
    for place in ["vault", "audit"] {
        let sandbox = Sandbox::new();
        let Some(_mount) = Mount::tmpfs(&sandbox.site(place), "size=2m") else { return };
        keep(&sandbox, "5d");
        let (old, young) = (fill(&sandbox, "people", 6, days(10)), fill(&sandbox, "people", 2, days(1)));
        let prune = ["vault", "prune", "--reason", "retention"];
        let failed = until_it_gets_through(&sandbox, &sandbox.site(place), &prune, |text| {
            assert!(young.iter().all(|object| is_there(&sandbox, object)));
            assert_eq!(text.contains("on record already is done when"), is_begun(&sandbox), "{text}");
        });
        assert!(failed > 0, "there was room all the time");
        assert!(old.iter().all(|object| !is_there(&sandbox, object)) && is_there(&sandbox, &young[0]), "{place}");
        assert_eq!(recorded(&sandbox, "vault.pruned"), paths(&old), "{place}: recorded once each");
        assert_settled(&sandbox);
    }
}

#[test]
fn rewrapping_on_a_full_disk_leaves_each_object_with_the_old_readers_or_the_new() {
    for place in ["vault", "audit"] {
        let sandbox = Sandbox::new();
        let Some(_mount) = Mount::tmpfs(&sandbox.site(place), "size=2m") else { return };
        let objects = fill(&sandbox, "people", 6, days(1));
        let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
        let own = config.lines().find(|line| line.starts_with("recipients = ")).unwrap().split('"').nth(1).unwrap();
        let (_, public) = crate::recipients::age_key(&sandbox, "new");
        let identity = sandbox.site("identity.txt").display().to_string();
        let rewrap =
            ["vault", "rewrap", "-i", &identity, "--all", "-r", own, "-r", &public, "--reason", "Bea has come"];
        let failed = until_it_gets_through(&sandbox, &sandbox.site(place), &rewrap, |text| {
            assert!(objects.iter().all(|object| is_there(&sandbox, object)));
            assert_eq!(text.contains("on record already is done when"), is_begun(&sandbox), "{text}");
        });
        assert!(failed > 0, "there was room all the time");
        assert_eq!(recorded(&sandbox, "vault.rewrapped"), paths(&objects), "{place}: recorded once each");
        for receipt in sandbox.receipts() {
            assert_eq!(receipt["recipients"], json!([own, public]));
            assert_eq!(receipt["amended"].as_array().map(Vec::len), Some(1), "{place}: amended once");
        }
        for object in &objects {
            let opened = sandbox.veild(&["vault", "open", &object.job, "-i", sandbox.path("new").to_str().unwrap()]);
            assert_eq!(opened.stdout, object.plain);
        }
        assert_settled(&sandbox);
    }
}

#[test]
fn an_export_on_a_full_disk_is_whole_or_not_there() {
    for place in ["out", "audit"] {
        let sandbox = Sandbox::new();
        let Some(_mount) = Mount::tmpfs(&sandbox.site(place), "size=2m") else { return };
        let objects = fill(&sandbox, "people", 6, days(1));
        fs::create_dir_all(sandbox.site("out")).unwrap();
        let out = sandbox.site("out/export.tar");
        let export = ["vault", "export", "--all", "--out", out.to_str().unwrap(), "--reason", "audit"];
        let others = || files_below(&sandbox.site("out")).into_iter().filter(|it| !it.ends_with("filler")).count();
        let failed = until_it_gets_through(&sandbox, &sandbox.site(place), &export, |_| assert_eq!(others(), 0));
        assert!(failed > 0, "there was room all the time");
        assert_eq!(recorded(&sandbox, "vault.exported"), paths(&objects), "recorded once each");
        let mut members = tar::Archive::new(fs::File::open(&out).unwrap());
        let members = members.entries().unwrap().map(|it| it.unwrap().path().unwrap().display().to_string());
        assert_eq!(members.filter(|it| it.ends_with(".age")).count(), objects.len());
        assert_settled(&sandbox);
    }
}

#[test]
fn an_object_opened_into_a_full_disk_has_not_been_opened() {
    let sandbox = Sandbox::new();
    let Some(_mount) = Mount::tmpfs(&sandbox.site("out"), "size=64k") else { return };
    let object = fill(&sandbox, "people", 1, days(1)).remove(0);
    let (identity, out) = (sandbox.site("identity.txt"), sandbox.site("out/plain"));
    let open = ["vault", "open", &object.job, "-i", identity.to_str().unwrap(), "-o", out.to_str().unwrap()];
    disks::fill(&sandbox.site("out"));
    let (code, text) = said(&sandbox, &open);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("No space left") && text.contains("make room") && !text.contains("decrypt"), "{text}");
    let outcomes = |sandbox: &Sandbox| -> Vec<Value> {
        let opened = sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "vault.opened");
        opened.map(|it| it["event"]["outcome"].clone()).collect()
    };
    assert_eq!(outcomes(&sandbox), ["failure"]);
    let left = files_below(&sandbox.site("out"));
    assert!(left.iter().all(|it| it.ends_with("filler")), "{left:?}");
    fs::remove_file(sandbox.site("out/filler")).unwrap();
    assert_eq!(said(&sandbox, &open).0, Some(0));
    assert_eq!((fs::read(&out).unwrap(), outcomes(&sandbox)), (object.plain, vec!["failure".into(), "success".into()]));
}

#[test]
fn an_original_that_cannot_be_recorded_is_handed_to_nobody() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"0B\"");
    let Some(_mount) = Mount::tmpfs(&sandbox.site("audit"), "size=2m") else { return };
    sandbox.drop_file("bad.csv", crate::crash::BAD);
    sandbox.run_until_idle();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    let original = out.join("bad.csv");
    let release = ["quarantine", "release", &job, "--to", original.to_str().unwrap(), "--reason", "asked for"];
    let failed = until_it_gets_through(&sandbox, &sandbox.site("audit"), &release, |_| {
        assert_eq!(files_below(&out), Vec::<std::path::PathBuf>::new());
        assert_eq!(sandbox.quarantined().len(), 1);
        let decided = sandbox.site("state/quarantine").join(&job).join("release.json");
        assert!(!decided.exists(), "what was refused is not finished later by somebody else");
    });
    assert!(failed > 0, "there was room all the time");
    assert_eq!(fs::read_to_string(&original).unwrap(), crate::crash::BAD);
    assert_eq!(records(&sandbox, "file.released").len(), 1);
    assert_eq!(sandbox.quarantined(), Vec::<Value>::new());
    sandbox.drop_file("worse.csv", crate::crash::BAD);
    sandbox.run_until_idle();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    let reason = "seen ".repeat(PAGE as usize); // its record is larger than what is left of the last page
    let discard = ["quarantine", "discard", &job, "--reason", &reason];
    let failed = until_it_gets_through(&sandbox, &sandbox.site("audit"), &discard, |_| {
        assert!(!sandbox.site("state/quarantine").join(&job).join("discard.json").exists());
    });
    assert!(failed > 0, "there was room all the time");
    assert_eq!(records(&sandbox, "file.discarded").len(), 1);
    assert_eq!(sandbox.quarantined(), Vec::<Value>::new());
    sandbox.assert_audit_holds();
}
