//! Reading the trail as it grows, behind its writer: durable lines only, in order, from plain and compressed segments.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::AuditError;
use super::segment::{self, Lines, broken};

/// Bytes at which a batch is full.
const BATCH_BYTES: usize = 256 << 10;

/// How far the trail is durable, and what that has cost. The writer says so and waits for nobody.
#[derive(Default)]
pub struct Durable {
    reached: Mutex<Reached>,
    changed: Condvar,
    spent_ns: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Reached {
    seq: u64,
    ends: bool,
}

impl Durable {
    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reach(&self, seq: u64) {
        self.reached().seq = seq;
        self.changed.notify_all();
    }

    /// Number of the last durable record.
    pub fn seq(&self) -> u64 {
        self.reached().seq
    }

    pub(super) fn spend(&self, time: Duration) {
        self.spent_ns.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Time that appending has taken.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_ns.load(Ordering::Relaxed))
    }

    /// Tells who waits here that nothing more comes.
    pub fn end(&self) {
        self.reached().ends = true;
        self.changed.notify_all();
    }

    pub fn ends(&self) -> bool {
        self.reached().ends
    }

    /// Waits until there is more than `seq`, for so long at most, or until nothing more comes.
    pub fn wait_beyond(&self, seq: u64, longest: Duration) -> u64 {
        let waits = |reached: &mut Reached| reached.seq <= seq && !reached.ends;
        let waited = self.changed.wait_timeout_while(self.reached(), longest, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.seq
    }

    /// Waits for so long, or until nothing more comes.
    pub fn pause(&self, time: Duration) {
        drop(self.changed.wait_timeout_while(self.reached(), time, |reached| !reached.ends));
    }
}

/// What comes next of a trail.
pub enum Batch {
    /// Lines with their newline, each with its number, in order.
    Lines(Vec<(u64, Vec<u8>)>),
    /// What was to come has been pruned: the oldest record that is left.
    Pruned { next: u64 },
}

/// Reads a trail from a record on.
pub struct Follower {
    dir: PathBuf,
    next: u64,
    /// First number of the segment that is read; 0: none yet.
    first: u64,
    /// Bytes of it that were read, as they were before it was compressed.
    offset: u64,
    /// The segment, open up to a durable record; behind it may be lines that are cut off and written anew.
    open: Option<(Lines, u64)>,
}

#[derive(Deserialize)]
struct Numbered {
    veild: Number,
}

#[derive(Deserialize)]
struct Number {
    seq: u64,
}

impl Follower {
    /// One whose first record is `next`.
    pub fn new(dir: &Path, next: u64) -> Result<Follower, AuditError> {
        let holds_it = segment::list(dir)?.into_iter().rfind(|(first, _)| *first <= next);
        let first = holds_it.map_or(0, |(first, _)| first);
        Ok(Follower { dir: dir.to_owned(), next, first, offset: 0, open: None })
    }

    /// Number of the record that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Some of the records up to the durable one `until`; none when there are no more.
    pub fn batch(&mut self, until: u64) -> Result<Batch, AuditError> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while self.next <= until && bytes < BATCH_BYTES {
            if let Some(line) = self.line(until)? {
                bytes += line.len();
                lines.push((self.next, line));
                self.next += 1;
                continue;
            }
            let after = segment::list(&self.dir)?.into_iter().map(|(first, _)| first).find(|first| *first > self.first);
            match after {
                Some(first) if first == self.next => (self.first, self.offset) = (first, 0),
                Some(first) if first > self.next && lines.is_empty() => {
                    (self.next, self.first, self.offset) = (first, first, 0);
                    return Ok(Batch::Pruned { next: first });
                }
                Some(first) if first > self.next => break,
                _ => return Err(self.missing()),
            }
        }
        Ok(Batch::Lines(lines))
    }

    /// The line that comes next, as far as the segment has it.
    fn line(&mut self, until: u64) -> Result<Option<Vec<u8>>, AuditError> {
        if self.open.as_ref().is_none_or(|(_, valid)| *valid < self.next) {
            match Lines::open_at(&self.dir.join(segment::file_name(self.first)), self.offset) {
                Ok(lines) => self.open = Some((lines, until)),
                // None yet, or one that was pruned meanwhile.
                Err(AuditError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let Some((lines, _)) = &mut self.open else { return Ok(None) };
        loop {
            if !lines.advance()? {
                self.open = None;
                return Ok(None);
            }
            self.offset = lines.offset + lines.line.len() as u64;
            let known: Option<Numbered> = serde_json::from_slice(&lines.line).ok().filter(|_| lines.whole());
            match known.map(|known| known.veild.seq) {
                Some(seq) if seq == self.next => return Ok(Some(lines.line.clone())),
                Some(seq) if seq < self.next => {}
                _ => return Err(self.missing()),
            }
        }
    }

    fn missing(&self) -> AuditError {
        let path = self.dir.join(segment::file_name(self.first));
        broken(&path, format!("record {} is missing or was changed", self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, at, record};
    use super::*;

    fn numbers(follower: &mut Follower, until: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            match follower.batch(until).unwrap() {
                Batch::Lines(lines) if lines.is_empty() => return numbers,
                Batch::Lines(lines) => numbers.extend(lines.iter().map(|(seq, _)| *seq)),
                Batch::Pruned { next } => numbers.push(1000 + next),
            }
        }
    }

    #[test]
    fn it_reads_on_through_rotation_and_compression_and_never_what_is_not_durable() {
        let fixture = Fixture::new();
        let mut trail = fixture.open(2500).unwrap();
        let mut follower = Follower::new(&fixture.trail_dir(), 1).unwrap();
        assert_eq!(numbers(&mut follower, 0), Vec::<u64>::new());
        assert_eq!(numbers(&mut follower, 1), [1]);
        for second in 1..30 {
            trail.append(&[record(second)]).unwrap();
        }
        let last = trail.last_seq();
        assert_eq!(numbers(&mut follower, last - 1), (2..last).collect::<Vec<_>>());
        let mut again = Follower::new(&fixture.trail_dir(), 4).unwrap();
        assert_eq!(numbers(&mut again, 5), [4, 5]);
        // Half a line that a failed write left is not read, and not taken for the one that comes in its place.
        let (_, path) = segment::list(&fixture.trail_dir()).unwrap().pop().unwrap();
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&good, b"{\"veild\":{\"seq\":999}}\n".as_slice()].concat()).unwrap();
        assert_eq!(numbers(&mut follower, last), [last]);
        std::fs::write(&path, &good).unwrap();
        trail.append(&[record(31)]).unwrap();
        let more: Vec<u64> = (last + 1..=trail.last_seq()).collect();
        assert_eq!(numbers(&mut follower, trail.last_seq()), more);
        while trail.upkeep(at(2 * 86_400)).unwrap() != super::super::Upkeep::Idle {}
        assert_eq!(numbers(&mut again, trail.last_seq()), (6..=trail.last_seq()).collect::<Vec<_>>());
        // The oldest segments go.
        let left: Vec<_> = segment::list(&fixture.trail_dir()).unwrap();
        left[..2].iter().for_each(|(_, path)| std::fs::remove_file(path).unwrap());
        let mut late = Follower::new(&fixture.trail_dir(), 2).unwrap();
        let oldest = left[2].0;
        let expected: Vec<u64> = std::iter::once(1000 + oldest).chain(oldest..=trail.last_seq()).collect();
        assert_eq!(numbers(&mut late, trail.last_seq()), expected);
        assert!(late.batch(trail.last_seq() + 1).is_err());
    }
}
