//! A look at every value of the sampled rows.

use parquet::column::reader::ColumnReader;

use super::batch::{Batch, Pace};
use super::container::Container;
use super::types::{self, Kind};
use super::{Place, unreadable};
use crate::detect::Survey;
use crate::pipeline::columnar::Opened;
use crate::pipeline::survey::{Sample, Surveyed, SurveyedColumn};
use crate::pipeline::{Failure, Format};

pub(in crate::pipeline::columnar) fn survey(opened: &Opened<'_>, mut sample: Sample) -> Result<Surveyed, Failure> {
    let container = Container::open(opened)?;
    let schema = types::schema(container.metadata.file_metadata().schema(), opened.reading.limits);
    let schema = schema.map_err(Failure::Reject)?;
    let mut columns: Vec<SurveyedColumn> = Vec::with_capacity(schema.leaves.len());
    for leaf in &schema.leaves {
        let path = &schema.nodes[*leaf].path;
        columns.push(SurveyedColumn { name: path.clone(), survey: Survey::new(path) });
    }
    let mut rows = 0;
    for group in 0..container.metadata.num_row_groups() {
        rows = look(&container, group, rows, &mut sample, &mut columns)?;
    }
    let (format, rows_looked_at) = (Format::Parquet.name().to_owned(), sample.looked_at);
    Ok(Surveyed { format, rows, rows_looked_at, columns, is_rectangular: true })
}

/// Looks at a row group, all columns in step; `before` rows came before it.
fn look(
    container: &Container,
    group: usize,
    before: u64,
    sample: &mut Sample,
    columns: &mut [SurveyedColumn],
) -> Result<u64, Failure> {
    let place = |column| Place { group, column, first_row: before + 1 };
    let metadata = container.metadata.row_group(group);
    let mut readers: Vec<ColumnReader> = Vec::with_capacity(columns.len());
    for column in 0..metadata.num_columns() {
        let reader = container.reader(group, column);
        readers.push(reader.map_err(|error| container.blame(error, None, place(column), "?"))?);
    }
    // All columns go in step, so that a sampled row is one in all of them.
    let (mut rows, mut pace) = (before, Pace::new());
    loop {
        let (mut chosen, mut bytes): (Option<Vec<bool>>, usize) = (None, 0);
        for (column, reader) in readers.iter_mut().enumerate() {
            let descriptor = metadata.column(column).column_descr();
            let batch = Batch::read(reader, descriptor, &pace);
            let batch = batch.map_err(|error| container.blame(error, None, place(column), "?"))?;
            bytes = bytes.saturating_add(batch.values.bytes());
            let chosen = chosen.get_or_insert_with(|| sample.choose(rows + 1, batch.records as u64));
            if chosen.len() != batch.records {
                return Err(Failure::Reject(unreadable(place(column), "?")));
            }
            see(
                &batch,
                chosen,
                descriptor.max_def_level(),
                Kind::of(descriptor.self_type()),
                &mut columns[column].survey,
            );
        }
        match chosen.map_or(0, |chosen| chosen.len()) {
            0 => return Ok(rows),
            count => {
                rows += count as u64;
                pace.adapt(bytes, count);
            }
        }
    }
}

fn see(batch: &Batch, chosen: &[bool], max_definition: i16, kind: Kind, survey: &mut Survey) {
    let texts = batch.values.texts(kind, true);
    let mut values = texts.downcast_iter().flat_map(|chunk| chunk.iter());
    let levels = batch.definition.as_ref().map_or(batch.records, Vec::len);
    let mut record = 0;
    for level in 0..levels {
        let starts = batch.repetition.as_ref().is_none_or(|levels| levels[level] == 0);
        record += usize::from(starts);
        let is_there = batch.definition.as_ref().is_none_or(|levels| levels[level] == max_definition);
        let value = if is_there { values.next().flatten().unwrap_or("") } else { "" };
        if chosen.get(record.wrapping_sub(1)) == Some(&true) && (is_there || batch.repetition.is_none()) {
            survey.see(value);
        }
    }
}
