//! The records of a masked text, read once more for another format.

use std::borrow::Cow;
use std::collections::HashSet;

use super::lex::{Data, Stop, Text, unescape};
use super::pass::Pass;
use crate::pipeline::Failure;
use crate::pipeline::convert::Value;
use crate::pipeline::fault::internal;

const BOM: &[u8] = b"\xef\xbb\xbf";

pub(in crate::pipeline) struct Rows {
    pub(super) max_depth: usize,
}

/// A value of a record, or what it is that no table has a place for.
type Cell<'p> = Result<Value<'p>, &'static str>;

/// Is given a record.
type Take<'t, 'p> = &'t mut dyn FnMut(&Rows, &'p [u8]) -> Result<(), Failure>;

impl Rows {
    /// Hands on each record of a piece that holds whole ones, and what stands between them.
    pub(in crate::pipeline) fn each<'p>(&self, piece: &'p [u8], take: Take<'_, 'p>) -> Result<(), Failure> {
        let data = Data { bytes: piece, eof: true };
        let pass = Pass { data, max_depth: self.max_depth };
        let mut at = if piece.starts_with(BOM) { BOM.len() } else { 0 };
        loop {
            at = data.skip_space(at);
            match piece.get(at) {
                None => return Ok(()),
                Some(b'[' | b']' | b',') => at += 1,
                Some(b'{') => {
                    let end = pass.value(at, 1, &mut |_| {}).map_err(unreadable)?;
                    take(self, &piece[at..end])?;
                    at = end;
                }
                Some(_) => return Err(unreadable(data.ended())),
            }
        }
    }

    /// The keys of all records of a piece, in the order in which they come.
    pub(in crate::pipeline) fn names(&self, piece: &[u8]) -> Result<Vec<String>, Failure> {
        let (mut names, mut known) = (Vec::new(), HashSet::new());
        self.each(piece, &mut |rows, record| {
            rows.members(record, &mut |key, _| {
                let key = key.into_owned();
                if known.insert(key.clone()) {
                    names.push(key);
                }
                Ok(())
            })
        })?;
        Ok(names)
    }

    /// Visits the keys of a record with their values.
    pub(in crate::pipeline) fn members<'p>(
        &self,
        record: &'p [u8],
        visit: &mut dyn FnMut(Cow<'p, str>, Cell<'p>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let data = Data { bytes: record, eof: true };
        let pass = Pass { data, max_depth: self.max_depth };
        let mut at = data.skip_space(1);
        while record.get(at) == Some(&b'"') {
            let key = data.string(at).map_err(unreadable)?;
            let value = data.skip_space(data.skip_space(key.end + 1) + 1);
            let end = pass.value(value, 2, &mut |_| {}).map_err(unreadable)?;
            let key = text(record, key).ok_or_else(|| internal("a masked record has half a character in a key"))?;
            visit(key, cell(data, value, end))?;
            at = data.skip_space(data.skip_space(end) + 1);
        }
        Ok(())
    }
}

fn cell<'p>(data: Data<'p>, start: usize, end: usize) -> Cell<'p> {
    let raw = &data.bytes[start..end];
    match raw.first() {
        Some(b'"') => {
            let found = data.string(start).ok().and_then(|it| text(data.bytes, it));
            found.map(Value::Text).ok_or("half of a character stands")
        }
        Some(b'{') => Err("an object stands"),
        Some(b'[') => Err("an array stands"),
        Some(b'n') => Ok(Value::Null),
        _ => std::str::from_utf8(raw).map(Value::Literal).map_err(|_| "no text stands"),
    }
}

fn text(bytes: &[u8], text: Text) -> Option<Cow<'_, str>> {
    let raw = &bytes[text.start..text.end];
    if !text.escaped {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let mut plain = Vec::with_capacity(raw.len());
    unescape(raw, &mut plain)?;
    String::from_utf8(plain).ok().map(Cow::Owned)
}

/// A record on one line: as it is, or without white space between its parts where it has line ends there.
pub(in crate::pipeline) fn push_line(record: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr2(b'\n', b'\r', record).is_none() {
        out.extend_from_slice(record);
    } else {
        let (mut within, mut escaped) = (false, false);
        for &byte in record {
            if within {
                within = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                continue;
            } else {
                within = byte == b'"';
            }
            out.push(byte);
        }
    }
    out.push(b'\n');
}

/// What was written was checked before it was masked.
fn unreadable(_: Stop) -> Failure {
    internal("a masked record cannot be read back")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_onto_one_line() {
        let mut out = Vec::new();
        push_line(b"{\"a\": 1.50}", &mut out);
        push_line(b"{\n  \"a b\": \"x \\\" y\\\\\",\r\n\t\"c\": [1, 2]\n}", &mut out);
        assert_eq!(out, b"{\"a\": 1.50}\n{\"a b\":\"x \\\" y\\\\\",\"c\":[1,2]}\n");
    }

    #[test]
    fn members_are_told_apart() {
        let rows = Rows { max_depth: 9 };
        let piece =
            b"\xef\xbb\xbf[ {\"a\":\"x\",\"b\\u0062\" : 1.50 , \"c\":null},\n{\"d\":true,\"e\":{},\"f\":\"\\ud800\"} ]";
        let mut seen = Vec::new();
        let each = rows.each(piece, &mut |rows, record| {
            rows.members(record, &mut |key, value| {
                seen.push(format!("{key}={value:?}"));
                Ok(())
            })
        });
        each.unwrap();
        assert_eq!(
            seen.join(" "),
            "a=Ok(Text(\"x\")) bb=Ok(Literal(\"1.50\")) c=Ok(Null) d=Ok(Literal(\"true\")) \
             e=Err(\"an object stands\") f=Err(\"half of a character stands\")"
        );
        assert_eq!(rows.names(piece).unwrap(), ["a", "bb", "c", "d", "e", "f"]);
        assert!(rows.each(b"1", &mut |_, _| Ok(())).is_err());
    }
}
