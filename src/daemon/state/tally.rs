//! What has been done since the start, and how fast lately.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

/// Width of a slot; rates are as exact as that.
const SLOT: Duration = Duration::from_secs(10);
/// Slots of one hour.
const SLOTS_KEPT: u64 = 360;

#[derive(Default)]
pub(super) struct Tally {
    landings: BTreeMap<String, Done>,
    slots: VecDeque<Slot>,
}

#[derive(Default)]
struct Done {
    sealed: u64,
    quarantined: u64,
    last_sealed_at: Option<Timestamp>,
}

/// What was sealed within one slot's time.
struct Slot {
    number: u64,
    files: u64,
    bytes: u64,
}

fn number(now: Duration) -> u64 {
    now.as_secs() / SLOT.as_secs()
}

impl Tally {
    /// Counts a sealed file of so many bytes; `now` is monotonic.
    pub(super) fn sealed(&mut self, landing: &str, bytes: u64, at: Timestamp, now: Duration) {
        let done = self.landings.entry(landing.to_owned()).or_default();
        done.sealed += 1;
        done.last_sealed_at = Some(at);
        let current = number(now);
        if self.slots.back().is_none_or(|slot| slot.number != current) {
            self.slots.push_back(Slot { number: current, files: 0, bytes: 0 });
            self.slots.retain(|slot| slot.number + SLOTS_KEPT > current);
        }
        let slot = self.slots.back_mut().expect("there is a slot for this time");
        slot.files += 1;
        slot.bytes += bytes;
    }

    pub(super) fn quarantined(&mut self, landing: &str) {
        self.landings.entry(landing.to_owned()).or_default().quarantined += 1;
    }

    /// What was done on one landing: `sealed`, `quarantined`, `last_sealed_at`.
    pub(super) fn of(&self, landing: &str) -> (u64, u64, Option<Timestamp>) {
        self.landings.get(landing).map_or((0, 0, None), |done| (done.sealed, done.quarantined, done.last_sealed_at))
    }

    pub(super) fn last_sealed_at(&self) -> Option<Timestamp> {
        self.landings.values().filter_map(|done| done.last_sealed_at).max()
    }

    /// Files and bytes sealed in the last minute and hour.
    pub(super) fn rates(&self, now: Duration) -> Value {
        let within = |slots: u64| {
            let recent = || self.slots.iter().filter(move |slot| slot.number + slots > number(now));
            json!({
                "files": recent().map(|slot| slot.files).sum::<u64>(),
                "bytes": recent().map(|slot| slot.bytes).sum::<u64>(),
            })
        };
        json!({"last_minute": within(6), "last_hour": within(SLOTS_KEPT)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_forget_what_is_over() {
        let mut tally = Tally::default();
        let seconds = Duration::from_secs;
        for second in 0..7200 {
            tally.sealed("hr", 10, Timestamp::UNIX_EPOCH, seconds(second));
        }
        assert_eq!(tally.slots.len() as u64, SLOTS_KEPT);
        let rates = tally.rates(seconds(7199));
        assert_eq!(rates["last_minute"], json!({"files": 60, "bytes": 600}));
        assert_eq!(rates["last_hour"], json!({"files": 3600, "bytes": 36_000}));
        let later = tally.rates(seconds(7199 + 300));
        assert_eq!(later["last_minute"]["files"], 0);
        assert_eq!(later["last_hour"]["files"], 3300);
        tally.quarantined("hr");
        assert_eq!(tally.of("hr"), (7200, 1, Some(Timestamp::UNIX_EPOCH)));
    }
}
