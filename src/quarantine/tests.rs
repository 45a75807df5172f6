use super::*;

fn reason(sealed: bool) -> Reason {
    let now = Timestamp::from_second(1_760_000_000).unwrap();
    Reason {
        reason_version: 1,
        job: JobId::claimed_at(now),
        landing: "l".into(),
        original_name: "a.csv".into(),
        sub_path: None,
        policy: "p".into(),
        arrived_at: now,
        quarantined_at: now,
        bytes: 3,
        sealed,
        attempts: 1,
        fault: Fault {
            code: "ragged_row".into(),
            sentence: "s".into(),
            row: Some(1),
            column: None,
            byte_offset: None,
            advice: "a".into(),
        },
    }
}

#[test]
fn stores_lists_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    let q = dir.path().join("q");
    let from = dir.path().join("a.csv");
    fs::write(&from, "abc").unwrap();
    let reason = reason(false);
    let stored = store(&q, &Original::AsItCame(&from), &reason).unwrap();
    assert_eq!(fs::read(&stored).unwrap(), b"abc");
    assert_eq!(fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o400);
    // The uploader still holds the source's inode.
    fs::write(&from, "changed").unwrap();
    assert_eq!(store(&q, &Original::AsItCame(&from), &reason).unwrap(), stored);
    assert_eq!(fs::read(&stored).unwrap(), b"abc");
    assert_eq!(list(&q).unwrap(), std::slice::from_ref(&reason));
    assert_eq!(show(&q, reason.job).unwrap(), Some((reason.clone(), stored)));
    assert!(total_bytes(&q).unwrap() > 3);
    remove(&q, reason.job).unwrap();
    remove(&q, reason.job).unwrap();
    assert_eq!(list(&q).unwrap(), []);
    assert_eq!(total_bytes(&q).unwrap(), 0);
}

#[test]
fn converges_from_every_partial_state() {
    for sealed in [false, true] {
        for state in 0..6 {
            let dir = tempfile::tempdir().unwrap();
            let from = dir.path().join("from");
            fs::write(&from, "abc").unwrap();
            let reason = reason(sealed);
            let entry = dir.path().join("q").join(reason.job.to_string());
            fs::create_dir_all(&entry).unwrap();
            match state {
                0 => {}
                1 => fs::write(entry.join("original.tmp"), "a").unwrap(),
                2 => fs::write(entry.join(original_file(sealed)), "abc").unwrap(),
                3 => fs::rename(&from, entry.join(original_file(sealed))).unwrap(),
                4 => {
                    fs::rename(&from, entry.join(original_file(sealed))).unwrap();
                    fs::write(entry.join("reason.json.tmp"), "{").unwrap();
                }
                _ => fs::write(entry.join(original_file(!sealed)), "other kind").unwrap(),
            }
            assert_eq!(list(&dir.path().join("q")).unwrap(), []);
            let original = if sealed { Original::Sealed(&from) } else { Original::AsItCame(&from) };
            let stored = store(&dir.path().join("q"), &original, &reason).unwrap();
            assert_eq!(fs::read(stored).unwrap(), b"abc", "{sealed} {state}");
            let mut names: Vec<_> = fs::read_dir(&entry).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, [original_file(sealed), "reason.json"], "{sealed} {state}");
        }
    }
}

#[test]
fn removal_can_be_resumed() {
    for (original, mark) in [(true, "a file"), (false, "a file"), (true, "a directory"), (true, "none")] {
        let dir = tempfile::tempdir().unwrap();
        let reason = reason(false);
        let entry = dir.path().join(reason.job.to_string());
        fs::create_dir(&entry).unwrap();
        fs::write(entry.join("discard.json"), "{}").unwrap();
        if original {
            fs::write(entry.join("original"), "abc").unwrap();
        }
        match mark {
            "a file" => fs::write(entry.join(REMOVED), "{").unwrap(),
            "a directory" => fs::create_dir_all(entry.join(REMOVED).join("more")).unwrap(),
            _ => {}
        }
        remove(dir.path(), reason.job).unwrap();
        assert!(!entry.exists(), "{original} {mark}");
    }
}

#[test]
fn a_damaged_reason_is_written_anew_from_a_source_that_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let (q, from, reason) = (dir.path().join("q"), dir.path().join("from"), reason(false));
    fs::write(&from, "abc").unwrap();
    let complete = q.join(reason.job.to_string()).join("reason.json");
    store(&q, &Original::AsItCame(&from), &reason).unwrap();
    fs::write(&complete, "{").unwrap();
    store(&q, &Original::AsItCame(&from), &reason).unwrap();
    assert_eq!(list(&q).unwrap(), std::slice::from_ref(&reason));
    fs::remove_file(&complete).unwrap();
    fs::create_dir_all(complete.join("more")).unwrap();
    store(&q, &Original::AsItCame(&from), &reason).unwrap();
    assert_eq!(list(&q).unwrap(), [reason]);
}

#[test]
fn a_whole_entry_is_not_due_for_a_mark_that_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let (q, from, reason) = (dir.path().join("q"), dir.path().join("from"), reason(false));
    fs::write(&from, "abc").unwrap();
    store(&q, &Original::AsItCame(&from), &reason).unwrap();
    let entry = q.join(reason.job.to_string());
    fs::write(entry.join(REMOVED), "{}").unwrap();
    let oldest = || expiry::oldest(&q, std::time::Duration::from_secs(60), reason.quarantined_at, &Default::default());
    assert_eq!(oldest().unwrap(), None);
    fs::remove_file(entry.join("reason.json")).unwrap();
    assert_eq!(oldest().unwrap(), Some(reason.job));
}
