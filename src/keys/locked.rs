//! Key material that is erased when the last of its users has gone, and that the kernel keeps out of swap.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// A symmetric key; clones share it.
#[derive(Clone)]
pub(super) struct LockedKey(Arc<Zeroizing<[u8; 32]>>);

impl LockedKey {
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> LockedKey {
        let key = Arc::new(bytes);
        lock(&**key);
        LockedKey(key)
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Keeps the pages of a value out of swap for as long as the process lives. Where the limit (`ulimit -l`) does not allow
/// it, nothing is said: under systemd the unit forbids swap altogether.
pub(super) fn lock<T>(value: &T) {
    lock_pages(std::ptr::from_ref(value).cast(), size_of::<T>());
}

/// As [`lock`], of all that a string has room for.
pub(super) fn lock_text(text: &String) {
    lock_pages(text.as_ptr(), text.capacity());
}

fn lock_pages(start: *const u8, bytes: usize) {
    // SAFETY: the pages belong to a live value; locking changes nothing that a program can observe.
    let _ = unsafe { rustix::mm::mlock(start.cast_mut().cast(), bytes) };
}

/// Whether the kernel keeps the page of a byte out of swap; `None` where the limit lets nobody lock anything.
#[cfg(test)]
pub(super) fn is_locked(byte: *const u8) -> Option<bool> {
    // SAFETY: as above, of a value of our own.
    unsafe { rustix::mm::mlock(byte.cast_mut().cast(), 0) }.ok()?;
    let regions = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut is_in = false;
    for line in regions.lines() {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some((start, end)) = first.split_once('-') {
            let address = |text| usize::from_str_radix(text, 16).unwrap();
            is_in = (address(start)..address(end)).contains(&(byte as usize));
        } else if is_in && first == "VmFlags:" {
            return Some(rest.split(' ').any(|flag| flag == "lo"));
        }
    }
    Some(false)
}

impl Serialize for LockedKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.bytes().serialize(to)
    }
}

impl<'de> Deserialize<'de> for LockedKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<LockedKey, D::Error> {
        <[u8; 32]>::deserialize(from).map(|bytes| LockedKey::new(Zeroizing::new(bytes)))
    }
}
