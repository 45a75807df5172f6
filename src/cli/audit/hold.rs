//! `veild audit hold`

use jiff::Timestamp;
use serde_json::json;

use crate::audit::hold::{self, Hold};
use crate::audit::{Action, Outcome, Record};
use crate::cli::when::Window;
use crate::config::Config;
use crate::job::JobId;
use crate::vault::lock::Lock;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Keep records and sealed objects of a span of time, whatever `keep`, `total_size` and `vault prune` say
    Add {
        /// Name of the hold: 1 to 63 of a-z, 0-9, `-` and `_`
        name: String,
        #[command(flatten)]
        window: Window,
        /// Of the objects only this landing's; the records of the time all stay
        #[arg(long, value_name = "NAME")]
        landing: Option<String>,
        /// Of the objects only this job's, and from its claim on where --from is not given; may be repeated
        #[arg(long = "job", value_name = "JOB")]
        jobs: Vec<JobId>,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: String,
    },
    /// End a hold
    Remove {
        /// Name of the hold
        name: String,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: String,
    },
    /// All holds
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    match arguments {
        Arguments::Add { name, window, landing, jobs, reason } => {
            let from = window.from.or_else(|| jobs.iter().map(|job| job.claim_time()).min());
            let hold = Hold::new(name, from, window.to, reason, Timestamp::now()).only(landing.as_deref(), jobs);
            add(config, hold)
        }
        Arguments::Remove { name, reason } => remove(config, name, reason),
        Arguments::List { json } => list(config, *json),
    }
}

/// In force first and recorded then: it may be in force and unrecorded after a crash, never the other way round.
fn add(config: &Config, new: Hold) -> anyhow::Result<()> {
    let name = &new.name;
    anyhow::ensure!(hold::is_name(name), "a hold's name is 1 to 63 of a-z, 0-9, `-` and `_`");
    let in_order = new.from.zip(new.to).is_none_or(|(from, to)| from <= to);
    anyhow::ensure!(in_order, "--from is after --to: nothing would be held");
    let dir = &config.audit.dir;
    let is_new = match hold::list(dir)?.into_iter().find(|known| known.name == *name) {
        // Perhaps of a command that was cut off before it could record it.
        Some(known) if (Hold { since: new.since, ..known.clone() }) == new => false,
        Some(_) => anyhow::bail!("there is a hold {name} already; `veild audit hold list` shows it"),
        None => {
            crate::cli::as_service(config, || {
                // What is being removed just now is gone before the hold is in force.
                let _lock = config.vault.dir.exists().then(|| Lock::alone(&config.vault.dir)).transpose()?;
                Ok(new.add(dir)?)
            })?;
            true
        }
    };
    crate::faults::point("hold_added");
    if let Err(error) = crate::cli::record(config, recorded(Action::AuditHoldAdded, &new, &new.reason)) {
        if is_new {
            crate::cli::as_service(config, || Ok(hold::remove(dir, name)?))?;
        }
        return Err(error);
    }
    println!("{} is held until `veild audit hold remove {name}`", span(&new));
    Ok(())
}

fn remove(config: &Config, name: &str, reason: &str) -> anyhow::Result<()> {
    let dir = &config.audit.dir;
    let known = hold::list(dir)?.into_iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| anyhow::anyhow!("there is no hold {name}; `veild audit hold list` shows all"))?;
    crate::cli::record(config, recorded(Action::AuditHoldRemoved, &known, reason))?;
    crate::faults::point("hold_removal_recorded");
    crate::cli::as_service(config, || Ok(hold::remove(dir, name)?))?;
    println!("the hold {name} has ended");
    Ok(())
}

fn recorded(action: Action, hold: &Hold, reason: &str) -> Record {
    Record::new(Timestamp::now(), action, Outcome::Success)
        .field("user", crate::cli::user())
        .veild(
            "hold",
            json!({"name": hold.name, "from": hold.from, "to": hold.to, "landing": hold.landing, "jobs": hold.jobs}),
        )
        .veild("reason", reason)
}

fn list(config: &Config, json: bool) -> anyhow::Result<()> {
    let holds = hold::list(&config.audit.dir)?;
    if json {
        return crate::cli::print_json(&holds);
    }
    if holds.is_empty() {
        eprintln!("nothing is held");
    }
    for hold in holds {
        println!("{}  {}, since {}: {}", hold.name, span(&hold), hold.since, hold.reason);
    }
    Ok(())
}

fn span(hold: &Hold) -> String {
    let time = match (hold.from, hold.to) {
        (None, None) => "everything".to_owned(),
        (Some(from), None) => format!("everything from {from} on"),
        (None, Some(to)) => format!("everything up to {to}"),
        (Some(from), Some(to)) => format!("everything from {from} to {to}"),
    };
    let landing = hold.landing.iter().map(|landing| format!("landing {landing}"));
    let only: Vec<String> = landing.chain(hold.jobs.iter().map(|job| format!("job {job}"))).collect();
    if only.is_empty() { time } else { format!("{time} (of the objects only {})", only.join(", ")) }
}
