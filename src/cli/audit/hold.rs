//! `veild audit hold`

use jiff::Timestamp;
use serde_json::json;

use crate::audit::hold::{self, Hold};
use crate::audit::{Action, Outcome, Record};
use crate::cli::when::Window;
use crate::config::Config;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Keep the records of a span of time, whatever `keep` and `total_size` say
    Add {
        /// Name of the hold: 1 to 63 of a-z, 0-9, `-` and `_`
        name: String,
        #[command(flatten)]
        window: Window,
        /// Why, for the audit trail
        #[arg(long)]
        reason: String,
    },
    /// End a hold
    Remove {
        /// Name of the hold
        name: String,
        /// Why, for the audit trail
        #[arg(long)]
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
        Arguments::Add { name, window, reason } => add(config, name, *window, reason),
        Arguments::Remove { name, reason } => remove(config, name, reason),
        Arguments::List { json } => list(config, *json),
    }
}

/// In force first and recorded then: it may be in force and unrecorded after a crash, never the other way round.
fn add(config: &Config, name: &str, window: Window, reason: &str) -> anyhow::Result<()> {
    anyhow::ensure!(hold::is_name(name), "a hold's name is 1 to 63 of a-z, 0-9, `-` and `_`");
    let in_order = window.from.zip(window.to).is_none_or(|(from, to)| from <= to);
    anyhow::ensure!(in_order, "--from is after --to: nothing would be held");
    let dir = &config.audit.dir;
    let new = Hold::new(name, window.from, window.to, reason, Timestamp::now());
    let is_new = match hold::list(dir)?.into_iter().find(|known| known.name == name) {
        // Perhaps of a command that was cut off before it could record it.
        Some(known) if (known.from, known.to, &known.reason) == (new.from, new.to, &new.reason) => false,
        Some(_) => anyhow::bail!("there is a hold {name} already; `veild audit hold list` shows it"),
        None => {
            crate::cli::as_service(config, || Ok(new.add(dir)?))?;
            true
        }
    };
    crate::faults::point("hold_added");
    if let Err(error) = crate::cli::record(config, recorded(Action::AuditHoldAdded, &new, reason)) {
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
        .veild("hold", json!({"name": hold.name, "from": hold.from, "to": hold.to}))
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
    match (hold.from, hold.to) {
        (None, None) => "everything".to_owned(),
        (Some(from), None) => format!("everything from {from} on"),
        (None, Some(to)) => format!("everything up to {to}"),
        (Some(from), Some(to)) => format!("everything from {from} to {to}"),
    }
}
