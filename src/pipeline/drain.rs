//! The outputs' ends: each sealed or open sink with digest and size of what it got.

use std::fs::File;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::source::{hex, retry};
use super::{Failure, Sink};
use crate::seal::Sealer;

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
