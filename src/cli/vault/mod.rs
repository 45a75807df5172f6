//! `veild vault`

use std::path::Path;

use anyhow::Context;

use crate::config::Config;

pub mod find;
mod list;
mod open;
mod verify;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Objects with what their receipts say
    List(list::Arguments),
    /// Check digests, signatures and receipts, and that nothing the audit trail knows is missing
    Verify(verify::Arguments),
    /// Decrypt an object with an identity given on the spot
    Open(open::Arguments),
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    match arguments {
        Arguments::List(arguments) => list::run(&config, arguments),
        Arguments::Verify(arguments) => verify::run(&config, arguments),
        Arguments::Open(arguments) => open::run(&config, arguments),
    }
}

fn read_identity(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read the identity {}", path.display()))
}
