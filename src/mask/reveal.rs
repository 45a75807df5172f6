//! The way back from reversible pseudonyms, for those who hold the key.

use zeroize::Zeroizing;

use super::Mask;
use super::fpe::Encryptor;
use super::token::Tokenizer;
use crate::keys::MaskingKeys;

/// Reverses the pseudonyms of one mask and namespace.
pub struct Revealer(Way);

enum Way {
    /// One for each version of the key.
    Token(Vec<Tokenizer>),
    Fpe(Box<Encryptor>),
}

impl Mask {
    /// Reverses pseudonyms of any version of the key where they say which, else of the current one.
    ///
    /// # Errors
    ///
    /// A sentence for the operator when the mask cannot be reversed.
    pub fn revealer(&self, namespace: &str, keys: &MaskingKeys) -> Result<Revealer, String> {
        let namespace = self.namespace().unwrap_or(namespace);
        match self {
            Mask::Token(token) => {
                let all = keys.versions().iter().filter_map(|known| keys.as_of(known.version));
                Ok(Revealer(Way::Token(all.map(|keys| Tokenizer::new(token, namespace, &keys)).collect())))
            }
            Mask::Fpe(fpe) => Ok(Revealer(Way::Fpe(Box::new(Encryptor::new(fpe, namespace, keys))))),
            other => Err(format!("mask {:?} cannot be reversed; \"token\" and \"fpe\" can", other.name())),
        }
    }
}

impl Revealer {
    /// The value and the version of the key; `None` when the text was not made by this mask under this key and
    /// namespace.
    pub fn reveal(&self, pseudonym: &str) -> Option<(Zeroizing<String>, u32)> {
        match &self.0 {
            Way::Token(tokenizers) => {
                tokenizers.iter().find_map(|tokenizer| Some((tokenizer.reveal(pseudonym)?, tokenizer.version())))
            }
            Way::Fpe(encryptor) => Some((encryptor.reveal(pseudonym)?, encryptor.version())),
        }
    }
}
