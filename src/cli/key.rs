//! `veild key`

use std::path::PathBuf;

use jiff::Timestamp;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Make a new key file; never overwrites one
    Generate {
        kind: Kind,
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Kind {
    Masking,
    Signing,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments::Generate { kind, out } = arguments;
    match kind {
        Kind::Masking => crate::keys::generate_masking(out, Timestamp::now())?,
        Kind::Signing => crate::keys::generate_signing(out)?,
    }
    println!("wrote {}; back it up where this host cannot reach it", out.display());
    Ok(())
}
