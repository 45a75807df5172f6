//! Finished files that wait for a place in flight.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::Key;

/// By landing, the longest waiting first.
#[derive(Default)]
pub(super) struct Deferred {
    queues: HashMap<String, BTreeMap<u64, PathBuf>>,
    next: u64,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn has_of(&self, landing: &str) -> bool {
        self.queues.contains_key(landing)
    }

    pub(super) fn clear(&mut self) {
        self.queues.clear();
    }

    /// Puts a file behind the others of its landing; the number of its place.
    pub(super) fn push(&mut self, (landing, relative): &Key) -> u64 {
        self.next += 1;
        self.queues.entry(landing.clone()).or_default().insert(self.next, relative.clone());
        self.next
    }

    pub(super) fn remove(&mut self, landing: &str, place: u64) {
        let Some(queue) = self.queues.get_mut(landing) else { return };
        queue.remove(&place);
        if queue.is_empty() {
            self.queues.remove(landing);
        }
    }

    /// Takes up to `count` files of a landing.
    pub(super) fn take(&mut self, landing: &str, count: usize) -> Vec<PathBuf> {
        let Some(queue) = self.queues.get_mut(landing) else { return Vec::new() };
        let taken = (0..count).map_while(|_| queue.pop_first()).map(|(_, relative)| relative).collect();
        if queue.is_empty() {
            self.queues.remove(landing);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_waiting_of_a_landing_go_first() {
        let mut deferred = Deferred::default();
        let mut push = |landing: &str, name: &str| deferred.push(&(landing.to_owned(), name.into()));
        let places = ["a0", "a1", "a2"].map(|name| push("a", name));
        push("b", "b0");
        deferred.remove("a", places[1]);
        assert_eq!(deferred.take("a", 1), [PathBuf::from("a0")]);
        assert!(deferred.has_of("a"));
        assert_eq!(deferred.take("a", 9), [PathBuf::from("a2")]);
        deferred.remove("a", places[2]);
        assert!(!deferred.has_of("a") && !deferred.is_empty());
        assert_eq!(deferred.take("b", 9).len(), 1);
        assert!(deferred.is_empty());
    }
}
