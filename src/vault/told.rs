//! What the audit trail says of the vault's objects, and whether the vault agrees.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use super::verify::Problem;
use crate::audit::{self, AuditError};

/// Readings at most of a trail of which segments go meanwhile.
const MAX_TRIES: u32 = 3;

/// The trail's word on all objects.
pub struct Told {
    trail: PathBuf,
    objects: BTreeMap<PathBuf, Fate>,
    /// The last record that was read.
    last_seq: u64,
    /// Records up to this moment may have gone.
    forgotten_until: Option<Timestamp>,
}

/// The last that the trail says of one object.
struct Fate {
    at: String,
    /// Of the receipt that was recorded last.
    receipt_sha256: Option<String>,
    pruned: bool,
    seen: bool,
}

impl Told {
    /// Reads the whole trail.
    pub fn read(trail: &Path) -> Result<Told, AuditError> {
        let mut tries = 0;
        loop {
            match Told::read_once(trail) {
                // The daemon has pruned a segment meanwhile.
                Err(AuditError::Io(error)) if error.kind() == io::ErrorKind::NotFound && tries < MAX_TRIES => {
                    tries += 1
                }
                read => return read,
            }
        }
    }

    fn read_once(trail: &Path) -> Result<Told, AuditError> {
        let forgotten_until = audit::pruned_until(trail)?;
        let mut told = Told { trail: trail.to_owned(), objects: BTreeMap::new(), last_seq: 0, forgotten_until };
        audit::each_record(trail, |record| told.take(&record))?;
        Ok(told)
    }

    /// Reads what has been added since.
    pub(super) fn catch_up(&mut self) -> Result<(), AuditError> {
        let trail = self.trail.clone();
        let _all = audit::each_after(&trail, self.last_seq, |record| {
            self.take(&record);
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    fn take(&mut self, record: &Value) {
        let (veild, event) = (&record["veild"], &record["event"]);
        self.last_seq = veild["seq"].as_u64().unwrap_or(self.last_seq).max(self.last_seq);
        let pruned = match event["action"].as_str() {
            Some("file.sealed" | "vault.rewrapped") => false,
            // What failed was kept after all.
            Some("vault.pruned") => event["outcome"] == "success",
            _ => return,
        };
        let at = record["@timestamp"].as_str().unwrap_or_default();
        let outputs = std::iter::once(veild).chain(veild["views"].as_array().into_iter().flatten());
        for output in outputs.chain([&veild["archive"]]) {
            let Some(object) = output["object"].as_str() else { continue };
            let receipt_sha256 = output["receipt_sha256"].as_str().map(str::to_owned);
            let fate = Fate { at: at.to_owned(), receipt_sha256, pruned, seen: false };
            let seen = self.objects.get(Path::new(object)).is_some_and(|known| known.seen);
            self.objects.insert(object.into(), Fate { seen, ..fate });
        }
    }

    /// Notes that an object is there.
    pub(super) fn see(&mut self, object: &Path) {
        if let Some(fate) = self.objects.get_mut(object) {
            fate.seen = true;
        }
    }

    /// What the trail has against an object that is there with this receipt.
    pub(super) fn against(&self, object: &Path, receipt_sha256: &str, sealed_at: Timestamp) -> Option<String> {
        match self.objects.get(object) {
            None if self.forgotten_until.is_some_and(|until| sealed_at <= until) => None,
            None => Some("stands in no audit record".to_owned()),
            Some(Fate { pruned: true, at, .. }) => {
                Some(format!("is there, though the audit trail has it pruned at {at}"))
            }
            Some(Fate { receipt_sha256: Some(recorded), at, .. }) if recorded != receipt_sha256 => {
                Some(format!("the receipt is not the one that the audit trail has recorded at {at}"))
            }
            Some(_) => None,
        }
    }

    /// What is not there and should be, or is gone without its tombstone.
    pub(super) fn missing(&self, dir: &Path, tombstones: &BTreeMap<PathBuf, Timestamp>) -> Vec<Problem> {
        let is_gone = |path: &Path, fate: &Fate| !fate.seen && !dir.join(path).exists();
        let mut problems = Vec::new();
        for (path, fate) in self.objects.iter().filter(|(path, fate)| is_gone(path, fate)) {
            let at = &fate.at;
            let what = match (fate.pruned, tombstones.contains_key(path)) {
                (true, true) => continue,
                (true, false) => format!("the audit trail has it pruned at {at}, and there is no tombstone of it"),
                (false, true) => {
                    format!("there is a tombstone of it, and the audit trail has it sealed at {at} and not pruned")
                }
                (false, false) => {
                    format!("is not there; the audit trail has it sealed at {at}, and nobody has pruned it")
                }
            };
            problems.push(Problem { path: path.clone(), what });
        }
        for (path, at) in tombstones.iter().filter(|(path, _)| !self.objects.contains_key(*path)) {
            if self.forgotten_until.is_none_or(|until| *at > until) {
                let what = format!("there is a tombstone of it, of {at}, and no audit record");
                problems.push(Problem { path: path.clone(), what });
            }
        }
        problems
    }
}
