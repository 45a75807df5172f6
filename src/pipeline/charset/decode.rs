//! From a file's bytes to text in UTF-8.

use encoding_rs::Encoding;

use super::{Charset, PRIVATE, Script, is_private};

/// Stands in the decoded text for what could not be decoded; never valid, so that the reader tells its row.
const UNDECODABLE: u8 = 0xff;

/// Decodes a file piece by piece.
pub(in crate::pipeline) struct Decoder {
    script: Script,
    /// The beginning of a character that the last piece ended in.
    rest: Vec<u8>,
    /// Something could not be decoded; nothing follows it.
    broken: bool,
}

impl Decoder {
    pub(in crate::pipeline) fn new(script: Script) -> Decoder {
        Decoder { script, rest: Vec::new(), broken: false }
    }

    /// Appends the text of the next bytes; `last` when none follow them.
    pub(in crate::pipeline) fn decode(&mut self, bytes: &[u8], last: bool, out: &mut Vec<u8>) {
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
