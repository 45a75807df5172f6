//! Retention of the vault, on a thread of its own: changes that were cut off are completed, and what is older than its
//! landing's `keep` goes. Its records go through the clerk like all others; a kill at any moment is made good by the next
//! look.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::clerk::{Paper, chain};
use super::control;
use super::event::{Event, Request};
use crate::audit::{AuditError, Record};
use crate::config::Config;
use crate::fsutil::PathError;
use crate::keys::SigningKey;
use crate::vault::Damaged;
use crate::vault::change::{self, Books, Cause};
use crate::vault::lock::Lock;
use crate::vault::prune::{Look, Pruned, Retention, prune};

/// Time between two looks for what has been kept long enough.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Starts the looks, one at a time.
pub(super) struct Keeper {
    signing: SigningKey,
    papers: Sender<Paper>,
    events: mpsc::Sender<Event>,
    at_work: bool,
    looked: Option<Instant>,
    /// What stood in the way last.
    said: Option<String>,
    damaged: Arc<Mutex<Damaged>>,
}

/// Nothing more can go now.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Io(#[from] PathError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("not recorded, so not done: {0}")]
    Unrecorded(String),
}

impl Keeper {
    pub fn new(signing: SigningKey, papers: Sender<Paper>, events: mpsc::Sender<Event>) -> Keeper {
        Keeper { signing, papers, events, at_work: false, looked: None, said: None, damaged: Arc::default() }
    }

    pub fn is_at_work(&self) -> bool {
        self.at_work
    }

    /// Begins a look if one is due.
    pub fn look(&mut self, config: &Arc<Config>) {
        let every = crate::faults::limit("VAULT_UPKEEP", LOOK_EVERY);
        if self.at_work || self.looked.is_some_and(|last| last.elapsed() < every) {
            return;
        }
        self.looked = Some(Instant::now());
        let (config, signing) = (config.clone(), self.signing.clone());
        let (papers, events, damaged) = (self.papers.clone(), self.events.clone(), self.damaged.clone());
        let keep = move || {
            // Whatever a look that has panicked left: what it remembers was found.
            let mut damaged = damaged.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = keep(&config, &signing, &papers, &mut damaged).map_err(|error| chain(&error));
            let _ = events.blocking_send(Event::Kept(kept)); // the loop may have ended
        };
        // Without a thread there is another look later.
        self.at_work = std::thread::Builder::new().name("keeper".to_owned()).spawn(keep).is_ok();
    }

    /// A look has ended: says what stood in the way, once; returns whether that is news.
    pub fn done(&mut self, kept: Result<u64, String>) -> Option<String> {
        self.at_work = false;
        let hindrance = match kept {
            Ok(0) => None,
            Ok(count) => Some(format!(
                "{count} object(s) are older than `keep` and stay, for they are not as their receipts say; \
                 see `veild vault verify`"
            )),
            Err(error) => Some(format!("nothing more of the vault was pruned: {error}")),
        };
        let news = hindrance.clone().filter(|what| self.said.as_ref() != Some(what));
        self.said = hindrance;
        news
    }
}

/// Returns how many objects are old enough and damaged.
fn keep(
    config: &Config,
    signing: &SigningKey,
    papers: &Sender<Paper>,
    damaged: &mut Damaged,
) -> Result<u64, KeeperError> {
    let mut append = |records: Vec<Record>| match records.is_empty() {
        true => await_others(config),
        false => record(papers, records),
    };
    let mut books = Books { trail: &config.audit.dir, append: &mut append };
    let dir = &config.vault.dir;
    // A command that is at work looks after its own.
    let Some(lock) = Lock::try_alone(dir)? else { return Ok(0) };
    change::recover(dir, &lock, &mut books)?;
    drop(lock);
    let retention = Retention { keep: config.retention(), ..Retention::default() };
    if retention.is_idle() {
        return Ok(0);
    }
    let mut note = |object: &Pruned| {
        tracing::info!(
            code = "vault_pruned",
            job = %object.job,
            landing = object.landing,
            view = object.view,
            "an object was older than its landing's `keep` and has gone; its tombstone stays"
        );
    };
    let look = Look { note: &mut note, report: &|_| {}, damaged };
    let outcome = prune(dir, &retention, Timestamp::now(), signing, &Cause::default(), &mut books, look)?;
    Ok(outcome.problems.len() as u64)
}

/// Waits until what commands had sent is recorded: theirs goes through the socket, and this behind it.
fn await_others(config: &Config) -> Result<(), KeeperError> {
    control::ask(&config.daemon.state_dir, &Request::Audit(Vec::new()))?;
    Ok(())
}

/// Has the clerk append records, and waits until they are durable.
fn record(papers: &Sender<Paper>, records: Vec<Record>) -> Result<(), KeeperError> {
    let unrecorded = |what: &str| KeeperError::Unrecorded(what.to_owned());
    let (answer, reply) = oneshot::channel();
    papers.send(Paper::AuditFor { records, answer }).map_err(|_| unrecorded("the daemon is stopping"))?;
    let reply = reply.blocking_recv().map_err(|_| unrecorded("the daemon is stopping"))?;
    match reply["error"].as_str() {
        None => Ok(()),
        Some(error) => Err(unrecorded(error)),
    }
}
