//! Text in other encodings than UTF-8: decoded behind the input's digest, encoded again before the seal.
//!
//! What no mask touches comes out in the very bytes that it came in. For UTF-16 and the encodings of one byte a character
//! that follows from the tables. In those of several bytes some sequences stand for a character that is written
//! otherwise; such a sequence travels as a private character that stands for its bytes.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};

use self::encode::encode;
use super::Fault;

pub(super) use self::decode::Decoder;

/// Private characters that stand for two bytes: this one and the 65,535 behind it.
const PRIVATE: u32 = 0xf0000;

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
    /// UTF-8 as it is.
    pub(super) fn plain() -> Script {
        Script { charset: Charset::Utf8, swaps: Vec::new() }
    }

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

fn is_private(character: char) -> bool {
    (PRIVATE..PRIVATE + 0x10000).contains(&u32::from(character))
}
