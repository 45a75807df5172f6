//! `veild vault export`

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::list::Selection;
use crate::audit::{Action, Outcome, Record};
use crate::cli::hand_out::hand_out;
use crate::cli::progress::Progress;
use crate::cli::when::Window;
use crate::cli::{Problems, plural};
use crate::config::Config;
use crate::fsutil::{At, printable_path};
use crate::job::JobId;
use crate::vault::Entry;
use crate::vault::export::{Beside, Exported, export};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    sealed: Window,
    /// New file for the tar
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Why, for the audit trail
    #[arg(long, value_parser = crate::cli::reason)]
    reason: String,
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let out = &arguments.out;
    let made = crate::cli::recorded_if_failed(config, export_all(config, arguments), || {
        record(arguments, Timestamp::now(), Outcome::Failure)
    })?;
    let Exported { objects, tombstones, problems, .. } = made;
    let and =
        if tombstones > 0 { format!(" and {}", plural(tombstones, "tombstone", "tombstones")) } else { String::new() };
    println!("wrote {}{and} to {}", plural(objects, "object", "objects"), printable_path(out));
    for problem in &problems {
        println!("{}: {}", printable_path(&problem.path), problem.what);
    }
    match problems.len() {
        0 => Ok(()),
        count => {
            Err(Problems(format!("{count} object(s) are not as their receipts say, and exported as they are")).into())
        }
    }
}

fn export_all(config: &Config, arguments: &Arguments) -> anyhow::Result<Exported> {
    super::complete_changes(config)?;
    let entries = arguments.selection.find(config, arguments.sealed)?;
    hand_out(
        &arguments.out,
        |file, path| write(config, arguments, &entries, file, path),
        |exported| crate::cli::record_all(config, records(arguments, &entries, &exported.sha256)),
    )
}

fn write(
    config: &Config,
    arguments: &Arguments,
    entries: &[Entry],
    file: &File,
    path: &Path,
) -> anyhow::Result<Exported> {
    let jobs = arguments.selection.jobs(entries);
    let audit = about(config, &jobs, path.parent().unwrap_or(Path::new("")))?;
    let allowed_signers = crate::cli::verifying_key(config, None)?.allowed_signers();
    let beside = Beside { audit: &audit, allowed_signers: &allowed_signers };
    let size = |entry: &Entry| config.vault.dir.join(&entry.path).metadata().map_or(0, |metadata| metadata.len());
    let total = entries.iter().map(size).sum();
    let progress = Progress::start("exporting".to_owned());
    let mut out = BufWriter::new(file);
    let report = |done| progress.set(done, total);
    let exported = export(&config.vault.dir, entries, &jobs, &beside, &mut out, &report)?;
    out.flush().at("write", path)?;
    Ok(exported)
}

/// The audit trail's lines about these jobs, in a file without a name.
fn about(config: &Config, jobs: &BTreeSet<JobId>, dir: &Path) -> anyhow::Result<File> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let file = tempfile::tempfile_in(dir).at("write in", dir)?;
    let mut lines = BufWriter::new(&file);
    let is_one = |value: &Value| value.as_str().and_then(|job| job.parse().ok()).is_some_and(|job| jobs.contains(&job));
    crate::audit::each_line(&config.audit.dir, |line, value| {
        if is_one(&value["veild"]["job"]) { lines.write_all(line) } else { Ok(()) }
    })?;
    lines.flush().at("write in", dir)?;
    drop(lines);
    Ok(file)
}

fn record(arguments: &Arguments, at: Timestamp, outcome: Outcome) -> Record {
    Record::new(at, Action::VaultExported, outcome)
        .field("user", crate::cli::user())
        .field("file", json!({"path": arguments.out}))
        .veild("filter", arguments.selection.described(arguments.sealed))
        .veild("reason", arguments.reason.as_str())
}

/// One for each object, so that a search for its job finds it.
fn records(arguments: &Arguments, entries: &[Entry], sha256: &str) -> Vec<Record> {
    let now = Timestamp::now();
    let record = || record(arguments, now, Outcome::Success).veild("export_sha256", sha256);
    if entries.is_empty() {
        return vec![record()];
    }
    let of = |entry: &Entry| {
        let receipt = entry.receipt.as_ref();
        record()
            .veild("job", json!(receipt.map(|receipt| receipt.job)))
            .veild("landing", json!(receipt.map(|receipt| &receipt.landing)))
            .veild("view", json!(receipt.and_then(|receipt| receipt.view.as_ref())))
            .veild("object", json!(entry.path))
    };
    entries.iter().map(of).collect()
}
