//! notify events as path hints. Hints only: what counts is what a look at the path says, and sweeps find the rest.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::intake::Hint;

/// What the watcher noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    Path {
        path: PathBuf,
        hint: Hint,
    },
    /// Events were lost, or the watcher failed: everything must be swept.
    Rescan,
}

/// Watches landings; ends when dropped.
pub struct Watch {
    watcher: RecommendedWatcher,
}

impl Watch {
    /// Starts a watcher that reports to `report`, which must not panic: notify would stop silently.
    pub fn start(report: impl Fn(Noticed) + Send + 'static) -> notify::Result<Watch> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            for noticed in interpret(event) {
                report(noticed);
            }
        })?;
        Ok(Watch { watcher })
    }

    /// Watches a landing's directory.
    pub fn add(&mut self, dir: &Path, recursive: bool) -> notify::Result<()> {
        let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        self.watcher.watch(dir, mode)
    }

    /// Stops watching a directory; that it is not watched is no error.
    pub fn remove(&mut self, dir: &Path) {
        let _ = self.watcher.unwatch(dir); // a root that has vanished has no watch any more
    }
}

fn interpret(event: notify::Result<notify::Event>) -> Vec<Noticed> {
    let Ok(event) = event else { return vec![Noticed::Rescan] };
    if event.need_rescan() {
        return vec![Noticed::Rescan];
    }
    let hint = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Hint::Closed,
        EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => Hint::Renamed,
        EventKind::Create(_) | EventKind::Modify(_) => Hint::Touched,
        _ => return Vec::new(),
    };
    event.paths.into_iter().map(|path| Noticed::Path { path, hint }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_without_a_path_asks_for_a_rescan() {
        let overflow = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(interpret(Ok(overflow)), [Noticed::Rescan]);
        assert_eq!(interpret(Err(notify::Error::generic("gone"))), [Noticed::Rescan]);
    }
}
