//! What a Parquet file says about itself, checked before anything is believed of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::{Compression, CompressionCodec};
use parquet::column::page::PageReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

use super::super::Opened;
use super::encryption::is_encrypted;
use super::{Place, malformed};
use crate::pipeline::Failure;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::fault::of_file;
use crate::pipeline::source::retry;
use crate::pipeline::window::Window;

/// Bytes of the footer behind its metadata: a length and a magic.
const TAIL: u64 = 8;

pub(super) struct Container<'p> {
    pub window: Window,
    pub metadata: ParquetMetaData,
    /// Some column has a page index.
    pub has_index: bool,
    /// Bytes of values that came out of masked columns.
    expansion: Expansion,
    progress: &'p (dyn Fn(u64) + Sync),
    /// Bytes of the file that are done.
    reached: AtomicU64,
}

impl<'p> Container<'p> {
    pub(super) fn open(opened: &Opened<'p>) -> Result<Container<'p>, Failure> {
        let window = Window::new(opened.file.clone(), opened.len);
        let blame = |error: ParquetError| match window.failure() {
            Some(failure) => retry("read the input", &failure),
            None => Failure::Reject(malformed(error)),
        };
        if footer(&window).is_some_and(|footer| is_encrypted(&footer)) {
            return Err(Failure::Reject(encrypted()));
        }
        let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
        let reader = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_metadata_options(Some(options));
        let metadata = reader.parse_and_finish(&window).map_err(blame)?;
        let tail = opened.len.checked_sub(TAIL).ok_or_else(|| Failure::Reject(inconsistent()))?;
        let length = window.get_bytes(tail, 4).map_err(blame)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        let chunks = || metadata.row_groups().iter().flat_map(|group| group.columns());
        let has_index = chunks().any(|chunk| chunk.offset_index_offset().is_some());
        if !is_consistent(&metadata, tail.saturating_sub(u64::from(length))) {
            return Err(Failure::Reject(inconsistent()));
        }
        let expansion = Expansion::of(opened.len, opened.reading.limits);
        Ok(Container { window, metadata, has_index, expansion, progress: opened.progress, reached: AtomicU64::new(0) })
    }

    /// Adds what came out of columns that are looked at: a few bytes can stand for one long value a million times. Such values
    /// also take their time within one row group: each batch of them shows that there is life.
    pub(super) fn add_expanded(&self, bytes: usize) -> Result<(), Failure> {
        (self.progress)(self.reached.load(Ordering::Relaxed));
        self.expansion.add(bytes as u64)
    }

    /// Notes that so many bytes of the file are done.
    pub(super) fn reach(&self, bytes: u64) {
        self.reached.store(bytes, Ordering::Relaxed);
        (self.progress)(bytes);
    }

    pub(super) fn rows(&self, group: usize) -> u64 {
        self.metadata.row_group(group).num_rows().unsigned_abs()
    }

    /// The table's column that a leaf is or lies in, by its position.
    pub(super) fn position(&self, leaf: usize) -> String {
        format!("column {}", self.metadata.file_metadata().schema_descr().get_column_root_idx(leaf) + 1)
    }

    /// Walks over the pages of a chunk that is going to be copied: they must fill it, and hold what it says.
    pub(super) fn check_pages(&self, place: Place) -> Result<(), ParquetError> {
        let chunk = self.metadata.row_group(place.group).column(place.column);
        let rows = self.rows(place.group) as usize;
        let mut pages = SerializedPageReader::new(Arc::new(self.window.clone()), chunk, rows, None)?;
        let mut values = 0;
        while let Some(page) = pages.peek_next_page()? {
            if !page.is_dict {
                values += page.num_levels.or(page.num_rows).unwrap_or(0) as i64;
            }
            pages.skip_next_page()?;
        }
        if values != chunk.num_values() {
            return Err(ParquetError::General("the pages hold another number of values".to_owned()));
        }
        Ok(())
    }
}

/// The bytes of the footer, where its length can be.
fn footer(window: &Window) -> Option<Bytes> {
    let tail = window.size().checked_sub(TAIL)?;
    let length = window.get_bytes(tail, 4).ok()?;
    let length = u32::from_le_bytes(length.as_ref().try_into().ok()?);
    window.get_bytes(tail.checked_sub(u64::from(length))?, length as usize).ok()
}

fn encrypted() -> crate::pipeline::Fault {
    let sentence = "the Parquet file is encrypted, or some of its columns are";
    of_file("unsupported_file", sentence, "Have it sent without its own encryption: what veild makes of it is sealed.")
}

fn inconsistent() -> crate::pipeline::Fault {
    let sentence = "what the footer of the Parquet file says about its row groups cannot be";
    of_file("malformed_file", sentence, super::ADVICE)
}

/// Whether the chunks lie in the file one beside the other: one that reached into another would carry it along when it
/// is copied.
fn is_consistent(metadata: &ParquetMetaData, end: u64) -> bool {
    let columns = metadata.file_metadata().schema_descr().num_columns();
    let mut ranges = Vec::new();
    for group in metadata.row_groups() {
        if group.num_columns() != columns || group.num_rows() < 0 {
            return false;
        }
        for chunk in group.columns() {
            let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
            let (Ok(start), Ok(length)) = (u64::try_from(start), u64::try_from(chunk.compressed_size())) else {
                return false;
            };
            let is_flat = chunk.column_descr().max_rep_level() == 0;
            let is_elsewhere = chunk.file_path().is_some();
            // Of a chunk without values Arrow's C++ notes that its data pages begin nowhere.
            let begins_nowhere = chunk.num_values() == 0 && chunk.data_page_offset() == 0;
            let in_order = begins_nowhere || chunk.data_page_offset() >= start as i64;
            if is_elsewhere || !in_order || (is_flat && chunk.num_values() != group.num_rows()) {
                return false;
            }
            if begins_nowhere && (start, length) == (0, 0) {
                continue;
            }
            ranges.push((start, start.saturating_add(length)));
        }
    }
    ranges.sort_unstable();
    let apart = ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    apart && ranges.first().is_none_or(|first| first.0 >= 4) && ranges.last().is_none_or(|last| last.1 <= end)
}

/// The compression of a masked column's new chunk.
pub(super) fn codec(chunk: &ColumnChunkMetaData) -> Compression {
    match chunk.compression_codec() {
        // The framing that was given up; readers of either read its successor.
        CompressionCodec::LZ4 => Compression::LZ4_RAW,
        codec => codec.into(),
    }
}
