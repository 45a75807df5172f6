//! `veild audit`

use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;

use super::Problems;
use super::progress::Progress;
use crate::audit::epoch::{EpochKey, Secret};
use crate::audit::{Action, AuditError, Evidence, Outcome, Problem, Record};
use crate::config::Config;
use crate::daemon::control;
use crate::daemon::event::Request;
use crate::ledger::Ledger;

mod export;
mod hold;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Read every byte of the trail and say where it was changed
    Verify {
        /// Public key of the host that signed (F.pub, or an allowed-signers file), instead of the configuration's
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// The audit secret that was shown when the trail began: finds what a later root wrote anew or cut off
        #[arg(long, value_name = "FILE")]
        secret: Option<PathBuf>,
        /// Checkpoint that was kept elsewhere, as a line of the trail or of the operational log: pins all before it
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Hand records on, byte for byte
    Export(export::Arguments),
    /// Legal hold: what must stay beyond its time
    #[command(subcommand)]
    Hold(hold::Arguments),
    /// Begin to seal checkpoints under a forward-secure key; shows its secret once
    Seal,
    /// The last records
    Tail {
        /// Number of records
        #[arg(short = 'n', long, default_value_t = 10)]
        lines: usize,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    match arguments {
        Arguments::Verify { public_key, secret, checkpoint, json } => {
            let evidence = || evidence(&config, secret.as_deref(), checkpoint.as_deref());
            verify(&config, public_key.as_deref(), evidence, *json)
        }
        Arguments::Seal => seal(&config),
        Arguments::Export(arguments) => export::run(&config, arguments),
        Arguments::Hold(arguments) => hold::run(&config, arguments),
        Arguments::Tail { lines, json } => tail(&config, *lines, *json),
    }
}

fn evidence(config: &Config, secret: Option<&Path>, checkpoint: Option<&Path>) -> Result<Evidence, AuditError> {
    let mut evidence = Evidence::default();
    if let Some(file) = secret {
        evidence = evidence.secret(file, &crate::daemon::epoch_key(config))?;
    }
    match checkpoint {
        Some(file) => evidence.checkpoints(file),
        None => Ok(evidence),
    }
}

/// Only with the daemon stopped: a running one would go on without it.
fn seal(config: &Config) -> anyhow::Result<()> {
    let path = crate::daemon::epoch_key(config);
    let secret = super::as_service(config, || {
        let _lock = crate::daemon::lock_state(config)?;
        match EpochKey::load(&path)? {
            Some(key) => key.secret().context("the trail is sealed already; its secret was shown when that began"),
            None => {
                let secret = Secret::generate();
                EpochKey::create(&path, &secret)?;
                Ok(secret)
            }
        }
    })?;
    super::init::give_out_audit_secret(&secret, None)?;
    let record = Record::new(Timestamp::now(), Action::KeyGenerated, Outcome::Success);
    let record = record.field("user", super::user()).field("file.path", path.display().to_string());
    let key = serde_json::json!({"kind": "audit", "fingerprint": secret.id()});
    super::record(config, record.veild("key", key))
}

/// The last audit record that a running daemon has written.
fn told_by_daemon(config: &Config) -> Option<u64> {
    let status = control::ask(&config.daemon.state_dir, &Request::Status).ok().flatten()?;
    status["audit"]["seq"].as_u64()
}

fn verify(
    config: &Config,
    public_key: Option<&Path>,
    evidence: impl Fn() -> Result<Evidence, AuditError>,
    json: bool,
) -> anyhow::Result<()> {
    let key = super::verifying_key(config, public_key)?;
    // The trail itself cannot tell that its end is missing. Before it is read: a running daemon goes on with both.
    let ledger = config.daemon.state_dir.join("ledger.sqlite");
    // Which keeps the ledger to itself, so that it is asked.
    let noted = super::as_service(config, || Ok(Ledger::peek(&ledger).max(told_by_daemon(config))))?;
    if noted.is_none() && ledger.try_exists().unwrap_or(true) {
        eprintln!("the ledger cannot be read: whether the end of the trail is there cannot be said");
    }
    let noted = noted.unwrap_or(0);
    let progress = Progress::start("verifying the audit trail".to_owned());
    let report = |done, total| progress.set(done, total);
    let mut verdict = crate::audit::verify_with(&config.audit.dir, &key, evidence, &report)?;
    drop(progress);
    if noted > verdict.last_seq {
        let what = format!("the ledger knows records up to {noted}: the end of the trail was cut off or deleted");
        verdict.problems.push(Problem { segment: "the trail".to_owned(), line: 0, byte_offset: 0, what });
    }
    if json {
        super::print_json(&verdict)?;
    } else {
        println!(
            "{} records in {} segment(s), {} signed checkpoint(s), sequence {} to {}",
            verdict.records, verdict.segments, verdict.checkpoints, verdict.first_seq, verdict.last_seq
        );
        if verdict.pruned_segments > 0 {
            println!(
                "{} records in {} segment(s) were pruned; signed stubs carry the chain across",
                verdict.pruned_records, verdict.pruned_segments
            );
        }
        if verdict.sealed_checkpoints > 0 {
            println!(
                "{} checkpoint(s), those of stubs included, are sealed under keys of the given secret",
                verdict.sealed_checkpoints
            );
        }
        if let Some(at) = verdict.trusted_at.filter(|_| !verdict.problems.is_empty()) {
            println!("up to record {}, of {at}, it is as it was written; trust ends there", verdict.trusted_seq);
        }
        for problem in &verdict.problems {
            println!("{} line {} (byte {}): {}", problem.segment, problem.line, problem.byte_offset, problem.what);
        }
    }
    match verdict.problems.len() {
        0 if json => Ok(()),
        0 if verdict.records == 0 => {
            println!("there is no record in {} yet: nothing was checked", config.audit.dir.display());
            Ok(())
        }
        0 => {
            if verdict.unsigned_records > 0 {
                println!("{} record(s) since the last checkpoint are not signed yet", verdict.unsigned_records);
            }
            println!("the chain holds");
            Ok(())
        }
        count => Err(Problems(format!("the audit trail is broken in {count} place(s)")).into()),
    }
}

fn tail(config: &Config, lines: usize, json: bool) -> anyhow::Result<()> {
    let records = crate::audit::tail(&config.audit.dir, lines)?;
    if records.is_empty() && !json {
        eprintln!("the audit trail is empty");
    }
    for line in records {
        if json {
            println!("{line}");
            continue;
        }
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        println!(
            "{} {:>8} {:<18} {:<8} {} {}",
            text(&line["@timestamp"]),
            line["veild"]["seq"],
            text(&line["event"]["action"]),
            text(&line["event"]["outcome"]),
            text(&line["veild"]["landing"]),
            text(&line["file"]["name"]),
        );
    }
    Ok(())
}
