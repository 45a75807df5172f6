//! `veild policy risk`: how easily the people in a file are recognised.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;

use super::page;
use crate::anonymity::{Anonymity, LevelReport, Mode, QuasiIdentifier, Risk, Utility, classes_of, risk};
use crate::cli::progress::Progress;
use crate::cli::reading::ReadingArguments;
use crate::cli::{Usage, find_policy, masking_keys, plural, print_json};
use crate::detect::looks_like_data;
use crate::fsutil::{printable_name, printable_path, write_new_synced};
use crate::keys::MaskingKeys;
use crate::mask::{Mask, OnMistyped};
use crate::pipeline::{Reading, choose, count, survey};
use crate::policy::{ColumnRule, OnMissing, OnUnlisted, Policy, Selector, Verify, normalise};

#[derive(clap::Args)]
pub struct Arguments {
    /// File to look at
    file: PathBuf,
    /// Name of a policy with `anonymity` in the configuration, or path of a TOML file
    #[arg(long, required_unless_present = "column")]
    policy: Option<String>,
    /// Quasi-identifier, instead of a policy's; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "policy")]
    column: Vec<String>,
    /// File of the population that FILE is a sample of, with the same columns
    #[arg(long)]
    population: Option<PathBuf>,
    /// Masking key, instead of the configuration's
    #[arg(long)]
    masking_key: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingArguments,
    /// Write a page with plots to this new file
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Serialize)]
pub struct Answer {
    pub file: String,
    pub quasi_identifiers: Vec<String>,
    pub has_population: bool,
    /// `None` for a file without rows.
    pub as_it_comes: Option<Risk>,
    pub as_it_goes_out: Option<GoesOut>,
}

/// What a policy makes of it.
#[derive(Serialize)]
pub struct GoesOut {
    pub policy: String,
    pub rows_suppressed: u64,
    pub levels: Vec<LevelReport>,
    pub risk: Option<Risk>,
    /// Why the file would be refused instead.
    pub refused: Option<String>,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let answer = answer(config, arguments)?;
    if let Some(path) = &arguments.html {
        anyhow::ensure!(
            path.symlink_metadata().is_err(),
            "{} is already there, and nothing is overwritten: name another file, or move it away",
            printable_path(path)
        );
        write_new_synced(path, 0o640, page::page(&answer).as_bytes())?;
        eprintln!("the page is in {}", printable_path(path));
    }
    if arguments.json {
        return print_json(&answer);
    }
    print(&answer);
    Ok(())
}

fn answer(config: &Path, arguments: &Arguments) -> anyhow::Result<Answer> {
    let (reading, _) = arguments.reading.of(config, &arguments.file)?;
    let policy = arguments.policy.as_deref().map(|policy| find_policy(config, policy)).transpose()?;
    let asked = policy.as_ref().and_then(|policy| policy.anonymity.as_ref());
    if policy.is_some() && asked.is_none() {
        return Err(Usage("the policy asks for no anonymity; name quasi-identifiers with `--column`").into());
    }
    let columns = match asked {
        Some(asked) => asked.quasi_identifiers.iter().map(|it| it.column.clone()).collect(),
        None => arguments.column.clone(),
    };
    let files = Files { file: &arguments.file, population: arguments.population.as_deref(), reading };
    let rules = policy.as_ref().map(|policy| policy.suppress_rows.clone()).unwrap_or_default();
    // Nothing is masked.
    let keys = MaskingKeys::parse(&MaskingKeys::generate(Timestamp::UNIX_EPOCH)).context("a new key can be read")?;
    let plain = Policy { suppress_rows: rules, ..plain(&columns) };
    plain.check().map_err(anyhow::Error::msg)?;
    let counted = files.count(&plain, &keys).map_err(|error| files.without_column(&columns).unwrap_or(error))?;
    let as_it_comes = risk(&classes_of(counted, columns.len()));
    let as_it_goes_out = match &policy {
        None => None,
        Some(policy) => {
            let keys = masking_keys(config, arguments.masking_key.as_deref())?;
            Some(goes_out(&files, policy, columns.len(), &keys)?)
        }
    };
    Ok(Answer {
        file: printable_name(arguments.file.file_name().unwrap_or_default()),
        quasi_identifiers: columns,
        has_population: arguments.population.is_some(),
        as_it_comes,
        as_it_goes_out,
    })
}

fn goes_out(files: &Files<'_>, policy: &Policy, columns: usize, keys: &MaskingKeys) -> anyhow::Result<GoesOut> {
    let tally = files.count(policy, keys)?;
    let name = policy.name.clone();
    let mut made = GoesOut { policy: name, rows_suppressed: 0, levels: Vec::new(), risk: None, refused: None };
    if policy.anonymity.as_ref().is_some_and(|asked| asked.mode != Mode::Enforce) {
        made.risk = risk(&classes_of(tally, columns));
        return Ok(made);
    }
    match choose(tally, policy, &|| {}) {
        Ok(decision) => {
            made.rows_suppressed = decision.suppressed;
            made.levels = decision.report.quasi_identifiers;
            made.risk = risk(&decision.classes);
        }
        Err(fault) => made.refused = Some(fault.sentence),
    }
    Ok(made)
}

struct Files<'a> {
    file: &'a Path,
    population: Option<&'a Path>,
    reading: Reading,
}

impl Files<'_> {
    fn count(&self, policy: &Policy, keys: &MaskingKeys) -> anyhow::Result<crate::anonymity::Tally> {
        let open = |path: &Path| File::open(path).with_context(|| format!("cannot open {}", printable_path(path)));
        let (file, population) = (open(self.file)?, self.population.map(open).transpose()?);
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let progress = Progress::start(format!("counting {}", printable_path(self.file)));
        let report = |done| progress.set(done, bytes);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let counted = count(&file, population.as_ref(), &self.reading, policy, keys, threads, &report);
        drop(progress);
        counted.map_err(|failure| anyhow::anyhow!("{}: {failure}", printable_path(self.file)))
    }
}

impl Files<'_> {
    /// What to say where a file lacks one of these columns.
    fn without_column(&self, wanted: &[String]) -> Option<anyhow::Error> {
        [Some(self.file), self.population].into_iter().flatten().find_map(|path| {
            let surveyed = survey(File::open(path).ok()?, &self.reading, false).ok()?;
            let names: Vec<&str> = surveyed.columns.iter().map(|column| column.name.as_str()).collect();
            let is_there = |wanted: &String| names.iter().any(|name| normalise(name) == normalise(wanted));
            let missing = wanted.iter().find(|wanted| !is_there(wanted))?;
            let said = format!("{} has no column {missing:?}", printable_path(path));
            // Of a file that has lost its header line these are somebody's data.
            let is_told = !names.iter().any(|name| looks_like_data(name));
            let said = if is_told { format!("{said}; it has: {}", names.join(", ")) } else { said };
            Some(anyhow::Error::msg(said))
        })
    }
}

/// A policy under which the columns count as they come.
fn plain(columns: &[String]) -> Policy {
    let rule = |column: &String| ColumnRule {
        columns: Selector::Names(vec![column.clone()]),
        mask: Mask::Keep,
        mistyped: None,
        preset: false,
    };
    let of = |column: &String| QuasiIdentifier { column: column.clone(), levels: Vec::new(), first_level: 0 };
    let asked = Anonymity {
        mode: Mode::Report,
        k: 2,
        max_suppressed: 0.0,
        utility: Utility::default(),
        quasi_identifiers: columns.iter().map(of).collect(),
        sensitive: Vec::new(),
        freeze: None,
        frozen: None,
    };
    Policy {
        name: "-".to_owned(),
        unlisted: OnUnlisted::Keep,
        missing: OnMissing::Ignore,
        mistyped: OnMistyped::Reject,
        verify: Verify::Off,
        accept: Vec::new(),
        columns: columns.iter().map(rule).collect(),
        suppress_rows: Vec::new(),
        anonymity: Some(asked),
        sha256: String::new(),
    }
}

fn print(answer: &Answer) {
    let Some(before) = &answer.as_it_comes else {
        println!("{}: no rows", answer.file);
        return;
    };
    println!("{}: {}", answer.file, plural(before.rows, "row", "rows"));
    println!("quasi-identifiers: {}", answer.quasi_identifiers.join(", "));
    let after = answer.as_it_goes_out.as_ref();
    let risk_after = after.and_then(|after| after.risk.as_ref());
    println!();
    println!("  {:<36}{:>20}{:>20}", "", "as it comes", if after.is_some() { "as it goes out" } else { "" });
    for (name, value) in LINES {
        let after = risk_after.map_or_else(String::new, value);
        println!("  {name:<36}{:>20}{after:>20}", value(before));
    }
    if !answer.has_population {
        println!("  (no --population: the file counts as all there are)");
    }
    if let Some(after) = after {
        println!();
        print_policy(after);
    }
    println!();
    println!("rows by size of their class, as it comes:");
    for (sizes, rows) in buckets(before) {
        let bar = "#".repeat((rows as f64 / before.rows as f64 * 40.0).ceil() as usize);
        println!("  {sizes:<12}{rows:>12}  {bar}");
    }
}

fn print_policy(after: &GoesOut) {
    if let Some(refused) = &after.refused {
        println!("it would not go out: {refused}");
        return;
    }
    println!("policy {}: {} left out", after.policy, plural(after.rows_suppressed, "row", "rows"));
    for level in &after.levels {
        match (level.level, level.coarsest) {
            (Some(level_chosen), Some(coarsest)) => {
                println!("  {:<24} level {level_chosen} of {coarsest}", level.column)
            }
            _ => println!("  {:<24} as its rule makes it", level.column),
        }
    }
}

/// A line of the table: its name, and its value for a file.
type Line = (&'static str, fn(&Risk) -> String);

pub const LINES: [Line; 11] = [
    ("rows", |risk| risk.rows.to_string()),
    ("classes of rows that look alike", |risk| risk.classes.to_string()),
    ("smallest, average, largest class", |risk| format!("{}, {:.1}, {}", risk.smallest, risk.average, risk.largest)),
    ("rows like no other", |risk| risk.uniques.to_string()),
    ("prosecutor risk, highest", |risk| share(risk.prosecutor.highest)),
    ("prosecutor risk, average", |risk| share(risk.prosecutor.average)),
    ("rows at more than 20 %", |risk| share(risk.prosecutor.above_threshold)),
    ("journalist risk, highest", |risk| share(risk.journalist.highest)),
    ("journalist risk, average", |risk| share(risk.journalist.average)),
    ("rows at more than 20 %", |risk| share(risk.journalist.above_threshold)),
    ("marketer risk", |risk| share(risk.marketer)),
];

fn share(part: f64) -> String {
    format!("{:.2} %", part * 100.0)
}

/// Rows by size of their class, in steps that grow.
pub fn buckets(risk: &Risk) -> Vec<(String, u64)> {
    const EDGES: [u64; 12] = [1, 2, 3, 4, 5, 10, 20, 50, 100, 500, 1000, 10_000];
    let mut buckets = Vec::new();
    for (index, from) in EDGES.into_iter().enumerate() {
        let below = EDGES.get(index + 1).copied().unwrap_or(u64::MAX);
        let rows = risk.sizes.range(from..below).map(|(_, size)| size.rows).sum();
        let name = match below {
            u64::MAX => format!("{from} and more"),
            below if below == from + 1 => from.to_string(),
            below => format!("{from} to {}", below - 1),
        };
        buckets.push((name, rows));
    }
    while buckets.last().is_some_and(|(_, rows)| *rows == 0) {
        buckets.pop();
    }
    buckets
}
