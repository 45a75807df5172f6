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
    let start = std::ptr::from_ref(value).cast_mut().cast();
    // SAFETY: the pages belong to a live value; locking changes nothing that a program can observe.
    let _ = unsafe { rustix::mm::mlock(start, size_of::<T>()) };
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
