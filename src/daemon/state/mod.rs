//! The loop and what it owns: candidates, jobs, workers, timers.
//!
//! Here are its start and time, in [`events`] what it hears, in [`ending`] its end; [`watching`] and [`sweeps`] have how files come to notice,
//! [`arrivals`] the way from a hint to a claim, [`jobs`] that from a claim to
//! a verdict.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::clerk::{Job, Paper};
use super::event::Event;
use super::keeper::Keeper;
use super::places::{Ailment, Place, Places};
use super::porter::{Errand, Porters};
use super::start::Start;
use super::{DaemonError, control, tell_systemd};
use crate::audit::Durable;
use crate::audit::ship::Delivery;
use crate::config::{Config, Landing};
use crate::intake::{Candidate, Hint, Now};
use crate::job::JobId;
use crate::keys::Passphrases;
use crate::ledger::Attempts;
use crate::pipeline::Fault;
use crate::worker::pool::Pool;

mod arrivals;
mod deferred;
mod ending;
mod events;
mod health;
mod jobs;
mod readers;
mod reload;
mod status;
mod sweeps;
mod tally;
mod throttle;
mod watching;

use deferred::Deferred;
use readers::GroupAlert;
use reload::{Rejected, Reload};
use sweeps::Sweep;
use tally::Tally;
use throttle::Throttle;
use watching::Watching;

/// Most claimed files in flight; the rest waits in its landing.
const MAX_JOBS: usize = 1024;
/// Pause before an attempt that failed for reasons outside the file starts over; it doubles with each failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest such pause.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Longest beat of the loop's own housekeeping, which also feeds the watchdog.
const BEAT: Duration = Duration::from_secs(5);
/// Time in which the clerk must have committed what it has at hand when the daemon stops.
const CLERK_MAY_TAKE: Duration = Duration::from_secs(20);
/// Longest time without an event in which `--once` looks again.
const ONCE_BEAT: Duration = Duration::from_millis(50);

/// Most unclaimed files that are remembered; sweeps come back for the others.
const MAX_CANDIDATES: usize = 50_000;
/// Most warnings that are remembered as said.
const MAX_SAID: usize = 10_000;

type Key = (String, PathBuf);

struct Tracked {
    candidate: Candidate,
    landing: Arc<Landing>,
    claiming: bool,
    /// Its place in `deferred`.
    deferred: Option<u64>,
    /// When its only timer goes off.
    due: Option<Duration>,
    /// Number of the last sweep that saw it.
    swept: u64,
}

struct Running {
    job: Job,
    attempts: Attempts,
    /// Somebody writes to it: it is looked at until that is over.
    awaited: bool,
    /// Set when the file is at fault and its original is being sealed for the quarantine.
    rejected: Option<Fault>,
    /// Attempts that failed for reasons outside the file.
    setbacks: u32,
}

impl Running {
    fn new(job: Job, attempts: Attempts) -> Running {
        Running { job, attempts, awaited: false, rejected: None, setbacks: 0 }
    }
}

pub(super) struct State {
    config: Arc<Config>,
    landings: Vec<Arc<Landing>>,
    paused: BTreeMap<String, String>,
    watching: Watching,
    candidates: HashMap<Key, Tracked>,
    max_candidates: usize,
    /// Landings with files that there was no room to remember.
    passed_by: HashSet<String>,
    timers: BinaryHeap<Reverse<(Duration, TimerKey)>>,
    jobs: HashMap<JobId, Running>,
    ready: VecDeque<JobId>,
    /// Claimed files that wait until the places can be written again, or there is somebody to seal them to.
    held: HashSet<JobId>,
    passphrases: Passphrases,
    /// Version and fingerprint of the one that the workers have.
    masking_key: (u32, String),
    /// By name of the group.
    group_alerts: BTreeMap<String, GroupAlert>,
    places: Places,
    /// Landings whose rooms are being looked at, and since when.
    examining: HashMap<String, Duration>,
    /// When each landing's porter last reported anything.
    heard: HashMap<String, Duration>,
    /// Directories of landings whose spools are being read.
    recovering: HashSet<PathBuf>,
    /// A landing was looked at before the places that veild itself writes to.
    unjudged: bool,
    /// Directories of landings whose spools could not be read yet.
    unrecovered: HashSet<PathBuf>,
    /// Claimed files that were found in such a spool; their claims may still be on the way.
    adopted: HashSet<JobId>,
    throttle: Throttle,
    idle: Vec<usize>,
    /// The worker that has a file beside which nothing else may be at work.
    solitary: Option<usize>,
    /// Files during which the daemon has ended before; each has its alert.
    interrupted: HashSet<JobId>,
    /// By name of the landing.
    sweeps: HashMap<String, Sweep>,
    sweep_count: u64,
    said: HashSet<String>,
    counts: BTreeMap<&'static str, u64>,
    tally: Tally,
    pool: Pool,
    porters: Porters,
    papers: Sender<Paper>,
    keeper: Keeper,
    events: mpsc::Sender<Event>,
    began: Instant,
    began_at: Timestamp,
    once: bool,
    stopping: Option<Duration>,
    /// Set by the watcher when the loop's queue was full.
    lost_events: Arc<AtomicBool>,
    deferred: Deferred,
    /// By landing, files that its porter was asked to claim, or to look at before that: each may be a job soon.
    pending: HashMap<String, HashSet<PathBuf>>,
    max_jobs: usize,
    beat: Duration,
    last_beat: Duration,
    reload: Reload,
    rejected: Option<Rejected>,
    shipping: Vec<Arc<Delivery>>,
    trail: Arc<Durable>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    Candidate(Key),
    Sweep(String),
    Retry(JobId),
    Revisit(JobId),
}

impl State {
    #[allow(clippy::too_many_arguments)] // everything the loop is handed, once
    pub(super) fn new(
        config: Arc<Config>,
        landings: Vec<Arc<Landing>>,
        pool: Pool,
        porters: Porters,
        papers: Sender<Paper>,
        keeper: Keeper,
        events: mpsc::Sender<Event>,
        once: bool,
        start: Start,
    ) -> State {
        let mut state = State {
            idle: (0..config.daemon.workers).rev().collect(),
            places: Places::new(&config),
            held: HashSet::new(),
            group_alerts: BTreeMap::new(),
            passphrases: start.passphrases,
            masking_key: start.masking_key,
            examining: HashMap::new(),
            heard: HashMap::new(),
            recovering: HashSet::new(),
            unjudged: false,
            unrecovered: HashSet::new(),
            adopted: HashSet::new(),
            throttle: Throttle::default(),
            config,
            landings,
            paused: BTreeMap::new(),
            watching: Watching::default(),
            candidates: HashMap::new(),
            max_candidates: crate::faults::bound("MAX_CANDIDATES", MAX_CANDIDATES),
            passed_by: HashSet::new(),
            timers: BinaryHeap::new(),
            jobs: HashMap::new(),
            ready: VecDeque::new(),
            solitary: None,
            interrupted: HashSet::new(),
            sweeps: HashMap::new(),
            sweep_count: 0,
            said: HashSet::new(),
            counts: BTreeMap::new(),
            tally: Tally::default(),
            pool,
            porters,
            papers,
            keeper,
            events,
            began: Instant::now(),
            began_at: Timestamp::now(),
            once,
            stopping: None,
            lost_events: Arc::default(),
            deferred: Deferred::default(),
            pending: HashMap::new(),
            max_jobs: crate::faults::bound("MAX_JOBS", MAX_JOBS),
            beat: BEAT.min(super::watchdog_time() / 3),
            last_beat: Duration::ZERO,
            reload: Reload::Idle,
            rejected: None,
            shipping: start.shipping,
            trail: start.trail,
        };
        for (job, attempts) in start.recovered {
            state.admit(job, attempts);
        }
        for (landing, obstacle) in start.unrecovered {
            state.unrecovered.insert(landing.dir.clone());
            let place = Place::Landing(landing.name.clone());
            state.trouble(&place, obstacle.ailment.unwrap_or(Ailment::Failing), &obstacle.what);
        }
        state
    }

    /// Runs until it is told to stop and nothing is in flight.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Event>,
        ready: impl FnOnce(),
    ) -> Result<(), DaemonError> {
        let socket = self.config.daemon.state_dir.join("control.sock");
        control::listen(&socket, self.events.clone()).map_err(super::cannot_start)?;
        self.start_watching();
        self.examine_groups();
        self.sweep_all(Hint::Swept);
        self.examine_places();
        self.keeper.look(&self.config);
        self.dispatch();
        tracing::info!(code = "daemon_started", landings = self.landings.len(), "watching");
        tell_systemd(&[sd_notify::NotifyState::Ready]);
        self.tell_status();
        ready();
        while !self.is_over() {
            let wait = self.until_next_timer();
            match tokio::time::timeout(wait, inbox.recv()).await {
                Ok(Some(event)) => self.on_event(event),
                Ok(None) => break,
                Err(_) => {}
            }
            self.on_time();
            self.dispatch();
        }
        self.stop(&socket, inbox).await;
        self.left_over()
    }

    fn now(&self) -> Now {
        Now { monotonic: self.began.elapsed() + Duration::from_secs(3600), wall_ns: Timestamp::now().as_nanosecond() }
    }

    fn until_next_timer(&self) -> Duration {
        let beat = if self.once || self.stopping.is_some() { ONCE_BEAT } else { self.beat };
        let next = self.timers.peek().map(|Reverse((at, _))| at.saturating_sub(self.now().monotonic));
        next.unwrap_or(beat).min(beat)
    }

    fn send(&mut self, errand: Errand) {
        self.porters.send(errand);
    }

    fn hand(&self, paper: Paper) {
        self.papers.send(paper).expect("the clerk ends only after the loop");
    }

    fn remind(&mut self, at: Duration, of: TimerKey) {
        self.timers.push(Reverse((at, of)));
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn on_time(&mut self) {
        crate::faults::hold("loop");
        let now = self.now().monotonic;
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((at, timer))) = self.timers.pop() else { return };
            match timer {
                TimerKey::Candidate(key) => self.on_candidate_due(at, key),
                TimerKey::Sweep(name) => self.on_sweep_due(at, &name),
                TimerKey::Retry(id) => self.take_up(id),
                TimerKey::Revisit(id) => self.revisit(id),
            }
        }
        if self.lost_events.swap(false, Ordering::Relaxed) {
            self.rescan("they came faster than they could be taken");
        }
        if now.saturating_sub(self.last_beat) >= self.beat {
            self.last_beat = now;
            tell_systemd(&[sd_notify::NotifyState::Watchdog]);
            self.examine_groups();
            self.tell_status();
            self.examine_places();
            self.keeper.look(&self.config);
        }
    }
}
