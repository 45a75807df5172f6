//! Keyed one-way pseudonyms: HMAC-SHA-256 (RFC 2104) or keyed BLAKE3.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::digest::generic_array::GenericArray;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Sha256, compress256};
use zeroize::Zeroizing;

use super::normalize::Normalize;

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

/// A hash with its key scheduled; cloned for each cell.
pub struct Keyed {
    state: KeyedState,
    encoding: Encoding,
    length: usize,
    pub(super) normalize: Normalize,
}

enum KeyedState {
    HmacSha256 { whole: Hmac<Sha256>, short: ShortHmac },
    Blake3(Zeroizing<[u8; 32]>),
}

/// HMAC-SHA-256 of values that fit into one block with their padding, which most cells do: two compressions from the
/// states behind the inner and the outer key, without the buffers of a general hash.
struct ShortHmac {
    inner: Zeroizing<[u32; 8]>,
    outer: Zeroizing<[u32; 8]>,
}

/// Bytes of a block of SHA-256, and longest text that fits into one with its padding.
const BLOCK: usize = 64;
const LONGEST_SHORT: usize = BLOCK - 9;
/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

impl ShortHmac {
    fn new(key: &[u8; 32]) -> ShortHmac {
        let state = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK]);
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = Zeroizing::new(INITIAL);
            compress256(&mut state, std::slice::from_ref(GenericArray::from_slice(&*block)));
            state
        };
        ShortHmac { inner: state(0x36), outer: state(0x5c) }
    }

    /// The digest of at most [`LONGEST_SHORT`] bytes.
    #[inline]
    fn digest(&self, value: &[u8]) -> [u8; 32] {
        let inner = last_block(*self.inner, value);
        last_block(*self.outer, &inner)
    }
}

/// The digest when `text` is all that follows the one block that `state` has taken.
#[inline]
fn last_block(mut state: [u32; 8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    block[..text.len()].copy_from_slice(text);
    block[text.len()] = 0x80;
    let bits = 8 * (BLOCK + text.len()) as u64;
    block[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, std::slice::from_ref(GenericArray::from_slice(&block)));
    let mut digest = [0; 32];
    digest.as_chunks_mut().0.iter_mut().zip(state).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
    digest
}

impl Keyed {
    pub fn new(mask: &HashMask, key: &[u8; 32]) -> Keyed {
        let state = match mask.algorithm {
            Algorithm::HmacSha256 => KeyedState::HmacSha256 {
                whole: Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
                short: ShortHmac::new(key),
            },
            Algorithm::Blake3 => KeyedState::Blake3(Zeroizing::new(*key)),
        };
        Keyed { state, encoding: mask.encoding, length: mask.length as usize, normalize: mask.normalize }
    }

    /// Appends the pseudonym of `value` to `out`.
    pub fn hash_into(&self, value: &str, out: &mut String) {
        let digest: [u8; 32] = match &self.state {
            KeyedState::HmacSha256 { short, .. } if value.len() <= LONGEST_SHORT => short.digest(value.as_bytes()),
            KeyedState::HmacSha256 { whole, .. } => {
                whole.clone().chain_update(value.as_bytes()).finalize().into_bytes().into()
            }
            KeyedState::Blake3(key) => *blake3::keyed_hash(key, value.as_bytes()).as_bytes(),
        };
        match self.encoding {
            Encoding::Hex => {
                let mut text = [0; 64];
                let (eights, fours) = (text.as_chunks_mut::<8>().0, digest.as_chunks::<4>().0);
                let wanted = self.length.div_ceil(8);
                eights.iter_mut().zip(fours).take(wanted).for_each(|(eight, four)| *eight = hex_of(*four));
                out.push_str(std::str::from_utf8(&text[..self.length]).expect("the digits are ASCII"));
            }
            Encoding::Base32 => encode_into(&digest, 5, b"abcdefghijklmnopqrstuvwxyz234567", self.length, out),
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
        fn short_values_are_hashed_like_all_others(value in ".{0,80}", key in proptest::array::uniform32(0..=u8::MAX)) {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(value.as_bytes());
            let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            let mut out = String::new();
            Keyed::new(&HashMask { length: 64, ..HashMask::default() }, &key).hash_into(&value, &mut out);
            proptest::prop_assert_eq!(out, hex);
        }
    }
}
