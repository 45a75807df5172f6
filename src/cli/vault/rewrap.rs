//! `veild vault rewrap`

use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::list::Selection;
use crate::audit::{self, Action, Record};
use crate::cli::identity::Key;
use crate::cli::progress::Progress;
use crate::cli::when::Sealed;
use crate::cli::{Problems, Usage, plural};
use crate::config::{Config, GROUP_PREFIX};
use crate::fsutil::printable_path;
use crate::keys::SigningKey;
use crate::seal::Recipients;
use crate::vault::change::Books;
use crate::vault::rewrap::{Outcome, Readers, rewrap};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    sealed: Sealed,
    #[command(flatten)]
    key: Key,
    /// Name of a group of recipients in the configuration, who can open them afterwards; may be repeated
    #[arg(long, value_name = "GROUP")]
    to: Vec<String>,
    /// Recipient who can open them afterwards: age1…, ssh-ed25519 …, ssh-rsa … or group:NAME; may be repeated
    #[arg(short, long)]
    recipient: Vec<String>,
    /// Why, for the audit trail
    #[arg(long, value_parser = crate::cli::reason)]
    reason: String,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.to.iter().any(|name| Recipients::parse(std::slice::from_ref(name)).is_ok()) {
        return Err(Usage("`--to` takes the name of a group of recipients; a recipient itself goes with `-r`").into());
    }
    let groups = arguments.to.iter().map(|name| format!("{GROUP_PREFIX}{name}"));
    let named: Vec<String> = groups.chain(arguments.recipient.iter().cloned()).collect();
    if named.is_empty() {
        return Err(Usage("who shall open them? Give `--to GROUP` or `--recipient age1…`").into());
    }
    let done = rewrap_all(config, arguments, &named);
    let outcome = crate::cli::recorded_if_failed(config, done, || in_vain(arguments, None))?;
    if outcome.sealed_to_others > 0 || !outcome.problems.is_empty() {
        crate::cli::record(config, in_vain(arguments, Some(&outcome)))?;
    }
    say(&outcome, arguments.json)
}

fn rewrap_all(config: &Config, arguments: &Arguments, named: &[String]) -> anyhow::Result<Outcome> {
    let (names, recipients) = crate::cli::find_recipients(&config.path, named)?;
    let identities = arguments.key.require(config)?;
    super::complete_changes(config)?;
    let objects: Vec<PathBuf> =
        arguments.selection.find(config, arguments.sealed.into())?.into_iter().map(|entry| entry.path).collect();
    let size = |path: &PathBuf| config.vault.dir.join(path).metadata().map_or(0, |metadata| metadata.len());
    let total = objects.iter().map(size).sum();
    let cause = super::cause(Some(&arguments.reason));
    let progress = Progress::start("rewrapping".to_owned());
    let readers = Readers { identities: &identities, recipients: &recipients, names: &names };
    crate::cli::as_service(config, || {
        let key = SigningKey::from_source(&config.keys.signing).context("receipts are signed by this host")?;
        let mut append = |records| crate::cli::record_all(config, records);
        let mut books = Books { trail: &config.audit.dir, append: &mut append };
        let report = |done| progress.set(done, total);
        let rewrapped = rewrap(&config.vault.dir, &objects, &readers, &key, &cause, &mut books, &report);
        super::or_begun(config, rewrapped)
    })
}

/// What was tried and not done, or that it came to no end; each object that was done has a record of its own.
fn in_vain(arguments: &Arguments, outcome: Option<&Outcome>) -> Record {
    let record = Record::new(Timestamp::now(), Action::VaultRewrapped, audit::Outcome::Failure)
        .field("user", crate::cli::user())
        .veild("filter", arguments.selection.described(arguments.sealed.into()))
        .veild("reason", arguments.reason.as_str());
    match outcome {
        Some(outcome) => record
            .veild("sealed_to_others", json!(outcome.sealed_to_others))
            .veild("problems", json!(outcome.problems.len())),
        None => record,
    }
}

fn say(outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    if json {
        crate::cli::print_json(outcome)?;
    } else {
        print!("{} rewrapped", plural(outcome.rewrapped, "object", "objects"));
        for (count, what) in [
            (outcome.unchanged, "had these readers already"),
            (outcome.sealed_to_others, "sealed to others, and left as they are"),
        ] {
            if count > 0 {
                print!(", {count} {what}");
            }
        }
        println!();
        for problem in &outcome.problems {
            println!("{}: {}", printable_path(&problem.path), problem.what);
        }
    }
    match outcome.problems.len() {
        0 => Ok(()),
        count => Err(Problems(format!("{count} object(s) stay as evidence: `veild vault verify`")).into()),
    }
}
