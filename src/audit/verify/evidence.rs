//! What was kept elsewhere, or on the host beside the trail: secrets, checkpoints, and the host's own epoch key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::checkpoint::Checkpoint;
use super::super::epoch::{EpochKey, Secret};
use super::super::{AuditError, Problem};
use super::Check;

/// What a trail is checked against.
#[derive(Default)]
pub struct Evidence {
    pub(super) secrets: Vec<Secret>,
    /// What they say of which record; a log may hold one of them twice.
    checkpoints: BTreeMap<u64, BTreeSet<String>>,
    /// The host's key; compared with the secrets.
    epoch_key: PathBuf,
    /// The newest record that was compared with one of the checkpoints.
    compared: u64,
}

impl Evidence {
    /// Takes the secret that was shown when the trail began.
    pub fn secret(mut self, file: &Path, epoch_key: &Path) -> Result<Evidence, AuditError> {
        self.secrets = Secret::load(file)?;
        epoch_key.clone_into(&mut self.epoch_key);
        Ok(self)
    }

    /// The host's key, where it can be compared with a secret.
    pub(super) fn host_key(&self) -> Option<Result<Option<EpochKey>, AuditError>> {
        (!self.secrets.is_empty()).then(|| EpochKey::load(&self.epoch_key))
    }

    /// Takes checkpoints that were copied from the trail or the operational log.
    pub fn checkpoints(mut self, file: &Path) -> Result<Evidence, AuditError> {
        for checkpoint in Checkpoint::load(file)? {
            self.checkpoints.entry(checkpoint.seq).or_default().insert(checkpoint.head);
        }
        Ok(self)
    }
}

impl Check<'_> {
    /// Compares a record with the checkpoints that were kept elsewhere.
    pub(super) fn compare(&mut self, seq: u64, hash: &str) -> Option<String> {
        let known = self.evidence.checkpoints.remove(&seq)?;
        self.evidence.compared = self.evidence.compared.max(seq);
        (!known.iter().all(|head| head == hash))
            .then(|| format!("record {seq} is not the one of the given checkpoint: it or one before it was rewritten"))
    }

    /// What the trail should have and has not.
    pub(super) fn end(&mut self, host_key: Option<Result<Option<EpochKey>, AuditError>>) -> Result<(), AuditError> {
        self.unannounced();
        let missing = |what: String| Problem { segment: "the trail".to_owned(), line: 0, byte_offset: 0, what };
        let last = self.verdict.last_seq;
        let pruned = |seq: u64| self.stubs.iter().any(|stub| (stub.first_seq..=stub.last_seq).contains(&seq));
        let mut problems = Vec::new();
        for seq in self.evidence.checkpoints.keys().copied() {
            if seq > last {
                problems.push(missing(format!("it ends at {last}, and the given checkpoint is of {seq}: rolled back")));
            } else if !pruned(seq) {
                problems.push(missing(format!("record {seq} of the given checkpoint is missing")));
            } else if seq > self.evidence.compared {
                problems.push(missing(format!(
                    "record {seq} of the given checkpoint was pruned, so it says nothing of what is left: give a later one"
                )));
            }
        }
        if let Some(host_key) = host_key {
            problems.extend(self.end_of_epochs(host_key)?.map(missing));
        }
        problems.into_iter().for_each(|problem| self.add(problem));
        Ok(())
    }

    /// The host's key has gone on by one epoch for each checkpoint: fewer of them were cut off.
    fn end_of_epochs(&mut self, host_key: Result<Option<EpochKey>, AuditError>) -> Result<Option<String>, AuditError> {
        let path = &self.evidence.epoch_key;
        let key = match host_key {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(Some(format!("the epoch key {} is gone", path.display()))),
            Err(AuditError::Broken { what, .. }) => {
                return Ok(Some(format!("the epoch key {}: {what}", path.display())));
            }
            Err(error) => return Err(error),
        };
        let is_ours = |secret: &mut Secret| secret.id() == key.id && secret.leads_to(&key);
        if !self.evidence.secrets.iter_mut().any(is_ours) {
            return Ok(Some(format!("the epoch key {} does not come from the given secret", path.display())));
        }
        let next = self.epoch.as_ref().filter(|(id, _)| *id == key.id).map_or(0, |(_, epoch)| epoch.saturating_add(1));
        // A kill may have come between a checkpoint and the next epoch.
        let what = format!("it ends before epoch {next}, and the host's key is of {}: its end was cut off", key.epoch);
        Ok((key.epoch > next).then_some(what))
    }
}
