//! What the clerk has to do with carrying the trail elsewhere: alerts about it, and records kept until they are delivered.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::Clerk;
use crate::audit::ship::{Delivery, Note};
use crate::audit::{Action, Outcome, Record};

impl Clerk {
    /// Takes the deliveries to look after.
    pub fn attend(&mut self, deliveries: Vec<Arc<Delivery>>) {
        self.shipping = deliveries.into_iter().map(|delivery| (delivery, false)).collect();
    }

    /// Says and records what has changed, and keeps what is still to be carried.
    pub(super) fn watch_shipping(&mut self) {
        let mut records = Vec::new();
        for (delivery, was_late) in &mut self.shipping {
            let name = &delivery.target.name;
            for note in delivery.take_notes() {
                let (code, what) = tell(&note);
                tracing::error!(code, ship = name, "{name}: {what}");
                records.push(alert(Action::AlertRaised, Outcome::Failure, code, delivery).field("message", what));
            }
            let is_late = delivery.is_late();
            if is_late == std::mem::replace(was_late, is_late) {
                continue;
            }
            if is_late {
                let why = delivery.trouble().unwrap_or_else(|| "it takes records too slowly".to_owned());
                tracing::error!(code = LATE, ship = name, "audit records wait for {name}: {why}");
                records.push(alert(Action::AlertRaised, Outcome::Failure, LATE, delivery).field("message", why));
            } else {
                tracing::info!(code = "audit_ship_back", ship = name, "{name} has all audit records again");
                records.push(alert(Action::AlertCleared, Outcome::Success, LATE, delivery));
            }
        }
        records.into_iter().for_each(|record| self.owe(record));
        self.trail.keep_undelivered(self.shipping.iter().map(|(delivery, _)| delivery.undelivered()).min());
    }
}

const LATE: &str = "audit_ship_late";

fn alert(action: Action, outcome: Outcome, code: &str, delivery: &Delivery) -> Record {
    let ship = json!({"name": delivery.target.name, "behind": delivery.behind()});
    Record::new(Timestamp::now(), action, outcome).veild("code", code).veild("ship", ship)
}

fn tell(note: &Note) -> (&'static str, String) {
    match note {
        Note::Missed { from, to } => {
            ("audit_ship_missed", format!("audit records {from} to {to} were pruned before it had them"))
        }
        Note::OtherTrail { cursor } => (
            "audit_ship_again",
            format!(
                "it has records up to {cursor} of another trail than the one that is here, which is carried from its beginning"
            ),
        ),
    }
}
