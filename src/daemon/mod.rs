//! The daemon: one loop owns all mutable state; every input is one [`event::Event`].
//!
//! Blocking work runs on threads of its own: the porter touches landings, the clerk makes outcomes durable, one thread
//! attends each worker. No file content ever enters this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

use crate::audit::ship::Shipping;
use crate::audit::{Trail, TrailOptions};
use crate::config::{Config, Rotation};
use crate::fsutil::{At, PathError, create_dir_durable};
use crate::keys::{MaskingKeys, SigningKey};
use crate::ledger::Ledger;
use crate::worker::pool::{Pool, PoolOptions};

pub mod clerk;
pub mod control;
pub mod detach;
pub mod event;
mod keeper;
pub mod pid_file;
pub mod places;
mod porter;
mod reload;
pub mod spools;
mod start;
mod state;

use clerk::{Clerk, ClerkError, chain, quarantine_dir};
use event::Event;
use places::Obstacle;
use start::{Opened, open, open_patiently};
use state::State;

/// Events waiting for the loop; a full queue makes the threads wait.
const MAX_QUEUED_EVENTS: usize = 4096;
/// Time in which what is left must have been carried elsewhere when the daemon stops; the next start goes on with the rest.
const SHIPPING_MAY_TAKE: Duration = Duration::from_secs(5);
/// Time between signed checkpoints while anything is written.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(600);

/// The daemon cannot start, or must stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("another veild runs on {}; `veild status` talks to it", .0.display())]
    AlreadyRuns(PathBuf),
    #[error("{}", .0.what)]
    Start(Obstacle),
    #[error("stopped while {files} known file(s) wait: {why}")]
    Waiting { files: usize, why: String },
}

impl From<PathError> for DaemonError {
    fn from(error: PathError) -> DaemonError {
        DaemonError::Start(Obstacle::from(&error))
    }
}

fn cannot_start(error: impl std::error::Error) -> DaemonError {
    DaemonError::Start(Obstacle::other(chain(&error)))
}

/// Takes the state directory for this process alone; the lock goes when the file is closed, also by SIGKILL.
///
/// A record lock, because `flock` would live on for a moment in a worker that was being forked when the daemon died.
pub fn lock_state(config: &Config) -> Result<std::fs::File, DaemonError> {
    let state_dir = &config.daemon.state_dir;
    create_dir_durable(state_dir, 0o750)?;
    let path = state_dir.join("lock");
    let lock = std::fs::File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
    match rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(_) => Err(DaemonError::AlreadyRuns(state_dir.clone())),
    }
}

/// The audit trail's forward-secure key: away from the trail, which is copied elsewhere.
pub fn epoch_key(config: &Config) -> PathBuf {
    config.daemon.state_dir.join("audit-epoch.key")
}

/// How the audit trail of a configuration is kept.
pub fn trail_options(config: &Config) -> TrailOptions {
    TrailOptions {
        dir: config.audit.dir.clone(),
        rotate_size: config.audit.rotate_size,
        rotate_daily: config.audit.rotate != Rotation::Never,
        compress_after: config.audit.compress_after,
        keep: config.audit.keep,
        total_size: config.audit.total_size,
        epoch_key: epoch_key(config),
        checkpoint_every: CHECKPOINT_EVERY,
    }
}

/// Opens everything durable; the caller holds the state directory's lock.
pub fn open_clerk(config: &Arc<Config>) -> Result<Clerk, DaemonError> {
    let failed = |error: ClerkError| DaemonError::Start(clerk::obstacle(&error, config));
    let keys = MaskingKeys::from_source(&config.keys.masking).map_err(cannot_start)?;
    let signing = SigningKey::from_source(&config.keys.signing).map_err(cannot_start)?;
    create_dir_durable(&quarantine_dir(config), 0o700)?;
    create_dir_durable(&config.audit.dir, 0o750)?;
    let path = config.daemon.state_dir.join("ledger.sqlite");
    let ledger = Ledger::open(&path).map_err(|error| failed(error.into()))?;
    let trail = Trail::open(trail_options(config), signing.clone(), Timestamp::now());
    let trail = trail.map_err(|error| failed(error.into()))?;
    Ok(Clerk::new(config.clone(), ledger, trail, signing, keys))
}

/// How the daemon was started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until a signal ends it; a disk in trouble is waited for at the start.
    Foreground,
    /// Until a signal ends it; somebody waits for the start, at a terminal or in the middle of a boot.
    Detached,
    /// Until all that is there has been handled.
    Once,
}

/// Runs the daemon to its end. Calls `ready` when it has recovered and watches.
pub fn run(config: Config, mode: Mode, ready: impl FnOnce()) -> Result<(), DaemonError> {
    let config = Arc::new(config);
    // Each landing may hold some hundred descriptors while it claims a burst; the soft limit is for programs that select.
    let _ = rlimit::increase_nofile_limit(u64::MAX); // what is there has to do
    crate::plaintext::forbid_core_dumps().map_err(cannot_start)?; // the keys are in its memory
    let mut signals = catch_signals()?;
    crate::faults::point("starting");
    let opened = match mode {
        Mode::Foreground => open_patiently(&config, &mut signals)?,
        Mode::Detached | Mode::Once => Some(open(&config)?),
    };
    let Some(Opened { _lock, mut clerk, landings, mut start }) = opened else { return Ok(()) };
    let (audit, state_dir) = (&config.audit, &config.daemon.state_dir);
    let shipping = Shipping::start(&audit.ship, &audit.dir, state_dir, clerk.trail.durable()).map_err(cannot_start)?;
    clerk.attend(shipping.deliveries());
    start.shipping = shipping.deliveries();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    let (events, inbox) = mpsc::channel(MAX_QUEUED_EVENTS);
    let pool = start_pool(&config, &clerk, &events)?;
    forward_signals(signals, &events)?;
    let porters = porter::Porters::new(events.clone());
    let signing = clerk.signing.clone();
    let papers = clerk::start(clerk, events.clone()).map_err(cannot_start)?;
    let keeper = keeper::Keeper::new(signing, papers.clone(), events.clone());
    let state = State::new(config, landings, pool, porters, papers, keeper, events, mode == Mode::Once, start);
    let ended = runtime.block_on(state.run(inbox, ready));
    shipping.stop(SHIPPING_MAY_TAKE);
    ended
}

fn start_pool(config: &Config, clerk: &Clerk, events: &mpsc::Sender<Event>) -> Result<Pool, DaemonError> {
    let options = PoolOptions {
        workers: config.daemon.workers,
        memory_bytes: config.daemon.worker_memory,
        patience: config.daemon.worker_timeout,
        threads: std::thread::available_parallelism().map_or(1, usize::from).min(4),
        keys: clerk.keys.clone(),
    };
    let events = events.clone();
    Pool::start(&options, move |report| {
        let _ = events.blocking_send(Event::Worker(report)); // the loop may have ended
    })
    .map_err(cannot_start)
}

/// Takes over the signals that would end the process; they wait until they are forwarded.
fn catch_signals() -> Result<Signals, DaemonError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGIO, SIGTERM, SIGUSR1};
    Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGIO]).map_err(cannot_start)
}

/// Turns signals into events. SIGIO comes from broken leases and means nothing.
fn forward_signals(mut signals: Signals, events: &mpsc::Sender<Event>) -> Result<(), DaemonError> {
    use signal_hook::consts::SIGIO;
    let events = events.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever().filter(|signal| *signal != SIGIO) {
                if events.blocking_send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })
        .map_err(cannot_start)?;
    Ok(())
}

/// Tells systemd; that nobody listens is no error.
fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    let _ = sd_notify::notify(false, states); // without NOTIFY_SOCKET, or with one that is gone
}

/// Time within which systemd wants to hear from the loop.
fn watchdog_time() -> Duration {
    let mut usec = 0;
    if sd_notify::watchdog_enabled(false, &mut usec) { Duration::from_micros(usec) } else { Duration::MAX }
}
