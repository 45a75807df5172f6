//! Values of one column as text, and text as values of its type again.

use arrow_buffer::i256;
use bytes::Bytes;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::schema::types::Type;
use polars::prelude::{NewChunkedArray, StringChunked};
use polars_arrow::array::{Utf8ViewArray, View};
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;

use super::super::text;
use super::types::{Kind, Target};
use crate::mask::OnMistyped;

/// Days from the epoch of Julian days to 1970.
pub(super) const JULIAN_1970: i64 = 2_440_588;

/// Values of a column, without the missing ones.
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Values::Bool(values) => values.len(),
            Values::Int32(values) => values.len(),
            Values::Int64(values) => values.len(),
            Values::Int96(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Bytes(values) => values.len(),
            Values::Fixed(values) => values.len(),
        }
    }

    /// Takes the values away that shall not stay.
    pub(super) fn keep(&mut self, stay: &[bool]) {
        match self {
            Values::Bool(values) => keep(values, stay),
            Values::Int32(values) => keep(values, stay),
            Values::Int64(values) => keep(values, stay),
            Values::Int96(values) => keep(values, stay),
            Values::Float(values) => keep(values, stay),
            Values::Double(values) => keep(values, stay),
            Values::Bytes(values) => keep(values, stay),
            Values::Fixed(values) => keep(values, stay),
        }
    }

    /// Bytes of all texts together, and one for each other value.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Values::Bytes(values) => values.iter().map(ByteArray::len).sum(),
            Values::Fixed(values) => values.iter().map(|value| value.len()).sum(),
            others => others.len(),
        }
    }

    /// The values as text, null where one cannot be read as such; with `reads` false something stands in its place.
    pub(super) fn texts(&self, kind: Kind, reads: bool) -> StringChunked {
        if let (Values::Bytes(values), Kind::Text | Kind::SpecialText | Kind::Bytes) = (self, kind) {
            return all_text(values).unwrap_or_else(|| {
                let text = |value: &'_ ByteArray| simdutf8::basic::from_utf8(value.data()).ok().map(str::to_owned);
                let stand_in = || (!reads).then(|| "x".to_owned());
                StringChunked::from_iter_options("".into(), values.iter().map(|it| text(it).or_else(stand_in)))
            });
        }
        let mut cell = String::new();
        let texts = (0..self.len()).map(|index| {
            cell.clear();
            let readable = self.push_text(index, kind, &mut cell);
            if readable { Some(cell.clone()) } else { (!reads).then(|| "x".to_owned()) }
        });
        StringChunked::from_iter_options("".into(), texts)
    }

    fn push_text(&self, index: usize, kind: Kind, out: &mut String) -> bool {
        use std::fmt::Write as _;
        match self {
            Values::Bool(values) => write!(out, "{}", values[index]).is_ok(),
            Values::Float(values) => write!(out, "{}", values[index]).is_ok(),
            Values::Double(values) => write!(out, "{}", values[index]).is_ok(),
            Values::Int32(values) if kind == Kind::Unsigned => write!(out, "{}", values[index].cast_unsigned()).is_ok(),
            Values::Int64(values) if kind == Kind::Unsigned => write!(out, "{}", values[index].cast_unsigned()).is_ok(),
            Values::Int32(values) => push_integer(i64::from(values[index]), kind, out),
            Values::Int64(values) => push_integer(values[index], kind, out),
            Values::Int96(values) => {
                let [low, high, day] = values[index].data() else { return false };
                let nanos = (i64::from(*high) << 32) | i64::from(*low);
                text::push_date(i64::from(*day) - JULIAN_1970, out) && {
                    out.push('T');
                    text::push_time(nanos, 1_000_000_000, out)
                }
            }
            Values::Bytes(values) => push_bytes(values[index].data(), kind, out),
            Values::Fixed(values) => push_bytes(values[index].data(), kind, out),
        }
    }
}

/// The values as they are; `None` where one is no text, or all are too long for one buffer.
fn all_text(values: &[ByteArray]) -> Option<StringChunked> {
    let bytes = values.iter().map(ByteArray::len).sum();
    u32::try_from(bytes).ok()?;
    let mut all = Vec::with_capacity(bytes);
    let mut views = Vec::with_capacity(values.len());
    for value in values {
        // Together they may be text although one ends, and the next begins, within a character.
        if value.data().first().is_some_and(|first| first & 0b1100_0000 == 0b1000_0000) {
            return None;
        }
        views.push(View::new_from_bytes(value.data(), 0, all.len() as u32));
        all.extend_from_slice(value.data());
    }
    simdutf8::basic::from_utf8(&all).ok()?;
    let buffers: Buffer<Buffer<u8>> = vec![Buffer::from(all)].into();
    // SAFETY: every view was made from the bytes at its place in the buffer, which is UTF-8, and none of them begins within
    // a character, so none ends within one.
    let array =
        unsafe { Utf8ViewArray::new_unchecked_unknown_md(ArrowDataType::Utf8View, views.into(), buffers, None, None) };
    Some(StringChunked::with_chunk("".into(), array))
}

/// Takes away what shall not stay.
pub(super) fn keep<T>(values: &mut Vec<T>, stay: &[bool]) {
    let mut stay = stay.iter();
    values.retain(|_| stay.next() == Some(&true));
}

fn push_integer(value: i64, kind: Kind, out: &mut String) -> bool {
    use std::fmt::Write as _;
    match kind {
        Kind::Date => text::push_date(value, out),
        Kind::Time { per_second } => text::push_time(value, per_second, out),
        Kind::Timestamp { per_second, utc } => text::push_timestamp(value, per_second, utc, out),
        Kind::Decimal { scale, .. } => {
            text::push_decimal(i256::from(value), scale, out);
            true
        }
        _ => write!(out, "{value}").is_ok(),
    }
}

fn push_bytes(bytes: &[u8], kind: Kind, out: &mut String) -> bool {
    match kind {
        Kind::Decimal { scale, .. } => match text::big_endian(bytes) {
            Some(number) => {
                text::push_decimal(number, scale, out);
                true
            }
            None => false,
        },
        Kind::Uuid => text::push_uuid(bytes, out),
        _ => {
            text::push_hex(bytes, out);
            true
        }
    }
}

/// Masked values under construction.
pub(super) struct Made {
    values: Values,
    kind: Kind,
    target: Target,
    fixed_length: usize,
    /// Texts, one behind the other, and where each ends.
    texts: Vec<u8>,
    ends: Vec<usize>,
}

impl Made {
    pub(super) fn new(originals: &Values, kind: Kind, column: &Type, target: Target) -> Made {
        let values = match originals {
            _ if target.is_text => Values::Bytes(Vec::new()),
            Values::Bool(_) => Values::Bool(Vec::new()),
            Values::Int32(_) => Values::Int32(Vec::new()),
            Values::Int64(_) => Values::Int64(Vec::new()),
            Values::Int96(_) => Values::Int96(Vec::new()),
            Values::Float(_) => Values::Float(Vec::new()),
            Values::Double(_) => Values::Double(Vec::new()),
            Values::Bytes(_) => Values::Bytes(Vec::new()),
            Values::Fixed(_) => Values::Fixed(Vec::new()),
        };
        let length = match column {
            Type::PrimitiveType { type_length, .. } => usize::try_from(*type_length).unwrap_or(0),
            Type::GroupType { .. } => 0,
        };
        Made { values, kind, target, fixed_length: length, texts: Vec::new(), ends: Vec::new() }
    }

    /// Takes a value; whether one is there, or `None` for what the column cannot hold.
    pub(super) fn push(&mut self, text: Option<&str>, mistyped: OnMistyped) -> Option<bool> {
        let is_text = self.target.is_text || matches!(self.kind, Kind::Text | Kind::Bytes);
        match text {
            Some(text) if is_text => {
                self.texts.extend_from_slice(text.as_bytes());
                self.ends.push(self.texts.len());
                Some(true)
            }
            Some(text) if self.push_number(text).is_some() => Some(true),
            Some(_) if mistyped == OnMistyped::Reject => None,
            _ if self.target.is_nullable => Some(false),
            None if is_text => {
                self.ends.push(self.texts.len());
                Some(true)
            }
            _ => None,
        }
    }

    fn push_number(&mut self, text: &str) -> Option<()> {
        match (&mut self.values, self.kind) {
            (Values::Int32(values), Kind::Unsigned) => values.push(text.parse::<u32>().ok()?.cast_signed()),
            (Values::Int64(values), Kind::Unsigned) => values.push(text.parse::<u64>().ok()?.cast_signed()),
            (Values::Int32(values), Kind::Int) => values.push(text.parse().ok()?),
            (Values::Int64(values), Kind::Int) => values.push(text.parse().ok()?),
            (Values::Int32(values), Kind::Decimal { precision, scale }) => {
                values.push(text::decimal(text, precision, scale)?.try_into().ok()?)
            }
            (Values::Int64(values), Kind::Decimal { precision, scale }) => {
                values.push(text::decimal(text, precision, scale)?.try_into().ok()?)
            }
            (Values::Float(values), Kind::Float) => values.push(text.parse().ok()?),
            (Values::Double(values), Kind::Float) => values.push(text.parse().ok()?),
            (Values::Fixed(values), Kind::Decimal { precision, scale }) => {
                values.push(text::to_big_endian(text::decimal(text, precision, scale)?, self.fixed_length)?.into());
            }
            (Values::Bytes(values), Kind::Decimal { precision, scale }) => {
                values.push(text::to_big_endian(text::decimal(text, precision, scale)?, 16)?.into());
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn into_values(self) -> Values {
        if self.ends.is_empty() {
            return self.values;
        }
        let all = Bytes::from(self.texts);
        let mut start = 0;
        let cut = |end: usize| {
            let text = ByteArray::from(all.slice(start..end));
            start = end;
            text
        };
        Values::Bytes(self.ends.into_iter().map(cut).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_characters_are_text() {
        let texts = |values: &[&[u8]]| {
            let values = values.iter().map(|value| ByteArray::from(value.to_vec())).collect();
            let texts = Values::Bytes(values).texts(Kind::Text, true);
            texts.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        let long = "a name that is longer than twelve bytes: Łukasz";
        assert_eq!(texts(&[b"", long.as_bytes(), "\u{e9}".as_bytes()]), [text(""), text(long), text("\u{e9}")]);
        assert_eq!(texts(&[b"a\xc3", b"\xa9b"]), [None, None]);
        assert_eq!(texts(&[b"a", b"\xff"]), [text("a"), None]);
        assert_eq!(texts(&[]), Vec::<Option<String>>::new());
    }
}
