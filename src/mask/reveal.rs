//! The way back from reversible pseudonyms, for those who hold the key.

use zeroize::Zeroizing;

use super::Mask;
use super::token::Tokenizer;
use crate::keys::MaskingKeys;

/// Reverses the pseudonyms of one mask and namespace.
pub struct Revealer {
    /// One for each version of the key.
    tokenizers: Vec<Tokenizer>,
}

impl Mask {
    /// # Errors
    ///
    /// A sentence for the operator when the mask cannot be reversed.
    pub fn revealer(&self, namespace: &str, keys: &MaskingKeys) -> Result<Revealer, String> {
        let all = keys.versions().iter().filter_map(|known| keys.as_of(known.version));
        match self {
            Mask::Token(token) => {
                let namespace = token.namespace.as_deref().unwrap_or(namespace);
                Ok(Revealer { tokenizers: all.map(|keys| Tokenizer::new(token, namespace, &keys)).collect() })
            }
            other => Err(format!("mask {:?} cannot be reversed, \"token\" can", other.name())),
        }
    }
}

impl Revealer {
    /// The value and the version of the key; `None` when the text was not made by this mask under this key and
    /// namespace.
    pub fn reveal(&self, pseudonym: &str) -> Option<(Zeroizing<String>, u32)> {
        self.tokenizers.iter().find_map(|tokenizer| Some((tokenizer.reveal(pseudonym)?, tokenizer.version())))
    }
}
