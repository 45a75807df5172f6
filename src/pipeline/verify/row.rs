//! The values of masked columns in one record: a small table that is empty again for the next record at once.

/// Room for so many values at first.
const ROOM: usize = 64;

#[derive(Clone, Copy, Default)]
struct Slot {
    digest: u64,
    record: u32,
    column: u32,
}

pub(super) struct RowTable {
    slots: Vec<Slot>,
    record: u32,
    filled: usize,
}

impl RowTable {
    pub(super) fn new() -> RowTable {
        RowTable { slots: vec![Slot::default(); ROOM], record: 0, filled: 0 }
    }

    /// Begins a new record.
    pub(super) fn next(&mut self) {
        // A block has far fewer records than this counts.
        (self.record, self.filled) = (self.record + 1, 0);
    }

    /// Adds a value of a column; the first column that has it stays.
    pub(super) fn insert(&mut self, digest: u64, column: u32) {
        if self.filled * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = digest as usize & mask;
        while self.slots[at].record == self.record {
            if self.slots[at].digest == digest {
                return;
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot { digest, record: self.record, column };
        self.filled += 1;
    }

    /// The column of this record that has a value.
    #[inline]
    pub(super) fn find(&self, digest: u64) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = digest as usize & mask;
        while self.slots[at].record == self.record {
            if self.slots[at].digest == digest {
                return Some(self.slots[at].column);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn grow(&mut self) {
        let doubled = vec![Slot::default(); self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, doubled);
        self.filled = 0;
        let record = self.record;
        for slot in old.into_iter().filter(|slot| slot.record == record) {
            self.insert(slot.digest, slot.column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_their_record_only() {
        let mut table = RowTable::new();
        table.next();
        (0..1000).for_each(|value: u32| table.insert(u64::from(value) << 40, value));
        assert!((0..1000).all(|value| table.find(u64::from(value) << 40) == Some(value)));
        table.insert(0, 7);
        assert_eq!((table.find(0), table.find(1)), (Some(0), None));
        table.next();
        assert_eq!(table.find(0), None);
    }
}
