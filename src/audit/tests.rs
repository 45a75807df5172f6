use super::*;
use crate::keys::{SigningKey, generate_signing};
use std::fs;
use std::io::Write;
use std::path::Path;

mod retention;
mod seal;
mod tamper;

pub(super) struct Fixture {
    dir: tempfile::TempDir,
    key: SigningKey,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        generate_signing(&dir.path().join("k")).unwrap();
        let key = SigningKey::load(&dir.path().join("k")).unwrap();
        Fixture { dir, key }
    }

    pub(super) fn trail_dir(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn epoch_key(&self) -> PathBuf {
        self.dir.path().join("epoch.key")
    }

    pub(super) fn open(&self, rotate_size: u64) -> Result<Trail, AuditError> {
        let all = TrailOptions::keeping_all(self.trail_dir(), rotate_size);
        let options = TrailOptions { rotate_daily: true, epoch_key: self.epoch_key(), ..all };
        Trail::open(options, self.key.clone(), at(0))
    }

    /// A closed log of one segment: checkpoint, three records, checkpoint.
    fn closed(&self) -> PathBuf {
        let mut trail = self.open(1 << 20).unwrap();
        assert_eq!(trail.append(&[record(1), record(2), record(3)]).unwrap(), 2);
        trail.checkpoint(at(4), true).unwrap();
        assert_eq!(trail.last_seq(), 5);
        self.trail_dir().join("audit-00000000000000000001.jsonl")
    }

    fn verify(&self) -> Verdict {
        verify(&self.trail_dir(), &self.key.verifying(), &|_, _| {}).unwrap()
    }
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(super) fn record(second: i64) -> Record {
    Record::new(at(second), Action::FileSealed, Outcome::Success).file("people.csv").veild("job", second)
}

fn append_raw(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn what_is_looked_for_is_found_without_reading_on() {
    use segment::any_after;
    let fixture = Fixture::new();
    let segment = fixture.closed();
    let (dir, is) = (fixture.trail_dir(), |seq: u64| move |line: &serde_json::Value| line["veild"]["seq"] == seq);
    assert!(any_after(&dir, 1, is(2)).unwrap() && any_after(&dir, 0, is(5)).unwrap());
    assert!(!any_after(&dir, 2, is(2)).unwrap() && !any_after(&dir, 9, is(2)).unwrap());
    append_raw(&segment, b"no JSON\n");
    assert!(any_after(&dir, 1, is(2)).unwrap() && any_after(&dir, 1, is(6)).is_err());
}

#[test]
fn a_closed_log_verifies_and_reads_back() {
    let fixture = Fixture::new();
    fixture.closed();
    let verdict = fixture.verify();
    assert_eq!(verdict.problems, []);
    assert_eq!((verdict.records, verdict.checkpoints, verdict.unsigned_records), (5, 2, 0));
    let lines = lines_after(&fixture.trail_dir(), 2).unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["file"]["name"], "people.csv");
    assert_eq!(lines[0]["event"]["category"][0], "file");
    assert_eq!(tail(&fixture.trail_dir(), 2).unwrap(), lines[1..]);
    let other = Fixture::new();
    assert_eq!(verify(&fixture.trail_dir(), &other.key.verifying(), &|_, _| {}).unwrap().problems.len(), 2);
}

#[test]
fn every_flipped_byte_is_found() {
    let fixture = Fixture::new();
    let path = fixture.closed();
    let good = fs::read(&path).unwrap();
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        fs::write(&path, &bad).unwrap();
        assert_ne!(fixture.verify().problems, [], "byte {index}");
    }
}

#[test]
fn removed_swapped_and_inserted_lines_are_found() {
    let fixture = Fixture::new();
    let path = fixture.closed();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let found = |lines: &[&str]| {
        fs::write(&path, lines.concat()).unwrap();
        let verdict = fixture.verify();
        // The last line leaves no gap, but what was written before it is then reported as unsigned.
        !verdict.problems.is_empty() || verdict.unsigned_records > 0
    };
    assert!(!found(&lines));
    for index in 0..lines.len() {
        let mut edited = lines.clone();
        edited.remove(index);
        assert!(found(&edited), "removed {index}");
        let mut edited = lines.clone();
        edited.insert(index, lines[1]);
        assert!(found(&edited), "inserted {index}");
        if index > 0 {
            let mut edited = lines.clone();
            edited.swap(index - 1, index);
            assert!(found(&edited), "swapped {index}");
        }
    }
}

/// What was done to a trail of several segments, and where; what verification must say of it.
#[test]
fn every_edit_of_a_long_trail_is_found_in_its_place() {
    let fixture = Fixture::new();
    let mut trail = fixture.open(900).unwrap();
    for second in 1..8 {
        trail.append(&[record(second)]).unwrap();
    }
    trail.checkpoint(at(9), true).unwrap();
    drop(trail);
    assert_eq!((fixture.verify().problems, fixture.verify().unsigned_records), (vec![], 0));
    let paths: Vec<PathBuf> = segment::list(&fixture.trail_dir()).unwrap().into_iter().map(|(_, path)| path).collect();
    assert!(paths.len() >= 3, "{paths:?}");
    let said = |index: usize, line: u64| {
        let here = segment::label(&paths[index]);
        let next = paths.get(index + 1).map(|path| segment::label(path));
        let at_place = |it: &Problem| {
            (it.segment == here && (it.line == line || it.line == line + 1))
                || (Some(&it.segment) == next.as_ref() && it.line == 1)
        };
        let verdict = fixture.verify();
        // What is cut off at the very end leaves records that nothing signs any more.
        verdict.problems.iter().any(at_place) || (next.is_none() && verdict.unsigned_records > 0)
    };
    for (index, path) in paths.iter().enumerate() {
        let good = fs::read(path).unwrap();
        let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
        let edit = |lines: &[&[u8]]| fs::write(path, lines.concat()).unwrap();
        for (number, line) in (1..).zip(&lines) {
            // Each byte of one line is flipped in a test above; here three of each line.
            for byte in [0, line.len() / 2, line.len() - 1] {
                let mut bad = line.to_vec();
                bad[byte] ^= 1;
                let mut edited = lines.clone();
                edited[number as usize - 1] = &bad;
                edit(&edited);
                assert!(said(index, number), "byte {byte} of line {number} of segment {index}");
            }
            let position = number as usize - 1;
            let mut edited = lines.clone();
            edited.remove(position);
            edit(&edited);
            assert!(said(index, number), "removed line {number} of segment {index}");
            edited.insert(position, line);
            edited.insert(position, lines[0]);
            edit(&edited);
            assert!(said(index, number), "inserted before line {number} of segment {index}");
            if position > 0 {
                let mut edited = lines.clone();
                edited.swap(position - 1, position);
                edit(&edited);
                assert!(said(index, number - 1), "swapped lines before {number} of segment {index}");
            }
        }
        fs::remove_file(path).unwrap();
        let is_last = index + 1 == paths.len();
        assert!(is_last || !fixture.verify().problems.is_empty(), "removed segment {index}");
        fs::write(path, &good).unwrap();
    }
    assert_eq!(fixture.verify().problems, []);
}

#[test]
fn checkpoints_come_every_ten_minutes_in_which_anything_was_written() {
    let fixture = Fixture::new();
    let mut trail = fixture.open(1 << 20).unwrap();
    let written = |trail: &mut Trail, second: i64| {
        let before = trail.last_seq();
        trail.checkpoint(at(second), false).unwrap();
        trail.last_seq() - before
    };
    assert_eq!(written(&mut trail, 700), 0, "nothing was written since the start");
    trail.append(&[record(710)]).unwrap();
    assert_eq!(trail.last_seq(), 3, "the record brings the checkpoint that was due");
    trail.append(&[record(720)]).unwrap();
    assert_eq!((written(&mut trail, 1309), written(&mut trail, 1310), written(&mut trail, 9999)), (0, 1, 0));
    drop(trail);
    assert_eq!((fixture.verify().problems, fixture.verify().unsigned_records), (vec![], 0));
}

#[test]
fn a_torn_tail_is_cut_and_recorded() {
    let fixture = Fixture::new();
    let path = fixture.closed();
    append_raw(&path, b"{\"@timestamp\":\"20");
    let trail = fixture.open(1 << 20).unwrap();
    assert_eq!(trail.last_seq(), 7);
    assert!(fixture.open(1 << 20).is_err(), "one writer only");
    drop(trail);
    let lines = lines_after(&fixture.trail_dir(), 5).unwrap();
    assert_eq!(lines[0]["event"]["action"], "audit.repaired");
    assert_eq!(lines[0]["veild"]["repaired"]["bytes_cut"], 17);
    append_raw(&path, &[b"{\"a".as_slice(), &[0; 200_000]].concat());
    drop(fixture.open(1 << 20).unwrap());
    assert_eq!(fixture.verify().problems, []);
    append_raw(&path, b"{}\n");
    assert!(matches!(fixture.open(1 << 20), Err(AuditError::Broken { .. })));
}

#[test]
fn rotation_by_size_and_day_keeps_the_chain() {
    let fixture = Fixture::new();
    let mut trail = fixture.open(2000).unwrap();
    for second in 1..20 {
        trail.append(&[record(second)]).unwrap();
    }
    trail.append(&[record(86_400)]).unwrap();
    trail.checkpoint(at(86_401), true).unwrap();
    drop(trail);
    let segments = segment::list(&fixture.trail_dir()).unwrap();
    assert!(segments.len() > 3);
    // A segment that was created but never written is as good as none.
    let last = fixture.verify().last_seq;
    fs::write(fixture.trail_dir().join(segment::file_name(last + 1)), "{\"to").unwrap();
    drop(fixture.open(2000).unwrap());
    let verdict = fixture.verify();
    assert_eq!((verdict.problems, verdict.last_seq), (vec![], last + 2));
    fs::remove_file(&segments[1].1).unwrap();
    assert!(fixture.verify().problems[0].what.contains("missing"));
}

#[test]
fn an_overlong_record_is_shortened() {
    let fixture = Fixture::new();
    let mut trail = fixture.open(1 << 20).unwrap();
    trail.append(&[record(1).field("message", "x".repeat(200_000)).veild("seq", 77)]).unwrap();
    let lines = tail(&fixture.trail_dir(), 1).unwrap();
    assert_eq!(lines[0]["veild"]["shortened"], true);
    assert_eq!(lines[0]["veild"]["seq"], 2);
}
