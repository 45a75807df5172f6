//! Masking and signing keys: their files, versions and derivations.

use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A key that cannot be used; never holds key material.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub String);

/// All versions of a masking key. Serialised only to hand it to a worker process.
#[derive(Clone, Serialize, Deserialize)]
pub struct MaskingKeys {
    versions: Vec<(u32, Zeroizing<[u8; 32]>)>,
}

impl MaskingKeys {
    /// Reads a key file.
    pub fn load(_path: &Path) -> Result<MaskingKeys, KeyError> {
        todo!()
    }

    /// The version that new pseudonyms carry.
    pub fn current_version(&self) -> u32 {
        todo!()
    }

    /// A key for one purpose (`mask/hash`, `input-digest`) and namespace, derived from the current version.
    pub fn derive(&self, _purpose: &str, _namespace: &str) -> Zeroizing<[u8; 32]> {
        todo!()
    }
}

/// The host's signing key.
pub struct SigningKey {}

impl SigningKey {
    pub fn load(_path: &Path) -> Result<SigningKey, KeyError> {
        todo!()
    }

    /// An armoured SSH signature (`ssh-keygen -Y verify` checks it) over `message` in `namespace`.
    pub fn sign(&self, _namespace: &str, _message: &[u8]) -> String {
        todo!()
    }

    pub fn verifying(&self) -> VerifyingKey {
        todo!()
    }
}

/// The public half of a signing key.
pub struct VerifyingKey {}

impl VerifyingKey {
    /// Reads `F.pub` in OpenSSH's format.
    pub fn load(_path: &Path) -> Result<VerifyingKey, KeyError> {
        todo!()
    }

    /// Whether the armoured signature is this key's over the message in the namespace.
    pub fn verify(&self, _namespace: &str, _message: &[u8], _armoured: &str) -> Result<(), KeyError> {
        todo!()
    }
}
