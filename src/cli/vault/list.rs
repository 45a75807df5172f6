//! `veild vault list`

use serde_json::json;

use crate::cli::when::Window;
use crate::config::Config;
use crate::job::JobId;
use crate::vault::Receipt;

#[derive(clap::Args)]
pub struct Arguments {
    /// Archived originals instead
    #[arg(long)]
    archive: bool,
    #[command(flatten)]
    filter: Filter,
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
    /// Only with this column
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Only masked under this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    #[command(flatten)]
    sealed: Window,
}

impl Filter {
    /// Whether it leaves anything out.
    pub fn is_any(&self) -> bool {
        let Filter { landing, name, jobs, column, policy, sealed } = self;
        landing.is_some()
            || name.is_some()
            || !jobs.is_empty()
            || column.is_some()
            || policy.is_some()
            || sealed.from.is_some()
            || sealed.to.is_some()
    }

    pub fn takes(&self, receipt: &Receipt) -> bool {
        let is = |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
        let policy = receipt.policy.as_ref().map_or("", |policy| policy.name.as_str());
        let has_column =
            |wanted: &String| receipt.columns.iter().any(|column| column.name.eq_ignore_ascii_case(wanted));
        is(&self.landing, &receipt.landing)
            && is(&self.policy, policy)
            && (self.jobs.is_empty() || self.jobs.contains(&receipt.job))
            && self.name.as_ref().is_none_or(|glob| glob.compile_matcher().is_match(&receipt.original_name))
            && self.column.as_ref().is_none_or(has_column)
            && self.sealed.holds(receipt.sealed_at)
    }
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { archive, filter, json } = arguments;
    let dir = &config.vault.dir;
    let mut entries = if *archive { crate::vault::list_archive(dir)? } else { crate::vault::list(dir)? };
    if filter.is_any() {
        // Of an object without a readable receipt nothing is known.
        entries.retain(|entry| entry.receipt.as_ref().is_some_and(|receipt| filter.takes(receipt)));
    }
    if *json {
        let receipts: Vec<_> =
            entries.iter().map(|entry| json!({"path": entry.path, "receipt": entry.receipt})).collect();
        return crate::cli::print_json(&receipts);
    }
    if entries.is_empty() {
        let place = if *archive { "the archive" } else { "the vault" };
        eprintln!("{place} {}", if filter.is_any() { "holds nothing like that" } else { "is empty" });
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
