//! `veild audit export`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::audit::{Action, Outcome, Record, each_line};
use crate::cli::hand_out::hand_out;
use crate::cli::when::Window;
use crate::config::Config;
use crate::fsutil::At;

/// What is handed on; the lines are byte for byte those of the trail.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    window: Window,
    /// Only what this job met
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Only what this landing met
    #[arg(long, value_name = "NAME")]
    landing: Option<String>,
    /// Only this event.action, such as vault.opened; may be repeated
    #[arg(long = "action", value_name = "ACTION", value_parser = known_action)]
    actions: Vec<String>,
    /// New file for the records (default: standard output)
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Why, for the audit trail
    #[arg(long, value_parser = crate::cli::reason)]
    reason: Option<String>,
}

/// One that is misspelled would look like something that never happened.
fn known_action(text: &str) -> Result<String, String> {
    match serde_json::from_value::<Action>(json!(text)) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("there is no such event.action".to_owned()),
    }
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let record = Record::new(Timestamp::now(), Action::AuditExported, Outcome::Success)
        .field("user", crate::cli::user())
        .veild(
            "filter",
            json!({
                "from": arguments.window.from,
                "to": arguments.window.to,
                "job": arguments.job,
                "landing": arguments.landing,
                "actions": arguments.actions,
            }),
        )
        .veild("reason", json!(arguments.reason));
    let Some(path) = &arguments.output else {
        crate::cli::record(config, record)?;
        let mut out = BufWriter::new(io::stdout().lock());
        pass_on(config, arguments, &mut out, Path::new("standard output"))?;
        return out.flush().context(crate::cli::NO_OUTPUT);
    };
    let write = |file: &File, path: &Path| write_all(config, arguments, file, path);
    let count = hand_out(path, write, |_| crate::cli::record(config, record))?;
    println!("wrote {} to {}", crate::cli::plural(count, "record", "records"), path.display());
    Ok(())
}

fn write_all(config: &Config, arguments: &Arguments, file: &File, path: &Path) -> anyhow::Result<u64> {
    let mut out = BufWriter::new(file);
    let count = pass_on(config, arguments, &mut out, path)?;
    out.flush().at("write to", path)?;
    Ok(count)
}

fn pass_on(config: &Config, arguments: &Arguments, out: &mut impl Write, to: &Path) -> anyhow::Result<u64> {
    let (mut count, mut written) = (0, Ok(()));
    let read = each_line(&config.audit.dir, |line, value| {
        if is_wanted(arguments, value) {
            written = out.write_all(line);
            count += 1;
        }
        // What cannot be written says nothing of the segment that is being read.
        if written.is_err() { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    });
    written.at("write to", to)?;
    read?;
    Ok(count)
}

fn is_wanted(arguments: &Arguments, value: &Value) -> bool {
    let at = value["@timestamp"].as_str().and_then(|at| at.parse().ok());
    let is = |wanted: &Option<String>, key: &str| {
        wanted.as_deref().is_none_or(|wanted| value["veild"][key].as_str() == Some(wanted))
    };
    let action = value["event"]["action"].as_str().unwrap_or_default();
    at.is_none_or(|at| arguments.window.holds(at))
        && is(&arguments.job, "job")
        && is(&arguments.landing, "landing")
        && (arguments.actions.is_empty() || arguments.actions.iter().any(|wanted| wanted == action))
}
