//! Jobs and attempts in SQLite (WAL, `synchronous=FULL`).
//!
//! A row exists from the moment before work first starts on a job. The audit trail is the truth about outcomes; the
//! ledger remembers up to which of its records it has caught up.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::fsutil::{At, PathError, fsync_dir, remove_if_there};
use crate::job::JobId;

/// Version of the schema, in SQLite's `user_version`; [`STEPS`] lead to it.
const VERSION: i64 = STEPS.len() as i64;

/// What leads from each version to the next, from nothing on. Published steps are never changed.
const STEPS: [&str; 3] = [
    "CREATE TABLE jobs (
         job TEXT PRIMARY KEY,
         landing TEXT NOT NULL,
         state TEXT NOT NULL CHECK (state IN ('working', 'waiting', 'done')),
         died INTEGER NOT NULL DEFAULT 0,
         interrupted INTEGER NOT NULL DEFAULT 0,
         outcome TEXT
     ) WITHOUT ROWID;
     CREATE TABLE applied (audit_seq INTEGER NOT NULL);
     INSERT INTO applied VALUES (0);",
    // Jobs sort by the time of their claim, which is also a content's age; forget_at is in seconds since the epoch.
    "CREATE TABLE contents (
         job TEXT PRIMARY KEY,
         landing TEXT NOT NULL,
         digest BLOB NOT NULL,
         bytes INTEGER NOT NULL,
         forget_at INTEGER NOT NULL,
         sealed INTEGER NOT NULL DEFAULT 0
     ) WITHOUT ROWID;
     CREATE INDEX contents_by_digest ON contents (landing, digest, bytes);
     CREATE INDEX contents_by_end ON contents (forget_at);",
    // Levels are a JSON array, by quasi-identifier; `output` is a view's name, empty for the main output.
    "CREATE TABLE frozen (
         landing TEXT NOT NULL,
         output TEXT NOT NULL,
         anonymity TEXT NOT NULL,
         levels TEXT NOT NULL,
         job TEXT NOT NULL,
         PRIMARY KEY (landing, output, anonymity)
     ) WITHOUT ROWID;",
];

/// The ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "the ledger {path} was written by a newer veild (version {found}, this one knows {VERSION}); upgrade veild"
    )]
    Newer { path: String, found: i64 },
    #[error("the ledger cannot be copied before it is brought to this version")]
    Copy(#[from] PathError),
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

/// What identifies a file's content: its keyed digest, and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub digest: [u8; 32],
    pub bytes: u64,
}

/// A content that is about to be sealed.
pub struct Note<'a> {
    pub job: JobId,
    pub landing: &'a str,
    pub content: &'a Content,
    pub forget_at: Timestamp,
}

/// Levels of a landing's first file that hold for its later ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The view's name, empty for the main output.
    pub output: String,
    /// Digest of what the policy asks for; under another one other levels hold.
    pub anonymity: String,
    pub levels: Vec<u32>,
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
        if found < VERSION {
            if found > 0 {
                keep_copy(&db, path, found)?;
            }
            let steps = STEPS[usize::try_from(found).unwrap_or(0)..].concat();
            db.execute_batch(&format!("BEGIN; {steps} PRAGMA user_version = {VERSION}; COMMIT;"))?;
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
            let mut seal = transaction.prepare_cached("UPDATE contents SET sealed = 1 WHERE job = ?1")?;
            let mut forget = transaction.prepare_cached("DELETE FROM contents WHERE job = ?1")?;
            for (job, _, outcome) in outcomes {
                let content = if *outcome == "sealed" { &mut seal } else { &mut forget };
                content.execute(params![job.to_string()])?;
            }
            transaction.execute("UPDATE applied SET audit_seq = max(audit_seq, ?1)", params![audit_seq as i64])?;
        }
        Ok(transaction.commit()?)
    }

    /// Ends every attempt that a wanted stop has cut off; it is nobody's fault.
    pub fn release_working(&mut self) -> Result<(), LedgerError> {
        self.db.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'working'", [])?;
        Ok(())
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

    /// Notes contents that are about to be sealed; they count as seen once their jobs are done.
    pub fn note_contents(&mut self, notes: &[Note<'_>]) -> Result<(), LedgerError> {
        if notes.is_empty() {
            return Ok(());
        }
        let transaction = self.db.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO contents (job, landing, digest, bytes, forget_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for Note { job, landing, content, forget_at } in notes {
                let row =
                    params![job.to_string(), landing, content.digest, content.bytes as i64, forget_at.as_second()];
                insert.execute(row)?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// The first job from `since` on that has sealed this content on this landing.
    pub fn sealed_content(&self, landing: &str, content: &Content, since: JobId) -> Result<Option<JobId>, LedgerError> {
        let mut select = self.db.prepare_cached(
            "SELECT job FROM contents
             WHERE landing = ?1 AND digest = ?2 AND bytes = ?3 AND sealed AND job >= ?4 ORDER BY job LIMIT 1",
        )?;
        let found: Option<String> = select
            .query_row(params![landing, content.digest, content.bytes as i64, since.to_string()], |row| row.get(0))
            .optional()?;
        Ok(found.and_then(|job| job.parse().ok()))
    }

    /// All levels that were frozen on a landing.
    pub fn frozen(&self, landing: &str) -> Result<Vec<Frozen>, LedgerError> {
        let mut select = self.db.prepare_cached("SELECT output, anonymity, levels FROM frozen WHERE landing = ?1")?;
        let rows = select.query_map(params![landing], |row| {
            let levels: String = row.get(2)?;
            // What is no list of levels is one of none, which fits no policy.
            let levels = serde_json::from_str(&levels).unwrap_or_default();
            Ok(Frozen { output: row.get(0)?, anonymity: row.get(1)?, levels })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Keeps the levels that a job has chosen, where none are kept yet; durable when this returns.
    pub fn freeze(&mut self, landing: &str, frozen: &Frozen, job: JobId) -> Result<(), LedgerError> {
        let Frozen { output, anonymity, levels } = frozen;
        let levels = serde_json::to_string(levels).unwrap_or_default();
        self.db.execute(
            "INSERT OR IGNORE INTO frozen (landing, output, anonymity, levels, job) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![landing, output, anonymity, levels, job.to_string()],
        )?;
        Ok(())
    }

    /// Forgets contents whose time is over.
    pub fn forget_contents(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        self.db.execute("DELETE FROM contents WHERE forget_at < ?1", params![now.as_second()])?;
        Ok(())
    }

    /// Forgets the outcomes of jobs before this one, whose sources have gone long ago.
    pub fn forget_outcomes(&mut self, before: JobId) -> Result<(), LedgerError> {
        self.db.execute("DELETE FROM jobs WHERE job < ?1 AND state = 'done'", params![before.to_string()])?;
        Ok(())
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

    /// The last audit record that a ledger has caught up with, or one before it, without disturbing the daemon that has
    /// it open; `None` when nothing can be read.
    pub fn peek(path: &Path) -> Option<u64> {
        use rusqlite::OpenFlags;
        let path = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let read = |how: &str| {
            let db = Connection::open_with_flags(format!("file:{path}?{how}"), flags).ok()?;
            let seq: i64 = db.query_row("SELECT audit_seq FROM applied", [], |row| row.get(0)).ok()?;
            u64::try_from(seq).ok()
        };
        // Whoever may not write there sees only what was last brought over from the write-ahead log.
        read("mode=ro").or_else(|| read("immutable=1"))
    }

    /// Brings what is in the write-ahead log over, where [`Ledger::peek`] sees it.
    pub fn empty_log(&mut self) -> Result<(), LedgerError> {
        Ok(self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    /// Goes on from an earlier audit record than the ledger had caught up with.
    pub fn fall_back_to(&mut self, audit_seq: u64) -> Result<(), LedgerError> {
        self.db.execute("UPDATE applied SET audit_seq = ?1", params![audit_seq as i64])?;
        Ok(())
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

/// Leaves the ledger as an earlier version wrote it beside the one that goes on, as `ledger.sqlite.v1`.
fn keep_copy(db: &Connection, path: &Path, version: i64) -> Result<(), LedgerError> {
    let with_suffix = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (copy, partial) = (with_suffix(&format!(".v{version}")), with_suffix(".copy"));
    remove_if_there(&partial)?; // of a start that was cut off
    db.execute("VACUUM INTO ?1", params![partial.to_string_lossy()])?;
    File::open(&partial).at("open", &partial)?.sync_all().at("make durable", &partial)?;
    std::fs::rename(&partial, &copy).at("rename to", &copy)?;
    fsync_dir(path.parent().unwrap_or(Path::new("")))?;
    tracing::info!(
        code = "ledger_migrated",
        from = version,
        to = VERSION,
        "the ledger of an earlier version is brought to this one; its copy is {}",
        copy.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests;
