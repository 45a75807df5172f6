//! Jobs and attempts in SQLite (WAL, `synchronous=FULL`).
//!
//! A row exists from the moment before work first starts on a job. The audit trail is the truth about outcomes; the
//! ledger remembers up to which of its records it has caught up.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::job::JobId;

const VERSION: i64 = 1;

/// The ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "the ledger {path} was written by a newer veild (version {found}, this one knows {VERSION}); upgrade veild"
    )]
    Newer { path: String, found: i64 },
    #[error("the ledger cannot be used")]
    Sqlite(#[from] rusqlite::Error),
}

/// Attempts of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Times that a worker died or hung on this job.
    pub died: u32,
    /// Times that the daemon itself ended during an attempt; never held against the file.
    pub interrupted: u32,
}

/// The open ledger; there is one per state directory.
pub struct Ledger {
    db: Connection,
}

impl Ledger {
    pub fn open(path: &Path) -> Result<Ledger, LedgerError> {
        let db = Connection::open(path)?;
        // There is one user, and without the shared index no page of it is mapped: an I/O error there would be SIGBUS.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > VERSION {
            return Err(LedgerError::Newer { path: path.display().to_string(), found });
        }
        if found == 0 {
            db.execute_batch(&format!(
                "BEGIN;
                 CREATE TABLE jobs (
                     job TEXT PRIMARY KEY,
                     landing TEXT NOT NULL,
                     state TEXT NOT NULL CHECK (state IN ('working', 'waiting', 'done')),
                     died INTEGER NOT NULL DEFAULT 0,
                     interrupted INTEGER NOT NULL DEFAULT 0,
                     outcome TEXT
                 ) WITHOUT ROWID;
                 CREATE TABLE applied (audit_seq INTEGER NOT NULL);
                 INSERT INTO applied VALUES (0);
                 PRAGMA user_version = {VERSION};
                 COMMIT;"
            ))?;
        }
        Ok(Ledger { db })
    }

    /// Records that work on these jobs is about to start; durable when this returns.
    pub fn begin(&mut self, jobs: &[(JobId, &str)]) -> Result<(), LedgerError> {
        let transaction = self.db.transaction()?;
        {
            let mut upsert = transaction.prepare_cached(
                "INSERT INTO jobs (job, landing, state) VALUES (?1, ?2, 'working')
                 ON CONFLICT (job) DO UPDATE SET state = 'working', landing = excluded.landing WHERE state <> 'done'",
            )?;
            for (job, landing) in jobs {
                upsert.execute(params![job.to_string(), landing])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Records that an attempt ended without an outcome; `died` counts it against the file.
    pub fn attempt_over(&mut self, job: JobId, died: bool) -> Result<Attempts, LedgerError> {
        self.db.execute(
            "UPDATE jobs SET state = 'waiting', died = died + ?2 WHERE job = ?1 AND state <> 'done'",
            params![job.to_string(), died],
        )?;
        Ok(self.attempts(job)?.unwrap_or_default())
    }

    /// Records outcomes that the audit trail holds, up to its record `audit_seq`.
    pub fn done(&mut self, outcomes: &[(JobId, &str, &str)], audit_seq: u64) -> Result<(), LedgerError> {
        let transaction = self.db.transaction()?;
        {
            let mut finish = transaction.prepare_cached(
                "INSERT INTO jobs (job, landing, state, outcome) VALUES (?1, ?2, 'done', ?3)
                 ON CONFLICT (job) DO UPDATE SET state = 'done', outcome = ?3",
            )?;
            for (job, landing, outcome) in outcomes {
                finish.execute(params![job.to_string(), landing, outcome])?;
            }
            transaction.execute("UPDATE applied SET audit_seq = max(audit_seq, ?1)", params![audit_seq as i64])?;
        }
        Ok(transaction.commit()?)
    }

    /// Turns every attempt that was under way when the daemon ended into an interruption.
    pub fn interrupt_working(&mut self) -> Result<(), LedgerError> {
        self.db
            .execute("UPDATE jobs SET state = 'waiting', interrupted = interrupted + 1 WHERE state = 'working'", [])?;
        Ok(())
    }

    /// Attempts of a job, or `None` when the ledger does not know it.
    pub fn attempts(&self, job: JobId) -> Result<Option<Attempts>, LedgerError> {
        let mut select = self.db.prepare_cached("SELECT died, interrupted FROM jobs WHERE job = ?1")?;
        Ok(select
            .query_row(params![job.to_string()], |row| Ok(Attempts { died: row.get(0)?, interrupted: row.get(1)? }))
            .optional()?)
    }

    /// The landing under which work on a job last began.
    pub fn landing(&self, job: JobId) -> Result<Option<String>, LedgerError> {
        let mut select = self.db.prepare_cached("SELECT landing FROM jobs WHERE job = ?1")?;
        Ok(select.query_row(params![job.to_string()], |row| row.get(0)).optional()?)
    }

    /// Whether a job has its outcome.
    pub fn is_done(&self, job: JobId) -> Result<bool, LedgerError> {
        let mut select = self.db.prepare_cached("SELECT state = 'done' FROM jobs WHERE job = ?1")?;
        Ok(select.query_row(params![job.to_string()], |row| row.get(0)).optional()?.unwrap_or(false))
    }

    /// The last audit record that the ledger has caught up with.
    pub fn applied_seq(&self) -> Result<u64, LedgerError> {
        let seq: i64 = self.db.query_row("SELECT audit_seq FROM applied", [], |row| row.get(0))?;
        Ok(u64::try_from(seq).unwrap_or(0))
    }

    /// Proves that the ledger can be written.
    pub fn try_write(&mut self) -> Result<(), LedgerError> {
        self.db.execute("UPDATE applied SET audit_seq = audit_seq", [])?;
        Ok(())
    }

    /// Numbers of jobs by outcome, and of those without one (`unfinished`).
    pub fn counts(&self) -> Result<BTreeMap<String, u64>, LedgerError> {
        let mut select =
            self.db.prepare_cached("SELECT coalesce(outcome, 'unfinished'), count(*) FROM jobs GROUP BY 1")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn deaths_and_interruptions_are_counted_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let job = JobId::claimed_at(Timestamp::now());
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.begin(&[(job, "hr")]).unwrap();
        assert_eq!(ledger.attempt_over(job, true).unwrap(), Attempts { died: 1, interrupted: 0 });
        ledger.begin(&[(job, "hr")]).unwrap();
        drop(ledger);
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.interrupt_working().unwrap();
        assert_eq!(ledger.attempts(job).unwrap(), Some(Attempts { died: 1, interrupted: 1 }));
        ledger.done(&[(job, "hr", "sealed")], 7).unwrap();
        ledger.interrupt_working().unwrap();
        assert!(ledger.is_done(job).unwrap());
        assert_eq!(ledger.applied_seq().unwrap(), 7);
        assert_eq!(ledger.counts().unwrap(), BTreeMap::from([("sealed".to_owned(), 1)]));
    }
}
