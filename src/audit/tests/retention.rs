//! Closed segments: compressed, pruned, held.

use super::*;

const DAY: i64 = 86_400;

impl Fixture {
    fn keeping(&self, keep_days: u64, total_size: u64) -> Trail {
        let options = TrailOptions {
            rotate_daily: true,
            compress_after: Duration::from_secs(DAY as u64 / 2),
            keep: Duration::from_secs(keep_days * DAY as u64),
            total_size,
            epoch_key: self.epoch_key(),
            ..TrailOptions::keeping_all(self.trail_dir(), 2000)
        };
        Trail::open(options, self.key.clone(), at(0)).unwrap()
    }

    /// A trail of several days, its files as old as their records.
    pub fn of_days(&self, days: i64) {
        let mut trail = self.keeping(400, 1 << 30);
        for day in 0..days {
            for hour in 0..4 {
                trail.append(&[record(day * DAY + hour * 3600)]).unwrap();
            }
        }
        trail.checkpoint(at(days * DAY - 7200), true).unwrap();
        drop(trail);
        for (_, path) in segment::list(&self.trail_dir()).unwrap() {
            let mut last = at(0);
            let mut lines = segment::Lines::open(&path).unwrap();
            while lines.advance().unwrap() {
                let line: Value = serde_json::from_slice(&lines.line).unwrap();
                last = line["@timestamp"].as_str().unwrap().parse().unwrap();
            }
            fs::File::open(&path).unwrap().set_modified(last.into()).unwrap();
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.trail_dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("audit-"))
            .collect();
        names.sort();
        names
    }
}

/// Prunes what is older than three days, on a later one.
pub(super) fn prune(fixture: &Fixture, day: i64) -> Vec<Stub> {
    stubs(&until_idle(&mut fixture.keeping(3, 1 << 30), at(day * DAY)))
}

fn until_idle(trail: &mut Trail, now: Timestamp) -> Vec<Upkeep> {
    let mut steps = Vec::new();
    loop {
        match trail.upkeep(now).unwrap() {
            Upkeep::Idle => return steps,
            step => steps.push(step),
        }
        assert!(steps.len() < 100);
        if matches!(steps.last(), Some(Upkeep::OverBudget { .. })) {
            return steps;
        }
    }
}

fn stubs(steps: &[Upkeep]) -> Vec<Stub> {
    let pruned = steps.iter().filter_map(|step| match step {
        Upkeep::Pruned(stub) => Some(stub.clone()),
        _ => None,
    });
    pruned.collect()
}

#[test]
fn all_but_the_two_newest_segments_are_compressed_and_read_as_before() {
    let fixture = Fixture::new();
    fixture.of_days(4);
    let before = lines_after(&fixture.trail_dir(), 0).unwrap();
    let plain = fixture.names().len();
    let mut trail = fixture.keeping(400, 1 << 30);
    let steps = until_idle(&mut trail, at(4 * DAY));
    assert_eq!(steps.len(), plain - 2, "{steps:?}");
    assert_eq!(fixture.names().iter().filter(|name| name.ends_with(".jsonl.zst")).count(), plain - 2);
    assert_eq!(lines_after(&fixture.trail_dir(), 0).unwrap()[..before.len()], before);
    assert_eq!(fixture.verify().problems, []);
    assert_eq!(tail(&fixture.trail_dir(), 9).unwrap()[..8], before[before.len() - 8..]);
    trail.append(&[record(4 * DAY)]).unwrap();
    drop(trail);
    // Its newest segments deleted, the trail goes on from a compressed one; that they are missing shows at the ledger.
    let segments = segment::list(&fixture.trail_dir()).unwrap();
    segments.iter().rev().take(2).for_each(|(_, path)| fs::remove_file(path).unwrap());
    drop(fixture.keeping(400, 1 << 30));
    assert_eq!(fixture.verify().problems, []);
}

#[test]
fn what_was_closed_lately_stays_plain_unless_room_is_short() {
    let fixture = Fixture::new();
    fixture.of_days(4);
    let evening = at(2 * DAY + 6 * 3600);
    let mut trail = fixture.keeping(400, 1 << 30);
    until_idle(&mut trail, evening);
    let plain = || fixture.names().into_iter().filter(|name| name.ends_with(".jsonl")).collect::<Vec<_>>();
    let compressed = fixture.names().len() - plain().len();
    assert!(plain().len() > 2 && compressed > 2, "{:?}", fixture.names());
    drop(trail);
    let step = fixture.keeping(400, 6000).upkeep(evening).unwrap();
    assert_eq!(fixture.names().len() - plain().len(), compressed + 1, "{step:?}");
}

#[test]
fn every_flip_in_a_compressed_segment_is_found_or_changes_nothing() {
    let fixture = Fixture::new();
    fixture.of_days(3);
    drop(until_idle(&mut fixture.keeping(400, 1 << 30), at(3 * DAY)));
    let (_, path) = segment::list(&fixture.trail_dir()).unwrap().remove(0);
    let good = fs::read(&path).unwrap();
    let plain = zstd::decode_all(&*good).unwrap();
    for index in (0..good.len()).step_by(5) {
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        fs::write(&path, &bad).unwrap();
        let is_same = zstd::decode_all(&*bad).is_ok_and(|bad| bad == plain);
        assert!(is_same || !fixture.verify().problems.is_empty(), "byte {index}");
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(fixture.verify().problems[0].what.contains("damaged"), "{:?}", fixture.verify().problems);
}

#[test]
fn what_is_older_than_keep_goes_and_the_chain_holds_across_it() {
    let fixture = Fixture::new();
    fixture.of_days(6);
    let pruned = prune(&fixture, 6);
    assert!(pruned.len() >= 2 && pruned.iter().all(|stub| stub.why == Why::Keep), "{pruned:?}");
    assert!(pruned.iter().all(|stub| stub.last_at < at(3 * DAY)), "{pruned:?}");
    let left = lines_after(&fixture.trail_dir(), 0).unwrap();
    let oldest: Timestamp = left[0]["@timestamp"].as_str().unwrap().parse().unwrap();
    assert!(oldest <= at(3 * DAY + 4 * 3600) && left[0]["veild"]["seq"].as_u64() > Some(1));
    let verdict = fixture.verify();
    assert_eq!(verdict.problems, []);
    assert_eq!(verdict.pruned_segments, pruned.len() as u64);
    assert_eq!(verdict.pruned_records + verdict.records, verdict.last_seq);
    assert_eq!(fixture.keeping(3, 1 << 30).last_seq(), verdict.last_seq + 1);
}

#[test]
fn a_stub_that_was_edited_swapped_or_made_up_is_found() {
    let fixture = Fixture::new();
    fixture.of_days(6);
    prune(&fixture, 6);
    let (_, path) = stub::list(&fixture.trail_dir()).unwrap().remove(1);
    let good = fs::read(&path).unwrap();
    for index in (0..good.len()).step_by(13) {
        let mut bad = good.clone();
        bad[index] ^= 1;
        fs::write(&path, &bad).unwrap();
        let is_same = serde_json::from_slice::<Stub>(&bad).is_ok_and(|it| it == serde_json::from_slice(&good).unwrap());
        assert!(is_same || !fixture.verify().problems.is_empty(), "byte {index}");
    }
    fs::remove_file(&path).unwrap();
    assert!(fixture.verify().problems[0].what.contains("missing"));
    fs::write(&path, &good).unwrap();
    assert_eq!(fixture.verify().problems, []);
    // Somebody with the host's key removes a segment and signs a stub for it: no record says so.
    let (first, segment) = segment::list(&fixture.trail_dir()).unwrap().remove(0);
    let lines = fs::read(&segment).map(|bytes| zstd::decode_all(&*bytes).unwrap_or(bytes)).unwrap();
    let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    let link = |line: &[u8]| {
        let value: Value = serde_json::from_slice(line).unwrap();
        segment::link(&value).map(|(seq, prev)| (seq, prev.to_owned())).unwrap()
    };
    let mut forged = Stub {
        first_seq: first,
        last_seq: link(lines[lines.len() - 1]).0,
        prev: link(lines[0]).1,
        head: segment::hash(lines[lines.len() - 1]),
        last_line: String::from_utf8(lines[lines.len() - 1].to_vec()).unwrap(),
        recorded_after: fixture.verify().last_seq,
        ..Stub::read(&path).unwrap()
    };
    forged.sign(&fixture.key);
    forged.write(&fixture.trail_dir()).unwrap();
    fs::remove_file(&segment).unwrap();
    let problems = fixture.verify().problems;
    assert!(problems.len() == 1 && problems[0].what.contains("no record"), "{problems:?}");
}

#[test]
fn the_budget_takes_the_oldest_and_holds_keep_what_they_name() {
    let fixture = Fixture::new();
    fixture.of_days(6);
    let hold = hold::Hold::new("case-7", Some(at(0)), Some(at(DAY)), "litigation", at(0));
    hold.add(&fixture.trail_dir()).unwrap();
    assert!(hold.add(&fixture.trail_dir()).is_err(), "a name belongs to one hold");
    assert_eq!(hold::list(&fixture.trail_dir()).unwrap(), [hold]);
    let mut trail = fixture.keeping(400, 6000);
    let now = at(5 * DAY + 20_000);
    let steps = until_idle(&mut trail, now);
    let pruned = stubs(&steps);
    assert!(!pruned.is_empty() && pruned.iter().all(|stub| stub.why == Why::TotalSize && stub.first_at > at(DAY)));
    assert!(matches!(steps.last(), Some(Upkeep::OverBudget { .. })), "{steps:?}");
    assert_eq!(fixture.verify().problems, []);
    let first = &lines_after(&fixture.trail_dir(), 0).unwrap()[0];
    assert_eq!(first["veild"]["seq"], 1, "the held segment is there");
    // One hold that cannot be read keeps everything.
    fs::write(fixture.trail_dir().join("holds/other.json"), "{").unwrap();
    assert!(trail.upkeep(now).is_err());
    fs::remove_file(fixture.trail_dir().join("holds/other.json")).unwrap();
    hold::remove(&fixture.trail_dir(), "case-7").unwrap();
    assert!(!stubs(&until_idle(&mut trail, now)).is_empty());
    assert_eq!(fixture.verify().problems, []);
}

#[test]
fn a_damaged_segment_is_evidence_and_stays() {
    let fixture = Fixture::new();
    fixture.of_days(5);
    let (_, path) = segment::list(&fixture.trail_dir()).unwrap().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::File::open(&path).unwrap().set_modified(at(0).into()).unwrap();
    let mut trail = fixture.keeping(1, 1 << 30);
    let ended = (0..50).find_map(|_| trail.upkeep(at(9 * DAY)).err()).unwrap();
    assert!(matches!(ended, AuditError::Broken { .. }), "{ended}");
    assert!(fixture.names()[0].starts_with("audit-00000000000000000001.jsonl"));
}

#[test]
fn a_stub_of_the_first_version_still_carries_the_chain() {
    let fixture = Fixture::new();
    fixture.of_days(6);
    prune(&fixture, 6);
    for (_, path) in stub::list(&fixture.trail_dir()).unwrap() {
        let mut old: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        old["stub_version"] = 1.into();
        old.as_object_mut().unwrap().remove("last_line");
        fs::write(&path, old.to_string()).unwrap();
    }
    drop(fixture.keeping(3, 1 << 30));
    assert_eq!(fixture.verify().problems, []);
}

#[test]
fn a_forged_stub_takes_no_segment_away() {
    let fixture = Fixture::new();
    fixture.of_days(4);
    let dir = fixture.trail_dir();
    let segments = segment::list(&dir).unwrap();
    let (first, path) = segments[0].clone();
    let before = fs::read(&path).unwrap();
    let mut stub = Stub {
        stub_version: 2,
        first_seq: first,
        last_seq: segments[1].0 - 1,
        prev: segment::GENESIS.to_owned(),
        head: "0".repeat(64),
        last_line: String::new(),
        first_at: at(0),
        last_at: at(1),
        why: Why::Keep,
        recorded_after: 1,
        signature: String::new(),
    };
    stub.sign(&Fixture::new().key);
    stub.write(&dir).unwrap();
    let refused = |said: &str| {
        let refused = fixture.keeping(400, 1 << 30).upkeep(at(4 * DAY)).unwrap_err().to_string();
        assert!(refused.contains(said) && refused.contains(".pruned.json"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), before);
    };
    refused("bad stub");
    // One of the host's own, of another segment.
    stub.sign(&fixture.key);
    stub.write(&dir).unwrap();
    refused("of another segment");
}
