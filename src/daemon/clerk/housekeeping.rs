//! What the clerk does beside outcomes: records that are owed, and looks at the places that it writes to.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Clerk, ClerkError, MAX_OWED, chain, quarantine_dir};
use crate::audit::{Action, AuditError, Outcome, Record, Stub, Upkeep, Why};
use crate::config::Config;
use crate::daemon::event::Event;
use crate::daemon::places::{Ailment, Finding, Obstacle, Place};
use crate::fsutil;
use crate::ledger::LedgerError;

/// Time between two looks for what can be compressed or pruned.
const LOOK_AT_TRAIL_EVERY: Duration = Duration::from_secs(60);
/// After this long the other work of the clerk comes first again.
pub(super) const UPKEEP_LASTS: Duration = Duration::from_millis(250);

impl Clerk {
    pub(super) fn stop(&mut self, record: Record) {
        if let Err(error) = self.ledger.release_working().and_then(|()| self.ledger.empty_log()) {
            tracing::error!(code = "commit_failed", "{}", chain(&error));
        }
        let stopped = self.append(&[record]);
        if let Err(error) = stopped.and_then(|()| self.trail.checkpoint(Timestamp::now(), true)) {
            tracing::error!(code = "audit_failed", "{}", chain(&error));
        }
    }

    /// Takes a record of the daemon's own, to be appended as soon as the trail takes it.
    pub fn owe(&mut self, record: Record) {
        if self.owed.len() < MAX_OWED {
            self.owed.push(record);
        }
    }

    /// Appends what is owed.
    pub fn pay(&mut self) -> Result<(), AuditError> {
        self.append(&[])
    }

    /// Appends records behind those that are owed.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), AuditError> {
        if self.owed.is_empty() {
            return self.trail.append(records).map(|_| ());
        }
        let all: Vec<Record> = self.owed.iter().chain(records).cloned().collect();
        self.trail.append(&all)?;
        self.owed.clear();
        Ok(())
    }

    /// Checkpoints when due, goes on with what is unsettled, looks at the places.
    pub(super) fn tick(&mut self, probe: &[Place]) -> Vec<Event> {
        let mut events = Vec::new();
        if let Err(error) = self.trail.checkpoint(Timestamp::now(), false) {
            events.push(self.failed(error));
        }
        events.extend(self.settle().events());
        if let Err(error) = self.forget() {
            events.push(self.failed(error));
        }
        self.watch_shipping();
        self.keep_trail();
        self.keep_quarantine();
        if let Err(error) = self.pay() {
            events.push(self.failed(error));
        }
        for place in [Place::Audit, Place::State, Place::Vault] {
            let written = probe.contains(&place);
            events.push(Event::Found(self.examine(place, written)));
        }
        events
    }

    /// Compresses and prunes what is due of the trail, a step at a time. Nothing waits for it: a disk that is full says
    /// so by itself.
    fn keep_trail(&mut self) {
        let every = crate::faults::limit("AUDIT_UPKEEP", LOOK_AT_TRAIL_EVERY);
        if self.upkeep.as_ref().is_some_and(|(last, _)| last.elapsed() < every) {
            return;
        }
        let until = Instant::now() + UPKEEP_LASTS;
        let mut step = self.trail.upkeep(Timestamp::now());
        while let Ok(Upkeep::Compressed(_) | Upkeep::Pruned(_)) = &step {
            match &step {
                Ok(Upkeep::Pruned(stub)) => log_pruned(stub),
                _ => tracing::debug!("a closed segment of the audit trail was compressed"),
            }
            if Instant::now() > until {
                return;
            }
            step = self.trail.upkeep(Timestamp::now());
        }
        let hindrance = match step {
            Ok(Upkeep::Idle | Upkeep::Compressed(_) | Upkeep::Pruned(_)) => None,
            Ok(Upkeep::OverBudget { bytes }) => Some((
                "audit_over_budget",
                format!("the audit trail has {bytes} bytes, above `total_size`, and what could go is held"),
            )),
            Err(error) => Some(("audit_upkeep_failed", format!("the audit trail was not pruned: {}", chain(&error)))),
        };
        let said = self.upkeep.take().and_then(|(_, said)| said);
        if let Some((code, what)) = hindrance.as_ref().filter(|(_, what)| said.as_ref() != Some(what)) {
            tracing::error!(code, "{what}");
            let alert = Record::new(Timestamp::now(), Action::AlertRaised, Outcome::Failure);
            self.owe(alert.veild("code", *code).field("error.message", what.as_str()));
        }
        self.upkeep = Some((Instant::now(), hindrance.map(|(_, what)| what)));
    }

    /// What has been settled, and then what else happened.
    pub(super) fn settle_before(&mut self, event: Event) -> Vec<Event> {
        self.settle().events().chain(std::iter::once(event)).collect()
    }

    fn examine(&mut self, place: Place, write: bool) -> Finding {
        let incoming = crate::vault::incoming(&self.config.vault.dir);
        let dir: &Path = match place {
            Place::Audit => &self.config.audit.dir,
            Place::State => &self.config.daemon.state_dir,
            Place::Vault | Place::Landing(_) => &incoming,
        };
        let mut tried = if write { fsutil::try_write(dir).map_err(ClerkError::from) } else { Ok(()) };
        if write && tried.is_ok() && place == Place::State {
            tried = self.ledger.try_write().map_err(ClerkError::from);
        }
        if tried.is_ok() && place == Place::State {
            tried = self.crowded();
        }
        let space = fsutil::space(dir);
        let obstacle = match (&tried, &space) {
            (Err(error), _) => Some(self.obstacle(error)),
            (Ok(()), Err(error)) => Some(Obstacle::from(error)),
            (Ok(()), Ok(_)) => None,
        };
        Finding { place, space: space.ok(), written: write, obstacle }
    }

    /// Whether the quarantine holds more than it may.
    fn crowded(&self) -> Result<(), ClerkError> {
        let (dir, most) = (quarantine_dir(&self.config), self.config.quarantine.max_size);
        match crate::quarantine::total_bytes(&dir)? {
            bytes if bytes > most => Err(ClerkError::Crowded { bytes, most, dir }),
            _ => Ok(()),
        }
    }

    pub(super) fn failed(&self, error: impl Into<ClerkError>) -> Event {
        Event::ClerkFailed(self.obstacle(&error.into()))
    }

    pub fn obstacle(&self, error: &ClerkError) -> Obstacle {
        obstacle(error, &self.config)
    }
}

fn log_pruned(stub: &Stub) {
    let Stub { first_seq, last_seq, first_at, last_at, why, .. } = stub;
    match why {
        Why::Keep => tracing::info!(
            code = "audit_pruned",
            "records {first_seq} to {last_seq} of the audit trail, up to {last_at}, were older than `keep` and have gone"
        ),
        Why::TotalSize => tracing::warn!(
            code = "audit_pruned_early",
            "records {first_seq} to {last_seq} of the audit trail, from {first_at} on, have gone before `keep` was over: the trail was larger than `total_size`"
        ),
    }
}

/// What stands in the way, with the path of the place that it says something about.
pub fn obstacle(error: &ClerkError, config: &Config) -> Obstacle {
    let what = chain(error);
    match error {
        ClerkError::Io(error) => Obstacle::from(error),
        // Whatever keeps the trail from being written stops everything.
        ClerkError::Audit(AuditError::Io(error)) => Obstacle {
            what,
            path: Some(config.audit.dir.clone()),
            ailment: Ailment::of(&error.source).or(Some(Ailment::Failing)),
        },
        ClerkError::Ledger(LedgerError::Copy(error)) => Obstacle::from(error),
        ClerkError::Ledger(LedgerError::Sqlite(error)) => {
            Obstacle { what, path: Some(config.daemon.state_dir.clone()), ailment: Some(ledger_ailment(error)) }
        }
        ClerkError::Crowded { dir, .. } => Obstacle { what, path: Some(dir.clone()), ailment: Some(Ailment::Crowded) },
        ClerkError::Audit(AuditError::Broken { .. } | AuditError::Unusable { .. })
        | ClerkError::Ledger(LedgerError::Newer { .. })
        | ClerkError::NoRoom { .. } => Obstacle::other(what),
    }
}

fn ledger_ailment(error: &rusqlite::Error) -> Ailment {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Ailment::Full,
        Some(ErrorCode::ReadOnly) => Ailment::ReadOnly,
        Some(ErrorCode::PermissionDenied) => Ailment::Denied,
        Some(ErrorCode::CannotOpen) => Ailment::Gone,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ailment::Damaged,
        _ => Ailment::Failing,
    }
}
