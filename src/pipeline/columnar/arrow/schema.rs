//! The paths of an Arrow file, and what becomes of the types of masked columns.

use arrow_schema::{DataType, FieldRef, Fields};

use crate::mask::{Mask, OnMistyped};
use crate::pipeline::columnar::plan::LeafMask;
use crate::pipeline::columnar::schema::{ROOT, Schema};
use crate::pipeline::{Fault, Limits};

/// The paths of a file, with the fields of its columns.
pub(super) struct Found {
    pub schema: Schema,
    pub columns: Vec<Column>,
}

pub(super) struct Column {
    pub field: FieldRef,
    /// It is, or is part of, the key of a map.
    pub is_key: bool,
}

/// Lists and maps are spelled as in JSON: `contacts[*].phone`, `labels[*].value`.
pub(super) fn find(fields: &Fields, limits: Limits) -> Result<Found, Fault> {
    let mut found = Found { schema: Schema::new(limits), columns: Vec::new() };
    found.fields(ROOT, fields, false)?;
    Ok(found)
}

impl Found {
    fn fields(&mut self, parent: usize, fields: &Fields, is_key: bool) -> Result<(), Fault> {
        fields.iter().try_for_each(|field| self.named(parent, field, is_key))
    }

    fn named(&mut self, parent: usize, field: &FieldRef, is_key: bool) -> Result<(), Fault> {
        let id = self.schema.add_key(parent, field.name(), is_single(field.data_type()))?;
        self.inside(id, field, is_key)
    }

    fn element(&mut self, list: usize, field: &FieldRef, is_key: bool) -> Result<(), Fault> {
        let id = self.schema.add_element(list, is_single(field.data_type()))?;
        self.inside(id, field, is_key)
    }

    fn inside(&mut self, id: usize, field: &FieldRef, is_key: bool) -> Result<(), Fault> {
        match field.data_type() {
            DataType::Struct(fields) => self.fields(id, fields, is_key),
            DataType::List(inner)
            | DataType::LargeList(inner)
            | DataType::ListView(inner)
            | DataType::LargeListView(inner)
            | DataType::FixedSizeList(inner, _) => self.element(id, inner, is_key),
            DataType::Map(entries, _) => {
                let element = self.schema.add_element(id, false)?;
                let DataType::Struct(fields) = entries.data_type() else { return Ok(()) };
                let mut fields = fields.iter().enumerate();
                fields.try_for_each(|(index, field)| self.named(element, field, is_key || index == 0))
            }
            _ => {
                self.columns.push(Column { field: field.clone(), is_key });
                Ok(())
            }
        }
    }
}

/// Whether a type holds single values; dictionaries do, and what has no paths is taken for one.
pub(super) fn is_single(data_type: &DataType) -> bool {
    !matches!(
        data_type,
        DataType::Struct(_)
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(..)
            | DataType::Map(..)
    )
}

/// Number of columns in a type.
pub(super) fn count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| count(field.data_type())).sum(),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _) => count(inner.data_type()),
        _ => 1,
    }
}

/// What becomes of a masked column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub data_type: DataType,
    pub becomes_nullable: bool,
    pub is_nullable: bool,
}

impl Target {
    /// `None` for a mask that would null what must be there.
    pub(super) fn of(column: &Column, leaf: &LeafMask) -> Option<Target> {
        let before = column.field.data_type();
        let is_number = leaf.mask.yields_number() && is_number(before);
        let is_text = matches!(before, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let has_nulls = !matches!(before, DataType::Union(..) | DataType::RunEndEncoded(..));
        let stays = is_number || is_text || (leaf.mask == Mask::Null && has_nulls);
        let nulls = leaf.mask.takes_away()
            || leaf.mistyped == OnMistyped::Null
            || (leaf.mistyped == OnMistyped::Redact && is_number);
        let becomes_nullable = nulls && !column.field.is_nullable() && !column.is_key;
        let is_nullable = column.field.is_nullable() || becomes_nullable;
        if leaf.mask == Mask::Null && !is_nullable {
            return None;
        }
        let data_type = if stays { before.clone() } else { DataType::Utf8 };
        Some(Target { data_type, becomes_nullable, is_nullable })
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Float32
                | DataType::Float64
                | DataType::Decimal32(..)
                | DataType::Decimal64(..)
                | DataType::Decimal128(..)
        )
}

/// Whether every map has its keys and its values.
pub(super) fn maps_are_whole(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|field| maps_are_whole(field.data_type())),
        DataType::Union(fields, _) => fields.iter().all(|(_, field)| maps_are_whole(field.data_type())),
        DataType::Map(entries, _) => {
            let pair = matches!(entries.data_type(), DataType::Struct(fields) if fields.len() == 2);
            pair && maps_are_whole(entries.data_type())
        }
        DataType::Dictionary(_, values) => maps_are_whole(values),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::RunEndEncoded(_, inner) => maps_are_whole(inner.data_type()),
        _ => true,
    }
}

/// A column's type as a person says it.
pub(super) fn name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "float",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(..) => "timestamp",
        DataType::Duration(_) => "duration",
        DataType::Dictionary(..) => "dictionary",
        DataType::RunEndEncoded(..) => "runs",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "binary",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        other if other.is_integer() => "integer",
        other if other.is_decimal() => "decimal",
        _ => "special type",
    }
}
