//! Progress of what takes long: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error that goes when this is dropped. It has no colours for NO_COLOR to take away.
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins; `what` stands before the bar: "masking people.csv".
    pub fn start(what: String) -> Progress {
        Progress::drawn("{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left", what)
    }

    /// Begins where nobody knows how much there is.
    pub fn counting(what: String) -> Progress {
        Progress::drawn("{msg}: {bytes}, {bytes_per_sec}", what)
    }

    fn drawn(template: &str, what: String) -> Progress {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let draws = std::io::stderr().is_terminal() && !is_dumb;
        let target = if draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style =
            ProgressStyle::with_template(template).expect("the template is checked by every use").progress_chars("=> ");
        Progress(ProgressBar::with_draw_target(Some(0), target).with_style(style).with_message(what))
    }

    /// Says how many of the bytes are done.
    pub fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Says how many bytes are done.
    pub fn count(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Prints a line that stays, with the progress out of its way.
    pub fn aside(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
