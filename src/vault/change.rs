//! What is done to objects that can be seen already, so that a crash at any moment leaves it done once or not at all.
//!
//! A journal `.changes/<id>.json` says all of it and is durable first; then the audit trail has a record of each object;
//! then it is done; then the journal goes. A journal of which the trail says nothing is void, one of which it says anything
//! is carried out. `.changes/<id>/` holds what has been made ready for one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lock::Lock;
use super::prune::Pruning;
use super::rewrap::Rewrapped;
use super::{CHANGES, prune, rewrap};
use crate::audit::hold::{self, Hold};
use crate::audit::{Action, AuditError, Outcome, Record, each_after};
use crate::fsutil::{self, At, PathError, fsync_dir, read_regular, remove_if_there};

/// 2: with `source` in the cause.
const CHANGE_VERSION: u32 = 2;

/// Largest journal: one of some hundred objects with all that is said of them.
const MAX_BYTES: u64 = 64 << 20;

/// Who wants a change and why, for its records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// ECS `user`; absent for the daemon itself.
    pub user: Option<Value>,
    /// ECS `source`: another host, if they came from one.
    #[serde(default)]
    pub source: Option<Value>,
    pub reason: Option<String>,
}

impl Cause {
    /// A record with who and why.
    pub fn of(&self, record: Record) -> Record {
        let record = record.veild("reason", json!(self.reason));
        let known = [("user", &self.user), ("source", &self.source)];
        known
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.clone()?)))
            .fold(record, |it, (key, value)| it.field(key, value))
    }
}

/// The audit trail as changes need it.
pub struct Books<'a, E> {
    /// Its directory.
    pub trail: &'a Path,
    /// Appends records, none at all too; all that were sent before, by whomever, are durable when it returns.
    pub append: &'a mut dyn FnMut(Vec<Record>) -> Result<(), E>,
}

/// `.changes/<id>.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    change_version: u32,
    pub id: String,
    /// Its records have higher numbers in the audit trail.
    recorded_after: u64,
    pub at: Timestamp,
    pub cause: Cause,
    pub deed: Deed,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Deed {
    Prune(Pruning),
    Rewrap(Vec<Rewrapped>),
}

/// A directory for what is made ready, which goes when nobody needs it any more.
pub(super) struct Staging {
    pub id: String,
    pub dir: PathBuf,
    /// Says that somebody is at work there.
    _at_work: File,
}

impl Staging {
    pub fn begin(vault: &Path) -> Result<Staging, PathError> {
        // Whoever removes leftovers does so alone: not before this one is known to be at work.
        let _lock = Lock::shared(vault)?;
        let id = new_id();
        let dir = vault.join(CHANGES).join(&id);
        fsutil::create_dir_durable(&dir, 0o700)?;
        let at_work = File::open(&dir).at("open", &dir)?;
        rustix::fs::flock(&at_work, rustix::fs::FlockOperation::LockExclusive).at("lock", &dir)?;
        Ok(Staging { id, dir, _at_work: at_work })
    }
}

pub(super) fn new_id() -> String {
    ulid::Ulid::new().to_string()
}

impl Change {
    pub fn new(id: String, recorded_after: u64, at: Timestamp, cause: &Cause, deed: Deed) -> Change {
        Change { change_version: CHANGE_VERSION, id, recorded_after, at, cause: cause.clone(), deed }
    }

    /// Does all of it; the caller holds the vault's lock. Of what an error leaves, [`recover`] makes all or nothing.
    pub fn carry_out<E: From<PathError>>(&self, dir: &Path, _lock: &Lock, books: &mut Books<'_, E>) -> Result<(), E> {
        let path = journal(dir, &self.id);
        let json = serde_json::to_vec(self).at("write", &path)?;
        fsutil::place_new(&path, 0o640, &json)?;
        crate::faults::point("change_journalled");
        (books.append)(self.records(&|_| true))?;
        crate::faults::point("change_recorded");
        self.apply(dir, &[])?;
        Ok(self.close(dir)?)
    }

    fn apply(&self, dir: &Path, kept: &[&str]) -> Result<(), PathError> {
        match &self.deed {
            Deed::Prune(pruning) => prune::apply(dir, &self.id, pruning, kept, self.at),
            Deed::Rewrap(objects) => rewrap::apply(dir, &self.id, objects),
        }
    }

    fn close(&self, dir: &Path) -> Result<(), PathError> {
        remove_if_there(&journal(dir, &self.id))?;
        fsync_dir(&dir.join(CHANGES))?;
        crate::faults::point("change_closed");
        Ok(())
    }

    /// The records about these of its objects.
    fn records(&self, is_wanted: &dyn Fn(&str) -> bool) -> Vec<Record> {
        let record = |action: Action, path: &str, fields: Value| {
            let record = Record::new(self.at, action, Outcome::Success).veild("change", self.id.as_str());
            let mut record = self.cause.of(record.veild("object", path));
            if let Value::Object(fields) = fields {
                record.veild.extend(fields);
            }
            record
        };
        match &self.deed {
            Deed::Prune(pruning) => {
                let wanted = pruning.objects.iter().filter(|object| is_wanted(&object.path));
                wanted.map(|it| record(Action::VaultPruned, &it.path, pruning.fields(&self.id, it))).collect()
            }
            Deed::Rewrap(objects) => {
                let wanted = objects.iter().filter(|object| is_wanted(&object.path));
                wanted.map(|it| record(Action::VaultRewrapped, &it.path, it.fields())).collect()
            }
        }
    }

    /// Carries out what a crash cut off, if the trail says anything of it.
    fn complete<E: From<PathError> + From<AuditError>>(
        &self,
        dir: &Path,
        holds: &[Hold],
        books: &mut Books<'_, E>,
    ) -> Result<(), E> {
        let recorded = self.recorded(books.trail)?;
        if recorded.is_empty() {
            return Ok(self.close(dir)?);
        }
        // A hold that has come since then keeps what is still there.
        let kept: Vec<&str> = match &self.deed {
            Deed::Prune(pruning) => pruning.held(holds).filter(|path| dir.join(path).exists()).collect(),
            Deed::Rewrap(_) => Vec::new(),
        };
        let mut records = self.records(&|path| !recorded.contains(path) && !kept.contains(&path));
        for path in kept.iter().filter(|path| recorded.contains(**path)) {
            let was = self.records(&|it| it == *path);
            let undone = |record: Record| Record { outcome: Outcome::Failure, at: Timestamp::now(), ..record };
            records.extend(was.into_iter().map(|it| undone(it).veild("kept", "a legal hold has come meanwhile")));
        }
        if !records.is_empty() {
            (books.append)(records)?;
        }
        crate::faults::point("change_recovered");
        self.apply(dir, &kept)?;
        Ok(self.close(dir)?)
    }

    /// The objects of which the trail has its record.
    fn recorded(&self, trail: &Path) -> Result<BTreeSet<String>, AuditError> {
        let (mut recorded, known) = (BTreeSet::new(), self.objects());
        let _all = each_after(trail, self.recorded_after, |line| {
            if line["veild"]["change"] == self.id.as_str() {
                recorded.extend(line["veild"]["object"].as_str().map(str::to_owned));
            }
            let is_enough = known.iter().all(|path| recorded.contains(*path));
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(recorded)
    }

    /// The objects that it speaks of.
    fn objects(&self) -> Vec<&str> {
        match &self.deed {
            Deed::Prune(pruning) => pruning.objects.iter().map(|object| object.path.as_str()).collect(),
            Deed::Rewrap(objects) => objects.iter().map(|object| object.path.as_str()).collect(),
        }
    }
}

fn journal(dir: &Path, id: &str) -> PathBuf {
    dir.join(CHANGES).join(format!("{id}.json"))
}

/// Completes what a crash cut off, and removes what was made ready for nothing; the caller holds the vault's lock.
pub fn recover<E: From<PathError> + From<AuditError>>(
    dir: &Path,
    _lock: &Lock,
    books: &mut Books<'_, E>,
) -> Result<(), E> {
    let changes = journals(dir)?;
    if !changes.is_empty() {
        // Records that somebody who was killed had sent are in the trail behind this.
        (books.append)(Vec::new())?;
        let holds = hold::list(books.trail)?;
        changes.iter().try_for_each(|change| change.complete(dir, &holds, books))?;
    }
    Ok(remove_leftovers(dir)?)
}

/// Whether a change is under way, or was cut off.
pub fn is_unfinished(dir: &Path) -> Result<bool, PathError> {
    Ok(entries(dir)?.iter().any(|path| path.extension().is_some_and(|extension| extension == "json")))
}

/// Whether there are such, and [`recover`] can complete them.
pub fn is_begun(dir: &Path) -> bool {
    journals(dir).is_ok_and(|changes| !changes.is_empty())
}

/// The objects of changes that are not complete.
pub(super) fn unfinished(dir: &Path) -> Result<BTreeSet<PathBuf>, PathError> {
    let changes = journals(dir)?;
    Ok(changes.iter().flat_map(Change::objects).map(PathBuf::from).collect())
}

/// All journals, oldest first.
fn journals(dir: &Path) -> Result<Vec<Change>, PathError> {
    let mut found = Vec::new();
    for path in entries(dir)? {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = match read_regular(&path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // it was closed meanwhile
            read => read?,
        };
        #[derive(Deserialize)]
        struct Version {
            change_version: u32,
        }
        let Version { change_version } = serde_json::from_slice(&text).at("read", &path)?;
        if change_version > CHANGE_VERSION {
            return Err(io::Error::other("it was written by a newer veild; upgrade veild")).at("use", &path);
        }
        found.push(serde_json::from_slice::<Change>(&text).at("read", &path)?);
    }
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, PathError> {
    let changes = dir.join(CHANGES);
    match fs::read_dir(&changes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.at("read", &changes)?.map(|entry| Ok(entry.at("read", &changes)?.path())).collect(),
    }
}

/// Journals that never had their name, and what is ready for changes whose makers have ended.
fn remove_leftovers(dir: &Path) -> Result<(), PathError> {
    for path in entries(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let at_work = File::open(&path).at("open", &path)?;
            if rustix::fs::flock(&at_work, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
                fs::remove_dir_all(&path).at("remove", &path)?;
            }
        } else if name.ends_with(".json.new") {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}
