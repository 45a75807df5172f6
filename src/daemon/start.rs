//! The daemon's start: everything durable opened, spools recovered.
//!
//! A disk that is full, read-only or failing is waited for: restarts in quick succession would make the service
//! manager give up. A landing in trouble holds up no other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::clerk::{Clerk, ClerkError, Job};
use super::places::{Ailment, Obstacle, Place};
use super::reload::TakenUp;
use super::{DaemonError, cannot_start, lock_state, open_clerk, spools, tell_systemd};
use crate::audit::ship::Delivery;
use crate::audit::{Action, Durable, Outcome, Record};
use crate::config::{Config, Landing};
use crate::fsutil::{self, At, PathError};
use crate::keys::Passphrases;
use crate::ledger::Attempts;

/// Time between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
const LOOK_FOR_SIGNALS_EVERY: Duration = Duration::from_millis(200);
/// A landing that has not answered for this long is left to the loop.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Time between two lines about the same obstacle.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Everything durable, and what the loop begins with.
pub struct Opened {
    pub _lock: std::fs::File,
    pub clerk: Clerk,
    pub landings: Vec<Arc<Landing>>,
    pub start: Start,
}

/// What the loop begins with.
pub struct Start {
    pub passphrases: Passphrases,
    /// Version and fingerprint of the masking key that files are masked under until the end.
    pub masking_key: (u32, String),
    pub recovered: Vec<(Job, Attempts)>,
    /// Landings whose spools could not be read yet.
    pub unrecovered: Vec<(Arc<Landing>, Obstacle)>,
    /// Where the audit trail is carried.
    pub shipping: Vec<Arc<Delivery>>,
    pub trail: Arc<Durable>,
}

/// Opens everything, and waits for room or a mended disk where that is what is missing; `None` when a signal ends that.
pub fn open_patiently(config: &Arc<Config>, signals: &mut Signals) -> Result<Option<Opened>, DaemonError> {
    let mut said: Option<(String, Instant)> = None;
    loop {
        let (obstacle, ailment) = match open(config) {
            Err(DaemonError::Start(obstacle)) => match obstacle.ailment {
                Some(ailment @ (Ailment::Full | Ailment::ReadOnly | Ailment::Failing)) => (obstacle, ailment),
                _ => return Err(DaemonError::Start(obstacle)),
            },
            other => return other.map(Some),
        };
        let what = format!("cannot start yet: {}; {}", obstacle.what, ailment.remedy());
        if said.as_ref().is_none_or(|(of, at)| *of != what || at.elapsed() > SAY_AGAIN_AFTER) {
            tracing::error!(code = ailment.code(None), "{what}, the start goes on by itself");
            said = Some((what.clone(), Instant::now()));
        }
        let patience = (3 * TRY_AGAIN_AFTER).as_micros() as u32;
        tell_systemd(&[sd_notify::NotifyState::Status(&what), sd_notify::NotifyState::ExtendTimeoutUsec(patience)]);
        let until = Instant::now() + TRY_AGAIN_AFTER;
        while Instant::now() < until {
            if signals.pending().any(|signal| matches!(signal, SIGTERM | SIGINT)) {
                return Ok(None);
            }
            std::thread::sleep(LOOK_FOR_SIGNALS_EVERY);
        }
    }
}

/// Opens everything.
pub fn open(config: &Arc<Config>) -> Result<Opened, DaemonError> {
    let _lock = lock_state(config)?;
    crate::vault::prepare(&config.vault.dir)?;
    let mut clerk = open_clerk(config)?;
    clerk.owe(started(config, &clerk));
    clerk.recover().map_err(|error| DaemonError::Start(clerk.obstacle(&error)))?;
    let landings: Vec<_> = config.landings.iter().cloned().map(Arc::new).collect();
    let passphrases = Passphrases::load(config).map_err(cannot_start)?;
    let (trail, shipping, masking_key) = (clerk.trail.durable(), Vec::new(), clerk.keys.in_force());
    let (recovered, unrecovered) = (Vec::new(), Vec::new());
    let mut start = Start { passphrases, masking_key, recovered, unrecovered, shipping, trail };
    let mut completed = 0;
    spools::remember(config)?;
    for (landing, prepared) in landings.iter().zip(prepare(&landings)) {
        let taken_up = prepared.map_err(ClerkError::from).and_then(|()| take_up(&mut clerk, config, landing));
        match taken_up.map_err(|error| clerk.obstacle(&error)) {
            Ok(taken_up) => {
                start.recovered.extend(taken_up.jobs);
                completed += taken_up.completed;
            }
            Err(obstacle) if is_in_trouble(landing, &obstacle, config) => {
                start.unrecovered.push((landing.clone(), obstacle));
            }
            Err(obstacle) => return Err(DaemonError::Start(obstacle)),
        }
    }
    // Should one of them have been the reason that the daemon ended, the others are done by then.
    start.recovered.sort_by_key(|(job, attempts)| (attempts.interrupted, job.id()));
    crate::faults::point("recovered");
    let resumed = start.recovered.len();
    if completed > 0 || resumed > 0 {
        let record = Record::new(Timestamp::now(), Action::DaemonRecovered, Outcome::Success)
            .veild("completed", json!(completed))
            .veild("resumed", json!(resumed));
        clerk.owe(record);
        tracing::info!(code = "daemon_recovered", completed, resumed, "recovered after a cut-off run");
    }
    report_left_behind(&mut clerk, config)?;
    clerk.pay().map_err(|error| DaemonError::Start(clerk.obstacle(&error.into())))?;
    // A source that cannot be removed now is removed later.
    if let Some(obstacle) = clerk.settle().stopped {
        return Err(DaemonError::Start(obstacle));
    }
    Ok(Opened { _lock, clerk, landings, start })
}

/// Prepares every landing's spool, each on a thread of its own: one whose server does not answer holds up no other, and
/// only for a while the start.
fn prepare(landings: &[Arc<Landing>]) -> Vec<Result<(), PathError>> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    let asked: Vec<_> = landings
        .iter()
        .map(|landing| {
            let (answer, answered) = std::sync::mpsc::channel();
            let dir = landing.dir.clone();
            let prepare = move || {
                // The look comes first: a landing that is not there must not be made.
                let prepared = fsutil::space(&dir).and_then(|_| crate::spool::prepare(&dir));
                let _ = answer.send(prepared); // too late, perhaps
            };
            let started = std::thread::Builder::new().name("prepare".to_owned()).spawn(prepare);
            started.map(|_| answered).at("start a thread for", &landing.dir)
        })
        .collect();
    let answer = |(landing, asked): (&Arc<Landing>, Result<std::sync::mpsc::Receiver<_>, PathError>)| {
        let left = deadline.saturating_duration_since(Instant::now());
        let silent = || std::io::Error::from_raw_os_error(libc::ETIMEDOUT);
        asked?.recv_timeout(left).unwrap_or_else(|_| Err(silent()).at("look at", &landing.dir))
    };
    landings.iter().zip(asked).map(answer).collect()
}

fn take_up(clerk: &mut Clerk, config: &Arc<Config>, landing: &Arc<Landing>) -> Result<TakenUp, ClerkError> {
    clerk.take_up(config, std::slice::from_ref(landing), &HashSet::new())
}

/// Claimed files of landings that have left the configuration must not be forgotten.
fn report_left_behind(clerk: &mut Clerk, config: &Config) -> Result<(), DaemonError> {
    for left in spools::left_behind(config)? {
        tracing::error!(code = "spool_left", landing = left.landing, files = left.files, "{left}");
        let record = Record::new(Timestamp::now(), Action::AlertRaised, Outcome::Failure)
            .veild("code", json!("spool_left"))
            .veild("landing", json!(left.landing))
            .veild("files", json!(left.files))
            .field("error", json!({"message": left.to_string()}));
        clerk.owe(record);
    }
    Ok(spools::forget_empty(config)?)
}

/// Whether an obstacle is one that this landing may have got over later, without holding up the others now.
fn is_in_trouble(landing: &Landing, obstacle: &Obstacle, config: &Config) -> bool {
    let Some(path) = obstacle.path.as_ref().filter(|_| obstacle.ailment.is_some()) else { return false };
    match Place::of(path, config) {
        Some(place) => place == Place::Landing(landing.name.clone()),
        None => path.starts_with(&landing.dir),
    }
}

/// With what is in force from now on: a key that was changed while nothing ran shows here.
fn started(config: &Config, clerk: &Clerk) -> Record {
    let (version, fingerprint) = clerk.keys.in_force();
    Record::new(Timestamp::now(), Action::DaemonStarted, Outcome::Success)
        .field("process", json!({"pid": std::process::id()}))
        .veild("version", json!(env!("CARGO_PKG_VERSION")))
        .veild("key_version", version)
        .veild("keys", json!({"masking": fingerprint, "signing": clerk.signing.verifying().fingerprint()}))
        .veild("config", json!({"path": config.path, "sha256": config.sha256}))
}
