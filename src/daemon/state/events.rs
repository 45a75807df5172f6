//! What the loop hears, and who answers to it.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::State;
use super::arrivals::Look;
use crate::daemon::clerk::{Job, Paper};
use crate::daemon::event::{Event, Request};
use crate::daemon::porter::Errand;
use crate::daemon::tell_systemd;
use crate::intake::Hint;
use crate::ledger::Attempts;
use crate::watch::Noticed;

impl State {
    pub(super) fn on_event(&mut self, event: Event) {
        if let Some(landing) = event.porters_landing() {
            self.hear(landing);
        }
        match event {
            Event::Noticed(Noticed::Rescan) => {
                self.rescan("the kernel's queue was full");
            }
            Event::Noticed(Noticed::Ended) => {
                self.start_watching();
                self.rescan("the watcher ended and was started again");
            }
            Event::Noticed(Noticed::Gone(path)) => self.on_gone(&path),
            Event::Noticed(Noticed::Path { path, hint }) => self.on_hint(&path, hint),
            Event::Looked { landing, relative, hint, stat, marker_there } => {
                self.on_looked(&landing, relative, Look { hint, stat, marker_there });
            }
            Event::Surveyed { landing, ground } => self.on_surveyed(&landing, ground),
            Event::Listed { landing, relative, hint, sweep, listed } => {
                self.on_listed(&landing, &relative, hint, sweep, listed);
            }
            Event::Found(finding) => self.on_found(&finding),
            Event::Recovered { landing, taken_up } => self.on_recovered(&landing, taken_up),
            Event::Claimed { config, landing, relative, arrived_ns, claimed, lease_known } => {
                self.no_longer_pending(&landing, &relative);
                if let Some(current) = self.current(&landing) {
                    self.drop_candidate(&(current.name.clone(), relative));
                }
                if self.adopted.remove(&claimed.job) || self.jobs.contains_key(&claimed.job) {
                    return; // adopted before
                }
                if !lease_known && self.said.insert(format!("lease {}", landing.name)) {
                    tracing::warn!(
                        code = "lease_unavailable",
                        landing = landing.name,
                        "open writers cannot be seen here; `quiet` alone decides"
                    );
                }
                self.count("claimed");
                let arrived_at = Timestamp::from_nanosecond(arrived_ns).unwrap_or_else(|_| claimed.job.claim_time());
                let job = Job::new(config, landing, claimed, arrived_at);
                self.admit(job, Attempts::default());
            }
            Event::NotClaimed { landing, relative, why } => self.on_not_claimed(&landing, relative, &why),
            Event::Begun { worker, jobs } => self.on_begun(worker, jobs),
            Event::Worker(report) => self.on_worker(report),
            Event::AttemptOver { job, attempts } => self.on_attempt_over(job, attempts),
            Event::Decided(verdicts) => verdicts.into_iter().for_each(|(job, verdict)| self.on_verdict(job, verdict)),
            Event::Revisited { job, found, .. } => self.on_revisited(job, found),
            Event::NotBegun { worker, jobs, obstacle } => {
                self.idle.push(worker);
                jobs.into_iter().for_each(|job| self.set_back(job, &obstacle));
            }
            Event::ClerkFailed(obstacle) => self.on_obstacle(&obstacle),
            Event::Kept(kept) => self.on_kept(kept),
            Event::Signal(signal) => self.on_signal(signal),
            Event::Read(read) => self.on_read(read),
            Event::TakenUp(taken_up) => self.on_taken_up(taken_up),
            Event::Control { request, answer } => self.on_request(request, answer),
        }
    }

    fn on_signal(&mut self, signal: i32) {
        use signal_hook::consts::{SIGHUP, SIGUSR1};
        match signal {
            SIGHUP => self.reload(),
            SIGUSR1 => self.sweep_all(Hint::Swept),
            _ => {
                let deadline = self.now().monotonic + self.config.daemon.shutdown_grace;
                self.stopping.get_or_insert(deadline);
                tell_systemd(&[sd_notify::NotifyState::Stopping]);
                self.tell_status();
            }
        }
    }

    fn on_request(&mut self, request: Request, answer: oneshot::Sender<Value>) {
        let reply = match request {
            Request::Status => self.status(),
            Request::Sweep => {
                self.sweep_all(Hint::Swept);
                json!({"ok": true})
            }
            Request::Adopt { landing_dir, job } => {
                let landing = self.landings.iter().find(|landing| landing.dir == landing_dir).cloned();
                if let Some(landing) = landing.filter(|_| !self.jobs.contains_key(&job)) {
                    self.send(Errand::Adopt { config: self.config.clone(), landing, job });
                }
                json!({"ok": true})
            }
            Request::Audit(records) => return self.hand(Paper::AuditFor { records, answer }),
        };
        let _ = answer.send(reply); // the asker may have left
    }
}
