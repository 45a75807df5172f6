//! A look at a whole file without changing it, under the same rules as its processing.

use std::fs::File;

use super::reading::{Format, Reading};
use super::source::{Digester, Source};
use super::{Failure, archive, columnar, delimited, json, kind, recognised, spreadsheet};
use crate::detect::Survey;

/// What a file was found to be.
pub struct Tables {
    pub format: String,
    /// Where it holds several, what one is called: `member` or `sheet`.
    pub noun: Option<&'static str>,
}

/// One of a file's tables.
pub struct Table {
    /// Where the file holds several.
    pub part: Option<Part>,
    pub surveyed: Surveyed,
}

/// A member of an archive, or a sheet.
pub struct Part {
    /// As in the file: it may hold a value.
    pub name: String,
    /// The pattern of the rule that it goes by.
    pub pattern: String,
    /// The rule names a policy.
    pub has_policy: bool,
}

/// Is given each table when it was looked at.
pub type Visit<'v> = &'v mut dyn FnMut(Table);

/// What was found in a table.
pub struct Surveyed {
    pub format: String,
    pub rows: u64,
    /// Rows whose cells were looked at.
    pub rows_looked_at: u64,
    pub columns: Vec<SurveyedColumn>,
    /// Every row has every column.
    pub is_rectangular: bool,
}

/// One column, or one path of nested records.
pub struct SurveyedColumn {
    /// As rules spell it: it may hold a value if the file has lost its header line.
    pub name: String,
    pub survey: Survey,
}

/// Reads a whole file under the rules of [`super::process`], archives and spreadsheets part by part, and looks at a sample
/// of the rows of each table, or at all of them.
///
/// # Errors
///
/// [`Failure::Reject`] for a file that would be quarantined whatever the policy; some tables may have been visited.
pub fn survey_all(file: File, reading: &Reading, all_rows: bool, visit: Visit<'_>) -> Result<Tables, Failure> {
    if let Some(kind) = of_parts(&file, reading)? {
        return archive::survey(file, kind, reading, all_rows, visit);
    }
    let surveyed = survey(file, reading, all_rows)?;
    let format = surveyed.format.clone();
    visit(Table { part: None, surveyed });
    Ok(Tables { format, noun: None })
}

/// The same of a file that is one table.
///
/// # Errors
///
/// As above.
pub fn survey(file: File, reading: &Reading, all_rows: bool) -> Result<Surveyed, Failure> {
    table(file, reading, Sample::new(all_rows))
}

/// What a file is whose parts are looked at one by one.
fn of_parts(file: &File, reading: &Reading) -> Result<Option<archive::Kind>, Failure> {
    if let Some(format) = spreadsheet::recognise(file)?.filter(|format| kind::is_accepted(*format, reading)) {
        return Ok((!reading.sheets.is_empty()).then_some(archive::Kind { format, compression: None }));
    }
    spreadsheet::refuse_misnamed(file, reading)?;
    let archive = if reading.members.is_empty() { None } else { archive::recognise(file)? };
    Ok(archive.filter(|it| kind::is_accepted(it.format, reading)))
}

/// A look at one table; of text it may be a pipe.
pub(super) fn table(file: File, reading: &Reading, sample: Sample) -> Result<Surveyed, Failure> {
    if let Some(format) = spreadsheet::recognise(&file)?.filter(|format| kind::is_accepted(*format, reading)) {
        return spreadsheet::survey(file, format, reading, sample);
    }
    spreadsheet::refuse_misnamed(&file, reading)?;
    let columnar = columnar::recognise(&file)?;
    if let Some(format) = columnar.filter(|format| kind::is_accepted(*format, reading)) {
        return columnar::survey(file, format, reading, sample);
    }
    text(file, reading, sample)
}

/// A look at a file of text, which may be a pipe.
pub(super) fn text(file: File, reading: &Reading, sample: Sample) -> Result<Surveyed, Failure> {
    let source = Source::open(file, Digester::None, reading.limits, &|_| {})?;
    recognised(source, reading, |source, format| match format {
        Format::Csv => delimited::survey(source, reading, sample),
        Format::Json | Format::Ndjson => json::survey(source, reading, sample),
        _ => Err(Failure::Reject(kind::not_of(format))),
    })
}

/// Rows looked at before only every second one is, and again so many before every fourth.
const ROWS_AT_A_STEP: u64 = 2000;

/// Which rows are looked at: ever fewer, but to the end of the file.
pub(super) struct Sample {
    all_rows: bool,
    step: u64,
    left: u64,
    pub looked_at: u64,
}

impl Sample {
    pub(super) fn new(all_rows: bool) -> Sample {
        Sample { all_rows, step: 1, left: ROWS_AT_A_STEP, looked_at: 0 }
    }

    /// For each row of a block whether it is looked at; `first` is the first one's number, from 1.
    pub(super) fn choose(&mut self, first: u64, rows: u64) -> Vec<bool> {
        let mut chosen = Vec::with_capacity(rows as usize);
        for row in first..first + rows {
            let taken = self.all_rows || (row - 1).is_multiple_of(self.step);
            chosen.push(taken);
            self.looked_at += u64::from(taken);
            self.left -= u64::from(taken && !self.all_rows);
            if self.left == 0 {
                (self.step, self.left) = (self.step * 2, ROWS_AT_A_STEP);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_thins_out_but_reaches_the_end() {
        let mut sample = Sample::new(false);
        let chosen: Vec<bool> = (0..1000).flat_map(|block| sample.choose(block * 100 + 1, 100)).collect();
        assert!(chosen[..2000].iter().all(|taken| *taken));
        assert!(chosen[99_900..].iter().any(|taken| *taken));
        assert_eq!(sample.looked_at, chosen.iter().filter(|taken| **taken).count() as u64);
        assert!((10_000..14_000).contains(&sample.looked_at));
    }
}
