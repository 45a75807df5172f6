//! Reversible pseudonyms: AES-256-SIV (RFC 5297), deterministic under one key and namespace.
//!
//! `tok<version of the key>.<base64url of the synthetic IV and the ciphertext>`. Values are padded to whole blocks
//! (ISO/IEC 7816-4), so that a token does not tell a short name from a long one.

use std::cell::RefCell;
use std::fmt::Write;

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::MaskParams;
use super::normalize::Normalize;
use crate::keys::MaskingKeys;

const PREFIX: &str = "tok";
/// Values are padded to multiples of this.
const BLOCK_BYTES: usize = 16;
const NO_HEADERS: [&[u8]; 0] = [];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMask {
    pub namespace: Option<String>,
    pub normalize: Normalize,
}

impl TokenMask {
    pub fn from_params(params: &MaskParams) -> Result<TokenMask, String> {
        Ok(TokenMask {
            namespace: super::params::namespace(params)?,
            normalize: Normalize::parse(params.normalize.as_deref())?,
        })
    }
}

/// Makes tokens under one version of the key.
pub struct Tokenizer {
    version: u32,
    key: Zeroizing<[u8; 64]>,
    pub(super) normalize: Normalize,
}

impl Tokenizer {
    pub fn new(mask: &TokenMask, namespace: &str, keys: &MaskingKeys) -> Tokenizer {
        let mut key = Zeroizing::new([0; 64]);
        for (half, purpose) in key.chunks_exact_mut(32).zip(["mask/token/mac", "mask/token/cipher"]) {
            half.copy_from_slice(keys.derive(purpose, namespace).as_slice());
        }
        Tokenizer { version: keys.current_version(), key, normalize: mask.normalize }
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    /// The cipher for one column's worth of cells: it is not shared between threads.
    pub fn cipher(&self) -> Cipher {
        Cipher { siv: RefCell::new(Aes256Siv::new(self.key.as_slice().into())), version: self.version }
    }

    /// The value of a token; `None` when it was not made under this key and namespace.
    pub fn reveal(&self, token: &str) -> Option<Zeroizing<String>> {
        let (version, body) = parts(token)?;
        let sealed = URL_SAFE_NO_PAD.decode(body).ok().filter(|_| version == self.version)?;
        let mut siv = Aes256Siv::new(self.key.as_slice().into());
        let mut padded = Zeroizing::new(siv.decrypt(NO_HEADERS, &sealed).ok()?);
        let end = padded.iter().rposition(|byte| *byte != 0).filter(|end| padded[*end] == 0x80)?;
        padded.truncate(end);
        std::str::from_utf8(&padded).ok().map(|value| Zeroizing::new(value.to_owned()))
    }
}

/// The version of the key that a token was made under, and the rest.
fn parts(token: &str) -> Option<(u32, &str)> {
    let (version, body) = token.strip_prefix(PREFIX)?.split_once('.')?;
    let canonical = !version.starts_with(['0', '+']);
    version.parse().ok().filter(|_| canonical).map(|version| (version, body))
}

pub struct Cipher {
    siv: RefCell<Aes256Siv>,
    version: u32,
}

impl Cipher {
    /// Appends the token of `value` to `out`.
    pub fn token_into(&self, value: &str, out: &mut String) {
        let padded = (value.len() / BLOCK_BYTES + 1) * BLOCK_BYTES;
        let mut buffer = Vec::with_capacity(padded + BLOCK_BYTES);
        buffer.extend_from_slice(value.as_bytes());
        buffer.push(0x80);
        buffer.resize(padded, 0);
        let sealed = self.siv.borrow_mut().encrypt_in_place(NO_HEADERS, &mut buffer);
        sealed.expect("a cell fits into memory once more");
        write!(out, "{PREFIX}{}.", self.version).expect("a String takes every text");
        URL_SAFE_NO_PAD.encode_string(&buffer, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> MaskingKeys {
        let line = |version: u32, byte: u8| {
            let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
            format!("{version} 2026-01-01T00:00:00Z {key}\n")
        };
        MaskingKeys::parse(&format!("veild-masking-key 1\n{}{}", line(1, 7), line(2, 8))).unwrap()
    }

    fn tokenizer(namespace: &str, version: u32) -> Tokenizer {
        Tokenizer::new(&TokenMask::default(), namespace, &keys().as_of(version).unwrap())
    }

    fn token(namespace: &str, version: u32, value: &str) -> String {
        let mut out = String::new();
        tokenizer(namespace, version).cipher().token_into(value, &mut out);
        out
    }

    #[test]
    fn a_token_is_what_it_always_was() {
        // Outputs of all times must join and be revealed: this text, which OpenSSL's AES-256-SIV makes too, may never
        // change.
        assert_eq!(token("email", 1, "ann@example.com"), "tok1.WnDN1lWRYSzUHQzBIAYXYzCeVUBqEPzzvHYpYeMN3mY");
        assert_eq!(token("email", 1, "ann@example.com").len(), token("email", 1, "a").len());
    }

    #[test]
    fn only_its_own_key_and_namespace_reveal_a_token() {
        let made = token("email", 1, "ann@example.com");
        assert_eq!(tokenizer("email", 1).reveal(&made).unwrap().as_str(), "ann@example.com");
        assert!(tokenizer("mail", 1).reveal(&made).is_none());
        assert!(tokenizer("email", 2).reveal(&made).is_none());
        assert!(tokenizer("email", 2).reveal(&made.replace("tok1", "tok2")).is_none());
        for broken in ["", "tok1", "tok.x", "tok01.x", "tok1.!", "tok1.", &made[..made.len() - 1]] {
            assert!(tokenizer("email", 1).reveal(broken).is_none(), "{broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_goes_in_comes_out(value in "\\PC{0,60}") {
            let revealed = tokenizer("n", 2).reveal(&token("n", 2, &value)).unwrap();
            proptest::prop_assert_eq!(revealed.as_str(), value);
        }
    }
}
