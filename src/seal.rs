//! Sealing with age; the only caller of `finish()`.

use std::io::{self, Read, Write};

/// Checked recipients of one output.
pub struct Recipients {}

/// A recipient that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RecipientError(pub String);

impl Recipients {
    /// Reads recipients: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`, one per string.
    ///
    /// # Errors
    ///
    /// Names the entry that cannot be used, says why and what is accepted; an identity given by mistake is never
    /// repeated in the message.
    pub fn parse<S: AsRef<str>>(_recipients: &[S]) -> Result<Recipients, RecipientError> {
        todo!()
    }
}

/// A sealed stream that has been finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// SHA-256 of the sealed bytes, lower-case hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

/// Writes plaintext in, sealed bytes out. Dropped without [`Sealer::finish`] it leaves a stream that does not decrypt.
pub struct Sealer<W: Write> {
    _inner: W,
}

impl<W: Write> Sealer<W> {
    pub fn new(_recipients: &Recipients, _inner: W) -> io::Result<Sealer<W>> {
        todo!()
    }

    /// Ends the stream so that it decrypts; to be called on success only.
    pub fn finish(self) -> io::Result<(W, Sealed)> {
        todo!()
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, _plaintext: &[u8]) -> io::Result<usize> {
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        todo!()
    }
}

/// Opens a sealed stream with identities in age's or OpenSSH's file format.
pub fn open<R: Read + 'static>(_sealed: R, _identity_file: &[u8]) -> io::Result<Box<dyn Read>> {
    todo!()
}
