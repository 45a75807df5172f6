//! `veild detect`

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::mask::Rejected;
use super::reading::ReadingArguments;
use crate::detect::{Finding, looks_like_data};
use crate::fsutil::{printable_name, printable_path};
use crate::pipeline::{Failure, MemberRule, Reading, Surveyed, SurveyedColumn, Table, Tables, Writing, survey_all};
use crate::policy::looks_like_a_name;
use crate::policy::path::starred;

#[derive(clap::Args)]
pub struct Arguments {
    /// File to look at; of archives every member, of spreadsheets every sheet
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

/// One table.
#[derive(serde::Serialize)]
struct Looked {
    /// Of a member or a sheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    format: String,
    rows: u64,
    rows_looked_at: u64,
    columns: Vec<Column>,
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
    let (file, mut tables) = (&arguments.file, Vec::new());
    let found =
        look(config, file, &arguments.reading, arguments.all_rows, &mut |table| tables.push(Looked::at(table)))?;
    let sum = |count: fn(&Looked) -> u64| tables.iter().map(count).sum::<u64>();
    let (rows, rows_looked_at) = (sum(|table| table.rows), sum(|table| table.rows_looked_at));
    if arguments.json {
        let mut answer = serde_json::json!({
            "file": file, "format": found.tables.format, "rows": rows, "rows_looked_at": rows_looked_at,
        });
        match found.tables.noun {
            Some(noun) => answer[format!("{noun}s")] = serde_json::to_value(&tables)?,
            None => {
                let columns: Vec<&Column> = tables.iter().flat_map(|table| &table.columns).collect();
                answer["columns"] = serde_json::to_value(columns)?;
            }
        }
        return super::print_json(&answer);
    }
    let count = found.tables.noun.map(|noun| super::plural(tables.len() as u64, noun, &format!("{noun}s")) + ", ");
    println!("{}: {}{}", printable_path(file), count.unwrap_or_default(), counted(rows, rows_looked_at));
    for Looked { name, rows, rows_looked_at, columns, .. } in tables {
        if let (Some(noun), Some(name)) = (found.tables.noun, name) {
            println!("{noun} {}: {}", printable_name(OsStr::new(&name)), counted(rows, rows_looked_at));
        }
        columns.iter().for_each(print);
    }
    Ok(())
}

fn counted(rows: u64, looked_at: u64) -> String {
    format!("{}, {looked_at} looked at", super::plural(rows, "row", "rows"))
}

impl Looked {
    fn at(table: Table) -> Looked {
        let Surveyed { format, rows, rows_looked_at, columns, .. } = table.surveyed;
        let column = |(index, mut column): (usize, SurveyedColumn)| {
            let (cells, filled) = column.survey.cells();
            Column { name: shown(&column.name, index), cells, filled, findings: column.survey.findings() }
        };
        let columns = columns.into_iter().enumerate().map(column).collect();
        Looked { name: table.part.map(|part| part.name), format, rows, rows_looked_at, columns }
    }
}

fn print(column: &Column) {
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

/// What a file was found to be, and how it was read.
pub struct Found {
    pub tables: Tables,
    pub reading: Reading,
    pub writing: Writing,
    /// Sheets were taken one by one, which nobody has asked for.
    pub takes_each_sheet: bool,
}

/// Looks at a file's columns, table by table; at every sheet of several, where nothing says which.
pub fn look(
    config: &Path,
    path: &Path,
    arguments: &ReadingArguments,
    all_rows: bool,
    visit: &mut dyn FnMut(Table),
) -> anyhow::Result<Found> {
    let printable = printable_path(path);
    if path.is_dir() {
        anyhow::bail!("{printable} is a directory, and files are looked at one by one: name one of those in it");
    }
    let open = || File::open(path).with_context(|| format!("cannot open {printable}"));
    let (mut reading, mut writing) = arguments.of(config, path)?;
    // What is wrong with the first name that seems to be a value, and the part that it is of.
    let mut refused = None;
    let mut see = |table: Table| match names_a_value(&table) {
        Some(problem) => {
            refused.get_or_insert((table.part.map(|part| part.name), problem));
        }
        None => visit(table),
    };
    let mut tables = survey_all(open()?, &reading, all_rows, &mut see);
    let has_many = matches!(&tables, Err(Failure::Reject(fault)) if fault.code == "many_sheets");
    let takes_each_sheet = has_many && arguments.leaves_sheets_open();
    if takes_each_sheet {
        (reading.sheets, writing.each_sheet) = (vec![MemberRule::any()], true);
        tables = survey_all(open()?, &reading, all_rows, &mut see);
    }
    let tables = tables.map_err(|failure| match failure {
        Failure::Reject(fault) => Rejected { path: path.to_owned(), fault }.into(),
        failure => anyhow::anyhow!("{printable}: {failure}"),
    })?;
    if let Some((part, problem)) = refused {
        anyhow::bail!("{printable}: {}{problem}", part_in_words(&tables, part));
    }
    Ok(Found { tables, reading, writing, takes_each_sheet })
}

/// Says that the name of a column or a key seems to be a value, and what to do.
fn names_a_value(table: &Table) -> Option<String> {
    let Surveyed { columns, format, .. } = &table.surveyed;
    let index = columns.iter().position(|column| looks_like_data(&column.name))?;
    if !["json", "ndjson"].contains(&format.split('.').next().unwrap_or_default()) {
        return Some(format!(
            "the name of column {} looks like personal data\nwhat to do: if the file has lost its header line, name its \
             columns for a landing (`delimited.columns`), and give `--landing NAME`; else have the column renamed",
            index + 1
        ));
    }
    let path = starred(&columns[index].name, |key| looks_like_data(key) || !looks_like_a_name(key));
    Some(format!(
        "a key of {path:?} looks like personal data\nwhat to do: keys that are values go out as they came; have them \
         sent as a list, or write the policy by hand: a star in a rule's path ({path:?}) stands for such keys, and \
         `drop` of the object that they stand in takes them out"
    ))
}

/// The name of a member or a sheet, before what is wrong with it.
pub fn part_in_words(tables: &Tables, name: Option<String>) -> String {
    let part = tables.noun.zip(name);
    part.map_or_else(String::new, |(noun, name)| format!("{noun} {}: ", printable_name(OsStr::new(&name))))
}

/// A name that looks like one, else the position.
fn shown(name: &str, index: usize) -> String {
    let looks_like_a_name = !name.trim().is_empty()
        && name.chars().count() <= 64
        && name.chars().all(|letter| letter.is_alphanumeric() || "_-. []*".contains(letter));
    if looks_like_a_name { name.to_owned() } else { format!("column {}", index + 1) }
}
