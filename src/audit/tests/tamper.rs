//! Every position of a trail of 10,000 records, with rotations, compressed segments and a pruned part, is tampered with:
//! verification resynchronises behind an edit, so that one reading shows hundreds of them, each in its place.

use std::collections::BTreeSet;

use super::seal::Sealed;
use super::*;

const RECORDS: usize = 10_000;
/// Lines between two edits in one reading; the list of problems is bounded.
const APART: usize = 64;

/// A trail as its segments' lines.
struct Pages {
    dir: PathBuf,
    segments: Vec<(String, Vec<Vec<u8>>)>,
}

impl Pages {
    fn of(dir: &Path) -> Pages {
        let segments = segment::list(dir).unwrap().into_iter().map(|(first, path)| {
            let bytes = fs::read(&path).unwrap();
            let bytes = if segment::is_compressed(&path) { zstd::decode_all(&*bytes).unwrap() } else { bytes };
            fs::remove_file(&path).unwrap();
            (segment::file_name(first), bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
        });
        let pages = Pages { dir: dir.to_owned(), segments: segments.collect() };
        pages.write(|_, _, line| line.to_vec());
        pages
    }

    /// Writes the trail with every line, given its segment's index and its own, as it is edited.
    fn write(&self, edited: impl Fn(usize, usize, &[u8]) -> Vec<u8>) {
        for (index, (name, lines)) in self.segments.iter().enumerate() {
            let bytes: Vec<u8> =
                lines.iter().enumerate().flat_map(|(line, bytes)| edited(index, line, bytes)).collect();
            fs::write(self.dir.join(name), bytes).unwrap();
        }
    }

    /// Every place that is edited in this round.
    fn places(&self, round: usize) -> Vec<(usize, usize)> {
        let all = self.segments.iter().enumerate();
        let all = all.flat_map(|(index, (_, lines))| (0..lines.len()).map(move |line| (index, line)));
        all.skip(round).step_by(APART).collect()
    }

    /// The segment and line after one.
    fn after(&self, (index, line): (usize, usize)) -> Option<(usize, usize)> {
        match line + 1 < self.segments[index].1.len() {
            true => Some((index, line + 1)),
            false => (index + 1 < self.segments.len()).then_some((index + 1, 0)),
        }
    }

    /// The segment and line before one.
    fn before(&self, (index, line): (usize, usize)) -> Option<(usize, usize)> {
        match line {
            0 => index.checked_sub(1).map(|index| (index, self.segments[index].1.len() - 1)),
            line => Some((index, line - 1)),
        }
    }

    /// Where verification finds something.
    fn found(&self, problems: &[Problem]) -> BTreeSet<(usize, usize)> {
        let index = |name: &str| self.segments.iter().position(|(segment, _)| segment == name);
        problems.iter().filter_map(|problem| Some((index(&problem.segment)?, problem.line as usize - 1))).collect()
    }
}

fn long_trail() -> (Sealed, Pages) {
    let sealed = Sealed::new();
    let day = |number: usize| at(86_400 * (number as i64 / 400) + number as i64 % 400);
    let options = |keep: u64| TrailOptions {
        rotate_daily: true,
        checkpoint_every: Duration::from_secs(60),
        keep: Duration::from_secs(keep),
        epoch_key: sealed.fixture.epoch_key(),
        ..TrailOptions::keeping_all(sealed.fixture.trail_dir(), 40_000)
    };
    let mut trail = Trail::open(options(u64::MAX), sealed.fixture.key.clone(), at(0)).unwrap();
    for number in 0..RECORDS {
        let record = Record::new(day(number), Action::FileSealed, Outcome::Success).veild("job", number);
        trail.append(&[record]).unwrap();
    }
    trail.checkpoint(day(RECORDS), true).unwrap();
    drop(trail);
    for (_, path) in segment::list(&sealed.fixture.trail_dir()).unwrap().into_iter().take(9) {
        fs::File::open(path).unwrap().set_modified(at(0).into()).unwrap();
    }
    let mut trail = Trail::open(options(86_400 * 24), sealed.fixture.key.clone(), day(RECORDS)).unwrap();
    while trail.upkeep(day(RECORDS)).unwrap() != Upkeep::Idle {}
    trail.checkpoint(day(RECORDS), true).unwrap();
    drop(trail);
    let verdict = sealed.against(None);
    assert_eq!(verdict.problems, []);
    assert!(verdict.pruned_segments > 2 && verdict.segments > 50, "{verdict:?}");
    assert!(verdict.last_seq > RECORDS as u64 && verdict.checkpoints > 50);
    let pages = Pages::of(&sealed.fixture.trail_dir());
    assert_eq!(sealed.problems(), []);
    (sealed, pages)
}

#[test]
fn every_flip_removal_insertion_and_exchange_is_found_in_its_place() {
    let (sealed, pages) = long_trail();
    let last = pages.segments.len() - 1;
    let the_last = (last, pages.segments[last].1.len() - 1);
    for round in 0..APART {
        let places: BTreeSet<_> = pages.places(round).into_iter().collect();
        pages.write(|index, line, bytes| {
            let mut bytes = bytes.to_vec();
            if places.contains(&(index, line)) {
                let at = (index * 131 + line * 31 + round) % bytes.len();
                bytes[at] ^= 1 << (at % 8);
            }
            bytes
        });
        let found = pages.found(&sealed.problems());
        for place in &places {
            let is_found = found.contains(place) || pages.after(*place).is_some_and(|next| found.contains(&next));
            assert!(is_found, "a flipped bit in {place:?}");
        }

        pages.write(|index, line, bytes| if places.contains(&(index, line)) { Vec::new() } else { bytes.to_vec() });
        let problems = sealed.problems();
        // What stands behind in the same file has moved up by the lines that are gone before it.
        let found = pages.found(&problems);
        for place in places.iter().filter(|place| **place != the_last) {
            let (index, line) = pages.after(*place).unwrap();
            let gone = places.iter().filter(|(other, before)| *other == index && *before < line).count();
            assert!(found.contains(&(index, line - gone)), "record {place:?} removed");
        }
        assert!(!places.contains(&the_last) || problems.iter().any(|it| it.what.contains("cut off")));

        pages.write(|index, line, bytes| bytes.repeat(if places.contains(&(index, line)) { 2 } else { 1 }));
        let found = pages.found(&sealed.problems());
        for (index, line) in &places {
            let more = places.iter().filter(|(other, before)| other == index && before < line).count();
            assert!(found.contains(&(*index, line + more + 1)), "a line inserted behind {index}, {line}");
        }

        // With the next record, which may be the first of the next segment.
        pages.write(|index, line, bytes| {
            let other = match places.contains(&(index, line)) {
                true => pages.after((index, line)),
                false => pages.before((index, line)).filter(|before| places.contains(before)),
            };
            other.map_or_else(|| bytes.to_vec(), |(index, line)| pages.segments[index].1[line].clone())
        });
        let found = pages.found(&sealed.problems());
        for place in places.iter().filter(|place| **place != the_last) {
            assert!(found.contains(place), "records exchanged at {place:?}");
        }
    }
}

#[test]
fn every_end_that_was_cut_off_is_found() {
    let (sealed, pages) = long_trail();
    let last = pages.segments.len() - 1;
    let longest = pages.segments.iter().map(|(_, lines)| lines.len()).max().unwrap();
    for keep in 0..longest {
        // Half of the segments end early, and half of these in the midst of a line.
        let is_cut = |index: usize| index % 2 == keep % 2 && keep < pages.segments[index].1.len();
        pages.write(|index, line, bytes| match is_cut(index) {
            true if line == keep && index % 4 < 2 => bytes[..bytes.len() / 2].to_vec(),
            true if line >= keep => Vec::new(),
            _ => bytes.to_vec(),
        });
        let problems = sealed.problems();
        let found = pages.found(&problems);
        for index in (0..last).filter(|index| is_cut(*index)) {
            assert!(found.contains(&(index + 1, 0)), "segment {index} cut at line {keep}");
        }
        assert!(!is_cut(last) || problems.iter().any(|it| it.what.contains("cut off")), "the trail cut at {keep}");
    }
}

#[test]
fn a_long_trail_that_was_written_anew_is_found_by_its_secret_or_by_any_old_checkpoint() {
    let (sealed, pages) = long_trail();
    let lines = pages.segments.iter().flat_map(|(_, lines)| lines);
    let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let first = lines[0]["veild"]["seq"].as_u64().unwrap();
    let checkpoints: Vec<&Value> = lines.iter().filter_map(|line| line["veild"].get("checkpoint")).collect();
    assert!(checkpoints.len() > 50, "{}", checkpoints.len());
    // All that is left, with the keys that the host has now.
    sealed.rewrite_from(first);
    assert_eq!(sealed.fixture.verify().problems, [], "the host's keys alone vouch for it");
    let problems = sealed.problems();
    assert!(problems[0].what.contains("written anew later"), "{problems:?}");
    let kept = sealed.fixture.dir.path().join("kept");
    for checkpoint in checkpoints.iter().step_by(10).chain(checkpoints.last()) {
        fs::write(&kept, checkpoint.to_string()).unwrap();
        let problems = sealed.against(Some(&kept)).problems;
        assert!(problems.len() == 1 && problems[0].what.contains("was rewritten"), "{checkpoint}: {problems:?}");
    }
}

#[test]
fn segments_of_another_host_are_found() {
    let ((sealed, pages), (_, others)) = (long_trail(), long_trail());
    pages.write(|index, line, bytes| match index % 2 {
        0 => others.segments[index].1.get(line).cloned().unwrap_or_default(),
        _ => bytes.to_vec(),
    });
    let found = pages.found(&sealed.problems());
    for index in 0..pages.segments.len() {
        assert!(found.contains(&(index, 0)), "segment {index}");
    }
}
