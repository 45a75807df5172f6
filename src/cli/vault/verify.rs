//! `veild vault verify`

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

use crate::audit::{Action, Outcome, Record};
use crate::cli::Problems;
use crate::cli::identity::Key;
use crate::cli::progress::Progress;
use crate::config::Config;
use crate::fsutil::printable_path;
use crate::keys::SigningKey;
use crate::vault::{Evidence, Told, VaultVerdict};

#[derive(clap::Args)]
pub struct Arguments {
    /// Also decrypt every object that this opens
    #[command(flatten)]
    identity: Key,
    /// Public key of the host that signed (F.pub, or an allowed-signers file), instead of the configuration's
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Read no faster than this in a second, such as 50MiB, for a check beside other work
    #[arg(long, value_name = "SIZE", value_parser = crate::config::parse_byte_size)]
    rate: Option<u64>,
    /// Why, for the audit trail
    #[arg(long, value_parser = crate::cli::reason)]
    reason: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let verdict = verify(config, arguments);
    let record = record(arguments, verdict.as_ref().ok());
    match crate::cli::record(config, record) {
        // Somebody who only has the public key checks what anybody may; and why it failed comes first.
        Err(error) if verdict.is_err() || SigningKey::from_source(&config.keys.signing).is_err() => {
            eprintln!("this verification stands in no audit trail: {error:#}");
        }
        recorded => recorded?,
    }
    say(&verdict?, arguments.json)
}

fn verify(config: &Config, arguments: &Arguments) -> anyhow::Result<VaultVerdict> {
    let key = crate::cli::verifying_key(config, arguments.public_key.as_deref())?;
    let identities = arguments.identity.read(config)?;
    let progress = Progress::start("verifying the vault".to_owned());
    let report = |done, total| progress.set(done, total);
    // Before the vault is looked at: what is audited is visible.
    let told = match Told::read(&config.audit.dir) {
        Ok(told) => Some(told),
        Err(error) => {
            eprintln!("whether anything is missing cannot be said without the audit trail: {error}");
            None
        }
    };
    let evidence = Evidence { identities: identities.as_ref(), told, rate: arguments.rate };
    Ok(crate::vault::verify(&config.vault.dir, &key, evidence, &report)?)
}

/// `None`: it came to no end.
fn record(arguments: &Arguments, verdict: Option<&VaultVerdict>) -> Record {
    let holds = verdict.is_some_and(|verdict| verdict.problems.is_empty());
    let record =
        Record::new(Timestamp::now(), Action::VaultVerified, if holds { Outcome::Success } else { Outcome::Failure })
            .field("user", crate::cli::user())
            .veild("reason", json!(arguments.reason));
    let Some(verdict) = verdict else { return record };
    record
        .veild("objects", json!(verdict.objects))
        .veild("archived", json!(verdict.archived))
        .veild("problems", json!(verdict.problems.len()))
}

fn say(verdict: &VaultVerdict, json: bool) -> anyhow::Result<()> {
    if json {
        crate::cli::print_json(verdict)?;
    } else {
        let others = match verdict.sealed_to_others {
            0 => String::new(),
            count => format!(", {count} of them sealed to others and not decrypted"),
        };
        let archived = match verdict.archived {
            0 => String::new(),
            count => format!(" and {count} archived original(s)"),
        };
        let pruned = match verdict.pruned {
            0 => String::new(),
            count => format!(", {count} pruned object(s) have their tombstones"),
        };
        let (objects, problems) = (verdict.objects, verdict.problems.len());
        println!("{objects} object(s){archived} checked{others}{pruned}, {problems} problem(s)");
        for problem in &verdict.problems {
            println!("{}: {}", printable_path(&problem.path), problem.what);
        }
    }
    match verdict.problems.len() {
        0 => Ok(()),
        count => Err(Problems(format!("{count} problem(s) in the vault")).into()),
    }
}
