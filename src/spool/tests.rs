use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;

/// One claim by itself.
fn claim(dir: &Path, relative: &Path, seen: &Stat, now: Timestamp) -> Result<(Claimed, Writers), NotClaimed> {
    let taken = super::take(dir, relative, seen, now)?;
    settle(dir, vec![taken]).remove(0)
}
use crate::intake::{Kind, Stat};

fn landing() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).unwrap();
    dir
}

fn seen(dir: &Path, name: &str) -> Stat {
    look(&dir.join(name)).unwrap().unwrap()
}

fn claimed(dir: &Path, name: &str, stat: &Stat) -> Result<Claimed, NotClaimed> {
    claim(dir, Path::new(name), stat, Timestamp::now()).map(|(claimed, _)| claimed)
}

fn spool_entries(dir: &Path) -> usize {
    fs::read_dir(dir.join(SPOOL)).unwrap().count()
}

#[test]
fn a_claim_moves_the_file_and_recover_finds_it() {
    let dir = landing();
    fs::write(dir.path().join("a.csv"), "a\n1\n").unwrap();
    let claimed = claimed(dir.path(), "a.csv", &seen(dir.path(), "a.csv")).unwrap();
    assert!(!dir.path().join("a.csv").exists());
    assert_eq!(spooled(dir.path()).unwrap(), [claimed.job]);
    assert_eq!(recover(dir.path()).unwrap(), std::slice::from_ref(&claimed));
    remove(dir.path(), &claimed).unwrap();
    remove(dir.path(), &claimed).unwrap();
    assert_eq!(spooled(dir.path()).unwrap(), []);
}

#[test]
fn sub_paths_and_any_legal_name_survive_claim_and_recovery() {
    let dir = landing();
    let long = "n".repeat(255);
    for name in [OsStr::from_bytes(b"\xff\n\x1b[31m .csv"), OsStr::new("-rf *"), OsStr::new(&long)] {
        let relative = Path::new("a/b").join(name);
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join(&relative), "x").unwrap();
        let stat = look(&dir.path().join(&relative)).unwrap().unwrap();
        let (claimed, _) = claim(dir.path(), &relative, &stat, Timestamp::now()).unwrap();
        assert_eq!((claimed.name.as_os_str(), claimed.sub_path.as_path()), (name, Path::new("a/b")));
        assert_eq!(recover(dir.path()).unwrap(), std::slice::from_ref(&claimed));
        remove(dir.path(), &claimed).unwrap();
        assert_eq!(spool_entries(dir.path()), 0);
    }
}

#[test]
fn an_open_writer_or_a_change_refuses_the_claim() {
    let dir = landing();
    let path = dir.path().join("a.csv");
    let writer = File::create(&path).unwrap();
    let stat = seen(dir.path(), "a.csv");
    match claimed(dir.path(), "a.csv", &stat) {
        Err(refusal) => assert!(matches!(refusal, NotClaimed::OpenWriter)),
        Ok(_) => eprintln!("SKIPPED: this file system grants no leases"),
    }
    drop(writer);
    fs::write(&path, "longer").unwrap();
    assert!(matches!(claimed(dir.path(), "a.csv", &stat), Err(NotClaimed::Changed)));
    assert_eq!(spool_entries(dir.path()), 0, "a refused claim leaves nothing in the spool");
}

#[test]
fn a_second_name_refuses_the_claim() {
    let dir = landing();
    fs::write(dir.path().join("a.csv"), "x").unwrap();
    let stat = seen(dir.path(), "a.csv");
    fs::hard_link(dir.path().join("a.csv"), dir.path().join("b.csv")).unwrap();
    assert!(matches!(claimed(dir.path(), "a.csv", &stat), Err(NotClaimed::Changed)));
    assert!(dir.path().join("a.csv").exists());
}

#[test]
fn links_and_fifos_are_never_opened() {
    let dir = landing();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    let stat = seen(dir.path(), "link");
    assert_eq!(stat.kind, Kind::Irregular);
    assert!(claimed(dir.path(), "link", &stat).is_err());
    assert!(dir.path().join("link").symlink_metadata().is_ok());
}

#[test]
fn a_directory_that_became_a_link_leads_nowhere() {
    let (dir, elsewhere) = (landing(), tempfile::tempdir().unwrap());
    fs::write(elsewhere.path().join("x.csv"), "secret").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("sub")).unwrap();
    let stat = seen(dir.path(), "sub/x.csv");
    assert!(matches!(claimed(dir.path(), "sub/x.csv", &stat), Err(NotClaimed::Changed)));
    assert!(elsewhere.path().join("x.csv").exists());
}

#[test]
fn a_directory_in_a_job_is_recovered_as_one_job_for_each_file() {
    let dir = landing();
    let job = JobId::claimed_at(Timestamp::now());
    let inside = job_dir(dir.path(), job).join("swapped.csv");
    fs::create_dir_all(&inside).unwrap();
    fs::write(inside.join("a"), "a").unwrap();
    fs::write(inside.join("b"), "b").unwrap();
    let found = recover(dir.path()).unwrap();
    assert_eq!(found.len(), 2);
    assert_ne!(found[0].job, found[1].job);
    remove(dir.path(), &found[0]).unwrap();
    assert_eq!(recover(dir.path()).unwrap(), [found[1].clone()]);
}

#[test]
fn an_empty_job_is_a_claim_that_was_cut_off() {
    let dir = landing();
    let job = JobId::claimed_at(Timestamp::now());
    fs::create_dir_all(job_dir(dir.path(), job).join("a/b")).unwrap();
    assert_eq!(recover(dir.path()).unwrap(), []);
    assert_eq!(spool_entries(dir.path()), 0);
}

#[test]
fn a_spool_that_is_not_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), dir.path().join(SPOOL)).unwrap();
    let refusal = prepare(dir.path()).unwrap_err();
    assert!(refusal.source.to_string().contains("not a directory"), "{refusal}");
    fs::remove_file(dir.path().join(SPOOL)).unwrap();
    fs::create_dir(dir.path().join(SPOOL)).unwrap();
    if std::os::unix::fs::chown(dir.path().join(SPOOL), Some(12_345), None).is_err() {
        return eprintln!("SKIPPED: needs root");
    }
    let refusal = prepare(dir.path()).unwrap_err();
    assert!(refusal.source.to_string().contains("belongs to user 12345"), "{refusal}");
}
