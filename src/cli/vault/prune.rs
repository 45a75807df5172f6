//! `veild vault prune`

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use crate::audit::{self, Action, Record, hold};
use crate::cli::progress::Progress;
use crate::cli::{Problems, plural};
use crate::config::Config;
use crate::fsutil::printable_path;
use crate::keys::SigningKey;
use crate::vault::Damaged;
use crate::vault::change::Books;
use crate::vault::prune::{Look, Outcome, Pruned, Retention, prune, survey};

#[derive(clap::Args)]
pub struct Arguments {
    /// Also of landings without `keep`, what was sealed longer ago than this, such as 90d; where both are given, the
    /// longer counts
    #[arg(long, value_name = "AGE", value_parser = crate::config::parse_span)]
    older_than: Option<Duration>,
    /// Only of this landing
    #[arg(long, value_name = "NAME")]
    landing: Option<String>,
    /// Remove nothing, and say what would go
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit trail and the tombstones
    #[arg(long, required_unless_present = "dry_run", value_parser = crate::cli::reason)]
    reason: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let retention =
        Retention { keep: config.retention(), older_than: arguments.older_than, landing: arguments.landing.clone() };
    anyhow::ensure!(
        !retention.is_idle(),
        "no landing has `keep`: nothing ever goes by itself; `--older-than 90d` says what shall go now"
    );
    let mut gone = Vec::new();
    let progress = Progress::counting("reading what is to go".to_owned());
    let outcome = {
        let mut note = |object: &Pruned| match arguments.json {
            true => gone.push(object.clone()),
            false => progress.aside(|| println!("{}  {}  {}", object.job, object.sealed_at, object.path)),
        };
        let report = |bytes| progress.count(bytes);
        let look = Look { note: &mut note, report: &report, damaged: &mut Damaged::default() };
        match arguments.dry_run {
            true => would_prune(config, &retention, look),
            false => {
                let pruned = do_prune(config, arguments, &retention, look);
                crate::cli::recorded_if_failed(config, pruned, || in_vain(arguments, None))
            }
        }?
    };
    drop(progress);
    if !outcome.problems.is_empty() && !arguments.dry_run {
        crate::cli::record(config, in_vain(arguments, Some(&outcome)))?;
    }
    let Outcome { objects, bytes, held, problems } = &outcome;
    if arguments.json {
        let dry_run = arguments.dry_run;
        let answer = json!({"dry_run": dry_run, "pruned": gone, "bytes": bytes, "held": held, "problems": problems});
        crate::cli::print_json(&answer)?;
    } else {
        let deed = if arguments.dry_run { "would go" } else { "pruned" };
        let held = if *held > 0 { format!(", {held} more kept by a legal hold") } else { String::new() };
        println!("{} of {} {deed}{held}", plural(*objects, "object", "objects"), plural(*bytes, "byte", "bytes"));
        for problem in problems {
            println!("{}: {}", printable_path(&problem.path), problem.what);
        }
    }
    match problems.len() {
        0 => Ok(()),
        count => Err(Problems(format!("{count} object(s) stay as evidence: `veild vault verify`")).into()),
    }
}

/// What should have gone and did not, or that it came to no end; each object that went has a record of its own.
fn in_vain(arguments: &Arguments, outcome: Option<&Outcome>) -> Record {
    let record = Record::new(Timestamp::now(), Action::VaultPruned, audit::Outcome::Failure)
        .field("user", crate::cli::user())
        .veild("landing", json!(arguments.landing))
        .veild("reason", json!(arguments.reason));
    match outcome {
        Some(outcome) => record.veild("problems", json!(outcome.problems.len())),
        None => record,
    }
}

fn would_prune(config: &Config, retention: &Retention, look: Look<'_>) -> anyhow::Result<Outcome> {
    let holds = hold::list(&config.audit.dir)?;
    let key = crate::cli::verifying_key(config, None)?;
    Ok(survey(&config.vault.dir, retention, Timestamp::now(), &key, holds, look)?)
}

fn do_prune(config: &Config, arguments: &Arguments, retention: &Retention, look: Look<'_>) -> anyhow::Result<Outcome> {
    let cause = super::cause(arguments.reason.as_deref());
    crate::cli::as_service(config, || {
        let key = SigningKey::from_source(&config.keys.signing).context("tombstones are signed by this host")?;
        let mut append = |records| crate::cli::record_all(config, records);
        let mut books = Books { trail: &config.audit.dir, append: &mut append };
        let pruned = prune(&config.vault.dir, retention, Timestamp::now(), &key, &cause, &mut books, look);
        super::or_begun(config, pruned)
    })
}
