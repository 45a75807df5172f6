use super::*;
use jiff::SignedDuration;

#[test]
fn a_content_counts_once_its_job_is_sealed_and_within_its_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
    let at = |second| JobId::claimed_at(Timestamp::from_second(second).unwrap());
    let since = |second| JobId::earliest_at(Timestamp::from_second(second).unwrap());
    let content = Content { digest: [7; 32], bytes: 3 };
    let (early, late, rejected) = (at(100), at(200), at(150));
    for job in [early, late, rejected] {
        let forget_at = job.claim_time() + SignedDuration::from_secs(1000);
        ledger.note_contents(&[Note { job, landing: "hr", content: &content, forget_at }]).unwrap();
    }
    assert_eq!(ledger.sealed_content("hr", &content, since(0)).unwrap(), None, "nothing is sealed yet");
    ledger.done(&[(early, "hr", "sealed"), (late, "hr", "sealed"), (rejected, "hr", "quarantined")], 1).unwrap();
    let seen = |ledger: &Ledger, landing, second| ledger.sealed_content(landing, &content, since(second)).unwrap();
    assert_eq!(seen(&ledger, "hr", 100), Some(early));
    assert_eq!(seen(&ledger, "hr", 101), Some(late), "a rejected file is not seen");
    assert_eq!(seen(&ledger, "hr", 201), None);
    assert_eq!(seen(&ledger, "other", 0), None, "landings do not mix");
    let longer = Content { bytes: 4, ..content.clone() };
    assert_eq!(ledger.sealed_content("hr", &longer, since(0)).unwrap(), None);
    for (second, left) in [(1100, Some(early)), (1101, Some(late)), (1201, None)] {
        ledger.forget_contents(Timestamp::from_second(second).unwrap()).unwrap();
        assert_eq!(seen(&ledger, "hr", 0), left);
    }
}

#[test]
fn the_first_levels_stay_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
    let job = JobId::claimed_at(Timestamp::now());
    let of = |anonymity: &str, levels: &[u32]| Frozen {
        output: String::new(),
        anonymity: anonymity.to_owned(),
        levels: levels.to_vec(),
    };
    ledger.freeze("hr", &of("a", &[1, 2]), job).unwrap();
    ledger.freeze("hr", &of("a", &[3, 3]), job).unwrap();
    ledger.freeze("hr", &of("b", &[3, 3]), job).unwrap();
    drop(ledger);
    let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
    assert_eq!(ledger.frozen("hr").unwrap(), [of("a", &[1, 2]), of("b", &[3, 3])]);
    assert!(ledger.frozen("other").unwrap().is_empty());
}

#[test]
fn an_older_ledger_goes_on_and_leaves_a_copy_and_a_newer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let job = JobId::claimed_at(Timestamp::now());
    let db = Connection::open(&path).unwrap();
    db.execute_batch(&format!("{} PRAGMA user_version = 1;", STEPS[0])).unwrap();
    db.execute("INSERT INTO jobs (job, landing, state) VALUES (?1, 'hr', 'waiting')", [job.to_string()]).unwrap();
    drop(db);
    // Of a copy that was cut off.
    std::fs::write(dir.path().join("ledger.sqlite.copy"), "half").unwrap();
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.attempts(job).unwrap(), Some(Attempts::default()));
    drop(ledger);
    let version = |path: &Path| -> i64 {
        Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    assert_eq!((version(&path), version(&dir.path().join("ledger.sqlite.v1"))), (VERSION, 1));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    let refused = Ledger::open(&path).err().unwrap().to_string();
    assert!(refused.ends_with("upgrade veild"), "{refused}");
}

#[test]
fn deaths_and_interruptions_are_counted_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let job = JobId::claimed_at(Timestamp::now());
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.begin(&[(job, "hr")]).unwrap();
    assert_eq!(ledger.attempt_over(job, true).unwrap(), Attempts { died: 1, interrupted: 0 });
    ledger.begin(&[(job, "hr")]).unwrap();
    drop(ledger);
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.interrupt_working().unwrap();
    assert_eq!(ledger.attempts(job).unwrap(), Some(Attempts { died: 1, interrupted: 1 }));
    ledger.done(&[(job, "hr", "sealed")], 7).unwrap();
    ledger.interrupt_working().unwrap();
    ledger.forget_outcomes(job).unwrap();
    assert!(ledger.is_done(job).unwrap());
    assert_eq!(ledger.applied_seq().unwrap(), 7);
    assert_eq!(ledger.counts().unwrap(), BTreeMap::from([("sealed".to_owned(), 1)]));
    ledger.begin(&[(JobId::earliest_at(Timestamp::UNIX_EPOCH), "hr")]).unwrap();
    ledger.forget_outcomes(JobId::claimed_at(Timestamp::now() + SignedDuration::from_secs(1))).unwrap();
    assert_eq!(ledger.counts().unwrap(), BTreeMap::from([("unfinished".to_owned(), 1)]));
}
