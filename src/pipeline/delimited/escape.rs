//! Dialects that escape with a character instead of doubling quotes, as MySQL, PostgreSQL and Hive write them.

use std::borrow::Cow;

/// The same bytes with escaped ones disguised, so that only what has a meaning for the structure is left.
pub(super) fn disguise(data: &[u8], escape: Option<u8>) -> Cow<'_, [u8]> {
    let Some(escape) = escape.filter(|escape| memchr::memchr(*escape, data).is_some()) else { return data.into() };
    let mut disguised = data.to_vec();
    let mut at = 0;
    while let Some(found) = memchr::memchr(escape, &data[at..]) {
        at += found;
        if let Some(escaped) = disguised.get_mut(at + 1).filter(|byte| **byte != 0) {
            *escaped = b'x';
        }
        at = (at + 2).min(data.len());
    }
    disguised.into()
}

/// Appends what a cell says: `\N` alone is nothing, letters stand for control characters, anything else for itself.
pub(super) fn plain(mut cell: &[u8], escape: u8, quote: Option<u8>, out: &mut Vec<u8>) {
    if cell == [escape, b'N'] {
        return;
    }
    let next = |cell: &[u8]| match quote {
        Some(quote) => memchr::memchr2(escape, quote, cell),
        None => memchr::memchr(escape, cell),
    };
    while let Some(at) = next(cell) {
        out.extend_from_slice(&cell[..at]);
        let Some(&second) = cell.get(at + 1) else {
            out.push(cell[at]);
            return;
        };
        out.push(match second {
            // A doubled quote: the other one is the second here.
            _ if cell[at] != escape => second,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'Z' => 26,
            // NUL itself is no text; what stands for it stays as it is written.
            b'0' => b'0',
            other => other,
        });
        cell = &cell[at + 2..];
    }
    out.extend_from_slice(cell);
}

/// Appends a cell's text with escapes before the bytes that need them.
pub(super) fn push(text: &[u8], escape: u8, special: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    for &byte in text {
        if byte == escape || special(byte) {
            out.push(escape);
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(cell: &str) -> String {
        let mut out = Vec::new();
        plain(cell.as_bytes(), b'\\', Some(b'"'), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cells_say_what_they_mean() {
        for (cell, text) in [
            (r"a\,b", "a,b"),
            (r"a\\n", r"a\n"),
            (r"a\nb", "a\nb"),
            (r"\N", ""),
            (r"\Nx", "Nx"),
            (r#"say \"hi\", ""you"""#, r#"say "hi", "you""#),
            (r"end\", r"end\"),
            ("\\é", "é"),
        ] {
            assert_eq!(read(cell), text, "{cell}");
        }
        assert_eq!(&*disguise(br"a\,b\\,\", Some(b'\\')), br"a\xb\x,\");
        assert_eq!(&*disguise(b"a\\\0b", Some(b'\\')), b"a\\\0b", "NUL is never hidden");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(text in "[a-z,\"\n\\\\é]{0,20}") {
            let mut cell = Vec::new();
            push(text.as_bytes(), b'\\', |byte| matches!(byte, b',' | b'"' | b'\n'), &mut cell);
            prop_assert_eq!(read(std::str::from_utf8(&cell).unwrap()), text);
        }
    }
}
