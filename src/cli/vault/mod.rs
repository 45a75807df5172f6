//! `veild vault`

use std::path::Path;

use anyhow::Context;

use crate::config::Config;
use crate::vault::change::{self, Books, Cause};
use crate::vault::lock::Lock;

mod export;
pub mod find;
mod list;
mod open;
mod prune;
mod rewrap;
mod verify;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Objects with what their receipts say
    List(list::Arguments),
    /// Check digests, signatures and receipts, and that vault and audit trail know of each other
    Verify(verify::Arguments),
    /// Decrypt an object with an identity given on the spot
    Open(open::Arguments),
    /// Remove what was kept long enough; signed tombstones stay
    Prune(prune::Arguments),
    /// Seal objects to other readers; the payload stays as it is
    Rewrap(rewrap::Arguments),
    /// Hand objects, receipts and the audit records about them to an auditor, as one tar
    Export(export::Arguments),
}

/// Who wants a change and why.
pub fn cause(reason: Option<&str>) -> Cause {
    Cause { user: Some(crate::cli::user()), source: crate::cli::who::source(), reason: reason.map(str::to_owned) }
}

/// Says of a change that failed behind its records that they will be true. Of that alone: what fails before it may find a
/// journal of somebody else.
fn or_begun<T>(config: &Config, done: anyhow::Result<T>) -> anyhow::Result<T> {
    match change::is_begun(&config.vault.dir) {
        true => done
            .context("what is on record already is done when this command is given again, or when the daemon starts"),
        false => done,
    }
}

/// Completes a change that was cut off: its objects may be out of sight.
fn complete_changes(config: &Config) -> anyhow::Result<()> {
    let dir = &config.vault.dir;
    if !change::is_unfinished(dir)? {
        return Ok(());
    }
    crate::cli::as_service(config, || {
        let mut append = |records| crate::cli::record_all(config, records);
        change::recover(dir, &Lock::alone(dir)?, &mut Books { trail: &config.audit.dir, append: &mut append })
    })
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    match arguments {
        Arguments::List(arguments) => list::run(&config, arguments),
        Arguments::Verify(arguments) => verify::run(&config, arguments),
        Arguments::Open(arguments) => open::run(&config, arguments),
        Arguments::Prune(arguments) => prune::run(&config, arguments),
        Arguments::Rewrap(arguments) => rewrap::run(&config, arguments),
        Arguments::Export(arguments) => export::run(&config, arguments),
    }
}
