//! `veild detect`

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::mask::Rejected;
use super::reading::ReadingArguments;
use crate::detect::{Finding, looks_like_data};
use crate::fsutil::printable_path;
use crate::pipeline::{Failure, Surveyed, survey};

#[derive(clap::Args)]
pub struct Arguments {
    /// File to look at
    file: PathBuf,
    /// Look at every row instead of a sample
    #[arg(long)]
    all_rows: bool,
    #[command(flatten)]
    reading: ReadingArguments,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Column {
    name: String,
    /// Cells looked at, and of these the ones that are not empty.
    cells: u64,
    filled: u64,
    findings: Vec<Finding>,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let surveyed = survey_file(config, &arguments.file, &arguments.reading, arguments.all_rows)?;
    let (rows, looked_at, format) = (surveyed.rows, surveyed.rows_looked_at, surveyed.format);
    let columns: Vec<Column> = surveyed
        .columns
        .into_iter()
        .enumerate()
        .map(|(index, mut column)| {
            let (cells, filled) = column.survey.cells();
            Column { name: shown(&column.name, index), cells, filled, findings: column.survey.findings() }
        })
        .collect();
    if arguments.json {
        let answer = serde_json::json!({
            "file": arguments.file, "format": format, "rows": rows, "rows_looked_at": looked_at, "columns": columns,
        });
        return super::print_json(&answer);
    }
    println!("{}: {}, {looked_at} looked at", printable_path(&arguments.file), super::plural(rows, "row", "rows"));
    for column in &columns {
        if column.findings.is_empty() {
            println!("  {:<24} -", column.name);
        }
        for (index, finding) in column.findings.iter().enumerate() {
            let name = if index == 0 { column.name.as_str() } else { "" };
            let share = format!("{:.0} %", finding.share * 100.0);
            println!(
                "  {name:<24} {:<20} {share:>6}  confidence {:.2}: {}",
                finding.class.name(),
                finding.confidence,
                finding.reason
            );
        }
    }
    Ok(())
}

/// Looks at a file's columns.
pub fn survey_file(config: &Path, path: &Path, reading: &ReadingArguments, all_rows: bool) -> anyhow::Result<Surveyed> {
    let file = File::open(path).with_context(|| format!("cannot open {}", printable_path(path)))?;
    let (reading, _) = reading.of(config, path)?;
    let surveyed = survey(file, &reading, all_rows).map_err(|failure| match failure {
        Failure::Reject(fault) => Rejected { path: path.to_owned(), fault }.into(),
        failure => anyhow::anyhow!("{}: {failure}", printable_path(path)),
    })?;
    if let Some(index) = surveyed.columns.iter().position(|column| looks_like_data(&column.name)) {
        anyhow::bail!(
            "{}: the name of column {} looks like personal data; has the file lost its header line, or are its keys values?",
            printable_path(path),
            index + 1
        );
    }
    Ok(surveyed)
}

/// A name that looks like one, else the position.
fn shown(name: &str, index: usize) -> String {
    let looks_like_a_name = !name.trim().is_empty()
        && name.chars().count() <= 64
        && name.chars().all(|letter| letter.is_alphanumeric() || "_-. []*".contains(letter));
    if looks_like_a_name { name.to_owned() } else { format!("column {}", index + 1) }
}
