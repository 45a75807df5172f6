//! `veild vault list`

use std::collections::BTreeSet;

use serde_json::json;

use crate::cli::Usage;
use crate::cli::when::Window;
use crate::config::Config;
use crate::job::JobId;
use crate::vault::{Entry, Receipt};

#[derive(clap::Args)]
pub struct Arguments {
    /// Archived originals instead
    #[arg(long)]
    archive: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    sealed: Window,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Which objects are meant; by what their receipts say.
#[derive(clap::Args)]
pub struct Filter {
    /// Only of this landing
    #[arg(long, value_name = "NAME")]
    landing: Option<String>,
    /// Only of files whose original name matches this shell pattern
    #[arg(long, value_name = "PATTERN")]
    name: Option<globset::Glob>,
    /// Only of this job; may be repeated
    #[arg(long = "job", value_name = "JOB")]
    jobs: Vec<JobId>,
    /// Only with this column, of whatever member or sheet
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Only masked under this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only of this view; `-` for main outputs
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
}

impl Filter {
    /// Whether it leaves anything out.
    pub fn is_any(&self) -> bool {
        let Filter { landing, name, jobs, column, policy, view } = self;
        landing.is_some()
            || name.is_some()
            || !jobs.is_empty()
            || column.is_some()
            || policy.is_some()
            || view.is_some()
    }

    pub fn takes(&self, receipt: &Receipt) -> bool {
        let is = |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
        let policy = receipt.policy.as_ref().map_or("", |policy| policy.name.as_str());
        let has_column = |wanted: &String| receipt.columns.iter().any(|column| is_named(&column.name, wanted));
        is(&self.landing, &receipt.landing)
            && is(&self.policy, policy)
            && is(&self.view, receipt.view.as_deref().unwrap_or("-"))
            && (self.jobs.is_empty() || self.jobs.contains(&receipt.job))
            && self.name.as_ref().is_none_or(|glob| glob.compile_matcher().is_match(&receipt.original_name))
            && self.column.as_ref().is_none_or(has_column)
    }
}

/// Whether a receipt's column is meant; of archives and workbooks it says `member: column`.
fn is_named(name: &str, wanted: &str) -> bool {
    let of_member = name.rsplit_once(": ").map_or(name, |(_, column)| column);
    [name, of_member].iter().any(|name| name.eq_ignore_ascii_case(wanted))
}

/// The objects that a command works on; all of them only where that is said.
#[derive(clap::Args)]
pub struct Selection {
    /// Jobs whose outputs are meant
    #[arg(value_name = "JOB")]
    named: Vec<JobId>,
    #[command(flatten)]
    filter: Filter,
    /// Archived originals instead
    #[arg(long)]
    archive: bool,
    /// All there are
    #[arg(long)]
    all: bool,
}

impl Selection {
    /// The selected objects that have a receipt; without one nothing is known of an object.
    pub fn find(&self, config: &Config, sealed: Window) -> anyhow::Result<Vec<Entry>> {
        let is_any = self.filter.is_any() || !self.named.is_empty() || sealed.is_any();
        if !is_any && !self.all {
            return Err(Usage("which objects? Name jobs, say what they have in common, or give `--all`").into());
        }
        let dir = &config.vault.dir;
        let mut entries = if self.archive { crate::vault::list_archive(dir)? } else { crate::vault::list(dir)? };
        let is_named = |receipt: &Receipt| self.named.is_empty() || self.named.contains(&receipt.job);
        let is_meant =
            |receipt: &Receipt| self.filter.takes(receipt) && is_named(receipt) && sealed.holds(receipt.sealed_at);
        entries.retain(|entry| if is_any { entry.receipt.as_ref().is_some_and(is_meant) } else { true });
        Ok(entries)
    }

    /// The jobs of what was selected, and those that were named and may have nothing any more.
    pub fn jobs(&self, entries: &[Entry]) -> BTreeSet<JobId> {
        let found = entries.iter().filter_map(|entry| Some(entry.receipt.as_ref()?.job));
        found.chain(self.named.iter().chain(&self.filter.jobs).copied()).collect()
    }

    /// What was asked for, for the audit trail.
    pub fn described(&self, sealed: Window) -> serde_json::Value {
        let Filter { landing, name, jobs, column, policy, view } = &self.filter;
        json!({
            "jobs": self.named.iter().chain(jobs).collect::<Vec<_>>(),
            "landing": landing,
            "name": name.as_ref().map(globset::Glob::glob),
            "column": column,
            "policy": policy,
            "view": view,
            "from": sealed.from,
            "to": sealed.to,
            "archive": self.archive,
        })
    }
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { archive, filter, sealed, json } = arguments;
    let dir = &config.vault.dir;
    let mut entries = if *archive { crate::vault::list_archive(dir)? } else { crate::vault::list(dir)? };
    let is_any = filter.is_any() || sealed.is_any();
    if is_any {
        // Of an object without a readable receipt nothing is known.
        entries.retain(|entry| {
            let receipt = entry.receipt.as_ref();
            receipt.is_some_and(|receipt| filter.takes(receipt) && sealed.holds(receipt.sealed_at))
        });
    }
    if *json {
        let receipts: Vec<_> =
            entries.iter().map(|entry| json!({"path": entry.path, "receipt": entry.receipt})).collect();
        return crate::cli::print_json(&receipts);
    }
    if entries.is_empty() {
        let place = if *archive { "the archive" } else { "the vault" };
        eprintln!("{place} {}", if is_any { "holds nothing like that" } else { "is empty" });
    }
    for entry in entries {
        match entry.receipt {
            Some(receipt) => {
                let view = receipt.view.map_or_else(String::new, |view| format!("  view {view}"));
                let rows = crate::cli::plural(receipt.rows_out, "row", "rows");
                println!("{}  {}  {rows}{view}  {}", receipt.job, receipt.sealed_at, entry.path.display());
            }
            None => println!("(no readable receipt)  {}", entry.path.display()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_found_by_its_own_name_and_by_its_members() {
        assert!(is_named("*.csv: ssn", "SSN") && is_named("*.csv: ssn", "*.csv: ssn") && is_named("ssn", "ssn"));
        assert!(!is_named("*.csv: ssn", "sn") && !is_named("ssn", "*.csv: ssn") && !is_named("user.ssn", "ssn"));
    }
}
