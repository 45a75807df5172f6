//! One column of a row group on its way to an output, some records at a time.

use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::batch::{Batch, Pace};
use super::container::Container;
use super::{Place, unreadable};
use crate::pipeline::Failure;

pub(super) struct Passage<'c> {
    container: &'c Container<'c>,
    place: Place,
    public_path: &'c str,
    /// For each record of the group whether it is left out.
    left_out: Option<&'c [bool]>,
    pub column: ColumnDescPtr,
    reader: ColumnReader,
    pace: Pace,
    /// Records that were read before the last ones.
    done: usize,
}

/// Some records.
pub(super) struct Part<'c> {
    /// Those that stay.
    pub batch: Batch,
    /// How many there were.
    pub records: usize,
    /// Bytes of their values.
    pub bytes: usize,
    /// For each of them whether it is left out.
    pub left_out: Option<&'c [bool]>,
    /// Records of the group before them.
    pub before: usize,
}

impl<'c> Passage<'c> {
    pub(super) fn open(
        container: &'c Container<'c>,
        (place, public_path): (Place, &'c str),
        left_out: Option<&'c [bool]>,
    ) -> Result<Passage<'c>, Failure> {
        let column = container.metadata.row_group(place.group).column(place.column).column_descr_ptr();
        let reader = container.reader(place.group, place.column);
        let reader = reader.map_err(|error| container.blame(error, None, place, public_path))?;
        Ok(Passage { container, place, public_path, left_out, column, reader, pace: Pace::new(), done: 0 })
    }

    /// Whose fault it is when reading fails.
    pub(super) fn blame(&self, error: ParquetError) -> Failure {
        self.container.blame(error, None, self.place, self.public_path)
    }

    /// The next records; `None` behind the last one of the group.
    pub(super) fn next(&mut self) -> Result<Option<Part<'c>>, Failure> {
        let unreadable = || Failure::Reject(unreadable(self.place, self.public_path));
        let batch = Batch::read(&mut self.reader, &self.column, &self.pace);
        let batch = batch.map_err(|error| self.blame(error))?;
        let (records, bytes, before) = (batch.records, batch.values.bytes(), self.done);
        if records == 0 {
            let is_whole = before as u64 == self.container.rows(self.place.group);
            return if is_whole { Ok(None) } else { Err(unreadable()) };
        }
        self.container.add_expanded(bytes)?;
        let left_out = self.left_out.map(|all| all.get(before..before + records).ok_or_else(unreadable)).transpose()?;
        self.done += records;
        let batch = batch.left(left_out, self.column.max_def_level());
        Ok(Some(Part { batch, records, bytes, left_out, before }))
    }

    /// Learns from what was read of so many records.
    pub(super) fn adapt(&mut self, bytes: usize, records: usize) {
        self.pace.adapt(bytes, records);
    }
}
