//! What opens sealed objects, as commands are given it. Passphrases are asked for on a terminal, without showing them; else
//! they are the first lines of standard input.

use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::Usage;
use crate::config::Config;
use crate::fsutil::{MAX_NAMED_BYTES, printable_path, read_named};
use crate::seal::Identities;

/// Longest line that is read.
const MAX_LINE_BYTES: u64 = 4096;

#[derive(clap::Args)]
pub struct Key {
    /// File with the age identity (a plugin's, too) or SSH private key that opens it; asks for its passphrase, if it has one
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// A passphrase opens it, which is asked for
    #[arg(long, conflicts_with = "identity")]
    passphrase: bool,
}

impl Key {
    /// What was given, if anything was; that of a plugin where the configuration allows it.
    pub fn read(&self, config: &Config) -> anyhow::Result<Option<Identities>> {
        match &self.identity {
            Some(path) => read_file(path, config.daemon.allow_plugins).map(Some),
            None if self.passphrase => {
                let asked = ask("Passphrase").context("no passphrase was given")?;
                Ok(Some(Identities::of_passphrase(asked)))
            }
            None => Ok(None),
        }
    }

    /// What was given; something must be.
    pub fn require(&self, config: &Config) -> anyhow::Result<Identities> {
        let asks = || Usage("what opens it? Give `--identity FILE` or `--passphrase`").into();
        self.read(config)?.ok_or_else(asks)
    }
}

fn read_file(path: &Path, plugins: bool) -> anyhow::Result<Identities> {
    let named = printable_path(path);
    let file = read_named(path, MAX_NAMED_BYTES).with_context(|| format!("cannot read the identity {named}"))?;
    Identities::read(&file, Terminal { of: named.clone() }, plugins).with_context(|| named)
}

/// Answers what an identity file, or the plugin that it names, asks for.
#[derive(Clone)]
struct Terminal {
    of: String,
}

impl age::Callbacks for Terminal {
    fn display_message(&self, message: &str) {
        eprintln!("{message}");
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        eprintln!("{message}: {yes}{}? [y/n]", no.map(|no| format!(" or {no}")).unwrap_or_default());
        Some(answer()?.eq_ignore_ascii_case("y"))
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        eprintln!("{description}: ");
        answer()
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        let asked = ask(&format!("{}: {description}", self.of));
        asked.inspect_err(|error| eprintln!("veild: {error}")).ok()
    }
}

fn ask(prompt: &str) -> io::Result<SecretString> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("{prompt}: ")).map(SecretString::from);
    }
    let line = line()?;
    let passphrase = line.strip_suffix('\n').unwrap_or(&line);
    if passphrase.is_empty() {
        return Err(io::Error::other("a passphrase is needed: run this on a terminal, or give it on standard input"));
    }
    Ok(SecretString::from(passphrase.to_owned()))
}

/// What somebody answers, if there is anybody.
fn answer() -> Option<String> {
    line().ok().filter(|line| !line.is_empty()).map(|line| line.trim().to_owned())
}

fn line() -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(MAX_LINE_BYTES as usize));
    io::stdin().lock().take(MAX_LINE_BYTES).read_line(&mut line)?;
    Ok(line)
}
