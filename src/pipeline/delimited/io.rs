//! Both ends: the input with its digest, and the sinks with theirs.

use std::fs::File;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::keys::MaskingKeys;
use crate::pipeline::{DigestKind, Failure, Sink};
use crate::seal::Sealer;

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

fn hex(bytes: &[u8]) -> String {
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

/// Counts and digests what goes to a writer that does not do so itself.
pub(super) struct Counted {
    inner: Box<dyn Write + Send>,
    digest: Sha256,
    bytes: u64,
}

/// One output's open end.
pub(super) enum Drain {
    Sealed(Box<Sealer<File>>),
    Open(Counted),
}

impl Drain {
    pub(super) fn open(sink: Sink) -> Result<Drain, Failure> {
        let inner: Box<dyn Write + Send> = match sink {
            Sink::Sealed { file, recipients } => {
                let sealer = Sealer::new(&recipients, file).map_err(|error| retry("begin to seal", &error))?;
                return Ok(Drain::Sealed(Box::new(sealer)));
            }
            Sink::Plain(writer) => writer,
            Sink::Discard => Box::new(io::sink()),
        };
        Ok(Drain::Open(Counted { inner, digest: Sha256::new(), bytes: 0 }))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Drain::Sealed(sealer) => sealer.write_all(bytes),
            Drain::Open(counted) => {
                counted.digest.update(bytes);
                counted.bytes += bytes.len() as u64;
                counted.inner.write_all(bytes)
            }
        }
        .map_err(|error| retry("write the output", &error))
    }

    /// Ends the output well; SHA-256 and number of the bytes written.
    pub(super) fn finish(self) -> Result<(String, u64), Failure> {
        match self {
            Drain::Sealed(sealer) => {
                let (_, sealed) = sealer.finish().map_err(|error| retry("finish sealing", &error))?;
                Ok((sealed.sha256, sealed.bytes))
            }
            Drain::Open(mut counted) => {
                counted.inner.flush().map_err(|error| retry("write the output", &error))?;
                Ok((hex(&counted.digest.finalize()), counted.bytes))
            }
        }
    }
}
