//! Objects that were kept long enough go, and leave a signed tombstone.
//!
//! What is held ([`Hold`]), younger than its landing's `keep`, or not as its receipt says, stays.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::change::{self, Books, Cause, Change, Deed};
use super::damaged::{Damaged, Stamp};
use super::list::{Day, days, objects_below};
use super::lock::Lock;
use super::path::day_of;
use super::publish::is_inside;
use super::receipt::{Receipt, Signed};
use super::tombstone::TOMBSTONE_VERSION;
pub use super::tombstone::{Pruned, Tombstone, Why};
use super::verify::Problem;
use super::{NAMESPACE, PRUNED, siblings, signed_by, verify};
use crate::audit::hold::{self, Hold};
use crate::audit::{self, AuditError};
use crate::fsutil::{self, At, PathError, fsync_dir, open_regular, remove_if_there};
use crate::keys::{SigningKey, VerifyingKey};

/// Most objects that go at one time, under one tombstone.
const MAX_BATCH: usize = 256;

/// How long objects stay.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// `keep` of the landings that have one, by name.
    pub keep: BTreeMap<String, Duration>,
    /// What is older goes, unless it is younger than its landing's `keep`.
    pub older_than: Option<Duration>,
    /// Nothing of other landings goes.
    pub landing: Option<String>,
}

impl Retention {
    /// Whether nothing ever goes.
    pub fn is_idle(&self) -> bool {
        self.keep.is_empty() && self.older_than.is_none()
    }

    /// What of a landing was sealed before this moment goes, and why.
    fn of(&self, landing: &str, now: Timestamp) -> Option<(Timestamp, Why)> {
        if self.landing.as_deref().is_some_and(|only| only != landing) {
            return None;
        }
        let (age, why) = match (self.keep.get(landing), self.older_than) {
            (Some(keep), Some(older)) if older > *keep => (older, Why::OlderThan),
            (Some(keep), _) => (*keep, Why::Keep),
            (None, Some(older)) => (older, Why::OlderThan),
            (None, None) => return None,
        };
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        Some((now.checked_sub(age).unwrap_or(Timestamp::MIN), why))
    }
}

/// A tombstone on its way: in the journal byte for byte, so that it can be put in its place after a crash.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pruning {
    pub objects: Vec<Pruned>,
    tombstone: String,
    signature: String,
}

impl Pruning {
    /// What the record of one object says.
    pub fn fields(&self, id: &str, object: &Pruned) -> Value {
        json!({
            "job": object.job,
            "landing": object.landing,
            "view": object.view,
            "sealed_at": object.sealed_at,
            "object_sha256": object.sha256,
            "receipt_sha256": object.receipt_sha256,
            "why": object.why,
            "tombstone": format!("{PRUNED}/{id}.json"),
            "tombstone_sha256": format!("{:x}", Sha256::digest(&self.tombstone)),
        })
    }

    /// The objects that a hold keeps.
    pub fn held(&self, holds: &[Hold]) -> impl Iterator<Item = &str> {
        self.objects.iter().filter(|object| is_held(object, holds)).map(|object| object.path.as_str())
    }
}

fn is_held(object: &Pruned, holds: &[Hold]) -> bool {
    holds.iter().any(|hold| hold.covers_object(&object.landing, object.job, object.claimed_at, object.sealed_at))
}

/// What a run has done, or would do.
#[derive(Debug, Default)]
pub struct Outcome {
    pub objects: u64,
    pub bytes: u64,
    /// Old enough, and kept by a legal hold.
    pub held: u64,
    /// Old enough, and not as their receipts say: evidence, which stays.
    pub problems: Vec<Problem>,
}

/// What whoever prunes is told, and what is remembered of one time for the next.
pub struct Look<'a> {
    /// Each object that has gone, or would go.
    pub note: &'a mut (dyn FnMut(&Pruned) + Send),
    /// Bytes that were read so far.
    pub report: &'a (dyn Fn(u64) + Sync),
    pub damaged: &'a mut Damaged,
}

/// What is looked for, and what it is checked with.
struct Search<'a, S> {
    dir: &'a Path,
    retention: &'a Retention,
    now: Timestamp,
    /// What is held is not read: it stays.
    holds: Vec<Hold>,
    signed: S,
    report: &'a dyn Fn(u64),
    read: Cell<u64>,
    damaged: RefCell<&'a mut Damaged>,
}

impl<S: Fn(&[u8], &str) -> bool> Search<'_, S> {
    /// Finds what is due, oldest days first, and hands it out in batches.
    fn each_due<E: From<PathError>>(
        &self,
        mut take: impl FnMut(Vec<Pruned>, &mut Outcome) -> Result<(), E>,
    ) -> Result<Outcome, E> {
        let (mut outcome, mut due) = (Outcome::default(), Vec::new());
        for Day { landing, date, path } in days(self.dir)? {
            let Some((before, why)) = self.retention.of(&landing, self.now) else { continue };
            // What was claimed on a day was sealed on that day or later.
            if date > before.to_zoned(TimeZone::UTC).date() {
                continue;
            }
            for path in objects_below(self.dir, &path)? {
                match self.due(&path, before, why) {
                    Ok(found) => due.extend(found),
                    Err(what) => outcome.problems.push(Problem { path, what: format!("stays: {what}") }),
                }
                if due.len() >= crate::faults::bound("VAULT_BATCH", MAX_BATCH) {
                    take(std::mem::take(&mut due), &mut outcome)?;
                }
            }
        }
        if !due.is_empty() {
            take(due, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// As [`Search::candidate`], also of an object that somebody was replacing or removing meanwhile. Under the lock, for
    /// which others wait, only such a one is read again.
    fn due(&self, path: &Path, before: Timestamp, why: Why) -> Result<Option<Pruned>, String> {
        let stamp = Stamp::of(self.dir, path);
        let what = match self.candidate(path, &stamp, before, why) {
            Ok(found) => return Ok(found),
            Err(what) => what,
        };
        let _lock = Lock::shared(self.dir).map_err(|error| error.to_string())?;
        let now = Stamp::of(self.dir, path);
        if !now.is_there() {
            return Ok(None);
        }
        if now == stamp { Err(what) } else { self.candidate(path, &now, before, why) }
    }

    /// An object that was sealed before a moment, if it is byte for byte what its signed receipt says, or held.
    fn candidate(&self, path: &Path, stamp: &Stamp, before: Timestamp, why: Why) -> Result<Option<Pruned>, String> {
        let Signed { receipt, sha256: receipt_sha256 } = Signed::read(self.dir, path, &self.signed)?;
        if receipt.sealed_at >= before {
            return Ok(None);
        }
        let object = Pruned {
            path: receipt.output.path.clone(),
            job: receipt.job,
            landing: receipt.landing.clone(),
            view: receipt.view.clone(),
            claimed_at: receipt.claimed_at,
            sealed_at: receipt.sealed_at,
            sha256: receipt.output.sha256.clone(),
            bytes: receipt.output.bytes,
            receipt_sha256,
            why,
        };
        if !is_held(&object, &self.holds) {
            self.look_at(path, stamp, &receipt)?;
        }
        Ok(Some(object))
    }

    /// Whether an object is what its receipt says; one that was not is not read again as long as nobody touches it.
    fn look_at(&self, path: &Path, stamp: &Stamp, receipt: &Receipt) -> Result<(), String> {
        let mut damaged = self.damaged.borrow_mut();
        if let Some(what) = damaged.known(path, stamp) {
            return Err(what);
        }
        let object = open_regular(&self.dir.join(path)).map_err(|error| format!("cannot read: {}", error.source))?;
        let before = self.read.get();
        let report = |bytes: u64| {
            self.read.set(before + bytes);
            (self.report)(before + bytes);
        };
        let compared = verify::compare(object, receipt, &report).map_err(|error| format!("cannot read: {error}"))?;
        compared.inspect_err(|what| damaged.remember(path, stamp, what))
    }
}

/// What [`prune`] would do now.
pub fn survey(
    dir: &Path,
    retention: &Retention,
    now: Timestamp,
    key: &VerifyingKey,
    holds: Vec<Hold>,
    look: Look<'_>,
) -> Result<Outcome, PathError> {
    let Look { note, report, damaged } = look;
    let (read, damaged) = (Cell::new(0), RefCell::new(damaged));
    let search = Search { dir, retention, now, holds, signed: signed_by(key), report, read, damaged };
    search.each_due::<PathError>(|batch, outcome| {
        let (held, due): (Vec<_>, Vec<_>) = batch.into_iter().partition(|object| is_held(object, &search.holds));
        outcome.add(held.len(), &due, note);
        Ok(())
    })
}

impl Outcome {
    fn add(&mut self, held: usize, gone: &[Pruned], note: &mut dyn FnMut(&Pruned)) {
        self.held += held as u64;
        self.objects += gone.len() as u64;
        self.bytes += gone.iter().map(|object| object.bytes).sum::<u64>();
        gone.iter().for_each(note);
    }
}

/// Removes what is due at `now`, after what a crash had cut off.
pub fn prune<E: From<PathError> + From<AuditError>>(
    dir: &Path,
    retention: &Retention,
    now: Timestamp,
    key: &SigningKey,
    cause: &Cause,
    books: &mut Books<'_, E>,
    look: Look<'_>,
) -> Result<Outcome, E> {
    change::recover(dir, &Lock::alone(dir)?, books)?;
    let verifying = key.verifying();
    let recorded_after = audit::last_seq(books.trail)?;
    let (holds, signed) = (hold::list(books.trail)?, signed_by(&verifying));
    let Look { note, report, damaged } = look;
    let (read, damaged) = (Cell::new(0), RefCell::new(damaged));
    let search = Search { dir, retention, now, holds, signed, report, read, damaged };
    search.each_due::<E>(|mut batch, outcome| {
        let lock = Lock::alone(dir)?;
        // Under the lock: a hold that is in force before this is honoured, a later one finds the lock taken. What was held
        // before has not been read, and waits for the next time.
        let holds = hold::list(books.trail)?;
        let all = batch.len();
        batch.retain(|object| !is_held(object, &holds) && !is_held(object, &search.holds));
        let held = all - batch.len();
        // Somebody else may have been quicker.
        batch.retain(|object| {
            let now = Signed::read(dir, Path::new(&object.path), &search.signed);
            now.is_ok_and(|it| it.sha256 == object.receipt_sha256)
        });
        if !batch.is_empty() {
            let change = begin(batch.clone(), recorded_after, key, cause, now)?;
            change.carry_out(dir, &lock, books)?;
        }
        outcome.add(held, &batch, note);
        Ok(())
    })
}

fn begin(
    objects: Vec<Pruned>,
    recorded_after: u64,
    key: &SigningKey,
    cause: &Cause,
    now: Timestamp,
) -> Result<Change, PathError> {
    let tombstone = Tombstone {
        tombstone_version: TOMBSTONE_VERSION,
        pruned_at: now,
        reason: cause.reason.clone(),
        objects,
        veild: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut text = serde_json::to_string_pretty(&tombstone).at("write", PRUNED)?;
    text.push('\n');
    let signature = key.sign(NAMESPACE, text.as_bytes());
    let pruning = Pruning { objects: tombstone.objects, tombstone: text, signature };
    Ok(Change::new(change::new_id(), recorded_after, now, cause, Deed::Prune(pruning)))
}

/// Puts the tombstone in its place, then removes what is not kept; again and again to the same end.
pub(super) fn apply(dir: &Path, id: &str, pruning: &Pruning, kept: &[&str], now: Timestamp) -> Result<(), PathError> {
    let place = dir.join(PRUNED).join(format!("{id}.json"));
    fsutil::create_dir_durable(&dir.join(PRUNED), 0o750)?;
    fsutil::replace_durable(&place.with_extension("json.sig"), 0o440, pruning.signature.as_bytes())?;
    fsutil::replace_durable(&place, 0o440, pruning.tombstone.as_bytes())?;
    crate::faults::point("tombstone_placed");
    let gone: Vec<PathBuf> = pruning
        .objects
        .iter()
        .filter(|object| is_inside(Path::new(&object.path)) && !kept.contains(&object.path.as_str()))
        .map(|object| PathBuf::from(&object.path))
        .collect();
    let parents: BTreeSet<PathBuf> = gone.iter().filter_map(|path| Some(dir.join(path.parent()?))).collect();
    let make_durable = || parents.iter().filter(|parent| parent.exists()).try_for_each(|parent| fsync_dir(parent));
    // Objects first: none is ever seen without its receipt.
    for path in &gone {
        remove_if_there(&dir.join(path))?;
        crate::faults::point("object_pruned");
    }
    make_durable()?;
    for (receipt, signature) in gone.iter().filter_map(|path| siblings(&dir.join(path))) {
        remove_if_there(&receipt)?;
        crate::faults::point("receipt_pruned");
        remove_if_there(&signature)?;
    }
    make_durable()?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let days: BTreeSet<Day> = gone.iter().filter_map(|path| day_of(path)).collect();
    // Somebody may be about to publish in a newer one.
    let is_past = |day: &&Day| today.checked_sub(Span::new().days(2)).is_ok_and(|latest| day.date <= latest);
    days.iter().filter(is_past).for_each(|day| remove_empty(dir, &day.path));
    Ok(())
}

/// Removes a day's directories as far as they are empty.
fn remove_empty(dir: &Path, day: &Path) {
    fn remove_below(dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_below(&entry.path());
            }
        }
        let _ = fs::remove_dir(dir); // not empty, as a rule
    }
    remove_below(&dir.join(day));
    // Month and year; the landing's own stays.
    for above in day.ancestors().skip(1).take(2) {
        if fs::remove_dir(dir.join(above)).is_err() {
            return;
        }
    }
}
