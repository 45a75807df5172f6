//! The outputs' ends: each sealed or open sink with digest and size of what it got, compressed before where asked for.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::charset::{Charset, Script};
use super::convert::Converter;
use super::expansion::Expansion;
use super::fault::{internal, of_file};
use super::reading::Compression;
use super::sieve::Rows;
use super::source::{Source, hex, retry};
use super::verify::{Sum, Verified};
use super::{ColumnReport, Failure, Fault, Format, Outgoing, OutputReport, Sink, Writing};
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
    writing: Writing,
    /// Counts what a conversion makes.
    pub expansion: Arc<Expansion>,
    /// What the leak scan has seen of it.
    pub sum: Sum,
}

impl Outlet {
    /// Opens an output for the text of a source: written as that is, or for a conversion in UTF-8.
    pub(super) fn open(output: Outgoing, source: &Source<'_>, format: Format, sum: Sum) -> Result<Outlet, Failure> {
        let script = if output.writing.format.converts(format) { Script::plain() } else { source.script() };
        Outlet::open_as(output, (format, source.compression()), script, sum)
    }

    /// Opens an output for bytes that are not written in a file's encoding, made from an input of that format and
    /// compression.
    pub(super) fn open_binary(
        output: Outgoing,
        input: (Format, Option<Compression>),
        sum: Sum,
    ) -> Result<Outlet, Failure> {
        Outlet::open_as(output, input, Script::plain(), sum)
    }

    fn open_as(
        output: Outgoing,
        (format, compression): (Format, Option<Compression>),
        script: Script,
        sum: Sum,
    ) -> Result<Outlet, Failure> {
        let Outgoing { writing, sink, expansion, .. } = output;
        let compression = writing.compression(format, compression);
        Ok(Outlet { drain: Drain::open(sink, compression, script)?, compression, writing, expansion, sum })
    }

    pub(super) fn open_all(
        outputs: Vec<Outgoing>,
        source: &Source<'_>,
        format: Format,
    ) -> Result<Vec<Outlet>, Failure> {
        let open = |output: Outgoing| {
            let sum = Sum::new(&output.policy);
            Outlet::open(output, source, format, sum)
        };
        outputs.into_iter().map(open).collect()
    }

    /// How an input of that format is converted, if it is.
    pub(super) fn conversion(&self, format: Format) -> Option<Writing> {
        self.writing.format.converts(format).then_some(self.writing)
    }

    /// The verdicts over all that was written; before the first output is ended, for a leak in one leaves none.
    pub(super) fn verify_all<'o>(outlets: impl Iterator<Item = &'o mut Outlet>) -> Result<Vec<Verified>, Failure> {
        outlets.map(|outlet| outlet.sum.finish()).collect()
    }

    /// Ends the output well; `format` is what it was made from.
    pub(super) fn finish(
        self,
        format: Format,
        rows: Rows,
        columns: Vec<ColumnReport>,
        verify: Verified,
    ) -> Result<OutputReport, Failure> {
        crate::faults::point("before_finish");
        if self.drain.converter.as_ref().is_some_and(|converter| converter.rows() != rows.out) {
            return Err(internal("rows were lost in a conversion"));
        }
        let (sha256, bytes) = self.drain.finish()?;
        crate::faults::point("after_finish");
        let Rows { out: rows_out, suppressed: rows_suppressed, anonymity } = rows;
        let format = self.writing.format.of(format).compressed(self.compression);
        Ok(OutputReport { sha256, bytes, format, rows_out, rows_suppressed, anonymity, columns, verify })
    }
}

/// One output's open end.
pub(super) struct Drain {
    press: Press,
    script: Script,
    /// Reused for each piece that must be encoded.
    encoded: Vec<u8>,
    /// What the text becomes before it is pressed.
    pub converter: Option<Converter>,
}

/// The compression in front of the end.
enum Press {
    Plain(End),
    /// Ends its own stream when dropped; the seal around it stays unfinished then.
    Gzip(GzEncoder<End>),
    Zstd(zstd::Encoder<'static, End>),
}

impl Press {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Press::Plain(end) => end.write_all(bytes),
            Press::Gzip(encoder) => encoder.write_all(bytes),
            Press::Zstd(encoder) => encoder.write_all(bytes),
        }
        .map_err(|error| retry("write the output", &error))
    }
}

impl Drain {
    fn open(sink: Sink, compression: Option<Compression>, script: Script) -> Result<Drain, Failure> {
        let end = match sink {
            Sink::Sealed { file, sealing } => {
                let sealer = Sealer::begin(sealing, file).map_err(|error| retry("begin to seal", &error))?;
                End::Sealed(Box::new(sealer))
            }
            Sink::Plain(inner) => End::Open(Counted { inner, digest: Sha256::new(), bytes: 0 }),
            Sink::Discard => End::Open(Counted { inner: Box::new(io::sink()), digest: Sha256::new(), bytes: 0 }),
        };
        let press = match compression {
            None => Press::Plain(end),
            // No name, comment or time of the original is carried over.
            Some(Compression::Gzip) => Press::Gzip(GzBuilder::new().write(end, flate2::Compression::new(GZIP_LEVEL))),
            Some(Compression::Zstd) => {
                let mut encoder =
                    zstd::Encoder::new(end, ZSTD_LEVEL).map_err(|error| retry("begin to compress", &error))?;
                encoder.include_checksum(true).map_err(|error| retry("begin to compress", &error))?;
                Press::Zstd(encoder)
            }
        };
        Ok(Drain { press, script, encoded: Vec::new(), converter: None })
    }

    /// Writes a piece of text in UTF-8, which holds whole characters only.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        if let Some(converter) = &mut self.converter {
            return converter.take(piece, &mut |made| self.press.write(made));
        }
        let bytes = if self.script.is_plain() {
            piece
        } else {
            let text = simdutf8::basic::from_utf8(piece).map_err(|_| internal("a piece is cut within a character"))?;
            self.encoded.clear();
            let encoded = self.script.encode(text, &mut self.encoded);
            encoded.map_err(|character| Failure::Reject(unencodable(character, self.script.charset)))?;
            &self.encoded
        };
        self.press.write(bytes)
    }

    /// Ends the output well; SHA-256 and number of the bytes written.
    pub(super) fn finish(mut self) -> Result<(String, u64), Failure> {
        if let Some(converter) = self.converter.take() {
            self.press.write(&converter.end()?)?;
        }
        let end = match self.press {
            Press::Plain(end) => Ok(end),
            Press::Gzip(encoder) => encoder.finish(),
            Press::Zstd(encoder) => encoder.finish(),
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

/// What comes from the file was written in its encoding: the character is one of a mask's own.
fn unencodable(character: char, charset: Charset) -> Fault {
    let code = u32::from(character);
    of_file(
        "unencodable_text",
        &format!("a mask puts in the character U+{code:04X}, which {} does not have", charset.name()),
        "Choose a text or character for the mask that the file's encoding has, or have the file sent as UTF-8.",
    )
}
