//! Some records of one column: read with their levels, masked as text, written.
//!
//! Levels say where a value is missing and where lists begin; a mask touches only the values between them, so nested
//! columns are masked like flat ones.

use polars::prelude::{NewChunkedArray, StringChunked};

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::DataType;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescriptor;

use super::super::plan::LeafMask;
use super::types::{Kind, Target};
use super::values::{Made, Values, keep};
use crate::mask::{Mask, OnMistyped, REDACTED};

/// Most records read at a time, and how many at first.
const MOST_RECORDS: usize = 8192;
const FIRST_RECORDS: usize = 16;
/// Bytes of text that a batch should not pass by far.
const BATCH_BYTES: usize = 16 << 20;

/// How many records are read at a time: fewer where values are long.
pub(super) struct Pace {
    records: usize,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { records: FIRST_RECORDS }
    }

    /// Learns from the last records, and the bytes of all that was read of them.
    pub(super) fn adapt(&mut self, bytes: usize, records: usize) {
        let bytes_each = (bytes / records.max(1)).max(1);
        self.records = (BATCH_BYTES / bytes_each).clamp(1, (self.records * 4).min(MOST_RECORDS));
    }
}

pub(super) struct Batch {
    pub values: Values,
    /// Present where something in or above the column can be missing.
    pub definition: Option<Vec<i16>>,
    /// Present within lists.
    pub repetition: Option<Vec<i16>>,
    pub records: usize,
}

/// A value that a mask cannot take, by its index among the values of the batch.
pub(super) struct Refused {
    pub index: usize,
    pub expected: &'static str,
}

impl Batch {
    /// Reads on; no records at the column's end.
    pub(super) fn read(reader: &mut ColumnReader, column: &ColumnDescriptor, pace: &Pace) -> Result<Batch> {
        Batch::read_records(reader, column, pace.records)
    }

    /// Reads on, so many records at most.
    pub(super) fn read_records(reader: &mut ColumnReader, column: &ColumnDescriptor, most: usize) -> Result<Batch> {
        let definition = (column.max_def_level() > 0).then(Vec::new);
        let repetition = (column.max_rep_level() > 0).then(Vec::new);
        let mut batch = Batch { values: Values::Bool(Vec::new()), definition, repetition, records: 0 };
        batch.values = match reader {
            ColumnReader::BoolColumnReader(reader) => Values::Bool(batch.fill(reader, most)?),
            ColumnReader::Int32ColumnReader(reader) => Values::Int32(batch.fill(reader, most)?),
            ColumnReader::Int64ColumnReader(reader) => Values::Int64(batch.fill(reader, most)?),
            ColumnReader::Int96ColumnReader(reader) => Values::Int96(batch.fill(reader, most)?),
            ColumnReader::FloatColumnReader(reader) => Values::Float(batch.fill(reader, most)?),
            ColumnReader::DoubleColumnReader(reader) => Values::Double(batch.fill(reader, most)?),
            ColumnReader::ByteArrayColumnReader(reader) => Values::Bytes(batch.fill(reader, most)?),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => Values::Fixed(batch.fill(reader, most)?),
        };
        Ok(batch)
    }

    fn fill<T: DataType>(&mut self, reader: &mut ColumnReaderImpl<T>, most: usize) -> Result<Vec<T::T>> {
        let mut values = Vec::new();
        let (definition, repetition) = (self.definition.as_mut(), self.repetition.as_mut());
        self.records = reader.read_records(most, definition, repetition, &mut values)?.0;
        Ok(values)
    }

    /// For each value the one that another column, without lists, has in its record: empty where it has none, null
    /// where it cannot be read. The batches are of the same records.
    pub(super) fn beside(&self, max_definition: i16, other: &Batch, kind: Kind, other_max: i16) -> StringChunked {
        let texts = other.by_record(kind, other_max);
        let by_record: Vec<Option<&str>> = texts.iter().collect();
        let mut record = None;
        let levels = self.definition.as_ref().or(self.repetition.as_ref()).map_or(self.records, Vec::len);
        let mut found = Vec::with_capacity(levels);
        for level in 0..levels {
            let begins = self.repetition.as_ref().is_none_or(|repetition| repetition[level] == 0);
            if begins {
                record = Some(record.map_or(0, |record: usize| record + 1));
            }
            if self.definition.as_ref().is_none_or(|definition| definition[level] == max_definition) {
                found.push(record.and_then(|record| by_record.get(record).copied().flatten()));
            }
        }
        StringChunked::from_iter_options("".into(), found.into_iter())
    }

    /// The record, from 0, that holds each value.
    pub(super) fn rows(&self, max_definition: i16) -> Vec<u32> {
        let levels = self.definition.as_ref().or(self.repetition.as_ref()).map_or(self.records, Vec::len);
        let (mut begun, mut rows) = (0_u32, Vec::with_capacity(levels));
        for level in 0..levels {
            begun += u32::from(self.repetition.as_ref().is_none_or(|repetition| repetition[level] == 0));
            if self.definition.as_ref().is_none_or(|definition| definition[level] == max_definition) {
                rows.push(begun.saturating_sub(1));
            }
        }
        rows
    }

    /// The texts of a column without lists, by record: empty where it has no value, null where it cannot be read.
    pub(super) fn by_record(&self, kind: Kind, max_definition: i16) -> StringChunked {
        let texts = self.values.texts(kind, true);
        let Some(levels) = &self.definition else { return texts };
        let mut values = texts.iter();
        let texts =
            levels.iter().map(|level| if *level == max_definition { values.next().flatten() } else { Some("") });
        StringChunked::from_iter_options("".into(), texts)
    }

    /// The batch without the records that are left out, if any are.
    pub(super) fn left(self, left_out: Option<&[bool]>, max_definition: i16) -> Batch {
        let Some(left_out) = left_out else { return self };
        self.without(left_out, max_definition)
    }

    pub(super) fn without(mut self, left_out: &[bool], max_definition: i16) -> Batch {
        let levels = self.definition.as_ref().or(self.repetition.as_ref()).map_or(self.records, Vec::len);
        let (mut stay, mut values_stay) = (Vec::with_capacity(levels), Vec::with_capacity(levels));
        let (mut begun, mut left) = (0, 0);
        for level in 0..levels {
            let begins = self.repetition.as_ref().is_none_or(|repetition| repetition[level] == 0);
            begun += usize::from(begins);
            let stays = begun > 0 && left_out.get(begun - 1) == Some(&false);
            left += usize::from(begins && stays);
            stay.push(stays);
            if self.definition.as_ref().is_none_or(|definition| definition[level] == max_definition) {
                values_stay.push(stays);
            }
        }
        self.values.keep(&values_stay);
        for levels in [&mut self.definition, &mut self.repetition].into_iter().flatten() {
            keep(levels, &stay);
        }
        Batch { records: left, ..self }
    }

    /// The record, from 0, that holds a value.
    pub(super) fn record_of(&self, value: usize, max_definition: i16) -> usize {
        let level = match &self.definition {
            None => value,
            Some(levels) => {
                let mut present = levels.iter().enumerate().filter(|(_, level)| **level == max_definition);
                present.nth(value).map_or(0, |(index, _)| index)
            }
        };
        match &self.repetition {
            None => level,
            Some(levels) => levels.iter().take(level + 1).filter(|level| **level == 0).count().saturating_sub(1),
        }
    }

    /// The masked values, with levels that fit what they have become; `see` is shown the texts before and after.
    pub(super) fn masked(
        &self,
        kind: Kind,
        column: &ColumnDescriptor,
        leaf: &LeafMask,
        beside: Option<&StringChunked>,
        target: Target,
        see: &mut dyn FnMut(&StringChunked, &StringChunked),
    ) -> std::result::Result<Batch, Refused> {
        let reads = !matches!(leaf.mask, Mask::Null | Mask::Redact { .. });
        let cells = self.values.texts(kind, reads);
        if let Some(index) = cells.first_null().filter(|_| leaf.mistyped == OnMistyped::Reject) {
            return Err(Refused { index, expected: "a value that reads as text" });
        }
        let masked = leaf.prepared.apply_beside(&cells, beside, leaf.mistyped);
        let masked = masked.map_err(|it| Refused { index: it.index, expected: it.expected })?;
        see(&cells, &masked);
        let mut made = Made::new(&self.values, kind, column.self_type(), target);
        let mut kept = Vec::with_capacity(cells.len());
        let inputs = cells.downcast_iter().flat_map(|chunk| chunk.iter());
        let outputs = masked.downcast_iter().flat_map(|chunk| chunk.iter());
        for (index, (input, output)) in inputs.zip(outputs).enumerate() {
            let output = match (input, leaf.mistyped) {
                _ if leaf.mask == Mask::Null => None,
                (None, OnMistyped::Redact) => Some(REDACTED),
                (None, _) => None,
                // What a mask takes away is missing; what was empty stays so.
                (Some(input), _) => output.filter(|output| !output.is_empty() || input.is_empty()),
            };
            match made.push(output, leaf.mistyped) {
                Some(is_there) => kept.push(is_there),
                None => return Err(Refused { index, expected: "a mask's value that fits the column's type" }),
            }
        }
        if kept.len() != cells.len() {
            return Err(Refused { index: kept.len(), expected: "a mask's value for every one" });
        }
        let definition = fitted(self.definition.as_deref(), &kept, column.max_def_level(), target);
        Ok(Batch { values: made.into_values(), definition, repetition: self.repetition.clone(), records: self.records })
    }

    /// Writes the batch; false when the column is of another type.
    pub(super) fn write(&self, writer: &mut ColumnWriter<'_>) -> Result<bool> {
        match (&self.values, writer) {
            (Values::Bool(values), ColumnWriter::BoolColumnWriter(writer)) => self.put(values, writer),
            (Values::Int32(values), ColumnWriter::Int32ColumnWriter(writer)) => self.put(values, writer),
            (Values::Int64(values), ColumnWriter::Int64ColumnWriter(writer)) => self.put(values, writer),
            (Values::Int96(values), ColumnWriter::Int96ColumnWriter(writer)) => self.put(values, writer),
            (Values::Float(values), ColumnWriter::FloatColumnWriter(writer)) => self.put(values, writer),
            (Values::Double(values), ColumnWriter::DoubleColumnWriter(writer)) => self.put(values, writer),
            (Values::Bytes(values), ColumnWriter::ByteArrayColumnWriter(writer)) => self.put(values, writer),
            (Values::Fixed(values), ColumnWriter::FixedLenByteArrayColumnWriter(writer)) => self.put(values, writer),
            _ => Ok(false),
        }
    }

    fn put<T: DataType>(&self, values: &[T::T], writer: &mut ColumnWriterImpl<'_, T>) -> Result<bool> {
        writer.write_batch(values, self.definition.as_deref(), self.repetition.as_deref())?;
        Ok(true)
    }
}

/// Definition levels for values some of which are missing now.
fn fitted(levels: Option<&[i16]>, kept: &[bool], max: i16, target: Target) -> Option<Vec<i16>> {
    let there = max + i16::from(target.becomes_optional);
    let Some(levels) = levels else {
        return target.becomes_optional.then(|| kept.iter().map(|kept| i16::from(*kept)).collect());
    };
    let mut kept = kept.iter();
    let fit = |level: &i16| match *level {
        level if level == max => {
            if kept.next() == Some(&true) {
                there
            } else {
                there - 1
            }
        }
        missing => missing,
    };
    Some(levels.iter().map(fit).collect())
}
