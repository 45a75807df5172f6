//! Named points at which tests end the process or hold it up; empty in builds without debug assertions.

/// Ends this process with SIGKILL when `VEILD_FAULT` names this point, on its first visit (or, as `name:3`, its third).
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static FAULT: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static VISITS: AtomicU64 = AtomicU64::new(0);
    let fault = FAULT.get_or_init(|| {
        let text = std::env::var("VEILD_FAULT").ok()?;
        match text.split_once(':') {
            Some((name, visit)) => Some((name.to_owned(), visit.parse().ok()?)),
            None => Some((text, 1)),
        }
    });
    if fault
        .as_ref()
        .is_some_and(|(wanted, visit)| wanted == name && VISITS.fetch_add(1, Ordering::Relaxed) + 1 == *visit)
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park(); // until the signal arrives
        }
    }
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &str) {}

/// Keeps this thread here for as long as PATH exists, when `VEILD_HOLD` is `name=PATH` with this point's name.
#[cfg(debug_assertions)]
pub fn hold(name: &str) {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    static HOLD: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    let hold = HOLD.get_or_init(|| {
        let text = std::env::var("VEILD_HOLD").ok()?;
        let (name, path) = text.split_once('=')?;
        Some((name.to_owned(), path.into()))
    });
    while hold.as_ref().is_some_and(|(wanted, path)| wanted == name && path.exists()) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn hold(_name: &str) {}

#[cfg(debug_assertions)]
thread_local! {
    static SIZES: std::cell::Cell<Option<(usize, usize)>> = const { std::cell::Cell::new(None) };
}

/// Lets files processed on this thread be read in pieces of these sizes in bytes: the first one, and later blocks.
#[cfg(debug_assertions)]
pub fn with_sizes<T>(first: usize, block: usize, work: impl FnOnce() -> T) -> T {
    SIZES.set(Some((first, block)));
    let done = work();
    SIZES.set(None);
    done
}

/// Sizes of the first reading and of later blocks.
#[cfg(debug_assertions)]
pub fn sizes(default: (usize, usize)) -> (usize, usize) {
    SIZES.get().unwrap_or(default)
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn sizes(default: (usize, usize)) -> (usize, usize) {
    default
}
