//! From text in UTF-8 to a file's bytes.

use encoding_rs::Encoding;

use super::{Charset, PRIVATE, is_private};

/// Appends a text in an encoding; the first character that it does not have is an error.
pub(super) fn encode(charset: Charset, text: &str, out: &mut Vec<u8>) -> Result<(), char> {
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

fn encode_utf16(text: &str, big_endian: bool, out: &mut Vec<u8>) {
    out.reserve(text.len() * 2);
    for unit in text.encode_utf16() {
        out.extend(if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() });
    }
}
