//! A look at every cell of the sampled rows.

use super::run::Cutter;
use super::scan::{Scanner, Span};
use super::splice::{Block, undouble};
use super::{LONGEST_RECORD, bits, first_record};
use crate::detect::Survey;
use crate::pipeline::source::Source;
use crate::pipeline::survey::{Sample, Surveyed, SurveyedColumn};
use crate::pipeline::{Failure, Format, Reading};

/// Reads the whole file and looks at a sample of its rows, or at all.
///
/// # Errors
///
/// The faults for which the file would be quarantined whatever the policy.
pub(in crate::pipeline) fn survey(
    mut source: Source<'_>,
    reading: &Reading,
    mut sample: Sample,
) -> Result<Surveyed, Failure> {
    let dialect = &reading.dialect;
    let max_record_bytes = reading.limits.max_record_bytes.min(LONGEST_RECORD);
    let format = Format::Csv.compressed(source.compression());
    let (header, mut buffer) = first_record(&mut source, dialect, max_record_bytes)?;
    buffer.drain(..header.end);
    let width = header.names.len();
    let scanner = Scanner {
        delimiter: header.delimiter,
        quote: dialect.quote,
        columns: width,
        max_record_bytes,
        touched: (0..width).collect(),
        finder: bits::Finder::new(Scanner::needles(header.delimiter, dialect.quote)),
    };
    let base = header.end as u64;
    let (_, block_bytes) = super::sizes();
    let mut cutter = Cutter { source, scanner, names: Vec::new(), buffer, base, block_bytes, rows: 0, failed: None };
    let mut surveys: Vec<Survey> = header.names.iter().map(|name| Survey::new(name)).collect();
    while let Some(block) = cutter.next()? {
        look(&block, &sample.choose(block.first_row, block.rows), dialect.quote, &mut surveys);
    }
    let columns = header.names.into_iter().zip(surveys).map(|(name, survey)| SurveyedColumn { name, survey });
    let (rows, rows_looked_at, columns) = (cutter.rows, sample.looked_at, columns.collect());
    Ok(Surveyed { format, rows, rows_looked_at, columns, is_rectangular: true })
}

fn look(block: &Block, chosen: &[bool], quote: Option<u8>, surveys: &mut [Survey]) {
    let mut cell = Vec::new();
    let rows = block.spans.chunks_exact(surveys.len()).zip(chosen);
    for (spans, _) in rows.filter(|(_, chosen)| **chosen) {
        for (survey, span) in surveys.iter_mut().zip(spans) {
            survey.see(value(block.data.as_slice(), *span, quote, &mut cell));
        }
    }
}

/// The scanner has checked the block's UTF-8, and cells begin and end at ASCII bytes.
fn value<'a>(data: &'a [u8], span: Span, quote: Option<u8>, copy: &'a mut Vec<u8>) -> &'a str {
    let raw = &data[span.value()];
    let plain = match quote {
        Some(quote) if span.quoted() && memchr::memchr(quote, raw).is_some() => {
            copy.clear();
            undouble(raw, quote, copy);
            copy.as_slice()
        }
        _ => raw,
    };
    std::str::from_utf8(plain).expect("the scanner has checked the block's UTF-8")
}
