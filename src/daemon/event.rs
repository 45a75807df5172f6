//! Everything that can happen to the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use super::clerk::Verdict;
use super::places::{Finding, Obstacle};
use super::porter::{Ground, Listing};
use super::reload::{Proposal, TakenUp};
use crate::config::{Config, Landing};
use crate::fsutil::PathError;
use crate::intake::{Hint, Stat};
use crate::job::JobId;
use crate::ledger::{Attempts, Frozen};
use crate::spool::{Claimed, NotClaimed, Stamp, Writers};
use crate::watch::Noticed;
use crate::worker::pool::WorkerReport;

/// A job on which work may start.
pub struct Begun {
    pub job: JobId,
    pub attempts: Attempts,
    /// Levels that were frozen on its landing.
    pub frozen: Vec<Frozen>,
}

/// One input of the loop.
pub enum Event {
    Noticed(Noticed),
    Looked {
        landing: Arc<Landing>,
        relative: PathBuf,
        hint: Hint,
        stat: Option<Stat>,
        marker_there: bool,
    },
    Surveyed {
        landing: Arc<Landing>,
        ground: Result<Ground, Obstacle>,
    },
    Listed {
        landing: Arc<Landing>,
        relative: PathBuf,
        hint: Hint,
        sweep: u64,
        listed: Result<Listing, PathError>,
    },
    Found(Finding),
    /// What the spool of a landing held that could not be read at the start.
    Recovered {
        landing: Arc<Landing>,
        taken_up: Result<TakenUp, Obstacle>,
    },
    Claimed {
        config: Arc<Config>,
        landing: Arc<Landing>,
        relative: PathBuf,
        arrived_ns: i128,
        claimed: Claimed,
        lease_known: bool,
    },
    NotClaimed {
        landing: Arc<Landing>,
        relative: PathBuf,
        why: NotClaimed,
    },
    Begun {
        worker: usize,
        jobs: Vec<Begun>,
    },
    Worker(WorkerReport),
    AttemptOver {
        job: JobId,
        /// `None` when the ledger could not be written.
        attempts: Option<Attempts>,
    },
    Decided(Vec<(JobId, Verdict)>),
    /// What a claimed file is like that somebody had written to.
    Revisited {
        landing: Arc<Landing>,
        job: JobId,
        found: Result<(Stamp, Writers), PathError>,
    },
    /// The jobs of this worker could not begin.
    NotBegun {
        worker: usize,
        jobs: Vec<JobId>,
        obstacle: Obstacle,
    },
    ClerkFailed(Obstacle),
    /// A look for what has been kept long enough has ended: how many objects stay as evidence, or what stood in the way.
    Kept(Result<u64, String>),
    Signal(i32),
    /// A reload has read the configuration, or refuses it.
    Read(Result<Box<Proposal>, String>),
    /// The clerk has looked into the spools of added landings.
    TakenUp(Result<(Box<Proposal>, TakenUp), String>),
    Control {
        request: Request,
        answer: oneshot::Sender<Value>,
    },
}

impl Event {
    /// The landing whose porter reports this.
    pub fn porters_landing(&self) -> Option<&Landing> {
        match self {
            Event::Looked { landing, .. }
            | Event::Surveyed { landing, .. }
            | Event::Listed { landing, .. }
            | Event::Claimed { landing, .. }
            | Event::NotClaimed { landing, .. }
            | Event::Revisited { landing, .. } => Some(landing),
            _ => None,
        }
    }
}

/// What `veild status` and its kind ask over the control socket.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Status,
    /// Look at everything now.
    Sweep,
    /// Take up what a command has put into a landing's spool.
    Adopt {
        landing_dir: PathBuf,
        job: JobId,
    },
    /// Append records on behalf of a command.
    Audit(Vec<crate::audit::Record>),
}
