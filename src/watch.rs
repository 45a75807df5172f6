//! notify events as path hints. Hints only: what counts is what a look at the path says, and sweeps find the rest.
//!
//! Directories are watched one by one, never recursively: the spool is in every landing, and each claim makes a
//! directory there.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::intake::Hint;

/// What the watcher noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    Path {
        path: PathBuf,
        hint: Hint,
    },
    /// A name was removed or renamed away; of a landing itself too.
    Gone(PathBuf),
    /// Events were lost: everything must be swept.
    Rescan,
    /// Nothing more will come from this watcher; also when it was dropped.
    Ended,
}

/// Watches landings; ends when dropped.
pub struct Watch {
    watcher: ManuallyDrop<RecommendedWatcher>,
}

/// What an error of a watcher means to an operator.
pub fn explain(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => "no more watches are to be had (fs.inotify.max_user_watches)".to_owned(),
        ErrorKind::Io(io) if io.raw_os_error() == Some(libc::EMFILE) => {
            "no more watchers are to be had (fs.inotify.max_user_instances, or open files)".to_owned()
        }
        ErrorKind::Io(io) => io.to_string(),
        ErrorKind::PathNotFound => "it is not there".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Lives as long as notify's thread, which tells nobody when it ends. One that never began has nothing to end.
struct Reporter<F: Fn(Noticed)> {
    report: F,
    has_begun: Arc<AtomicBool>,
}

impl<F: Fn(Noticed)> Drop for Reporter<F> {
    fn drop(&mut self) {
        if self.has_begun.load(Ordering::Acquire) {
            (self.report)(Noticed::Ended);
        }
    }
}

impl Watch {
    /// Starts a watcher that reports to `report`.
    pub fn start(report: impl Fn(Noticed) + Send + 'static) -> notify::Result<Watch> {
        let has_begun = Arc::new(AtomicBool::new(false));
        let reporter = Reporter { report, has_begun: has_begun.clone() };
        let report = move |event: notify::Result<notify::Event>| {
            let reporter = &reporter; // whole, or only its closure would live here
            crate::faults::point("noticed");
            interpret(event).into_iter().for_each(&reporter.report);
        };
        // An uploader's link must not add watches outside the landing.
        let watcher = RecommendedWatcher::new(report, notify::Config::default().with_follow_symlinks(false))?;
        has_begun.store(true, Ordering::Release); // nothing is watched yet, so nothing has happened
        Ok(Watch { watcher: ManuallyDrop::new(watcher) })
    }

    /// Watches a directory; again is no error, and needed when another directory or mount has taken its place.
    pub fn add(&mut self, dir: &Path) -> notify::Result<()> {
        // notify takes for granted that its thread still runs.
        catch_unwind(AssertUnwindSafe(|| self.watcher.watch(dir, RecursiveMode::NonRecursive)))
            .unwrap_or_else(|_| Err(notify::Error::generic("the watcher has ended")))
    }

    /// Stops watching a directory; that it is not watched is no error.
    pub fn remove(&mut self, dir: &Path) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.watcher.unwatch(dir)));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: dropped here and nowhere else, and not used afterwards.
        let end = || unsafe { ManuallyDrop::drop(&mut self.watcher) };
        let _ = catch_unwind(AssertUnwindSafe(end)); // it panics when its thread has ended already
    }
}

fn interpret(event: notify::Result<notify::Event>) -> Vec<Noticed> {
    let Ok(event) = event else { return vec![Noticed::Rescan] };
    if event.need_rescan() {
        return vec![Noticed::Rescan];
    }
    let hint = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Hint::Closed,
        EventKind::Access(AccessKind::Open(_)) => Hint::Opened,
        // `Both` repeats it together with the name before.
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Hint::Renamed,
        EventKind::Modify(ModifyKind::Metadata(_)) => Hint::Touched,
        EventKind::Create(_) => Hint::Appeared,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            return event.paths.into_iter().map(Noticed::Gone).collect();
        }
        // Single writes would come by the million; the look that ends the wait sees them.
        _ => return Vec::new(),
    };
    event.paths.into_iter().map(|path| Noticed::Path { path, hint }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn an_overflow_without_a_path_asks_for_a_rescan() {
        let overflow = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(interpret(Ok(overflow)), [Noticed::Rescan]);
        assert_eq!(interpret(Err(notify::Error::generic("gone"))), [Noticed::Rescan]);
    }

    #[test]
    fn what_uploaders_do_comes_as_hints() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, noticed) = channel();
        let mut watch = Watch::start(move |it| drop(sender.send(it))).unwrap();
        watch.add(dir.path()).unwrap();
        let (x, y) = (dir.path().join("x"), dir.path().join("y"));
        std::fs::write(&x, "x").unwrap();
        std::fs::rename(&x, &y).unwrap();
        std::fs::hard_link(&y, &x).unwrap();
        let hint = |path: &PathBuf, hint| Noticed::Path { path: path.clone(), hint };
        let expected = [
            hint(&x, Hint::Appeared),
            hint(&x, Hint::Opened),
            hint(&x, Hint::Closed),
            Noticed::Gone(x.clone()),
            hint(&y, Hint::Renamed),
            hint(&x, Hint::Appeared),
        ];
        assert_eq!(noticed.iter().take(expected.len()).collect::<Vec<_>>(), expected);
        drop(watch);
        assert_eq!(noticed.iter().collect::<Vec<_>>(), [Noticed::Ended]);
    }

    #[test]
    fn a_watcher_that_panics_is_noticed_and_can_be_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, noticed) = channel();
        let report = move |it| match it {
            Noticed::Ended => sender.send(()).unwrap(),
            _ => panic!("on purpose"),
        };
        let mut watch = Watch::start(report).unwrap();
        watch.add(dir.path()).unwrap();
        std::fs::write(dir.path().join("x"), "x").unwrap();
        noticed.recv().unwrap();
        assert!(watch.add(dir.path()).is_err());
    }
}
