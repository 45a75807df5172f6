//! `veild key`

use std::path::PathBuf;

use jiff::Timestamp;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Make a new key file; never overwrites one
    Generate {
        /// What the key is for: pseudonyms, or receipts and audit trail
        kind: Kind,
        /// New file for the key; for a signing key also OUT.pub and OUT.allowed_signers
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
