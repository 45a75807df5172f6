//! Keyed one-way pseudonyms: HMAC-SHA-256 (RFC 2104) or keyed BLAKE3.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polars::prelude::StringChunked;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::cells::Cells;
use super::normalize::Normalize;
use crate::keys::hmac::{ErasedHmac, LONGEST};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashMask {
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// Characters of output.
    pub length: u32,
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Normalize::is_none")]
    pub normalize: Normalize,
}

impl Default for HashMask {
    fn default() -> HashMask {
        HashMask {
            algorithm: Algorithm::HmacSha256,
            encoding: Encoding::Hex,
            length: 32,
            namespace: None,
            normalize: Normalize::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    HmacSha256,
    Blake3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    Hex,
    /// RFC 4648, lower case, no padding.
    Base32,
    Base64Url,
}

impl Encoding {
    /// Bits that one character carries.
    pub fn bits(self) -> u32 {
        match self {
            Encoding::Hex => 4,
            Encoding::Base32 => 5,
            Encoding::Base64Url => 6,
        }
    }
}

/// A hash with its key scheduled.
pub struct Keyed {
    state: KeyedState,
    encoding: Encoding,
    length: usize,
    pub(super) normalize: Normalize,
}

enum KeyedState {
    HmacSha256(ErasedHmac),
    Blake3(Zeroizing<[u8; 32]>),
}

impl Keyed {
    pub fn new(mask: &HashMask, key: &[u8; 32]) -> Keyed {
        let state = match mask.algorithm {
            Algorithm::HmacSha256 => KeyedState::HmacSha256(ErasedHmac::new(key)),
            Algorithm::Blake3 => KeyedState::Blake3(Zeroizing::new(*key)),
        };
        Keyed { state, encoding: mask.encoding, length: mask.length as usize, normalize: mask.normalize }
    }

    /// Appends the pseudonym of `value` to `out`.
    pub fn hash_into(&self, value: &str, out: &mut String) {
        self.encode(&self.digest(value), out);
    }

    fn digest(&self, value: &str) -> [u8; 32] {
        match &self.state {
            KeyedState::HmacSha256(hmac) => *hmac.digest(&[value.as_bytes()]),
            KeyedState::Blake3(key) => *blake3::keyed_hash(key, value.as_bytes()).as_bytes(),
        }
    }

    /// The pseudonyms of a column's values as they stand; null and empty pass.
    pub(super) fn hash_all(&self, column: &StringChunked) -> StringChunked {
        let short = match &self.state {
            KeyedState::HmacSha256(hmac) => Some(hmac),
            KeyedState::Blake3(_) => None,
        };
        let mut cells = Cells::with_capacity(column.len() * 2);
        let push = |cells: &mut Cells, digest: &[u8; 32]| {
            cells.push_with(|text| {
                self.encode(digest, text);
                true
            });
        };
        let mut waiting: Option<&str> = None;
        for value in column.downcast_iter().flat_map(|chunk| chunk.iter()) {
            let value = value.unwrap_or_default();
            match (short.filter(|_| (1..=LONGEST).contains(&value.len())), waiting.take()) {
                (Some(_), None) => waiting = Some(value),
                (Some(short), Some(first)) => {
                    let digests = short.digests([first.as_bytes(), value.as_bytes()]);
                    digests.iter().for_each(|digest| push(&mut cells, digest));
                }
                (None, first) => {
                    first.into_iter().for_each(|first| push(&mut cells, &self.digest(first)));
                    if value.is_empty() { cells.push_empty() } else { push(&mut cells, &self.digest(value)) }
                }
            }
        }
        waiting.into_iter().for_each(|last| push(&mut cells, &self.digest(last)));
        cells.finish(column)
    }

    /// Appends as much of a digest as is wanted.
    #[inline]
    fn encode(&self, digest: &[u8; 32], out: &mut String) {
        match self.encoding {
            Encoding::Hex => {
                let mut text = [0; 64];
                let (eights, fours) = (text.as_chunks_mut::<8>().0, digest.as_chunks::<4>().0);
                let wanted = self.length.div_ceil(8);
                eights.iter_mut().zip(fours).take(wanted).for_each(|(eight, four)| *eight = hex_of(*four));
                // SAFETY: hexadecimal digits are ASCII.
                out.push_str(unsafe { std::str::from_utf8_unchecked(&text[..self.length]) });
            }
            Encoding::Base32 => encode_into(digest, 5, b"abcdefghijklmnopqrstuvwxyz234567", self.length, out),
            Encoding::Base64Url => {
                let mut text = [0; 43];
                let written = URL_SAFE_NO_PAD.encode_slice(digest, &mut text).expect("32 bytes make 43 characters");
                out.push_str(std::str::from_utf8(&text[..written.min(self.length)]).expect("base64 is ASCII"));
            }
        }
    }
}

/// The digits of four bytes, all at once.
#[inline]
fn hex_of(bytes: [u8; 4]) -> [u8; 8] {
    const LOW_NIBBLES: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Each byte at the place of its pair of digits, then its upper half before its lower one.
    let wide = u64::from(u32::from_le_bytes(bytes));
    let wide = (wide | wide << 16) & 0x0000_ffff_0000_ffff;
    let wide = (wide | wide << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (wide >> 4 | wide << 8) & LOW_NIBBLES;
    // From ten on the sum reaches the bit of 16.
    let letters = ((nibbles + 6 * ONES) >> 4) & ONES;
    (nibbles + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_le_bytes()
}

fn encode_into(digest: &[u8; 32], bits: u32, alphabet: &[u8], length: usize, out: &mut String) {
    let mut text = [0; 64];
    let (mut buffer, mut held, mut bytes) = (0_u32, 0, digest.iter());
    for character in &mut text[..length] {
        if held < bits {
            buffer = (buffer << 8) | u32::from(*bytes.next().expect("a length is at most that of the digest"));
            held += 8;
        }
        held -= bits;
        *character = alphabet[(buffer >> held) as usize & ((1 << bits) - 1)];
    }
    out.push_str(std::str::from_utf8(&text[..length]).expect("the alphabets are ASCII"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, Mac};
    use sha2::Sha256;

    fn hashed(algorithm: Algorithm, encoding: Encoding, length: u32) -> String {
        let mask = HashMask { algorithm, encoding, length, ..HashMask::default() };
        let mut out = String::new();
        Keyed::new(&mask, &[7; 32]).hash_into("value", &mut out);
        out
    }

    #[test]
    fn encodings_are_prefixes_of_the_whole_digest() {
        let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
        mac.update(b"value");
        let digest = mac.finalize().into_bytes();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hashed(Algorithm::HmacSha256, Encoding::Hex, 24), hex[..24]);
        let base64 = URL_SAFE_NO_PAD.encode(digest);
        assert_eq!(hashed(Algorithm::HmacSha256, Encoding::Base64Url, 22), base64[..22]);
        assert_eq!(hashed(Algorithm::Blake3, Encoding::Base32, 26).len(), 26);
        assert_ne!(hashed(Algorithm::Blake3, Encoding::Hex, 32), hex[..32]);
    }

    proptest::proptest! {
        #[test]
        fn a_column_is_hashed_cell_by_cell(values in proptest::collection::vec(proptest::option::of(".{0,80}"), 0..9)) {
            for algorithm in [Algorithm::HmacSha256, Algorithm::Blake3] {
                let keyed = Keyed::new(&HashMask { algorithm, ..HashMask::default() }, &[7; 32]);
                let column: StringChunked = values.iter().map(Option::as_deref).collect();
                let hashed = keyed.hash_all(&column);
                for (value, hashed) in values.iter().zip(hashed.iter()) {
                    let mut expected = String::new();
                    value.iter().filter(|value| !value.is_empty()).for_each(|it| keyed.hash_into(it, &mut expected));
                    proptest::prop_assert_eq!(hashed, value.as_ref().map(|_| expected.as_str()));
                }
            }
        }
    }
}
