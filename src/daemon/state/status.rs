//! What `veild status` is told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::State;
use super::reload::Rejected;
use crate::daemon::reload::NEEDS_RESTART;
use crate::daemon::tell_systemd;
use crate::telemetry::{advice, notices};

/// Codes of what the state itself knows better than the log's lines, or what the quarantine lists.
const TOLD_OTHERWISE: [&str; 17] = [
    "disk_low",
    "disk_full",
    "disk_readonly",
    "disk_error",
    "disk_denied",
    "disk_gone",
    "landing_gone",
    "landing_silent",
    "disk_silent",
    "ledger_damaged",
    "quarantine_full",
    "landing_paused",
    "recipients_empty",
    "recipients_expired",
    "config_rejected",
    "audit_ship_late",
    "file_quarantined",
];

impl State {
    /// The line that `systemctl status` shows.
    pub(super) fn tell_status(&self) {
        let mut status = format!("{} in flight, {} waiting", self.jobs.len(), self.candidates.len());
        if let Some((landing, why)) = self.paused.first_key_value() {
            status.push_str(&format!("; {} PAUSED, {landing}: {why}", self.paused.len()));
        }
        if let Some(Rejected { why, .. }) = &self.rejected {
            status.push_str(&format!("; CONFIGURATION REFUSED, the old one is in force: {why}"));
        }
        let line = status.replace('\n', "; "); // another line would be another variable
        tell_systemd(&[sd_notify::NotifyState::Status(&line)]);
    }

    pub(super) fn status(&self) -> Value {
        let now = Timestamp::now();
        let alerts = self.alerts(now);
        // Of landings that a reload has taken out, or moved to another name or directory.
        let mut leaving: BTreeMap<&str, usize> = BTreeMap::new();
        for landing in self.jobs.values().map(|it| &it.job.landing) {
            if !self.landings.iter().any(|it| it.name == landing.name) {
                *leaving.entry(&landing.name).or_default() += 1;
            }
        }
        json!({
            "well": alerts.iter().all(|alert| alert["level"] != "error"),
            "alerts": alerts,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "at": now,
            "started_at": self.began_at,
            "stopping": self.stopping.is_some(),
            "config": self.config.path,
            "config_sha256": self.config.sha256,
            "masking_key": {"version": self.masking_key.0, "fingerprint": self.masking_key.1},
            "config_rejected": self.rejected.as_ref().map(|it| json!({"at": it.at, "why": it.why})),
            "landings": self.landings.iter().map(|landing| self.landing_status(&landing.name)).collect::<Vec<_>>(),
            "leaving": leaving,
            "places": self.places.report(),
            "held": self.held.len(),
            "audit": {"seq": self.trail.seq(), "append_seconds": self.trail.spent().as_secs_f64()},
            "shipping": self.shipping.iter().map(|delivery| delivery.report()).collect::<Vec<_>>(),
            "workers": {"all": self.config.daemon.workers, "idle": self.idle.len()},
            "rates": self.tally.rates(self.now().monotonic),
            "last_sealed_at": self.tally.last_sealed_at(),
            "counts": self.counts,
        })
    }

    fn landing_status(&self, name: &str) -> Value {
        let waiting = || self.candidates.iter().filter(|((landing, _), _)| landing == name).map(|(_, it)| it);
        let oldest = waiting().map(|tracked| tracked.candidate.arrived_ns).min();
        let (sealed, quarantined, last_sealed_at) = self.tally.of(name);
        let landing = self.landings.iter().find(|landing| landing.name == name);
        json!({
            "name": name,
            "dir": landing.map(|landing| &landing.dir),
            "noticed_by": landing.map(|landing| self.watching.report(landing)),
            "waiting": waiting().count(),
            "waiting_since": oldest.and_then(|at| Timestamp::from_nanosecond(at).ok()),
            "in_flight": self.jobs.values().filter(|it| it.job.landing.name == name).count(),
            "paused": self.paused.get(name),
            "sealed": sealed,
            "quarantined": quarantined,
            "last_sealed_at": last_sealed_at,
        })
    }

    /// What is wrong now or has gone wrong within the hour, the worst first: `level`, `code`, `of` (a landing or
    /// place), `since`, `last`, `times`, `what`, `advice`.
    fn alerts(&self, now: Timestamp) -> Vec<Value> {
        let mut alerts = Vec::new();
        for place in self.places.report() {
            let trouble = &place["trouble"];
            if !trouble.is_null() {
                let (code, since, what) = (&trouble["code"], &trouble["since"], &trouble["what"]);
                let of = &place["place"];
                alerts.push(json!({"level": "error", "code": code, "of": of, "since": since, "what": what}));
            }
        }
        alerts.extend(self.group_report());
        for delivery in self.shipping.iter().filter(|delivery| delivery.is_late()) {
            let why = delivery.trouble().unwrap_or_else(|| "it takes records too slowly".to_owned());
            let of = format!("ship {}", delivery.target.name);
            let advice = advice::for_code("audit_ship_late");
            alerts.push(json!({"level": "error", "code": "audit_ship_late", "of": of, "what": why, "advice": advice}));
        }
        if let Some(rejected) = &self.rejected {
            alerts.push(json!({
                "level": "error",
                "code": "config_rejected",
                "since": rejected.at,
                "what": rejected.why,
                "advice": match rejected.why.contains(NEEDS_RESTART) {
                    true => Some("`veild check`, then `systemctl restart veild`, or take the change back and reload"),
                    false => advice::for_code("config_rejected"),
                },
            }));
        }
        let mut notices = notices::current(now);
        notices.retain(|notice| !TOLD_OTHERWISE.contains(&notice.code.as_str()));
        notices.sort_by_key(|notice| notice.level != "error");
        for notice in notices {
            alerts.push(json!({
                "level": notice.level,
                "code": notice.code,
                "of": notice.landing,
                "since": notice.since,
                "last": notice.last,
                "times": notice.times,
                "what": notice.what,
                "advice": advice::for_code(&notice.code),
            }));
        }
        alerts
    }
}
