//! The free metadata of a Parquet file: what an output may keep of it.

use arrow_schema::{DataType, Schema};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::file::metadata::{FileMetaData, KeyValue};

use super::super::fields::{self, Change};
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
/// so it stays only where every column and row does; of Arrow's schema the types of the untouched columns are kept.
pub(super) fn key_values(
    file: &FileMetaData,
    leaves: &[Leaf],
    targets: &[Option<Target>],
    loses_rows: bool,
) -> Vec<KeyValue> {
    let given = file.key_value_metadata().map_or(&[][..], Vec::as_slice);
    if !loses_rows && leaves.iter().all(|leaf| matches!(leaf.fate, Fate::Keep)) {
        return given.to_vec();
    }
    let arrow = given.iter().find(|pair| pair.key == ARROW_SCHEMA_META_KEY).and_then(|pair| pair.value.as_deref());
    let change = |index: usize, before: &DataType| {
        let target: Option<&Target> = targets.get(index).and_then(Option::as_ref);
        let data_type = if target.is_some_and(|target| target.is_text) { DataType::Utf8 } else { before.clone() };
        Change { data_type, becomes_nullable: target.is_some_and(|target| target.becomes_optional) }
    };
    let schema = arrow.and_then(decoded);
    let schema = schema.and_then(|schema| fields::left(schema.fields(), leaves, &change, false)).map(Schema::new);
    let pair = schema.map(|schema| KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&schema)));
    pair.into_iter().collect()
}

fn decoded(text: &str) -> Option<Schema> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let message = if bytes.starts_with(&[0xff; 4]) { bytes.get(8..)? } else { &bytes[..] };
    let message = arrow_ipc::root_as_message(message).ok()?;
    arrow_ipc::convert::try_fb_to_schema(message.header_as_schema()?).ok()
}
