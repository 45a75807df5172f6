//! When the loop is over, what is left then, and how it takes leave.

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::sweeps::Sweep;
use super::{CLERK_MAY_TAKE, Running, State};
use crate::audit::{Action, Outcome as AuditOutcome, Record};
use crate::daemon::DaemonError;
use crate::daemon::clerk::Paper;
use crate::daemon::event::Event;
use crate::job::JobId;

impl State {
    pub(super) fn is_over(&self) -> bool {
        let busy = self.idle.len() < self.config.daemon.workers;
        if let Some(deadline) = self.stopping {
            return !busy || self.now().monotonic >= deadline;
        }
        if !self.once || self.is_sweeping() || self.keeper.is_at_work() {
            return false;
        }
        if self.jobs.is_empty() && self.candidates.is_empty() && self.passed_by.is_empty() {
            return true;
        }
        let waited = self.began.elapsed() >= self.config.daemon.shutdown_grace;
        waited
            && self.pending.is_empty()
            && (self.jobs.is_empty() || (!busy && self.ready.is_empty() && self.is_stuck()))
    }

    /// Whether all that is in flight waits for something outside.
    fn is_stuck(&self) -> bool {
        let held = |id: &JobId| self.held.contains(id);
        let sealing =
            |(id, running): (&JobId, &Running)| running.rejected.is_some() && running.setbacks == 0 && !held(id);
        let waits = |(id, running): (&JobId, &Running)| running.setbacks > 0 || running.awaited || held(id);
        (self.places.any_unwritable() || self.jobs.iter().all(waits)) && !self.jobs.iter().any(sealing)
    }

    /// What `--once` could not do: an error unless everything was handled, or only waits for its writers. What lies in a
    /// landing that is paused is not always known.
    pub(super) fn left_over(&self) -> Result<(), DaemonError> {
        let paused = self.candidates.keys().filter(|(landing, _)| self.paused.contains_key(landing)).count();
        let files = self.jobs.values().filter(|running| !running.awaited).count() + paused;
        if !self.once || self.stopping.is_some() || (files == 0 && self.paused.is_empty()) {
            return Ok(());
        }
        let why = self.paused.values().next().cloned().unwrap_or_else(|| "the log says why".to_owned());
        Err(DaemonError::Waiting { files, why })
    }

    fn is_sweeping(&self) -> bool {
        self.sweeps.values().any(|sweep| matches!(sweep, Sweep::UnderWay(_)))
    }

    /// Takes leave of everybody. What the clerk still has at hand is committed; nothing else is begun.
    pub(super) async fn stop(&mut self, socket: &Path, mut inbox: mpsc::Receiver<Event>) {
        let _ = std::fs::remove_file(socket); // a stale one is replaced at the next start
        let record = Record::new(Timestamp::now(), Action::DaemonStopped, AuditOutcome::Success)
            .veild("counts", json!(self.counts));
        let (done, mut stopped) = oneshot::channel();
        self.hand(Paper::Stop { record: Box::new(record), done });
        let deadline = tokio::time::Instant::now() + CLERK_MAY_TAKE;
        // The queue must be emptied meanwhile: the clerk might wait for room in it.
        loop {
            tokio::select! {
                _ = &mut stopped => break, // it has said what went wrong
                event = inbox.recv() => if let Some(Event::Decided(verdicts)) = event {
                    verdicts.into_iter().for_each(|(job, verdict)| self.on_verdict(job, verdict));
                },
                () = tokio::time::sleep_until(deadline) => {
                    tracing::error!(code = "audit_failed", "the last outcomes may not be audited; the next start makes up for it");
                    break;
                }
            }
        }
        while let Ok(event) = inbox.try_recv() {
            if let Event::Decided(verdicts) = event {
                verdicts.into_iter().for_each(|(job, verdict)| self.on_verdict(job, verdict));
            }
        }
        tracing::info!(code = "daemon_stopped", "stopped; {} unfinished file(s) stay in the spool", self.jobs.len());
    }
}
