//! Appending: numbering, chaining, durability, rotation, checkpoints, repair.

use std::fs::{File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rustix::fs::{FlockOperation, flock};

use super::checkpoint::Checkpoint;
use super::epoch::EpochKey;
use super::follow::Durable;
use super::segment::{self, unusable};
use super::{Action, AuditError, Outcome, Record, TrailOptions};
use crate::fsutil::{self, At};
use crate::keys::{SigningKey, VerifyingKey};

mod recovery;
mod retention;

use recovery::{Recovered, Sealed, recover};
pub use retention::Upkeep;

/// Longest time from a fork to its exec, in milliseconds.
const FORK_LASTS_MS: u64 = 2000;

/// The segment being written; `len` is what is known to be durable.
struct Segment {
    path: PathBuf,
    file: File,
    len: u64,
    day: Date,
}

/// The end of the chain.
#[derive(Clone)]
struct Head {
    seq: u64,
    hash: String,
}

/// Lines made but not yet written.
struct Pending {
    bytes: Vec<u8>,
    head: Head,
}

/// The trail open for appending; there is one writer per directory.
pub struct Trail {
    options: TrailOptions,
    key: SigningKey,
    host: String,
    segment: Option<Segment>,
    head: Head,
    checkpoint_at: Timestamp,
    /// Something was written since the last checkpoint.
    unsigned: bool,
    /// The forward-secure key.
    epoch: Option<EpochKey>,
    /// A checkpoint was written under its epoch, which could not be left yet.
    spent: bool,
    /// A write failed; nothing is written until the tail is back at `Segment::len`.
    poisoned: bool,
    durable: Arc<Durable>,
    /// Records from here on are not delivered yet: they stay beyond `keep`, as long as there is room.
    undelivered: Option<u64>,
    /// Holds the writer's lock for as long as the trail is open.
    _lock: File,
}

impl Trail {
    /// Opens the trail, repairs a torn tail (recorded as `audit.repaired`).
    pub fn open(options: TrailOptions, key: SigningKey, now: Timestamp) -> Result<Trail, AuditError> {
        fsutil::create_dir_durable(&options.dir, 0o750)?;
        let lock = File::open(&options.dir).at("open", &options.dir)?;
        take(&lock).at("lock (another veild writes there)", &options.dir)?;
        let Recovered { segment, head, cut, sealed } = recover(&options.dir)?;
        let epoch = open_epoch(&options, sealed, &key.verifying())?;
        let mut trail = Trail {
            options,
            key,
            host: host_name(),
            segment,
            head,
            checkpoint_at: now,
            unsigned: false,
            epoch,
            spent: false,
            poisoned: false,
            durable: Arc::default(),
            undelivered: None,
            _lock: lock,
        };
        let mut pending = trail.pending();
        if cut > 0 {
            let repaired = Record::new(now, Action::AuditRepaired, Outcome::Success).veild("repaired.bytes_cut", cut);
            trail.push(&mut pending, &repaired);
        }
        let checkpoint = trail.push_checkpoint(&mut pending, now);
        trail.write(pending, now)?;
        trail.signed(&checkpoint);
        Ok(trail)
    }

    /// Appends a batch with one write and makes it durable; returns the sequence number of its first record.
    /// Rotates and writes checkpoints when due. On an error nothing counts as written; the next call repairs the tail.
    pub fn append(&mut self, batch: &[Record]) -> Result<u64, AuditError> {
        let began = Instant::now();
        let Some(now) = batch.iter().map(|record| record.at).max() else {
            return Ok(self.head.seq + 1);
        };
        self.heal()?;
        if self.rotation_due(now) {
            self.rotate(now)?;
        }
        let first = self.head.seq + 1;
        let mut pending = self.pending();
        for record in batch {
            self.push(&mut pending, record);
        }
        let checkpoint = self.checkpoint_due(now).then(|| self.push_checkpoint(&mut pending, now));
        self.write(pending, now)?;
        self.unsigned = true;
        if let Some(checkpoint) = checkpoint {
            self.signed(&checkpoint);
        }
        self.durable.spend(began.elapsed());
        Ok(first)
    }

    /// Sequence number of the last durable record; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        self.head.seq
    }

    /// Where those who carry the trail elsewhere wait for more of it.
    pub fn durable(&self) -> Arc<Durable> {
        self.durable.clone()
    }

    /// Keeps records from `seq` on beyond their time, for those who are still to carry them elsewhere.
    pub fn keep_undelivered(&mut self, seq: Option<u64>) {
        self.undelivered = seq;
    }

    /// Writes a checkpoint if one is due at `now`; `closing` forces it.
    pub fn checkpoint(&mut self, now: Timestamp, closing: bool) -> Result<(), AuditError> {
        let due = self.unsigned && self.checkpoint_due(now);
        if !closing && !due {
            return Ok(());
        }
        self.heal()?;
        self.write_checkpoint(now)
    }

    fn write_checkpoint(&mut self, now: Timestamp) -> Result<(), AuditError> {
        let mut pending = self.pending();
        let checkpoint = self.push_checkpoint(&mut pending, now);
        self.write(pending, now)?;
        self.signed(&checkpoint);
        Ok(())
    }

    fn checkpoint_due(&self, now: Timestamp) -> bool {
        let passed = now.as_second().saturating_sub(self.checkpoint_at.as_second());
        u64::try_from(passed).is_ok_and(|passed| passed >= self.options.checkpoint_every.as_secs())
    }

    /// A checkpoint is durable. It goes into the operational log too: kept elsewhere, it pins the whole past.
    fn signed(&mut self, checkpoint: &Checkpoint) {
        crate::faults::point("checkpoint_written");
        self.checkpoint_at = checkpoint.at;
        self.unsigned = false;
        self.spent = self.epoch.is_some();
        // What has been written counts; should the next epoch not be reached, nothing more is written before it is.
        if self.leave_epoch().is_ok() {
            tracing::info!(code = "audit_checkpoint", checkpoint = %checkpoint.json(), "checkpoint of the audit trail");
        }
    }

    /// Erases the key under which the last checkpoint was sealed.
    fn leave_epoch(&mut self) -> Result<(), AuditError> {
        if let Some(epoch) = self.epoch.as_mut().filter(|_| self.spent) {
            epoch.advance_to(epoch.epoch + 1)?;
        }
        self.spent = false;
        Ok(())
    }

    fn pending(&self) -> Pending {
        Pending { bytes: Vec::new(), head: self.head.clone() }
    }

    fn push(&self, pending: &mut Pending, record: &Record) {
        let seq = pending.head.seq + 1;
        let line = segment::render(record, Some(&self.host), seq, &pending.head.hash);
        pending.head = Head { seq, hash: segment::hash(&line) };
        pending.bytes.extend_from_slice(&line);
    }

    fn push_checkpoint(&self, pending: &mut Pending, now: Timestamp) -> Checkpoint {
        let Head { seq, hash } = &pending.head;
        let checkpoint = Checkpoint::new(*seq, hash, now, &self.host, self.epoch.as_ref(), &self.key);
        self.push(pending, &checkpoint.record());
        checkpoint
    }

    /// One write, one fdatasync; the state moves on only when both succeeded. Else no line of it stays: whoever has to give
    /// up now has not done what they say.
    fn write(&mut self, pending: Pending, now: Timestamp) -> Result<(), AuditError> {
        let segment = match &mut self.segment {
            Some(segment) => segment,
            empty => empty.insert(create(&self.options.dir, self.head.seq + 1, now)?),
        };
        self.poisoned = true;
        let written = segment.file.write_all(&pending.bytes).at("write", &segment.path);
        if let Err(error) = written.and_then(|()| segment.file.sync_data().at("make durable", &segment.path)) {
            self.poisoned = cut(segment).is_err(); // the next write tries again
            return Err(error.into());
        }
        segment.len += pending.bytes.len() as u64;
        self.head = pending.head;
        self.poisoned = false;
        self.durable.reach(self.head.seq);
        Ok(())
    }

    /// Cuts what a failed write may have left behind.
    fn heal(&mut self) -> Result<(), AuditError> {
        if self.poisoned
            && let Some(segment) = &mut self.segment
        {
            cut(segment)?;
        }
        self.poisoned = false;
        self.leave_epoch()
    }

    fn rotation_due(&self, now: Timestamp) -> bool {
        self.segment.as_ref().is_some_and(|segment| {
            segment.len >= self.options.rotate_size || (self.options.rotate_daily && day(now) > segment.day)
        })
    }

    fn rotate(&mut self, now: Timestamp) -> Result<(), AuditError> {
        // Not again when the last try got no further than this: the name of the new segment must stay the same.
        if self.unsigned {
            self.write_checkpoint(now)?;
        }
        self.leave_epoch()?;
        let Some(old) = self.segment.as_ref().map(|segment| segment::label(&segment.path)) else {
            return Ok(());
        };
        let record = Record::new(now, Action::AuditRotated, Outcome::Success)
            .veild("rotated.segment", old)
            .veild("rotated.last_seq", self.head.seq)
            .veild("rotated.head", self.head.hash.as_str());
        let mut pending = self.pending();
        self.push(&mut pending, &record);
        let new = create(&self.options.dir, self.head.seq + 1, now)?;
        self.segment = Some(new);
        // Should this fail, the empty segment stays current and the next record begins it: the chain holds without
        // the notice.
        self.write(pending, now)?;
        self.unsigned = true;
        Ok(())
    }
}

/// Takes the writer's lock. It belongs to the open directory, so a worker that was being forked when the last daemon was
/// killed holds it on until its exec.
fn take(lock: &File) -> rustix::io::Result<()> {
    for _ in 0..FORK_LASTS_MS / 10 {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
    flock(lock, FlockOperation::NonBlockingLockExclusive)
}

/// The forward-secure key, past the epoch of the trail's last checkpoint. It cannot come back: it goes on for what the host
/// has signed only.
fn open_epoch(
    options: &TrailOptions,
    sealed: Option<Sealed>,
    host: &VerifyingKey,
) -> Result<Option<EpochKey>, AuditError> {
    let path = &options.epoch_key;
    let Some(mut key) = EpochKey::load(path)? else {
        return match sealed {
            Some(_) => {
                Err(unusable(path, "the trail's epoch key is gone; restore it, or begin anew with `veild audit seal`"))
            }
            None => Ok(None),
        };
    };
    let next = match sealed {
        // The key is behind after a kill, and where it was restored.
        Some(sealed) if sealed.seal.key == key.id && sealed.seal.epoch >= key.epoch => {
            sealed.epoch(host)?.saturating_add(1)
        }
        _ => key.epoch,
    };
    // Also where nothing was cut off: whatever is left in the other slot goes.
    key.advance_to(next)?;
    Ok(Some(key))
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // One word: checkpoints sign it on a line of its own.
    name.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn create(dir: &Path, first_seq: u64, now: Timestamp) -> Result<Segment, AuditError> {
    let path = dir.join(segment::file_name(first_seq));
    // Only a creation that failed half-way can have left this name: no durable record has that number.
    fsutil::remove_if_there(&path)?;
    let file = fsutil::create_new(&path, 0o640)?;
    let named = file
        .set_permissions(Permissions::from_mode(0o640))
        .at("set the mode of", &path)
        .and_then(|()| fsutil::fsync_dir(dir));
    if let Err(error) = named {
        // Nothing was written yet; the error that counts is the first one.
        let _ = fsutil::remove_if_there(&path);
        return Err(error.into());
    }
    Ok(Segment { path, file, len: 0, day: day(now) })
}

fn cut(segment: &mut Segment) -> Result<(), AuditError> {
    segment.file.set_len(segment.len).at("truncate", &segment.path)?;
    segment.file.seek(SeekFrom::Start(segment.len)).at("seek in", &segment.path)?;
    segment.file.sync_all().at("make durable", &segment.path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let key_path = dir.path().join("k");
        crate::keys::generate_signing(&key_path).unwrap();
        let key = SigningKey::load(&key_path).unwrap();
        let options = TrailOptions::keeping_all(dir.path().join("audit"), 1 << 20);
        let mut trail = Trail::open(options, key.clone(), Timestamp::UNIX_EPOCH).unwrap();
        let record = Record::new(Timestamp::UNIX_EPOCH, Action::FileSealed, Outcome::Success);
        let segment = trail.segment.as_mut().unwrap();
        let read_only = File::open(&segment.path).unwrap();
        let mut good = std::mem::replace(&mut segment.file, read_only);
        assert!(trail.append(std::slice::from_ref(&record)).is_err());
        assert_eq!(trail.last_seq(), 1);
        // Half a line got through; the next call must not write behind it.
        good.write_all(b"{\"half").unwrap();
        assert!(trail.append(std::slice::from_ref(&record)).is_err(), "the tail cannot be mended yet");
        assert!(trail.checkpoint(Timestamp::UNIX_EPOCH, true).is_err());
        trail.segment.as_mut().unwrap().file = good;
        assert_eq!(trail.append(&[record]).unwrap(), 2);
        trail.checkpoint(Timestamp::UNIX_EPOCH, true).unwrap();
        let verdict = super::super::verify(&dir.path().join("audit"), &key.verifying(), &|_, _| {}).unwrap();
        assert_eq!((verdict.problems, verdict.records), (vec![], 3));
    }
}
