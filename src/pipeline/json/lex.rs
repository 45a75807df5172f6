//! The tokens of JSON (RFC 8259): where they end, and whether they are well formed. Nothing is decoded on the way.

use super::fault::{Broken, Kind};

/// Why a walk over the data stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The data ends within a value, and the file goes on.
    More,
    Broken(Broken),
}

/// A string's content, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub start: usize,
    pub end: usize,
    /// It holds escapes.
    pub escaped: bool,
}

/// The data of one walk.
#[derive(Clone, Copy)]
pub(super) struct Data<'d> {
    pub bytes: &'d [u8],
    /// Nothing follows behind `bytes`.
    pub eof: bool,
}

pub(super) fn expected(what: &'static str, at: usize) -> Stop {
    Stop::Broken(Broken { kind: Kind::Syntax { expected: what }, at })
}

impl Data<'_> {
    /// The data ends where something must follow.
    pub(super) fn ended(&self) -> Stop {
        if self.eof { Stop::Broken(Broken { kind: Kind::CutOff, at: self.bytes.len() }) } else { Stop::More }
    }

    /// The byte at `at`, which must be there.
    pub(super) fn byte(&self, at: usize) -> Result<u8, Stop> {
        self.bytes.get(at).copied().ok_or_else(|| self.ended())
    }

    /// The first byte at or behind `at` that is no white space.
    #[inline]
    pub(super) fn skip_space(&self, mut at: usize) -> usize {
        while matches!(self.bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            at += 1;
        }
        at
    }

    /// Reads the string whose opening quote stands at `at`.
    pub(super) fn string(&self, at: usize) -> Result<Text, Stop> {
        let start = at + 1;
        let (mut at, mut escaped) = (start, false);
        loop {
            at = plain_end(self.bytes, at);
            match self.byte(at)? {
                b'"' => return Ok(Text { start, end: at, escaped }),
                b'\\' => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                _ => return Err(expected("a control character in a string to be escaped", at)),
            }
        }
    }

    fn escape(&self, at: usize) -> Result<usize, Stop> {
        match self.byte(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
            b'u' => {
                for digit in at + 2..at + 6 {
                    if !self.byte(digit)?.is_ascii_hexdigit() {
                        return Err(expected("four hexadecimal digits in an escape", at));
                    }
                }
                Ok(at + 6)
            }
            _ => Err(expected("a known escape", at)),
        }
    }

    /// The end of the number that begins at `at`.
    pub(super) fn number(&self, at: usize) -> Result<usize, Stop> {
        let start = at;
        let mut at = at + usize::from(self.bytes[at] == b'-');
        at = match self.byte(at)? {
            b'0' => at + 1,
            b'1'..=b'9' => self.digits(at),
            _ => return Err(expected("a digit in a number", start)),
        };
        if self.bytes.get(at) == Some(&b'.') {
            at = self.some_digits(at + 1, start)?;
        }
        if matches!(self.bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(at + 1)?, b'+' | b'-'));
            at = self.some_digits(at + 1 + sign, start)?;
        }
        // A number's end only shows in what follows it.
        if at == self.bytes.len() && !self.eof { Err(Stop::More) } else { Ok(at) }
    }

    fn digits(&self, mut at: usize) -> usize {
        while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    }

    fn some_digits(&self, at: usize, start: usize) -> Result<usize, Stop> {
        if !self.byte(at)?.is_ascii_digit() {
            return Err(expected("a digit in a number", start));
        }
        Ok(self.digits(at))
    }

    /// The end of the word that must stand at `at`.
    pub(super) fn word(&self, at: usize, word: &'static str) -> Result<usize, Stop> {
        for (offset, byte) in word.bytes().enumerate() {
            if self.byte(at + offset)? != byte {
                return Err(expected("a value", at));
            }
        }
        Ok(at + word.len())
    }
}

/// The first quote, backslash or control character at or behind `at`, eight bytes at a time.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let low = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let hits = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | low;
        if hits != 0 {
            // A borrow can only mark bytes above the first real hit.
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

/// Decodes the escapes of a string that was found well formed; `None` for half of a surrogate pair.
pub(super) fn unescape(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = *rest.get(at + 1)?;
        rest = &rest[at + 2..];
        let plain = match escape {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = unit(&mut rest).and_then(|first| match first {
                    0xd800..0xdc00 => {
                        rest = rest.strip_prefix(b"\\u")?;
                        let second = unit(&mut rest).filter(|second| (0xdc00..0xe000).contains(second))?;
                        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
                    }
                    _ => char::from_u32(first),
                })?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => other,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    Some(())
}

fn unit(rest: &mut &[u8]) -> Option<u32> {
    let (digits, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Writes a text as a JSON string.
pub(in crate::pipeline) fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        if short == 0 {
            const DIGITS: [u8; 16] = *b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        } else {
            out.extend([b'\\', short]);
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Data<'_> {
        Data { bytes, eof: true }
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "1.50", "-1e9", "2E+10", "0.1e-2"] {
            assert_eq!(whole(good.as_bytes()).number(0).unwrap(), good.len(), "{good}");
        }
        for bad in ["-", "-a", "1.", "1.a", "1e", "1e+", "-.5"] {
            assert!(matches!(whole(bad.as_bytes()).number(0), Err(Stop::Broken(_))), "{bad}");
        }
        assert_eq!(whole(b"012").number(0).unwrap(), 1, "the caller refuses what follows");
        assert!(matches!(Data { bytes: b"12", eof: false }.number(0), Err(Stop::More)));
    }

    #[test]
    fn escapes_are_checked_and_decoded() {
        let mut out = Vec::new();
        assert!(unescape(br#"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z"#, &mut out).is_some());
        assert_eq!(out, "a\"\\/\u{8}\u{c}\n\r\té😀z".as_bytes());
        for lone in [&br"\ud83d"[..], br"\ude00", br"\ud83dx", br"\ud83d\u0041"] {
            assert!(unescape(lone, &mut Vec::new()).is_none());
        }
        for bad in [&b"\"\\x\""[..], b"\"\\u12g4\"", b"\"\x01\"", b"\"", b"\"\\"] {
            assert!(matches!(whole(bad).string(0), Err(Stop::Broken(_))), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn written_strings_are_read_back(text in "\\PC*[\u{0}-\u{1f}\"\\\\é😀a-z]{0,20}") {
            let mut written = Vec::new();
            push_string(&text, &mut written);
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text.clone());
            let found = whole(&written).string(0).unwrap();
            prop_assert_eq!((found.start, found.end), (1, written.len() - 1));
            let mut plain = Vec::new();
            unescape(&written[1..written.len() - 1], &mut plain).unwrap();
            prop_assert_eq!(plain, text.into_bytes());
        }

        #[test]
        fn strings_end_where_a_slow_reader_ends_them(bytes in "[a-zé\"\\\\u0\u{1}\u{7f}\u{80}\u{ff}]{0,40}") {
            let data = format!("\"{bytes}");
            let slow = || {
                let mut at = 1;
                let bytes = data.as_bytes();
                while at < bytes.len() {
                    match bytes[at] {
                        b'"' => return Some(at),
                        0..0x20 => return None,
                        b'\\' => at += 1,
                        _ => {}
                    }
                    at += 1;
                }
                None
            };
            if let Ok(text) = whole(data.as_bytes()).string(0) {
                prop_assert_eq!(Some(text.end), slow());
            }
        }
    }
}
