//! What is known of a delivery: how far it is, what stands in its way, what has to be said of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Target;
use crate::audit::Durable;

/// Most notes that wait to be said.
const MOST_NOTES: usize = 100;

/// What has to be said once.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Records were pruned before the target had them.
    Missed { from: u64, to: u64 },
    /// The trail is not the one of which the target has records up to this number.
    OtherTrail { cursor: u64 },
}

/// A delivery as its thread tells it.
pub struct Delivery {
    pub target: Target,
    durable: Arc<Durable>,
    known: Mutex<Known>,
}

struct Known {
    /// `None` before the thread has looked.
    delivered: Option<u64>,
    /// All that was durable then has been delivered since.
    complete_at: Instant,
    trouble: Option<(Timestamp, String)>,
    notes: Vec<Note>,
}

impl Delivery {
    pub(super) fn new(target: Target, durable: Arc<Durable>) -> Delivery {
        let known = Known { delivered: None, complete_at: Instant::now(), trouble: None, notes: Vec::new() };
        Delivery { target, durable, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The target has everything up to `seq`; `complete_at`: then nothing more was durable.
    pub(super) fn reached(&self, seq: u64, complete_at: Option<Instant>) {
        let mut known = self.known();
        (known.delivered, known.trouble) = (Some(seq), None);
        known.complete_at = complete_at.unwrap_or(known.complete_at);
    }

    pub(super) fn failed(&self, what: &str) {
        let mut known = self.known();
        let since = known.trouble.as_ref().map_or_else(Timestamp::now, |(since, _)| *since);
        known.trouble = Some((since, what.to_owned()));
    }

    pub(super) fn note(&self, note: Note) {
        let mut known = self.known();
        if known.notes.len() < MOST_NOTES && known.notes.last() != Some(&note) {
            known.notes.push(note);
        }
    }

    /// Notes that nobody has taken yet.
    pub fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.known().notes)
    }

    /// Number of the first record that the target may lack.
    pub fn undelivered(&self) -> u64 {
        self.known().delivered.map_or(0, |seq| seq + 1)
    }

    /// How many records the target may lack.
    pub fn behind(&self) -> u64 {
        (self.durable.seq() + 1).saturating_sub(self.undelivered().max(1))
    }

    /// For how long records have been waiting.
    fn waits(&self) -> Option<Duration> {
        (self.behind() > 0).then(|| self.known().complete_at.elapsed())
    }

    /// Whether that is too long.
    pub fn is_late(&self) -> bool {
        self.waits().is_some_and(|time| time > crate::faults::limit("SHIP_ALERT", self.target.alert_after))
    }

    /// In one line, for the operator.
    pub fn trouble(&self) -> Option<String> {
        self.known().trouble.as_ref().map(|(_, what)| what.clone())
    }

    /// For `veild status`.
    pub fn report(&self) -> Value {
        let (behind, waits) = (self.behind(), self.waits().map(|time| time.as_secs()));
        let is_late = self.is_late();
        let known = self.known();
        json!({
            "name": self.target.name,
            "to": self.target.to.to_string(),
            "delivered": known.delivered,
            "behind": behind,
            "behind_seconds": waits,
            "late": is_late,
            "trouble": known.trouble.as_ref().map(|(since, what)| json!({"since": since, "what": what})),
        })
    }
}
