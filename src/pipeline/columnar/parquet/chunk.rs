//! Masked columns of a row group: written as they are made, or several at a time, each whole in memory and then handed
//! over in their order.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use bytes::Bytes;
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, get_column_writer};
use parquet::errors::ParquetError;
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
use crate::pipeline::source::retry;
use crate::pipeline::verify::Seen;

/// Values of a chunk below which a thread costs more than it saves, and above which it is not held whole: what other
/// programs write by default has 1,048,576 rows in a group.
const LEAST_VALUES: i64 = 4096;
const MOST_VALUES: i64 = 1 << 20;
/// The same in bytes before compression.
const MOST_BYTES: i64 = 64 << 20;

/// A masked column's chunk as the file will hold it.
pub(super) struct Chunk {
    pub bytes: Bytes,
    pub close: ColumnCloseResult,
    /// What the leak scan has seen, in order.
    pub seen: Vec<Seen>,
}

/// A column of a row group that a mask changes.
pub(super) struct ChunkPlan<'m> {
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

pub(super) fn too_few() -> Failure {
    internal("an output has fewer columns than its plan")
}

/// Chunks made on several threads, in the order of their plans.
pub(super) struct Chunks {
    lanes: Vec<Receiver<Result<Chunk, Failure>>>,
    turn: usize,
}

impl Chunks {
    pub(super) fn next(&mut self) -> Result<Chunk, Failure> {
        let lane = &self.lanes[self.turn % self.lanes.len()];
        self.turn += 1;
        lane.recv().unwrap_or_else(|_| Err(too_few()))
    }
}

/// Lets `write` have the chunks, each thread being at most one ahead of it; nothing where there is to be one thread only.
pub(super) fn in_lanes(
    plans: &[ChunkPlan<'_>],
    threads: usize,
    make: impl Fn(&ChunkPlan<'_>) -> Result<Chunk, Failure> + Sync,
    write: impl FnOnce(Option<Chunks>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let threads = threads.min(plans.len());
    if threads < 2 {
        return write(None);
    }
    let make = &make;
    thread::scope(|scope| {
        let lane = |first: usize| {
            let (done, made) = sync_channel(0);
            let make_all = move || {
                for plan in plans.iter().skip(first).step_by(threads) {
                    let made = make(plan);
                    let is_last = made.is_err();
                    if done.send(made).is_err() || is_last {
                        return;
                    }
                }
            };
            let spawned = thread::Builder::new().spawn_scoped(scope, make_all);
            spawned.map(|_| made).map_err(|error| retry("start a thread", &error))
        };
        let lanes = (0..threads).map(lane).collect::<Result<Vec<_>, _>>()?;
        write(Some(Chunks { lanes, turn: 0 }))
    })
}

impl Container<'_> {
    /// Whether a chunk is large enough for a thread, and small enough to be held whole: what is larger is written as it is
    /// made.
    pub(super) fn is_worth_a_lane(&self, plan: &ChunkPlan<'_>) -> bool {
        let chunk = self.metadata.row_group(plan.place.group).column(plan.place.column);
        let (values, bytes) = (chunk.num_values(), chunk.uncompressed_size());
        (LEAST_VALUES..=MOST_VALUES).contains(&values) && bytes <= MOST_BYTES
    }

    /// Makes a chunk in memory.
    pub(super) fn chunk(&self, plan: &ChunkPlan<'_>) -> Result<Chunk, Failure> {
        let blame = |error| self.blame(error, None, plan.place, &plan.leaf.public_path);
        let mut sink = TrackedWrite::new(Vec::new());
        let (descriptor, properties) = plan.written_as.clone();
        let mut writer = get_column_writer(descriptor, properties, Box::new(SerializedPageWriter::new(&mut sink)));
        let seen = self.mask(plan, &mut writer, &blame)?;
        let close = writer.close().map_err(blame)?;
        let bytes = sink.into_inner().map_err(blame)?;
        Ok(Chunk { bytes: bytes.into(), close, seen })
    }

    /// Writes a column masked; what the leak scan has seen of it.
    pub(super) fn mask(
        &self,
        plan: &ChunkPlan<'_>,
        writer: &mut ColumnWriter<'_>,
        blame: &dyn Fn(ParquetError) -> Failure,
    ) -> Result<Vec<Seen>, Failure> {
        let ChunkPlan { place, leaf, mask, target, left_out, is_scanned, .. } = plan;
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
        let mut seen = Vec::new();
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
            if masked.records > 0 && !masked.write(writer).map_err(blame)? {
                return Err(internal("a masked column has another type than its schema"));
            }
            passage.adapt(bytes, records);
        }
        Ok(seen)
    }
}
