//! `veild policy`: suggestions, and dry runs.

mod page;
mod risk;
mod suggest;

use std::path::{Path, PathBuf};

use super::Problems;
use super::mask::Rejected;
use super::reading::ReadingArguments;
use crate::fsutil::printable_path;
use crate::pipeline::Sink;
use crate::policy::Verify;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Print a policy for a file, one commented rule per column; shows no input value
    Suggest {
        /// File to look at
        file: PathBuf,
        /// Look at every row instead of a sample
        #[arg(long)]
        all_rows: bool,
        #[command(flatten)]
        reading: ReadingArguments,
    },
    /// How easily the people in a file are recognised, as it comes and as a policy lets it go out; shows no input value
    Risk(Box<risk::Arguments>),
    /// Dry run: what would happen to each column, and leaks in the output; shows no input value
    Test {
        /// File to try the policy on
        file: PathBuf,
        /// Name of a policy in the configuration, or path of a TOML file
        #[arg(long)]
        policy: String,
        /// Masking key, instead of the configuration's
        #[arg(long)]
        masking_key: Option<PathBuf>,
        #[command(flatten)]
        reading: ReadingArguments,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    match arguments {
        Arguments::Suggest { file, all_rows, reading } => suggest::run(config, file, reading, *all_rows),
        Arguments::Risk(arguments) => risk::run(config, arguments),
        Arguments::Test { file, policy, masking_key, reading, json } => {
            test(config, file, policy, masking_key.as_deref(), reading, *json)
        }
    }
}

fn test(
    config: &Path,
    file: &Path,
    policy: &str,
    masking_key: Option<&Path>,
    reading: &ReadingArguments,
    json: bool,
) -> anyhow::Result<()> {
    let mut policy = super::find_policy(config, policy)?;
    // All leaks are wanted, not the first alone.
    if policy.verify == Verify::Block {
        policy.verify = Verify::Warn;
    }
    let keys = super::masking_keys(config, masking_key)?;
    let report =
        super::mask::process_file(file, &policy, &keys, reading.of(config, file)?, Sink::Discard).map_err(|error| {
            match error.downcast::<Rejected>() {
                Ok(rejected) => Problems(format!("would be quarantined: {rejected}")).into(),
                Err(other) => other,
            }
        })?;
    let leaks = report.outputs.iter().map(|output| output.verify.leaks.len()).sum();
    let leaking = || match leaks {
        0 => Ok(()),
        count => Err(Problems(super::plural(count as u64, "leak", "leaks")).into()),
    };
    if json {
        super::print_json(&report)?;
        return leaking();
    }
    println!("{}: {}", printable_path(file), super::plural(report.rows_in, "row", "rows"));
    for output in &report.outputs {
        if output.format != report.input.format {
            println!("  comes out as {}, came as {}", output.format, report.input.format);
        }
        if output.rows_suppressed > 0 {
            println!("  {} left out", super::plural(output.rows_suppressed, "row", "rows"));
        }
        if let Some(anonymity) = &output.anonymity {
            super::receipt::anonymity_in_words(anonymity).into_iter().for_each(|line| println!("  {line}"));
        }
    }
    for column in report.outputs.iter().flat_map(|output| &output.columns) {
        let change = column.type_change.as_ref().map_or_else(String::new, |change| format!("  ({change})"));
        println!("  {:<24} {}{change}", column.name, column.mask);
    }
    for accepted in report.outputs.iter().flat_map(|output| &output.verify.accepted) {
        let cells = super::plural(accepted.cells, "cell", "cells");
        println!("  accepted: {} in {}, {cells}", accepted.class, accepted.column);
    }
    leaking()
}
