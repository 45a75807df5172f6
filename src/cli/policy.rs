//! `veild policy test`

use std::path::{Path, PathBuf};

use super::Problems;
use super::mask::Rejected;
use crate::pipeline::Sink;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Dry run: what would happen to each column; shows no input value
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
        reading: super::reading::ReadingArguments,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments::Test { file, policy, masking_key, reading, json } = arguments;
    let policy = super::find_policy(config, policy)?;
    let keys = super::masking_keys(config, masking_key.as_deref())?;
    let report =
        super::mask::process_file(file, &policy, &keys, reading.of(config, file)?, Sink::Discard).map_err(|error| {
            match error.downcast::<Rejected>() {
                Ok(rejected) => Problems(format!("would be quarantined: {rejected}")).into(),
                Err(other) => other,
            }
        })?;
    if *json {
        return super::print_json(&report);
    }
    println!("{}: {}", file.display(), super::plural(report.rows_in, "row", "rows"));
    for column in report.outputs.iter().flat_map(|output| &output.columns) {
        println!("  {:<24} {}", column.name, column.mask);
    }
    Ok(())
}
