//! Parquet: masked columns are read, masked and written again, the chunks of all others copied as they are.
//!
//! Row groups, compression and the types of untouched columns stay. Statistics, dictionaries and indexes of masked
//! columns are made anew from the masked values; their bloom filters and the file's free metadata are left out.

mod batch;
mod chunk;
mod container;
mod encryption;
mod metadata;
mod passage;
mod records;
mod sift;
mod survey;
mod types;
mod values;
mod verify;

pub(super) use self::records::Records;
pub(super) use self::survey::survey;

use std::sync::Arc;

use parquet::bloom_filter::Sbbf;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use self::chunk::{Chunk, ChunkPlan};
use self::container::Container;
use self::types::Target;
use super::fault::{must_be_there, named};
use super::plan::{Fate, Leaf, Sieving, plan, sieving};
use super::{Opened, Ran};
use crate::pipeline::fault::{internal, of_file};
use crate::pipeline::source::retry;
use crate::pipeline::tap::{Mishap, Tap};
use crate::pipeline::verify::Sum;
use crate::pipeline::{ColumnReport, Failure, Fault};

const ADVICE: &str = "Have the file sent again, whole, or written by another program.";

/// What the library says is dropped: it may quote values.
fn malformed(error: ParquetError) -> Fault {
    match error {
        ParquetError::NYI(_) => of_file("unsupported_file", "the Parquet file uses what is not read here", ADVICE),
        _ => of_file("malformed_file", "the schema or the footer of the Parquet file cannot be read", ADVICE),
    }
}

/// One output under construction.
struct Making<'s> {
    writer: SerializedFileWriter<Tap>,
    leaves: Vec<Leaf>,
    sieving: Option<Sieving<'s>>,
    /// What becomes of each masked column.
    targets: Vec<Option<Target>>,
    mishap: Mishap,
    /// What the leak scan has seen.
    sum: Sum,
}

/// Where in the file something is done.
#[derive(Clone, Copy)]
struct Place {
    group: usize,
    column: usize,
    /// Number of the group's first row, from 1.
    first_row: u64,
}

pub(super) fn run(opened: &Opened<'_>, taps: Vec<Tap>) -> Result<Ran, Failure> {
    let container = Container::open(opened)?;
    let file = container.metadata.file_metadata();
    let schema = types::schema(file.schema(), opened.reading.limits).map_err(Failure::Reject)?;
    if schema.leaves.len() != file.schema_descr().num_columns() {
        return Err(internal("the schema's columns were miscounted"));
    }
    let mut makings = Vec::with_capacity(taps.len());
    for ((mut tap, policy), sieve) in taps.into_iter().zip(&opened.policies).zip(&opened.sieves) {
        let named = |fault| Failure::Reject(named(fault, policy, opened));
        let (leaves, unspelled) = plan(&schema, policy, opened.keys).map_err(named)?;
        unspelled.see(&mut tap.outlet.sum);
        let sieving = sieving(&schema, policy, sieve.as_deref()).map_err(named)?;
        makings.push(container.begin(tap, leaves, sieving)?);
    }
    let mut rows = 0;
    for (group, found) in container.metadata.row_groups().iter().enumerate() {
        let first_row = rows + 1;
        for column in 0..found.num_columns() {
            let place = Place { group, column, first_row };
            if makings.iter().any(|making| making.copies(column)) {
                let blame = |error| container.blame(error, None, place, &container.position(column));
                container.check_pages(place).map_err(blame)?;
            }
        }
        for making in &mut makings {
            let left_out = match &making.sieving {
                Some(sieving) => container.sift(sieving, group, first_row)?,
                None => None,
            };
            container.write_group(making, group, first_row, left_out.as_deref(), opened.threads)?;
            verify::look(&container, making, group, first_row, left_out.as_deref())?;
        }
        rows += container.rows(group);
        let last = found.columns().iter().map(|chunk| chunk.byte_range()).map(|(start, length)| start + length).max();
        container.reach(last.unwrap_or(0).min(opened.len));
    }
    let finished = makings.into_iter().map(|making| {
        let columns = container.reports(&making);
        let end = |error| container.blame_writer(error, &making.mishap);
        let mut tap = making.writer.into_inner().map_err(end)?;
        tap.outlet.sum = making.sum;
        Ok((tap, columns))
    });
    Ok(Ran { rows, outputs: finished.collect::<Result<Vec<_>, Failure>>()? })
}

impl Making<'_> {
    /// Whether a column's chunks may be copied as they are.
    fn copies(&self, column: usize) -> bool {
        let lets_none_through = self.sieving.as_ref().is_some_and(|sieving| sieving.sieve.lets_none_through());
        matches!(self.leaves[column].fate, Fate::Keep) && !lets_none_through
    }
}

impl Container<'_> {
    fn begin<'s>(&self, mut tap: Tap, leaves: Vec<Leaf>, sieving: Option<Sieving<'s>>) -> Result<Making<'s>, Failure> {
        let file = self.metadata.file_metadata();
        let keys = types::map_keys(file.schema());
        let mut targets = Vec::with_capacity(leaves.len());
        for ((leaf, column), is_key) in leaves.iter().zip(file.schema_descr().columns()).zip(keys) {
            targets.push(match &leaf.fate {
                Fate::Mask(mask) => {
                    let target = Target::of(column.self_type(), is_key, mask);
                    Some(target.ok_or_else(|| Failure::Reject(must_be_there(&leaf.public_path)))?)
                }
                _ => None,
            });
        }
        let schema = types::output(&file.schema_descr().root_schema_ptr(), &leaves, &targets);
        let (loses_rows, is_scanned) = (sieving.is_some(), tap.outlet.sum.digests().is_some());
        let key_values = metadata::key_values(self.metadata.file_metadata(), &leaves, &targets, loses_rows, is_scanned);
        let properties = self.properties(key_values);
        let mishap = tap.mishap.clone();
        let sum = std::mem::replace(&mut tap.outlet.sum, Sum::off());
        let writer = SerializedFileWriter::new(tap, schema.map_err(Failure::Reject)?, Arc::new(properties));
        let writer = writer.map_err(|error| self.blame_writer(error, &mishap))?;
        Ok(Making { writer, leaves, sieving, targets, mishap, sum })
    }

    fn properties(&self, key_values: Vec<KeyValue>) -> WriterProperties {
        let file = self.metadata.file_metadata();
        let version = if file.version() >= 2 { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let statistics = if self.has_index { EnabledStatistics::Page } else { EnabledStatistics::Chunk };
        let mut builder = WriterProperties::builder()
            .set_writer_version(version)
            .set_created_by(metadata::created_by(file))
            .set_statistics_enabled(statistics)
            .set_offset_index_disabled(!self.has_index)
            .set_key_value_metadata((!key_values.is_empty()).then_some(key_values));
        if let Some(group) = self.metadata.row_groups().first() {
            for chunk in group.columns() {
                builder = builder.set_column_compression(chunk.column_path().clone(), container::codec(chunk));
            }
        }
        builder.build()
    }

    fn write_group(
        &self,
        making: &mut Making<'_>,
        group: usize,
        first_row: u64,
        left_out: Option<&[bool]>,
        threads: usize,
    ) -> Result<(), Failure> {
        if left_out.is_some_and(|left_out| !left_out.contains(&false)) {
            return Ok(());
        }
        let Making { writer, leaves, targets, mishap, sum, .. } = making;
        let plans = self.chunk_plans((writer, leaves, targets), (group, first_row), left_out, sum);
        let lanes = if plans.iter().all(|plan| self.is_worth_a_lane(plan)) { threads } else { 1 };
        let make = |plan: &ChunkPlan<'_>| self.chunk(plan);
        chunk::in_lanes(&plans, lanes, make, |mut chunks| {
            let blame = |error| self.blame_writer(error, mishap);
            let mut written = writer.next_row_group().map_err(blame)?;
            let mut plans = plans.iter();
            for (column, leaf) in leaves.iter().enumerate() {
                let place = Place { group, column, first_row };
                let blame = |error| self.blame(error, Some(mishap), place, &leaf.public_path);
                match (&leaf.fate, left_out, &mut chunks) {
                    (Fate::Drop, ..) => {}
                    (Fate::Mask(_), _, Some(chunks)) => {
                        let Chunk { bytes, close, seen } = chunks.next()?;
                        seen.into_iter().for_each(|seen| sum.add(seen));
                        written.append_column(&bytes, close).map_err(blame)?;
                    }
                    (Fate::Mask(_), _, None) => {
                        let plan = plans.next().ok_or_else(chunk::too_few)?;
                        let mut writer = written.next_column().map_err(blame)?.ok_or_else(chunk::too_few)?;
                        let seen = self.mask(plan, writer.untyped(), &blame)?;
                        seen.into_iter().for_each(|seen| sum.add(seen));
                        writer.close().map_err(blame)?;
                    }
                    (Fate::Keep, Some(left_out), _) => {
                        self.rewrite(&mut written, place, &leaf.public_path, left_out, mishap)?;
                    }
                    (Fate::Keep, None, _) => self.copy(&mut written, place).map_err(blame)?,
                }
            }
            written.close().map(|_| ()).map_err(blame)
        })
    }

    /// The columns of a row group that are written anew because a mask changes them.
    fn chunk_plans<'m>(
        &self,
        (writer, leaves, targets): (&SerializedFileWriter<Tap>, &'m [Leaf], &[Option<Target>]),
        (group, first_row): (usize, u64),
        left_out: Option<&'m [bool]>,
        sum: &Sum,
    ) -> Vec<ChunkPlan<'m>> {
        let mut columns_out = writer.schema_descr().columns().iter();
        let mut plans = Vec::new();
        for ((column, leaf), target) in leaves.iter().enumerate().zip(targets) {
            let written_as = if matches!(leaf.fate, Fate::Drop) { None } else { columns_out.next() };
            if let (Fate::Mask(mask), Some(target), Some(written_as)) = (&leaf.fate, *target, written_as) {
                let (place, is_scanned) = (Place { group, column, first_row }, sum.digests().is_some());
                let written_as = (written_as.clone(), writer.properties().clone());
                plans.push(ChunkPlan { place, leaf, mask, target, left_out, written_as, is_scanned });
            }
        }
        plans
    }

    /// Copies a column's chunk as it is, with what the file says about it.
    fn copy(&self, group: &mut SerializedRowGroupWriter<'_, Tap>, place: Place) -> Result<(), ParquetError> {
        let chunk = self.metadata.row_group(place.group).column(place.column);
        let index = self.metadata.page_index_for_row_group(place.group);
        let close = ColumnCloseResult {
            bytes_written: chunk.byte_range().1,
            rows_written: self.rows(place.group),
            metadata: chunk.clone(),
            bloom_filter: Sbbf::read_from_column_chunk(chunk, &self.window)?,
            column_index: index.column_index(place.column).cloned(),
            offset_index: index.offset_index(place.column).cloned(),
        };
        group.append_column(&self.window, close)
    }

    fn reader(&self, group: usize, column: usize) -> Result<ColumnReader, ParquetError> {
        let chunk = self.metadata.row_group(group).column(column);
        let rows = self.rows(group) as usize;
        let pages = SerializedPageReader::new(Arc::new(self.window.clone()), chunk, rows, None)?;
        Ok(get_column_reader(chunk.column_descr_ptr(), Box::new(pages)))
    }

    fn reports(&self, making: &Making<'_>) -> Vec<ColumnReport> {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let all = making.leaves.iter().zip(&making.targets).zip(columns);
        let report = |((leaf, target), column): ((&Leaf, &Option<Target>), &parquet::schema::types::ColumnDescPtr)| {
            let changes = target.filter(|target| target.is_text);
            leaf.report(changes.map(|_| format!("{} to text", types::name(column.self_type()))))
        };
        all.map(report).collect()
    }

    /// Whose fault it is when reading or writing a column fails.
    fn blame(&self, error: ParquetError, mishap: Option<&Mishap>, place: Place, public_path: &str) -> Failure {
        if let Some(failure) = self.window.failure() {
            return retry("read the input", &failure);
        }
        if let Some(failure) = mishap.and_then(Mishap::take) {
            return failure;
        }
        match error {
            ParquetError::NYI(_) => Failure::Reject(malformed(error)),
            _ => Failure::Reject(unreadable(place, public_path)),
        }
    }

    fn blame_writer(&self, error: ParquetError, mishap: &Mishap) -> Failure {
        mishap.take().unwrap_or_else(|| Failure::Reject(malformed(error)))
    }
}

/// The place of a row among all, those that are left out counted.
fn place_among_all(left_out: Option<&[bool]>, row: usize) -> usize {
    let Some(left_out) = left_out else { return row };
    let mut left = left_out.iter().enumerate().filter(|(_, left_out)| !**left_out);
    left.nth(row).map_or(row, |(place, _)| place)
}

fn unreadable(place: Place, public_path: &str) -> Fault {
    Fault {
        code: "malformed_file".to_owned(),
        sentence: format!(
            "the pages of {public_path} in row group {} cannot be read, from row {} on",
            place.group + 1,
            place.first_row
        ),
        row: Some(place.first_row),
        column: Some(public_path.to_owned()),
        byte_offset: None,
        advice: ADVICE.to_owned(),
    }
}
