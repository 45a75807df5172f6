//! Keyed one-way pseudonyms: HMAC-SHA-256 (RFC 2104) or keyed BLAKE3.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

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
    HmacSha256(Hmac<Sha256>),
    Blake3(zeroize::Zeroizing<[u8; 32]>),
}

impl Keyed {
    pub fn new(mask: &HashMask, key: &[u8; 32]) -> Keyed {
        let state = match mask.algorithm {
            Algorithm::HmacSha256 => {
                KeyedState::HmacSha256(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
            }
            Algorithm::Blake3 => KeyedState::Blake3(zeroize::Zeroizing::new(*key)),
        };
        Keyed { state, encoding: mask.encoding, length: mask.length as usize, normalize: mask.normalize }
    }

    /// Appends the pseudonym of `value` to `out`.
    pub fn hash_into(&self, value: &str, out: &mut String) {
        let digest: [u8; 32] = match &self.state {
            KeyedState::HmacSha256(keyed) => {
                keyed.clone().chain_update(value.as_bytes()).finalize().into_bytes().into()
            }
            KeyedState::Blake3(key) => *blake3::keyed_hash(key, value.as_bytes()).as_bytes(),
        };
        match self.encoding {
            Encoding::Hex => encode_into(&digest, 4, b"0123456789abcdef", self.length, out),
            Encoding::Base32 => encode_into(&digest, 5, b"abcdefghijklmnopqrstuvwxyz234567", self.length, out),
            Encoding::Base64Url => {
                let mut text = [0; 43];
                let written = URL_SAFE_NO_PAD.encode_slice(digest, &mut text).expect("32 bytes make 43 characters");
                out.push_str(std::str::from_utf8(&text[..written.min(self.length)]).expect("base64 is ASCII"));
            }
        }
    }
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
}
