//! Arrow's fields of an output, made from the input's.

use std::sync::Arc;

use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{DataType, Field, FieldRef, Fields, Metadata, Schema};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::plan::{Fate, Leaf};
use crate::detect::looks_like_data;

/// Notes of a field that belong to its type.
const OF_TYPES: [&str; 3] = [EXTENSION_TYPE_NAME_KEY, EXTENSION_TYPE_METADATA_KEY, PARQUET_FIELD_ID_META_KEY];

/// What becomes of a masked column's type.
pub(super) struct Change {
    pub data_type: DataType,
    pub becomes_nullable: bool,
}

/// The fields that are left, column by column in the file's order; `None` when they are not the plan's columns. With
/// `decodes` dictionaries of untouched columns become what they stand for; unless `keeps_notes`, nothing that programs
/// noted with a field stays but what makes its type.
pub(super) fn left(
    fields: &Fields,
    leaves: &[Leaf],
    change: &dyn Fn(usize, &DataType) -> Change,
    decodes: bool,
    keeps_notes: bool,
) -> Option<Fields> {
    let mut left = Left { leaves, change, decodes, next: 0 };
    let fields = left.fields(fields);
    let is_whole = left.next == leaves.len();
    is_whole.then(|| if keeps_notes { fields.into() } else { fields.iter().map(without_notes).collect() })
}

/// Whether something that programs noted with a schema or its fields holds personal data.
pub(super) fn notes_tell(schema: &Schema) -> bool {
    notes_of(schema.metadata()) || schema.fields().iter().any(|field| field_tells(field))
}

fn notes_of(notes: &Metadata) -> bool {
    notes.iter().any(|(key, note)| looks_like_data(key) || looks_like_data(note))
}

fn field_tells(field: &Field) -> bool {
    notes_of(field.metadata()) || within(field.data_type()).into_iter().any(|field| field_tells(field))
}

/// A field with the notes that make its type; where these tell something themselves, it is of its plain type.
fn without_notes(field: &FieldRef) -> FieldRef {
    let notes = field.metadata().iter().filter(|(key, _)| OF_TYPES.contains(&key.as_str()));
    let notes: Metadata = notes.map(|(key, note)| (key.clone(), note.clone())).collect();
    let notes = if notes_of(&notes) { Metadata::default() } else { notes };
    let data_type = with_fields(field.data_type(), &without_notes);
    Arc::new(Field::clone(field).with_data_type(data_type).with_metadata(notes))
}

/// The fields in a type.
fn within(data_type: &DataType) -> Vec<&FieldRef> {
    match data_type {
        DataType::Struct(fields) => fields.iter().collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field).collect(),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _) => vec![inner],
        DataType::RunEndEncoded(ends, values) => vec![ends, values],
        _ => Vec::new(),
    }
}

/// A type with others in the place of its fields.
fn with_fields(data_type: &DataType, change: &dyn Fn(&FieldRef) -> FieldRef) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(change).collect()),
        DataType::Union(fields, mode) => {
            let fields = fields.iter().map(|(id, field)| (id, change(field)));
            DataType::Union(fields.collect(), *mode)
        }
        DataType::List(inner) => DataType::List(change(inner)),
        DataType::LargeList(inner) => DataType::LargeList(change(inner)),
        DataType::ListView(inner) => DataType::ListView(change(inner)),
        DataType::LargeListView(inner) => DataType::LargeListView(change(inner)),
        DataType::FixedSizeList(inner, length) => DataType::FixedSizeList(change(inner), *length),
        DataType::Map(inner, is_sorted) => DataType::Map(change(inner), *is_sorted),
        DataType::RunEndEncoded(ends, values) => DataType::RunEndEncoded(change(ends), change(values)),
        other => other.clone(),
    }
}

struct Left<'a> {
    leaves: &'a [Leaf],
    change: &'a dyn Fn(usize, &DataType) -> Change,
    decodes: bool,
    next: usize,
}

impl Left<'_> {
    fn fields(&mut self, fields: &Fields) -> Vec<FieldRef> {
        fields.iter().filter_map(|field| self.field(field)).collect()
    }

    fn field(&mut self, field: &FieldRef) -> Option<FieldRef> {
        let first = self.next;
        let (data_type, becomes_nullable) = self.data_type(field)?;
        let leaves = self.leaves.get(first..self.next)?;
        if leaves.iter().all(|leaf| matches!(leaf.fate, Fate::Keep)) && data_type == *field.data_type() {
            return Some(field.clone());
        }
        // What stands with a field may speak of its values.
        Some(Arc::new(Field::new(field.name(), data_type, field.is_nullable() || becomes_nullable)))
    }

    fn data_type(&mut self, field: &Field) -> Option<(DataType, bool)> {
        let nested = match field.data_type() {
            DataType::Struct(fields) => {
                let fields = self.fields(fields);
                (!fields.is_empty()).then(|| DataType::Struct(fields.into()))
            }
            DataType::List(inner) => self.field(inner).map(DataType::List),
            DataType::LargeList(inner) => self.field(inner).map(DataType::LargeList),
            DataType::ListView(inner) => self.field(inner).map(DataType::ListView),
            DataType::LargeListView(inner) => self.field(inner).map(DataType::LargeListView),
            DataType::FixedSizeList(inner, length) => {
                self.field(inner).map(|inner| DataType::FixedSizeList(inner, *length))
            }
            DataType::Map(inner, sorted) => self.field(inner).map(|inner| DataType::Map(inner, *sorted)),
            single => {
                let index = self.next;
                self.next += 1;
                return match &self.leaves.get(index)?.fate {
                    Fate::Drop => None,
                    Fate::Keep if self.decodes => Some((decoded(single), false)),
                    Fate::Keep => Some((single.clone(), false)),
                    Fate::Mask(_) => {
                        let Change { data_type, becomes_nullable } = (self.change)(index, single);
                        Some((data_type, becomes_nullable))
                    }
                };
            }
        };
        nested.map(|nested| (nested, false))
    }
}

/// What stands in a column's rows.
pub(super) fn decoded(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => decoded(value),
        other => other.clone(),
    }
}
