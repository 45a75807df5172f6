//! The free metadata of a Parquet file: what an output may keep of it.

use arrow_schema::{DataType, Schema};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::file::metadata::{FileMetaData, KeyValue};

use super::super::fields::{self, Change};
use super::super::plan::{Fate, Leaf};
use super::types::Target;
use crate::detect::looks_like_data;

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
/// so it stays only where every column and row does, and where the leak scan finds nothing in it; of Arrow's schema the
/// types of the untouched columns are kept.
pub(super) fn key_values(
    file: &FileMetaData,
    leaves: &[Leaf],
    targets: &[Option<Target>],
    loses_rows: bool,
    is_scanned: bool,
) -> Vec<KeyValue> {
    let given = file.key_value_metadata().map_or(&[][..], Vec::as_slice);
    let is_arrow = |pair: &&KeyValue| pair.key == ARROW_SCHEMA_META_KEY;
    let schema = given.iter().find(is_arrow).and_then(|pair| decoded(pair.value.as_deref()?));
    let is_untouched = !loses_rows && leaves.iter().all(|leaf| matches!(leaf.fate, Fate::Keep));
    let tells = |pair: &&KeyValue| match schema.as_ref().filter(|_| is_arrow(pair)) {
        Some(schema) => fields::notes_tell(schema),
        None => looks_like_data(&pair.key) || pair.value.as_deref().is_some_and(looks_like_data),
    };
    let mut kept: Vec<KeyValue> =
        given.iter().filter(|pair| is_untouched && !(is_scanned && tells(pair))).cloned().collect();
    if kept.iter().any(|pair| is_arrow(&pair)) {
        return kept;
    }
    let change = |index: usize, before: &DataType| {
        let target: Option<&Target> = targets.get(index).and_then(Option::as_ref);
        let data_type = if target.is_some_and(|target| target.is_text) { DataType::Utf8 } else { before.clone() };
        Change { data_type, becomes_nullable: target.is_some_and(|target| target.becomes_optional) }
    };
    let fields = schema.and_then(|schema| fields::left(schema.fields(), leaves, &change, false, false));
    let schema = fields.map(Schema::new);
    kept.extend(schema.map(|schema| KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&schema))));
    kept
}

fn decoded(text: &str) -> Option<Schema> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let message = if bytes.starts_with(&[0xff; 4]) { bytes.get(8..)? } else { &bytes[..] };
    let message = arrow_ipc::root_as_message(message).ok()?;
    arrow_ipc::convert::try_fb_to_schema(message.header_as_schema()?).ok()
}
