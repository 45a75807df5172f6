//! Finished files that wait for a place in flight.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;

use super::Key;

/// By landing, the longest waiting first.
#[derive(Default)]
pub(super) struct Deferred(BTreeMap<String, VecDeque<PathBuf>>);

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn push(&mut self, (landing, relative): Key) {
        self.0.entry(landing).or_default().push_back(relative);
    }

    /// Takes up to `count` files of landings that are `open`, which take turns.
    pub(super) fn take(&mut self, count: usize, open: &HashSet<&str>) -> Vec<Key> {
        let mut taken = Vec::new();
        let mut queues: Vec<_> = self.0.iter_mut().filter(|(landing, _)| open.contains(landing.as_str())).collect();
        while taken.len() < count && !queues.is_empty() {
            queues.truncate(count - taken.len());
            queues.retain_mut(|(landing, queue)| {
                let next = queue.pop_front().map(|relative| ((*landing).clone(), relative));
                let more = next.is_some();
                taken.extend(next);
                more
            });
        }
        self.0.retain(|_, queue| !queue.is_empty());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landings_take_turns_and_closed_ones_wait() {
        let mut deferred = Deferred::default();
        for (landing, count) in [("a", 5), ("b", 2), ("closed", 3)] {
            (0..count).for_each(|index| deferred.push((landing.to_owned(), format!("{index}").into())));
        }
        let open = HashSet::from(["a", "b", "none"]);
        let mut take = |count| {
            let taken = deferred.take(count, &open);
            taken.iter().map(|(landing, relative)| format!("{landing}{}", relative.display())).collect::<Vec<_>>()
        };
        assert_eq!(take(3), ["a0", "b0", "a1"]);
        assert_eq!(take(10), ["a2", "b1", "a3", "a4"]);
        assert_eq!(take(10), [""; 0]);
        assert!(!deferred.is_empty());
        assert_eq!(deferred.take(2, &HashSet::from(["closed"])).len(), 2);
        deferred.take(2, &HashSet::from(["closed"]));
        assert!(deferred.is_empty());
    }
}
