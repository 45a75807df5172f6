//! Arrow's fields of an output, made from the input's.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields};

use super::plan::{Fate, Leaf};

/// What becomes of a masked column's type.
pub(super) struct Change {
    pub data_type: DataType,
    pub becomes_nullable: bool,
}

/// The fields that are left, column by column in the file's order; `None` when they are not the plan's columns. With
/// `decodes` dictionaries of untouched columns become what they stand for.
pub(super) fn left(
    fields: &Fields,
    leaves: &[Leaf],
    change: &dyn Fn(usize, &DataType) -> Change,
    decodes: bool,
) -> Option<Fields> {
    let mut left = Left { leaves, change, decodes, next: 0 };
    let fields = left.fields(fields);
    (left.next == leaves.len()).then(|| fields.into())
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
