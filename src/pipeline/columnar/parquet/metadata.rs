//! The free metadata of a Parquet file: what an output may keep of it.

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::file::metadata::{FileMetaData, KeyValue};
use std::sync::Arc;

use super::super::plan::{Fate, Leaf};
use super::types::Target;

const LONGEST_WRITER: usize = 128;
const WRITER: &str = concat!("veild version ", env!("CARGO_PKG_VERSION"));

/// Who wrote the file: readers judge the statistics of the chunks that are copied by it. Only what looks like a
/// program's name and version goes out.
pub(super) fn created_by(file: &FileMetaData) -> String {
    let is_plain = |text: &&str| {
        text.len() <= LONGEST_WRITER
            && text.contains(" version ")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" .-+_()".contains(&byte))
    };
    file.created_by().filter(is_plain).unwrap_or(WRITER).to_owned()
}

/// Free metadata of an output. Whatever programs noted about columns (pandas, Spark, geography) may hold their values,
/// so it stays only where every column does; of Arrow's schema the types of the untouched columns are kept.
pub(super) fn key_values(file: &FileMetaData, leaves: &[Leaf], targets: &[Option<Target>]) -> Vec<KeyValue> {
    let given = file.key_value_metadata().map_or(&[][..], Vec::as_slice);
    if leaves.iter().all(|leaf| matches!(leaf.fate, Fate::Keep)) {
        return given.to_vec();
    }
    let arrow = given.iter().find(|pair| pair.key == ARROW_SCHEMA_META_KEY).and_then(|pair| pair.value.as_deref());
    let schema = arrow.and_then(decoded).and_then(|schema| {
        let mut left = Left { leaves, targets, next: 0 };
        let fields = left.fields(schema.fields());
        (left.next == leaves.len()).then(|| Schema::new(fields))
    });
    let pair = schema.map(|schema| KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&schema)));
    pair.into_iter().collect()
}

fn decoded(text: &str) -> Option<Schema> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let message = if bytes.starts_with(&[0xff; 4]) { bytes.get(8..)? } else { &bytes[..] };
    let message = arrow_ipc::root_as_message(message).ok()?;
    arrow_ipc::convert::try_fb_to_schema(message.header_as_schema()?).ok()
}

/// What is left of Arrow's fields, column by column in the file's order.
struct Left<'a> {
    leaves: &'a [Leaf],
    targets: &'a [Option<Target>],
    next: usize,
}

impl Left<'_> {
    fn fields(&mut self, fields: &Fields) -> Vec<FieldRef> {
        fields.iter().filter_map(|field| self.field(field)).collect()
    }

    fn field(&mut self, field: &FieldRef) -> Option<FieldRef> {
        let first = self.next;
        let kind = self.kind(field)?;
        let touched = |leaf: &Leaf| !matches!(leaf.fate, Fate::Keep);
        let range = first..self.next.min(self.leaves.len());
        if !self.leaves.get(range.clone())?.iter().any(touched) {
            return Some(field.clone());
        }
        let optional = range.len() == 1 && self.targets[first].is_some_and(|target| target.becomes_optional);
        // What stands with a field may speak of its values.
        Some(Arc::new(Field::new(field.name(), kind, field.is_nullable() || optional)))
    }

    fn kind(&mut self, field: &Field) -> Option<DataType> {
        match field.data_type() {
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
                match (&self.leaves.get(index)?.fate, self.targets[index]) {
                    (Fate::Drop, _) => None,
                    (Fate::Mask(_), Some(target)) if target.is_text => Some(DataType::Utf8),
                    _ => Some(single.clone()),
                }
            }
        }
    }
}
