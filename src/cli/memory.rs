//! Commands that read a file as a worker does take no more memory than a worker may.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context;

use crate::config::{Config, WORKER_MEMORY_BYTES};

/// What is said where the limit is met.
static AT_THE_LIMIT: OnceLock<String> = OnceLock::new();

/// Holds this process to the configuration's `worker_memory`, or to its default where no configuration can be read: a
/// command that needs one says so itself.
pub(super) fn hold_to_that_of_a_worker(config: &Path) -> anyhow::Result<()> {
    let bytes = Config::load(config).map_or(WORKER_MEMORY_BYTES, |config| config.daemon.worker_memory);
    AT_THE_LIMIT.get_or_init(|| {
        format!(
            "veild: stopped, for want of memory if nothing else is said above: `worker_memory` in [daemon] is {bytes} \
             bytes, here as in the daemon. What was written is not whole. Raise it if the file is right\n"
        )
    });
    let handler: extern "C" fn(libc::c_int) = aborted;
    // SAFETY: no other thread runs yet, and the handler makes only calls that handlers may make.
    unsafe { libc::signal(libc::SIGABRT, handler as libc::sighandler_t) };
    crate::worker::serve::limit_memory(bytes).context("the memory of this process cannot be limited")
}

/// An allocation that fails aborts.
extern "C" fn aborted(_: libc::c_int) {
    let text = AT_THE_LIMIT.get().map_or("", String::as_str);
    // SAFETY: the text lives as long as the process; both calls are allowed in signal handlers.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(1);
    }
}
