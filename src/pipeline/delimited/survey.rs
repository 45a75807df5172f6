//! A look at every cell of the sampled rows.

use super::block::Block;
use super::cut::Cutter;
use super::escape;
use super::scan::{Scanner, Span};
use super::splice::undouble;
use super::{LONGEST_RECORD, bits, first_record};
use crate::detect::Survey;
use crate::pipeline::source::Source;
use crate::pipeline::survey::{Sample, Surveyed, SurveyedColumn};
use crate::pipeline::{Dialect, Failure, Format, Reading};

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
    if !dialect.widths.is_empty() {
        return super::fixed::survey(source, reading, sample);
    }
    let max_record_bytes = reading.limits.max_record_bytes.min(LONGEST_RECORD);
    let format = Format::Csv.compressed(source.compression());
    let (header, mut buffer) = first_record(&mut source, dialect, max_record_bytes)?;
    buffer.drain(..header.end);
    let width = header.names.len();
    let scanner = Scanner {
        delimiter: header.delimiter,
        quote: dialect.quote,
        escape: dialect.escape,
        comment: dialect.comment,
        columns: width,
        max_record_bytes,
        touched: (0..width).collect(),
        ends: false,
        finder: bits::Finder::new(Scanner::needles(header.delimiter, dialect.quote)),
    };
    let base = header.end as u64;
    let (_, block_bytes) = super::sizes();
    let mut cutter = Cutter {
        source,
        scanner,
        names: Vec::new(),
        buffer,
        base,
        block_bytes,
        rows: 0,
        failed: None,
        keep_comments: false,
    };
    let mut surveys: Vec<Survey> = header.names.iter().map(|name| Survey::new(name)).collect();
    while let Some(block) = cutter.next()? {
        look(&block, &sample.choose(block.first_row, block.rows), dialect, &mut surveys);
    }
    let columns = header.names.into_iter().zip(surveys).map(|(name, survey)| SurveyedColumn { name, survey });
    let (rows, rows_looked_at, columns) = (cutter.rows, sample.looked_at, columns.collect());
    Ok(Surveyed { format, rows, rows_looked_at, columns, is_rectangular: true })
}

fn look(block: &Block, chosen: &[bool], dialect: &Dialect, surveys: &mut [Survey]) {
    let mut cell = Vec::new();
    let rows = block.spans.chunks_exact(surveys.len()).zip(chosen);
    for (spans, _) in rows.filter(|(_, chosen)| **chosen) {
        for (survey, span) in surveys.iter_mut().zip(spans) {
            survey.see(value(block.data.as_slice(), *span, dialect, &mut cell));
        }
    }
}

/// The scanner has checked the block's UTF-8, and cells begin and end at ASCII bytes.
fn value<'a>(data: &'a [u8], span: Span, dialect: &Dialect, copy: &'a mut Vec<u8>) -> &'a str {
    let raw = &data[span.value()];
    let quote = dialect.quote.filter(|_| span.quoted());
    copy.clear();
    let plain = match (dialect.escape, quote) {
        (Some(escape), quote) => {
            escape::plain(raw, escape, quote, copy);
            copy.as_slice()
        }
        (None, Some(quote)) if memchr::memchr(quote, raw).is_some() => {
            undouble(raw, quote, copy);
            copy.as_slice()
        }
        _ => raw,
    };
    std::str::from_utf8(plain).expect("the scanner has checked the block's UTF-8")
}
