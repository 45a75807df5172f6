//! `veild policy suggest`: what was found, as a policy that leaks nothing as far as can be seen.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;

use crate::cli::detect::survey_file;
use crate::cli::reading::ReadingArguments;
use crate::config::policy_of;
use crate::detect::{Suggestion, suggest};
use crate::fsutil::{printable_name, printable_path};
use crate::keys::MaskingKeys;
use crate::pipeline::{DigestKind, Input, Leak, Output, Sink, process};
use crate::policy::Verify;

/// Most times that a policy is tried; each time what leaked is redacted.
const ROUNDS: usize = 3;

pub fn run(config: &Path, file: &Path, reading: &ReadingArguments, all_rows: bool) -> anyhow::Result<()> {
    let surveyed = survey_file(config, file, reading, all_rows)?;
    let (rows, looked_at, is_table) = (surveyed.rows, surveyed.rows_looked_at, surveyed.is_rectangular);
    let mut columns: Vec<_> = surveyed.columns.into_iter().map(|column| (column.name, column.survey)).collect();
    let suggestions = suggest(&mut columns, is_table);
    let mut rules: Vec<(String, Suggestion)> = columns.into_iter().map(|(name, _)| name).zip(suggestions).collect();
    for _ in 0..ROUNDS {
        let leaks = leaks(config, file, reading, &in_toml(&rules, is_table))?;
        if !redact(&mut rules, &leaks) {
            break;
        }
    }
    let name = printable_name(file.file_name().unwrap_or_default());
    println!("# A policy for files like {name}: {looked_at} of {rows} rows looked at.");
    println!(
        "# Read every rule before you trust it: what was not recognised is kept. Save it as NAME.toml and try it with"
    );
    println!("# `veild policy test FILE --policy NAME.toml`, or put it under [policy.NAME] in the configuration.");
    println!();
    print!("{}", in_toml(&rules, is_table));
    Ok(())
}

fn in_toml(rules: &[(String, Suggestion)], is_table: bool) -> String {
    let mut text = "unlisted = \"reject\"\n".to_owned();
    text.push_str(if is_table {
        "missing = \"reject\"\n"
    } else {
        "missing = \"ignore\"   # not every record has every path\n\
         mistyped = \"redact\"  # objects and arrays where single values were seen, too\n"
    });
    for (name, suggestion) in rules {
        let name = toml::Value::String(name.clone());
        let _ = write!(text, "\n[[column]]  # {}\nname = {name}\nmask = {:?}\n", suggestion.why, suggestion.mask);
        for (name, value) in &suggestion.parameters {
            let _ = writeln!(text, "{name} = {value}");
        }
    }
    text
}

/// What the leak scan finds in the file as the policy would let it go out. What can be read but once is not tried.
fn leaks(config: &Path, path: &Path, reading: &ReadingArguments, policy: &str) -> anyhow::Result<Vec<Leak>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", printable_path(path)))?;
    if !file.metadata().is_ok_and(|it| it.is_file()) {
        return Ok(Vec::new());
    }
    let mut policy = policy_of(Path::new("suggested"), policy)?;
    policy.verify = Verify::Warn;
    // No pseudonym leaves this process: any key will do.
    let keys = MaskingKeys::parse(&MaskingKeys::generate(Timestamp::now()))?;
    let (reading, writing) = reading.of(config, path)?;
    let input = Input { file, reading, digest: DigestKind::None };
    let output = Output { policy, writing, sink: Sink::Discard };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    // A file that would be refused is `policy test`'s to explain.
    let report = process(input, vec![output], &keys, threads, &|_| {});
    Ok(report.map_or_else(|_| Vec::new(), |report| report.outputs.into_iter().flat_map(|it| it.verify.leaks).collect()))
}

/// Redacts the columns that leak; whether there was one.
fn redact(rules: &mut [(String, Suggestion)], leaks: &[Leak]) -> bool {
    let mut changed = false;
    for leak in leaks {
        let is_here = |index: usize, name: &str| name == leak.column || leak.column == format!("column {}", index + 1);
        let found = rules.iter_mut().enumerate().find(|(index, (name, _))| is_here(*index, name));
        let Some((_, (_, suggestion))) = found.filter(|(_, (_, it))| it.mask != "redact") else { continue };
        let why = format!("{} would leak: {}", suggestion.mask, leak.in_words());
        *suggestion = Suggestion { mask: "redact", parameters: Vec::new(), why };
        changed = true;
    }
    changed
}
