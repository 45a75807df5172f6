//! Text in other encodings than UTF-8: decoded behind the input's digest, encoded again before the seal.
//!
//! What no mask touches comes out in the very bytes that it came in. For UTF-16 and the encodings of one byte a character
//! that follows from the tables. In those of several bytes some sequences stand for a character that is written
//! otherwise; such a sequence travels as a private character that stands for its bytes.

use std::borrow::Cow;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};

use super::Fault;

/// Private characters that stand for two bytes: this one and the 65,535 behind it.
const PRIVATE: u32 = 0xf0000;
/// Stands in the decoded text for what could not be decoded; never valid, so that the reader tells its row.
const UNDECODABLE: u8 = 0xff;

/// An encoding that is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    Utf16 {
        big_endian: bool,
    },
    /// One byte a character, ASCII below 128.
    Single(&'static Encoding),
    /// ASCII below 128, else several bytes a character.
    Multi(&'static Encoding),
}

impl Charset {
    /// Finds an encoding by one of the labels of the WHATWG Encoding Standard: `windows-1252`, `latin1`, `shift_jis` …
    pub fn for_label(label: &str) -> Option<Charset> {
        let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
        match encoding.name() {
            "UTF-8" => Some(Charset::Utf8),
            "UTF-16LE" => Some(Charset::Utf16 { big_endian: false }),
            "UTF-16BE" => Some(Charset::Utf16 { big_endian: true }),
            "Shift_JIS" | "EUC-KR" | "Big5" | "GBK" | "gb18030" => Some(Charset::Multi(encoding)),
            _ if encoding.is_single_byte() => Some(Charset::Single(encoding)),
            _ => None, // with a state that a cell would have to begin and end with: ISO-2022-JP
        }
    }

    /// The encoding that a byte-order mark shows.
    pub(super) fn of_mark(head: &[u8]) -> Option<Charset> {
        match head {
            [0xff, 0xfe, ..] => Some(Charset::Utf16 { big_endian: false }),
            [0xfe, 0xff, ..] => Some(Charset::Utf16 { big_endian: true }),
            [0xef, 0xbb, 0xbf, ..] => Some(Charset::Utf8),
            _ => None,
        }
    }

    /// The standard's name.
    pub fn name(self) -> &'static str {
        match self {
            Charset::Utf8 => "UTF-8",
            Charset::Utf16 { big_endian: false } => "UTF-16LE",
            Charset::Utf16 { big_endian: true } => "UTF-16BE",
            Charset::Single(encoding) | Charset::Multi(encoding) => encoding.name(),
        }
    }
}

impl Serialize for Charset {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Charset {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Charset, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Charset::for_label(&name).ok_or_else(|| serde::de::Error::custom("not an encoding that is read"))
    }
}

/// How a file's text is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub charset: Charset,
    /// Characters that change places within: a delimiter or quote beyond ASCII, and the control character that stands
    /// for it in the text that is worked on.
    pub swaps: Vec<(char, char)>,
}

impl Script {
    /// Whether the bytes are the text that is worked on.
    pub(super) fn is_plain(&self) -> bool {
        self.charset == Charset::Utf8 && self.swaps.is_empty()
    }

    /// A fault in the words of this script: the readers take everything for UTF-8.
    pub(super) fn name_in(&self, fault: Fault) -> Fault {
        let sentence = fault.sentence.replace("not valid UTF-8", &format!("not valid {}", self.charset.name()));
        let code = match self.charset {
            Charset::Utf8 => fault.code,
            _ => fault.code.replace("invalid_utf8", "invalid_encoding"),
        };
        let note = if fault.byte_offset.is_some() { " (counted in the text as UTF-8)" } else { "" };
        Fault { code, sentence: sentence + note, ..fault }
    }

    /// What a part of the text that is worked on says in the file.
    pub(super) fn as_written<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.swaps.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut swapped = String::with_capacity(text.len());
        self.swap(text, &mut swapped);
        Cow::Owned(swapped)
    }

    fn swap(&self, text: &str, out: &mut String) {
        out.extend(text.chars().map(|character| {
            let swapped = self.swaps.iter().find_map(|(a, b)| match character {
                _ if character == *a => Some(*b),
                _ if character == *b => Some(*a),
                _ => None,
            });
            swapped.unwrap_or(character)
        }));
    }

    /// Appends a text as the file writes it; the first character that the encoding does not have is an error.
    pub(super) fn encode(&self, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
        if self.swaps.is_empty() {
            return encode(self.charset, text, out);
        }
        let mut swapped = String::with_capacity(text.len());
        self.swap(text, &mut swapped);
        encode(self.charset, &swapped, out)
    }
}

/// Decodes a file piece by piece.
pub(super) struct Decoder {
    script: Script,
    /// The beginning of a character that the last piece ended in.
    rest: Vec<u8>,
    /// Something could not be decoded; nothing follows it.
    broken: bool,
}

impl Decoder {
    pub(super) fn new(script: Script) -> Decoder {
        Decoder { script, rest: Vec::new(), broken: false }
    }

    /// Appends the text of the next bytes; `last` when none follow them.
    pub(super) fn decode(&mut self, bytes: &[u8], last: bool, out: &mut Vec<u8>) {
        if self.broken {
            return rough(bytes, out);
        }
        let mut joined = std::mem::take(&mut self.rest);
        let bytes = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined[..]
        };
        let start = out.len();
        let used = match self.script.charset {
            Charset::Utf8 => decode_utf8(bytes, out),
            Charset::Utf16 { big_endian } => decode_utf16(bytes, big_endian, out),
            Charset::Single(encoding) => decode_whole(encoding, bytes, out).map(|()| bytes.len()),
            Charset::Multi(encoding) => decode_multi(encoding, bytes, out),
        };
        if !self.script.swaps.is_empty() {
            let text = String::from_utf8(out.split_off(start)).expect("the decoders append whole characters only");
            let mut swapped = String::with_capacity(text.len());
            self.script.swap(&text, &mut swapped);
            out.extend_from_slice(swapped.as_bytes());
        }
        match used {
            Ok(used) if used == bytes.len() || !last => self.rest = bytes[used..].to_vec(),
            Ok(good) | Err(good) => {
                self.broken = true;
                out.push(UNDECODABLE);
                rough(bytes.get(good + 1..).unwrap_or_default(), out);
            }
        }
    }
}

/// What follows something undecodable: enough of it to see how the record goes on, whose fault this then is.
fn rough(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().filter(|byte| byte.is_ascii() && **byte != 0));
}

/// Appends the text of as many bytes as make whole characters, and tells how many; an error behind what was good.
fn decode_utf8(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, usize> {
    let used = match simdutf8::compat::from_utf8(bytes) {
        Ok(_) => Ok(bytes.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(error) => Err(error.valid_up_to()),
    };
    let (Ok(good) | Err(good)) = used;
    out.extend_from_slice(&bytes[..good]);
    used
}

fn decode_utf16(bytes: &[u8], big_endian: bool, out: &mut Vec<u8>) -> Result<usize, usize> {
    let unit = |pair: &[u8; 2]| if big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut units = pairs.iter().map(unit);
    let mut used = 0;
    out.reserve(bytes.len());
    while let Some(first) = units.next() {
        let (character, pair) = match first {
            0xd800..0xdc00 => match units.next() {
                None => return Ok(used),
                Some(second @ 0xdc00..0xe000) => {
                    (char::from_u32(0x10000 + ((u32::from(first) - 0xd800) << 10) + (u32::from(second) - 0xdc00)), 4)
                }
                Some(_) => (None, 2),
            },
            _ => (char::from_u32(u32::from(first)), 2),
        };
        let character = character.ok_or(used)?;
        used += pair;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(used)
}

fn encode_utf16(text: &str, big_endian: bool, out: &mut Vec<u8>) {
    out.reserve(text.len() * 2);
    for unit in text.encode_utf16() {
        out.extend(if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() });
    }
}

/// Appends the text of bytes that end with a whole character; an error behind what was good.
fn decode_whole(encoding: &'static Encoding, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(0);
    let start = out.len();
    out.resize(start + room, 0);
    let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut out[start..], true);
    out.truncate(start + written);
    match result {
        encoding_rs::DecoderResult::InputEmpty => Ok(()),
        encoding_rs::DecoderResult::Malformed(bad, after) => Err(read - usize::from(bad) - usize::from(after)),
        encoding_rs::DecoderResult::OutputFull => Err(read),
    }
}

fn decode_multi(encoding: &'static Encoding, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, usize> {
    let used = whole_characters(encoding, bytes);
    let bytes = &bytes[..used];
    let start = out.len();
    let good = decode_whole(encoding, bytes, out).is_ok();
    let text = std::str::from_utf8(&out[start..]).unwrap_or("");
    if good && !text.contains(is_private) && *encoding.encode(text).0 == *bytes {
        return Ok(used);
    }
    out.truncate(start);
    let mut at = 0;
    while at < used {
        let width = width(encoding, &bytes[at..]).ok_or(at)?;
        let raw = &bytes[at..at + width];
        let text = encoding.decode_without_bom_handling_and_without_replacement(raw).ok_or(at)?;
        match raw {
            _ if !text.contains(is_private) && *encoding.encode(&text).0 == *raw => {
                out.extend_from_slice(text.as_bytes());
            }
            [high, low] => {
                let private = char::from_u32(PRIVATE + u32::from(*high) * 256 + u32::from(*low)).ok_or(at)?;
                out.extend_from_slice(private.encode_utf8(&mut [0; 4]).as_bytes());
            }
            [byte] if text.chars().count() == 1 => {
                let private = char::from_u32(PRIVATE + u32::from(*byte)).ok_or(at)?;
                out.extend_from_slice(private.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return Err(at),
        }
        at += width;
    }
    Ok(used)
}

fn is_private(character: char) -> bool {
    (PRIVATE..PRIVATE + 0x10000).contains(&u32::from(character))
}

/// Number of bytes of the character at the beginning, of which there is at least one; `None` where none begins so.
fn width(encoding: &'static Encoding, bytes: &[u8]) -> Option<usize> {
    let width = match (encoding.name(), bytes[0]) {
        (_, 0..=0x7f) => 1,
        ("Shift_JIS", 0x81..=0x9f | 0xe0..=0xfc) => 2,
        ("Shift_JIS", _) => 1,
        ("GBK" | "gb18030", 0x80 | 0xff) => 1,
        ("gb18030", _) if bytes.get(1).is_some_and(u8::is_ascii_digit) => 4,
        _ => 2,
    };
    (bytes.len() >= width).then_some(width)
}

/// Number of bytes that make whole characters.
fn whole_characters(encoding: &'static Encoding, bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match width(encoding, &bytes[at..]) {
            Some(width) => at += width,
            None => break,
        }
    }
    at
}

fn encode(charset: Charset, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
    match charset {
        Charset::Utf8 => out.extend_from_slice(text.as_bytes()),
        Charset::Utf16 { big_endian } => encode_utf16(text, big_endian, out),
        Charset::Single(encoding) => encode_known(encoding, text, out)?,
        Charset::Multi(encoding) => {
            let mut rest = text;
            while let Some(at) = rest.find(is_private) {
                encode_known(encoding, &rest[..at], out)?;
                let mut characters = rest[at..].chars();
                let code = characters.next().map_or(0, u32::from) - PRIVATE;
                let [_, _, high, low] = code.to_be_bytes();
                if high > 0 {
                    out.push(high);
                }
                out.push(low);
                rest = characters.as_str();
            }
            encode_known(encoding, rest, out)?;
        }
    }
    Ok(())
}

fn encode_known(encoding: &'static Encoding, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
    let mut encoder = encoding.new_encoder();
    let room = encoder.max_buffer_length_from_utf8_without_replacement(text.len()).unwrap_or(0);
    let start = out.len();
    out.resize(start + room, 0);
    let (result, _, written) = encoder.encode_from_utf8_without_replacement(text, &mut out[start..], true);
    out.truncate(start + written);
    match result {
        encoding_rs::EncoderResult::Unmappable(character) => Err(character),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MULTI: [&str; 5] = ["shift_jis", "gb18030", "gbk", "euc-kr", "big5"];
    const SINGLE: [&str; 24] = [
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1255",
        "windows-1256",
        "windows-1257",
        "windows-1258",
        "windows-874",
        "iso-8859-1",
        "iso-8859-2",
        "iso-8859-3",
        "iso-8859-4",
        "iso-8859-5",
        "iso-8859-6",
        "iso-8859-7",
        "iso-8859-8",
        "iso-8859-9",
        "iso-8859-10",
        "iso-8859-13",
        "iso-8859-15",
        "koi8-r",
        "ibm866",
    ];

    fn plain(charset: Charset) -> Script {
        Script { charset, swaps: Vec::new() }
    }

    /// Decoded in two pieces and encoded again; `None` where it cannot be decoded.
    fn there_and_back(label: &str, bytes: &[u8], cut: usize) -> Option<Vec<u8>> {
        let charset = Charset::for_label(label).unwrap();
        let mut decoder = Decoder::new(plain(charset));
        let mut text = Vec::new();
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        decoder.decode(first, false, &mut text);
        decoder.decode(second, true, &mut text);
        let text = String::from_utf8(text).ok()?;
        let mut back = Vec::new();
        encode(charset, &text, &mut back).unwrap();
        Some(back)
    }

    #[test]
    fn every_byte_of_every_single_byte_encoding_comes_back() {
        for label in SINGLE {
            let lost: Vec<u8> =
                (0..=255).filter(|byte| there_and_back(label, &[*byte], 0) != Some(vec![*byte])).collect();
            let known = lost.iter().all(|byte| there_and_back(label, &[*byte], 0).is_none());
            assert!(known && lost.iter().all(|byte| *byte >= 0x80), "{label}: {lost:x?}");
        }
    }

    #[test]
    fn every_pair_of_every_multi_byte_encoding_comes_back() {
        for label in MULTI {
            let mut good = 0;
            for pair in (0..=u16::MAX).map(u16::to_be_bytes) {
                if let Some(back) = there_and_back(label, &pair, 1) {
                    assert_eq!(back, pair, "{label}");
                    good += 1;
                }
            }
            assert!(good > 128 * 128 + 6000, "{label}: {good}");
        }
        // The same name in two spellings; both come back as they were.
        for spelling in [[0xfb, 0xfc], [0xee, 0xe0]] {
            assert_eq!(there_and_back("shift_jis", &spelling, 1).unwrap(), spelling);
        }
    }

    #[test]
    fn what_is_no_text_is_marked_where_it_stands() {
        let decode = |label: &str, bytes: &[u8]| {
            let mut text = Vec::new();
            Decoder::new(plain(Charset::for_label(label).unwrap())).decode(bytes, true, &mut text);
            text
        };
        assert_eq!(decode("utf-16le", b"a\0\x00\xd8b\0"), b"a\xffb");
        assert_eq!(decode("utf-16be", b"\0a\0"), b"a\xff");
        assert_eq!(decode("utf-16le", b"a\0\x3d\xd8"), b"a\xff");
        assert_eq!(decode("windows-1253", b"ab\xd2c\xd2"), b"ab\xffc");
        assert_eq!(decode("shift_jis", b"ab\x81"), b"ab\xff");
        assert_eq!(decode("shift_jis", b"ab\x81\x20c"), b"ab\xff c");
        assert_eq!(decode("gb18030", b"ab\x81\x30\x81"), b"ab\xff0");
        let mut out = Vec::new();
        assert_eq!(encode(Charset::for_label("latin1").unwrap(), "a\u{3bb}", &mut out), Err('\u{3bb}'));
        assert_eq!(Charset::for_label("iso-2022-jp"), None);
        assert_eq!(Charset::for_label("klingon"), None);
    }

    #[test]
    fn swapped_characters_come_back() {
        let swaps = vec![('§', '\u{1f}'), ('þ', '\u{1e}')];
        for label in ["windows-1252", "utf-8"] {
            let script = Script { charset: Charset::for_label(label).unwrap(), swaps: swaps.clone() };
            let mut bytes = Vec::new();
            encode(script.charset, "þa\u{1f}§b\u{1e}þ", &mut bytes).unwrap();
            let mut text = Vec::new();
            let mut decoder = Decoder::new(script.clone());
            for byte in &bytes {
                decoder.decode(&[*byte], false, &mut text);
            }
            decoder.decode(b"", true, &mut text);
            assert_eq!(text, "\u{1e}a§\u{1f}bþ\u{1e}".as_bytes());
            let mut back = Vec::new();
            script.encode(std::str::from_utf8(&text).unwrap(), &mut back).unwrap();
            assert_eq!(back, bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn text_comes_back_wherever_it_is_cut(text in "[a-z,\u{20ac}éß漢字あｱ髙한😀]{0,30}", cut in 0usize..80) {
            for label in ["utf-16le", "utf-16be", "gb18030", "shift_jis", "windows-1252", "euc-kr", "big5"] {
                let charset = Charset::for_label(label).unwrap();
                let fits: String =
                    text.chars().filter(|it| encode(charset, &it.to_string(), &mut Vec::new()).is_ok()).collect();
                let mut bytes = Vec::new();
                encode(charset, &fits, &mut bytes).unwrap();
                let mut decoded = Vec::new();
                let mut decoder = Decoder::new(plain(charset));
                let cut = cut.min(bytes.len());
                decoder.decode(&bytes[..cut], false, &mut decoded);
                decoder.decode(&bytes[cut..], true, &mut decoded);
                prop_assert_eq!(String::from_utf8(decoded).unwrap(), fits, "{}", label);
                prop_assert_eq!(there_and_back(label, &bytes, cut).unwrap(), bytes);
            }
        }

        #[test]
        fn any_bytes_come_back_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40), cut in 0usize..40) {
            for label in MULTI.iter().chain(&SINGLE).chain(&["utf-16le", "utf-16be"]) {
                if let Some(back) = there_and_back(label, &bytes, cut) {
                    prop_assert_eq!(&back, &bytes, "{}", label);
                }
            }
        }
    }
}
