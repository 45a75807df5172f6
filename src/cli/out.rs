//! Standard output.

use std::io::{self, Write};

use anyhow::Context;

/// What is said where standard output takes nothing more.
pub const NO_OUTPUT: &str = "cannot write to standard output";

/// As the standard macro of this name, but that standard output takes nothing more is no defect: the command ends.
macro_rules! print {
    ($($what:tt)*) => { $crate::cli::out::print(format_args!($($what)*)) };
}

/// Likewise.
macro_rules! println {
    () => { print!("\n") };
    ($($what:tt)*) => { print!("{}\n", format_args!($($what)*)) };
}

/// Writes all of what was made to standard output.
pub fn write_out(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context(NO_OUTPUT)
}

/// Prints, or says that it cannot and ends the command as a failure; `main` catches what unwinds.
pub fn print(what: std::fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(what) {
        let _ = writeln!(io::stderr(), "veild: {NO_OUTPUT}: {error}"); // nobody may be reading
        std::panic::resume_unwind(Box::new(NO_OUTPUT));
    }
}

/// Prints a query's answer.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    write_out(format!("{}\n", serde_json::to_string_pretty(value)?).as_bytes())
}
