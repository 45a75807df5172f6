//! Leaves rows out of a row group: its columns are then all written anew, those that no rule touches, too.

use parquet::file::writer::SerializedRowGroupWriter;
use polars::prelude::StringChunked;

use super::batch::{Batch, Pace};
use super::container::Container;
use super::passage::Passage;
use super::types::Kind;
use super::{Place, unreadable};
use crate::pipeline::Failure;
use crate::pipeline::columnar::plan::Sieving;
use crate::pipeline::fault::internal;
use crate::pipeline::tap::{Mishap, Tap};

impl Container<'_> {
    /// For each row of a group whether an output leaves it out; `None` where all of them stay.
    pub(super) fn sift(
        &self,
        sieving: &Sieving<'_>,
        group: usize,
        first_row: u64,
    ) -> Result<Option<Vec<bool>>, Failure> {
        let place = |column| Place { group, column, first_row };
        let blame = |error, column| self.blame(error, None, place(column), "?");
        let mut readers = Vec::with_capacity(sieving.columns.len());
        for column in &sieving.columns {
            let reader = self.reader(group, *column).map_err(|error| blame(error, *column))?;
            readers.push((*column, reader, self.metadata.row_group(group).column(*column).column_descr_ptr()));
        }
        let (mut all, mut pace) = (Vec::new(), Pace::new());
        loop {
            let (mut cells, mut bytes, mut records): (Vec<StringChunked>, usize, Option<usize>) = (Vec::new(), 0, None);
            for (column, reader, descriptor) in &mut readers {
                let batch = Batch::read(reader, descriptor, &pace).map_err(|error| blame(error, *column))?;
                self.add_expanded(batch.values.bytes())?;
                bytes = bytes.saturating_add(batch.values.bytes());
                if records.replace(batch.records).is_some_and(|records| records != batch.records) {
                    return Err(Failure::Reject(unreadable(place(*column), "?")));
                }
                cells.push(batch.by_record(Kind::of(descriptor.self_type()), descriptor.max_def_level()));
            }
            let Some(records) = records.filter(|records| *records > 0) else { break };
            let done = all.len() as u64;
            let left_out = sieving.sieve.sift(&cells, records, &|index| first_row + done + index as u64)?;
            all.extend(left_out.unwrap_or_else(|| vec![false; records]));
            pace.adapt(bytes, records);
        }
        if all.len() as u64 != self.rows(group) {
            return Err(Failure::Reject(unreadable(place(0), "?")));
        }
        Ok(all.contains(&true).then_some(all))
    }

    /// Writes a column that no rule touches without the rows that are left out.
    pub(super) fn rewrite(
        &self,
        group: &mut SerializedRowGroupWriter<'_, Tap>,
        place: Place,
        public_path: &str,
        left_out: &[bool],
        mishap: &Mishap,
    ) -> Result<(), Failure> {
        let blame = |error| self.blame(error, Some(mishap), place, public_path);
        let mut passage = Passage::open(self, (place, public_path), Some(left_out))?;
        let writer = group.next_column().map_err(blame)?;
        let mut writer = writer.ok_or_else(|| internal("an output has fewer columns than its plan"))?;
        while let Some(part) = passage.next()? {
            let is_written = part.batch.records == 0 || { part.batch.write(writer.untyped()).map_err(blame)? };
            if !is_written {
                return Err(internal("a column has another type than its schema"));
            }
            passage.adapt(part.bytes, part.records);
        }
        writer.close().map_err(blame)
    }
}
