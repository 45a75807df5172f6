//! Named points at which tests make a process fail or hold it up; empty in builds without debug assertions.
//!
//! `VEILD_FAULT` holds `NAME`, `NAME:VISIT` or either with `=DEED` behind it: at its first (or VISIT-th) visit to the
//! point of that name the process does the deed: `kill` (the default), `abort`, `segv`, `stop`, `panic`; or it is `slow`
//! at every visit.
//! `VEILD_WORKER_FAULT` is handed to every worker process in this form, `VEILD_WORKER_FAULT_ONCE` to the first alone.

#[cfg(debug_assertions)]
mod armed {
    use std::ffi::OsString;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use rustix::process::Signal;

    #[derive(Clone, Copy)]
    enum Deed {
        /// Ends the process, or stops it, as a signal from outside would.
        Signal(Signal),
        Panic,
        Slow,
    }

    /// How long a slow point takes.
    const SLOW: Duration = Duration::from_millis(600);

    struct Fault {
        name: String,
        visit: u64,
        deed: Deed,
    }

    fn parse(text: &str) -> Option<Fault> {
        let (place, deed) = text.split_once('=').unwrap_or((text, "kill"));
        let (name, visit) = place.split_once(':').unwrap_or((place, "1"));
        let deed = match deed {
            "kill" => Deed::Signal(Signal::KILL),
            "abort" => Deed::Signal(Signal::ABORT),
            "segv" => Deed::Signal(Signal::SEGV),
            "stop" => Deed::Signal(Signal::STOP),
            "panic" => Deed::Panic,
            "slow" => Deed::Slow,
            _ => return None,
        };
        Some(Fault { name: name.to_owned(), visit: visit.parse().ok()?, deed })
    }

    /// Visits this point; its name is only made where a fault is set.
    pub fn point_named(name: impl FnOnce() -> String) {
        static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
        static VISITS: AtomicU64 = AtomicU64::new(0);
        let fault = FAULT.get_or_init(|| {
            let text = std::env::var("VEILD_FAULT").ok()?;
            Some(parse(&text).unwrap_or_else(|| panic!("VEILD_FAULT is misspelled: {text}")))
        });
        let Some(fault) = fault else { return };
        if fault.name == name() {
            let visit = VISITS.fetch_add(1, Ordering::Relaxed) + 1;
            match fault.deed {
                Deed::Slow => std::thread::sleep(SLOW),
                deed if visit == fault.visit => strike(deed),
                _ => {}
            }
        }
    }

    fn strike(deed: Deed) {
        let signal = match deed {
            Deed::Panic => panic!("a panic on purpose"),
            Deed::Slow => return,
            Deed::Signal(signal) => signal,
        };
        loop {
            let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
            if signal == Signal::STOP {
                return;
            }
            std::thread::yield_now(); // until it has arrived; std takes the first SIGSEGV for itself
        }
    }

    /// Visits a point.
    pub fn point(name: &str) {
        point_named(|| name.to_owned());
    }

    /// Keeps this thread here for as long as PATH exists, when `VEILD_HOLD` is `name=PATH` with this point's name.
    pub fn hold(name: &str) {
        static HOLD: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
        let hold = HOLD.get_or_init(|| {
            let text = std::env::var("VEILD_HOLD").ok()?;
            let (name, path) = text.split_once('=')?;
            Some((name.to_owned(), path.into()))
        });
        while hold.as_ref().is_some_and(|(wanted, path)| wanted == name && path.exists()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the next worker process gets of this, for its environment.
    pub fn of_next_worker() -> Vec<(&'static str, OsString)> {
        static SPENT: AtomicBool = AtomicBool::new(false);
        let first = || std::env::var_os("VEILD_WORKER_FAULT_ONCE").filter(|_| !SPENT.swap(true, Ordering::Relaxed));
        let fault = std::env::var_os("VEILD_WORKER_FAULT").or_else(first);
        let hold = std::env::var_os("VEILD_HOLD");
        fault.map(|it| ("VEILD_FAULT", it)).into_iter().chain(hold.map(|it| ("VEILD_HOLD", it))).collect()
    }

    /// The time limit of this name, which `VEILD_<NAME>_MS` makes shorter for tests.
    pub fn limit(name: &str, default: Duration) -> Duration {
        let given = std::env::var(format!("VEILD_{name}_MS")).ok().and_then(|text| text.parse().ok());
        given.map_or(default, Duration::from_millis)
    }

    /// A bound that tests lower by `VEILD_<name>`.
    pub fn bound(name: &str, default: usize) -> usize {
        std::env::var(format!("VEILD_{name}")).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// A path that tests replace by `VEILD_<name>`.
    pub fn place(name: &str, default: &str) -> PathBuf {
        std::env::var_os(format!("VEILD_{name}")).map_or_else(|| default.into(), PathBuf::from)
    }

    thread_local! {
        static SIZES: std::cell::Cell<Option<(usize, usize)>> = const { std::cell::Cell::new(None) };
    }

    /// Lets files processed on this thread be read in pieces of these sizes in bytes: the first one, and later blocks.
    pub fn with_sizes<T>(first: usize, block: usize, work: impl FnOnce() -> T) -> T {
        SIZES.set(Some((first, block)));
        let done = work();
        SIZES.set(None);
        done
    }

    /// Sizes of the first reading and of later blocks.
    pub fn sizes(default: (usize, usize)) -> (usize, usize) {
        SIZES.get().unwrap_or(default)
    }
}

#[cfg(debug_assertions)]
pub use armed::*;

#[cfg(not(debug_assertions))]
mod disarmed {
    #[inline(always)]
    pub fn point(_name: &str) {}

    #[inline(always)]
    pub fn point_named(_name: impl FnOnce() -> String) {}

    #[inline(always)]
    pub fn hold(_name: &str) {}

    #[inline(always)]
    pub fn of_next_worker() -> Vec<(&'static str, std::ffi::OsString)> {
        Vec::new()
    }

    #[inline(always)]
    pub fn limit(_name: &str, default: std::time::Duration) -> std::time::Duration {
        default
    }

    #[inline(always)]
    pub fn bound(_name: &str, default: usize) -> usize {
        default
    }

    #[inline(always)]
    pub fn place(_name: &str, default: &str) -> std::path::PathBuf {
        default.into()
    }

    /// Release builds read in their own sizes only.
    pub fn with_sizes<T>(_first: usize, _block: usize, work: impl FnOnce() -> T) -> T {
        work()
    }

    #[inline(always)]
    pub fn sizes(default: (usize, usize)) -> (usize, usize) {
        default
    }
}

#[cfg(not(debug_assertions))]
pub use disarmed::*;
