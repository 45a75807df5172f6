//! A look at every field of the sampled lines.

use super::{Cutter, Layout, internal, read_beginning};
use crate::detect::Survey;
use crate::pipeline::delimited::LONGEST_RECORD;
use crate::pipeline::source::Source;
use crate::pipeline::survey::{Sample, Surveyed, SurveyedColumn};
use crate::pipeline::{Failure, Format, Reading};

pub(in crate::pipeline::delimited) fn survey(
    mut source: Source<'_>,
    reading: &Reading,
    mut sample: Sample,
) -> Result<Surveyed, Failure> {
    let dialect = &reading.dialect;
    let max_record_bytes = reading.limits.max_record_bytes.min(LONGEST_RECORD);
    let format = Format::Csv.compressed(source.compression());
    let (beginning, mut buffer) = read_beginning(&mut source, dialect, max_record_bytes)?;
    buffer.drain(..beginning.end);
    let layout = Layout {
        widths: dialect.widths.iter().map(|width| *width as usize).collect(),
        names: Vec::new(),
        touched: (0..dialect.widths.len()).collect(),
        comment: dialect.comment,
        keep_comments: false,
    };
    let (base, comment) = (beginning.end as u64, dialect.comment);
    let mut cutter = Cutter { source, buffer, base, rows: 0, max_record_bytes, comment };
    let mut surveys: Vec<Survey> = beginning.names.iter().map(|name| Survey::new(name)).collect();
    while let Some(block) = cutter.next()? {
        let text = std::str::from_utf8(&block.data).map_err(|_| internal("a block was checked"))?;
        let records = layout.records(text, &block)?;
        let chosen = sample.choose(block.first_row, cutter.rows + 1 - block.first_row);
        let lines = records.fields.chunks_exact(layout.touched.len()).zip(chosen);
        for (fields, _) in lines.filter(|(_, chosen)| *chosen) {
            for (survey, field) in surveys.iter_mut().zip(fields) {
                survey.see(text[field.clone()].trim_matches(' '));
            }
        }
    }
    let columns = beginning.names.into_iter().zip(surveys).map(|(name, survey)| SurveyedColumn { name, survey });
    let (rows, rows_looked_at, columns) = (cutter.rows, sample.looked_at, columns.collect());
    Ok(Surveyed { format, rows, rows_looked_at, columns, is_rectangular: true })
}
