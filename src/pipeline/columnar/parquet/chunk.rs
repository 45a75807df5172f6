//! Masked columns of a row group, each made whole in memory, several at a time, and handed over in their order.

use std::sync::mpsc::sync_channel;
use std::thread;

use bytes::Bytes;
use parquet::column::writer::{ColumnCloseResult, get_column_writer};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use polars::prelude::StringChunked;

use super::batch::Batch;
use super::container::Container;
use super::passage::{Part, Passage};
use super::types::{Kind, Target};
use super::{Place, place_among_all, verify};
use crate::pipeline::Failure;
use crate::pipeline::columnar::fault::mistyped;
use crate::pipeline::columnar::plan::{Leaf, LeafMask};
use crate::pipeline::fault::internal;
use crate::pipeline::verify::Seen;

/// A masked column's chunk as the file will hold it.
pub(super) struct Chunk {
    pub bytes: Bytes,
    pub close: ColumnCloseResult,
    /// What the leak scan has seen, in order.
    pub seen: Vec<Seen>,
}

/// A column of a row group that a mask changes.
pub(super) struct ColumnToMake<'m> {
    pub place: Place,
    pub leaf: &'m Leaf,
    pub mask: &'m LeafMask,
    pub target: Target,
    /// For each record of the group whether it is left out.
    pub left_out: Option<&'m [bool]>,
    /// The output's column.
    pub written_as: (ColumnDescPtr, WriterPropertiesPtr),
    pub is_scanned: bool,
}

/// Makes all columns. `write` gets them one after the other, each thread being at most one ahead of it: that bounds the
/// memory.
pub(super) fn make_all(
    columns: &[ColumnToMake<'_>],
    threads: usize,
    make: impl Fn(&ColumnToMake<'_>) -> Result<Chunk, Failure> + Sync,
    write: impl FnOnce(&mut dyn FnMut() -> Result<Chunk, Failure>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let too_few = || internal("an output has fewer columns than its plan");
    let threads = threads.min(columns.len());
    if threads < 2 {
        let mut columns = columns.iter();
        return write(&mut || make(columns.next().ok_or_else(too_few)?));
    }
    let make = &make;
    thread::scope(|scope| {
        let lane = |first: usize| {
            let (done, made) = sync_channel(0);
            scope.spawn(move || {
                for column in columns.iter().skip(first).step_by(threads) {
                    let made = make(column);
                    let ends = made.is_err();
                    if done.send(made).is_err() || ends {
                        return;
                    }
                }
            });
            made
        };
        let lanes: Vec<_> = (0..threads).map(lane).collect();
        let mut turns = lanes.iter().cycle();
        write(&mut || turns.next().and_then(|lane| lane.recv().ok()).unwrap_or_else(|| Err(too_few())))
    })
}

impl Container {
    pub(super) fn make(&self, to_make: &ColumnToMake<'_>) -> Result<Chunk, Failure> {
        let ColumnToMake { place, leaf, mask, target, left_out, written_as, is_scanned } = to_make;
        let mut passage = Passage::open(self, (*place, &leaf.public_path), *left_out)?;
        let column = passage.column.clone();
        let kind = Kind::of(column.self_type());
        let mut beside = match mask.beside {
            None => None,
            Some(other) => {
                let column = self.metadata.row_group(place.group).column(other).column_descr_ptr();
                Some((self.reader(place.group, other).map_err(|error| passage.blame(error))?, column))
            }
        };
        let (mut sink, mut seen) = (TrackedWrite::new(Vec::new()), Vec::new());
        let (descriptor, properties) = written_as.clone();
        let mut writer = get_column_writer(descriptor, properties, Box::new(SerializedPageWriter::new(&mut sink)));
        while let Some(part) = passage.next()? {
            let Part { batch, records, mut bytes, left_out: here, before } = part;
            let beside = match &mut beside {
                None => None,
                Some((reader, other)) => {
                    let there = Batch::read_records(reader, other, records).map_err(|error| passage.blame(error))?;
                    self.add_expanded(there.values.bytes())?;
                    bytes = bytes.saturating_add(there.values.bytes());
                    let there = there.left(here, other.max_def_level());
                    let of_other = (Kind::of(other.self_type()), other.max_def_level());
                    Some(batch.beside(column.max_def_level(), &there, of_other.0, of_other.1))
                }
            };
            let mut see = |cells: &StringChunked, masked: &StringChunked| {
                if !is_scanned {
                    return;
                }
                let rows = || batch.rows(column.max_def_level()).into_iter();
                let rows = || rows().map(|row| place_among_all(here, row as usize) as u32).collect();
                seen.extend(verify::see_masked(leaf, rows, (cells, masked), place.first_row + before as u64));
            };
            let masked = batch.masked(kind, &column, mask, beside.as_ref(), *target, &mut see).map_err(|refused| {
                let record = place_among_all(here, batch.record_of(refused.index, column.max_def_level()));
                let row = place.first_row + (before + record) as u64;
                Failure::Reject(mistyped(refused.expected, row, &leaf.public_path))
            })?;
            if masked.records > 0 && !masked.write(&mut writer).map_err(|error| passage.blame(error))? {
                return Err(internal("a masked column has another type than its schema"));
            }
            passage.adapt(bytes, records);
        }
        let close = writer.close().map_err(|error| passage.blame(error))?;
        let bytes = sink.into_inner().map_err(|error| passage.blame(error))?;
        Ok(Chunk { bytes: bytes.into(), close, seen })
    }
}
