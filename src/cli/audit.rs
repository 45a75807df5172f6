//! `veild audit`

use std::path::Path;

use super::Problems;
use super::progress::Progress;
use crate::config::Config;
use crate::keys::SigningKey;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Read every byte of the trail and say where it was changed
    Verify {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
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
        Arguments::Verify { json } => verify(&config, *json),
        Arguments::Tail { lines, json } => tail(&config, *lines, *json),
    }
}

fn verify(config: &Config, json: bool) -> anyhow::Result<()> {
    let key = SigningKey::load(&config.keys.signing)?.verifying();
    let progress = Progress::start("verifying the audit trail".to_owned());
    let verdict = crate::audit::verify(&config.audit.dir, &key, &|done, total| progress.set(done, total))?;
    drop(progress);
    if json {
        super::print_json(&verdict)?;
    } else {
        println!(
            "{} records in {} segment(s), {} signed checkpoint(s), sequence {} to {}",
            verdict.records, verdict.segments, verdict.checkpoints, verdict.first_seq, verdict.last_seq
        );
        for problem in &verdict.problems {
            println!("{} line {} (byte {}): {}", problem.segment, problem.line, problem.byte_offset, problem.what);
        }
    }
    match verdict.problems.len() {
        0 if json => Ok(()),
        0 => {
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
