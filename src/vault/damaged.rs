//! Objects that were found not to be as their receipts say: none is read twice to find the same.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::siblings;

/// What was found wrong with objects, as they lay there then.
#[derive(Default)]
pub struct Damaged(HashMap<PathBuf, (Stamp, String)>);

impl Damaged {
    /// What was wrong with an object that has not been touched since.
    pub(super) fn known(&self, path: &Path, stamp: &Stamp) -> Option<String> {
        self.0.get(path).filter(|(then, _)| then == stamp).map(|(_, what)| what.clone())
    }

    pub(super) fn remember(&mut self, path: &Path, stamp: &Stamp, what: &str) {
        self.0.insert(path.to_owned(), (stamp.clone(), what.to_owned()));
    }
}

/// Inode, size, and times in nanoseconds of an object, its receipt and its signature: another one when any of them was
/// replaced, changed or removed.
#[derive(Clone, PartialEq)]
pub(super) struct Stamp([Option<(u64, u64, i128, i128)>; 3]);

impl Stamp {
    pub fn of(dir: &Path, object: &Path) -> Stamp {
        let object = dir.join(object);
        let (receipt, signature) = siblings(&object).unwrap_or_default();
        Stamp([object, receipt, signature].map(|path| {
            let it = fs::symlink_metadata(path).ok()?;
            let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            Some((
                it.ino(),
                it.size(),
                nanoseconds(it.mtime(), it.mtime_nsec()),
                nanoseconds(it.ctime(), it.ctime_nsec()),
            ))
        }))
    }

    /// Whether the object is there.
    pub fn is_there(&self) -> bool {
        self.0[0].is_some()
    }
}
