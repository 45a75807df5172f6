//! The outputs' ends: each sealed or open sink with digest and size of what it got, compressed before where asked for.

use std::fs::File;
use std::io::{self, Write};

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::reading::Compression;
use super::source::{hex, retry};
use super::{ColumnReport, Failure, Format, Output, OutputReport, Sink};
use crate::seal::Sealer;

/// gzip is chosen for its readers; what must be small is better served by zstd.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 3;

/// Counts and digests what goes to a writer that does not do so itself.
pub(super) struct Counted {
    inner: Box<dyn Write + Send>,
    digest: Sha256,
    bytes: u64,
}

/// What takes the output's bytes.
pub(super) enum End {
    Sealed(Box<Sealer<File>>),
    Open(Counted),
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            End::Sealed(sealer) => sealer.write(bytes),
            End::Open(counted) => {
                let count = counted.inner.write(bytes)?;
                counted.digest.update(&bytes[..count]);
                counted.bytes += count as u64;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            End::Sealed(sealer) => sealer.flush(),
            End::Open(counted) => counted.inner.flush(),
        }
    }
}

/// One output between its opening and its report.
pub(super) struct Outlet {
    pub drain: Drain,
    compression: Option<Compression>,
}

impl Outlet {
    pub(super) fn open_all(outputs: Vec<Output>, input: Option<Compression>) -> Result<Vec<Outlet>, Failure> {
        let open = |output: Output| {
            let compression = output.compress.of(input);
            Ok(Outlet { drain: Drain::open(output.sink, compression)?, compression })
        };
        outputs.into_iter().map(open).collect()
    }

    /// Ends the output well.
    pub(super) fn finish(
        self,
        format: Format,
        rows_out: u64,
        columns: Vec<ColumnReport>,
    ) -> Result<OutputReport, Failure> {
        let (sha256, bytes) = self.drain.finish()?;
        Ok(OutputReport { sha256, bytes, format: format.compressed(self.compression), rows_out, columns })
    }
}

/// One output's open end.
pub(super) enum Drain {
    Plain(End),
    /// Ends its own stream when dropped; the seal around it stays unfinished then.
    Gzip(GzEncoder<End>),
    Zstd(zstd::Encoder<'static, End>),
}

impl Drain {
    pub(super) fn open(sink: Sink, compression: Option<Compression>) -> Result<Drain, Failure> {
        let end = match sink {
            Sink::Sealed { file, recipients } => {
                let sealer = Sealer::new(&recipients, file).map_err(|error| retry("begin to seal", &error))?;
                End::Sealed(Box::new(sealer))
            }
            Sink::Plain(inner) => End::Open(Counted { inner, digest: Sha256::new(), bytes: 0 }),
            Sink::Discard => End::Open(Counted { inner: Box::new(io::sink()), digest: Sha256::new(), bytes: 0 }),
        };
        match compression {
            None => Ok(Drain::Plain(end)),
            // No name, comment or time of the original is carried over.
            Some(Compression::Gzip) => {
                Ok(Drain::Gzip(GzBuilder::new().write(end, flate2::Compression::new(GZIP_LEVEL))))
            }
            Some(Compression::Zstd) => {
                let mut encoder =
                    zstd::Encoder::new(end, ZSTD_LEVEL).map_err(|error| retry("begin to compress", &error))?;
                encoder.include_checksum(true).map_err(|error| retry("begin to compress", &error))?;
                Ok(Drain::Zstd(encoder))
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Drain::Plain(end) => end.write_all(bytes),
            Drain::Gzip(encoder) => encoder.write_all(bytes),
            Drain::Zstd(encoder) => encoder.write_all(bytes),
        }
        .map_err(|error| retry("write the output", &error))
    }

    /// Ends the output well; SHA-256 and number of the bytes written.
    pub(super) fn finish(self) -> Result<(String, u64), Failure> {
        let end = match self {
            Drain::Plain(end) => Ok(end),
            Drain::Gzip(encoder) => encoder.finish(),
            Drain::Zstd(encoder) => encoder.finish(),
        }
        .map_err(|error| retry("finish compressing", &error))?;
        match end {
            End::Sealed(sealer) => {
                let (_, sealed) = sealer.finish().map_err(|error| retry("finish sealing", &error))?;
                Ok((sealed.sha256, sealed.bytes))
            }
            End::Open(mut counted) => {
                counted.inner.flush().map_err(|error| retry("write the output", &error))?;
                Ok((hex(&counted.digest.finalize()), counted.bytes))
            }
        }
    }
}
