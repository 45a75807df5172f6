//! What `veild status` is told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::State;

impl State {
    pub(super) fn status(&self) -> Value {
        let landings: Vec<Value> = self
            .landings
            .iter()
            .map(|landing| {
                let of = |name: &String| *name == landing.name;
                json!({
                    "name": landing.name,
                    "dir": landing.dir,
                    "waiting": self.candidates.keys().filter(|(name, _)| of(name)).count(),
                    "in_flight": self.jobs.values().filter(|it| of(&it.job.landing.name)).count(),
                    "paused": self.paused.get(&landing.name),
                })
            })
            .collect();
        // Of landings that a reload has taken out, or moved to another name or directory.
        let mut leaving: BTreeMap<&str, usize> = BTreeMap::new();
        for landing in self.jobs.values().map(|it| &it.job.landing) {
            if !self.landings.iter().any(|it| it.name == landing.name) {
                *leaving.entry(&landing.name).or_default() += 1;
            }
        }
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started_at": self.began_at,
            "config_sha256": self.config.sha256,
            "config_rejected": self.rejected.as_ref().map(|it| json!({"at": it.at, "why": it.why})),
            "landings": landings,
            "leaving": leaving,
            "places": self.places.report(),
            "held": self.held.len(),
            "workers": {"all": self.config.daemon.workers, "idle": self.idle.len()},
            "counts": self.counts,
        })
    }
}
