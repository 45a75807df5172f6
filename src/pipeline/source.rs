//! The input: read once, in order, with the digest of its bytes as they came.

use std::fs::File;
use std::io;

use sha2::{Digest, Sha256};

use super::{DigestKind, Failure};
use crate::keys::MaskingKeys;

pub(super) fn retry(doing: &str, error: &io::Error) -> Failure {
    Failure::Retry { doing: doing.to_owned(), error: error.to_string(), errno: error.raw_os_error() }
}

/// The digest of the input's bytes.
pub(super) enum Digester {
    Keyed(Box<blake3::Hasher>),
    Sha256(Sha256),
    None,
}

impl Digester {
    pub(super) fn new(kind: DigestKind, keys: &MaskingKeys) -> Digester {
        match kind {
            DigestKind::Keyed => Digester::Keyed(Box::new(blake3::Hasher::new_keyed(&keys.derive("input-digest", "")))),
            DigestKind::Sha256 => Digester::Sha256(Sha256::new()),
            DigestKind::None => Digester::None,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Digester::Keyed(hasher) => {
                hasher.update(bytes);
            }
            Digester::Sha256(hasher) => hasher.update(bytes),
            Digester::None => {}
        }
    }

    fn finish(self) -> Option<String> {
        match self {
            Digester::Keyed(hasher) => Some(hasher.finalize().to_hex().to_string()),
            Digester::Sha256(hasher) => Some(hex(&hasher.finalize())),
            Digester::None => None,
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The input, read once in order.
pub(super) struct Source {
    file: File,
    digester: Digester,
    pub bytes: u64,
    pub eof: bool,
}

impl Source {
    pub(super) fn new(file: File, digester: Digester) -> Source {
        Source { file, digester, bytes: 0, eof: false }
    }

    /// Fills `buffer` up to `size` bytes or the end of the file.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, size: usize) -> Result<(), Failure> {
        if self.eof {
            return Ok(());
        }
        let start = buffer.len();
        buffer.reserve_exact(size.saturating_sub(start));
        while buffer.len() < size && !self.eof {
            match rustix::io::read(&self.file, rustix::buffer::spare_capacity(buffer)) {
                Ok(0) => self.eof = true,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(retry("read the input", &errno.into())),
            }
        }
        self.digester.update(&buffer[start..]);
        self.bytes += (buffer.len() - start) as u64;
        Ok(())
    }

    pub(super) fn digest(self) -> Option<String> {
        self.digester.finish()
    }
}
