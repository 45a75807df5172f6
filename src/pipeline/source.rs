//! The input: read once, in order, with the digest of its bytes as they came, and decompressed where it is compressed.
//!
//! What comes out of a compressed input is bounded; what is wrong with it is told by kind and position.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};

use super::charset::{self, Script};
use super::reading::{Compression, Limits};
use super::{DigestKind, Failure, Fault};
use crate::keys::MaskingKeys;

/// First bytes that are looked at to recognise the format.
const HEAD: usize = 64 << 10;
/// Raw bytes that a decompressor gets at a time.
const CHUNK: usize = 256 << 10;
const GZIP_BEGINS: u8 = 0x1f;
/// Bytes read at a time for a digest alone.
const DIGEST_BLOCK: usize = 1 << 20;

pub(super) fn retry(doing: &str, error: &io::Error) -> Failure {
    Failure::Retry { doing: doing.to_owned(), error: error.to_string(), errno: error.raw_os_error() }
}

/// Whether a file is as it was when this was noted of it.
pub(super) fn is_unchanged(file: &File, before: &std::fs::Metadata) -> Result<bool, Failure> {
    use std::os::unix::fs::MetadataExt;
    let now = file.metadata().map_err(|error| retry("look at the input", &error))?;
    let of = |it: &std::fs::Metadata| (it.len(), it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
    Ok(of(&now) == of(before))
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

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Digester::Keyed(hasher) => {
                hasher.update(bytes);
            }
            Digester::Sha256(hasher) => hasher.update(bytes),
            Digester::None => {}
        }
    }

    pub(super) fn finish(self) -> Option<String> {
        match self {
            Digester::Keyed(hasher) => Some(hasher.finalize().to_hex().to_string()),
            Digester::Sha256(hasher) => Some(hex(&hasher.finalize())),
            Digester::None => None,
        }
    }
}

/// The digest of a whole file that is read at any place. Such reads move no offset: `progress` shows that there is life.
pub(super) fn digest_of(
    file: &File,
    len: u64,
    kind: DigestKind,
    keys: &MaskingKeys,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Option<String>, Failure> {
    if kind == DigestKind::None {
        return Ok(None);
    }
    let mut digester = Digester::new(kind, keys);
    let (mut block, mut at) = (vec![0; DIGEST_BLOCK], 0);
    loop {
        match file.read_at(&mut block, at) {
            Ok(0) if at == len => break,
            Ok(0) => return Err(retry("read the input", &io::Error::other("it changed meanwhile"))),
            Ok(count) => {
                digester.update(&block[..count]);
                at += count as u64;
                progress(at);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(retry("read the input", &error)),
        }
    }
    Ok(digester.finish())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The file's own bytes, digested and counted as they are read.
struct Raw<'a> {
    file: File,
    digester: Digester,
    bytes: u64,
    /// Bytes read ahead, from [`Raw::replayed`] on still to be handed out.
    head: Vec<u8>,
    replayed: usize,
    /// The operating system's own error: the file is not to blame for it.
    failed: Option<io::Error>,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl Raw<'_> {
    /// Appends what one read gives; false at the end of the file.
    fn read_more(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Failure> {
        let start = buffer.len();
        if start == buffer.capacity() {
            buffer.reserve(CHUNK); // a read into no room would look like the end of the file
        }
        loop {
            match rustix::io::read(&self.file, rustix::buffer::spare_capacity(buffer)) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(retry("read the input", &errno.into())),
            }
        }
        self.digester.update(&buffer[start..]);
        self.bytes += (buffer.len() - start) as u64;
        (self.progress)(self.bytes);
        Ok(buffer.len() > start)
    }
}

impl Read for Raw<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.replayed < self.head.len() {
            let count = (&self.head[self.replayed..]).read(out)?;
            self.replayed += count;
            return Ok(count);
        }
        loop {
            match rustix::io::read(&self.file, &mut *out) {
                Ok(count) => {
                    self.digester.update(&out[..count]);
                    self.bytes += count as u64;
                    (self.progress)(self.bytes);
                    return Ok(count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    self.failed = Some(errno.into());
                    return Err(errno.into());
                }
            }
        }
    }
}

enum Stage<'a> {
    Plain(Raw<'a>),
    /// `None` only while one member follows another.
    Gzip(Option<Box<GzDecoder<BufReader<Raw<'a>>>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Raw<'a>>>>),
}

/// The input, read once in order.
pub(super) struct Source<'a> {
    stage: Stage<'a>,
    limits: Limits,
    /// Decoded bytes that were looked at and are still to be handed out.
    ahead: Vec<u8>,
    /// Makes UTF-8 of text that is something else.
    text: Option<(Script, charset::Decoder)>,
    /// All decompressed bytes, those in `ahead` included.
    decoded: u64,
    /// Nothing is left to decode.
    ended: bool,
    /// Everything was handed out.
    pub eof: bool,
}

impl<'a> Source<'a> {
    /// Reads the beginning of a file and recognises its compression.
    pub(super) fn open(
        file: File,
        digester: Digester,
        limits: Limits,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Result<Source<'a>, Failure> {
        let mut raw = Raw { file, digester, bytes: 0, head: Vec::new(), replayed: 0, failed: None, progress };
        let mut head = Vec::with_capacity(HEAD);
        let mut ended = false;
        while head.len() < HEAD && !ended {
            ended = !raw.read_more(&mut head)?;
        }
        let Some(compression) = compression(&head) else {
            let decoded = head.len() as u64;
            let eof = ended && head.is_empty();
            return Ok(Source { stage: Stage::Plain(raw), limits, ahead: head, text: None, decoded, ended, eof });
        };
        raw.head = head;
        let reader = BufReader::with_capacity(CHUNK, raw);
        let stage = match compression {
            Compression::Gzip => Stage::Gzip(Some(Box::new(GzDecoder::new(reader)))),
            Compression::Zstd => {
                let decoder =
                    zstd::Decoder::with_buffer(reader).map_err(|error| retry("begin to decompress", &error))?;
                Stage::Zstd(Box::new(decoder))
            }
        };
        let mut source = Source { stage, limits, ahead: Vec::new(), text: None, decoded: 0, ended: false, eof: false };
        let mut ahead = Vec::new();
        source.decode(&mut ahead, HEAD)?;
        source.eof = source.ended && ahead.is_empty();
        source.ahead = ahead;
        Ok(source)
    }

    pub(super) fn compression(&self) -> Option<Compression> {
        match self.stage {
            Stage::Plain(_) => None,
            Stage::Gzip(_) => Some(Compression::Gzip),
            Stage::Zstd(_) => Some(Compression::Zstd),
        }
    }

    /// Has the text decoded from here on; to be called before any byte is taken.
    pub(super) fn read_as(&mut self, script: Script) {
        if script.is_plain() {
            return;
        }
        let mut decoder = charset::Decoder::new(script.clone());
        let bytes = std::mem::take(&mut self.ahead);
        decoder.decode(&bytes, self.ended, &mut self.ahead);
        self.eof = self.ended && self.ahead.is_empty();
        self.text = Some((script, decoder));
    }

    /// How the text is written.
    pub(super) fn script(&self) -> Script {
        self.text.as_ref().map_or_else(Script::plain, |(script, _)| script.clone())
    }

    /// The first decoded bytes, before any was taken, and whether they are all.
    pub(super) fn head(&self) -> (&[u8], bool) {
        (&self.ahead, self.ended)
    }

    /// Number of the file's own bytes read.
    pub(super) fn bytes(&self) -> u64 {
        self.raw().bytes
    }

    /// Fills `buffer` up to `size` bytes, or a little more, or the end of the input.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, size: usize) -> Result<(), Failure> {
        let missing = size.saturating_sub(buffer.len());
        buffer.reserve_exact(missing);
        if !self.ahead.is_empty() {
            let take = missing.min(self.ahead.len());
            buffer.extend(self.ahead.drain(..take));
        }
        if self.ahead.is_empty() {
            self.read_text(buffer, size)?;
            self.eof = self.ended;
        }
        Ok(())
    }

    fn read_text(&mut self, buffer: &mut Vec<u8>, size: usize) -> Result<(), Failure> {
        let Some((script, mut decoder)) = self.text.take() else { return self.decode(buffer, size) };
        let mut bytes = Vec::new();
        while buffer.len() < size && !self.ended {
            bytes.clear();
            self.decode(&mut bytes, CHUNK)?;
            decoder.decode(&bytes, self.ended, buffer);
        }
        self.text = Some((script, decoder));
        Ok(())
    }

    /// Digest of the file's own bytes.
    pub(super) fn digest(self) -> Option<String> {
        let raw = match self.stage {
            Stage::Plain(raw) => raw,
            Stage::Gzip(decoder) => decoder.expect("present between two calls").into_inner().into_inner(),
            Stage::Zstd(decoder) => decoder.finish().into_inner(),
        };
        raw.digester.finish()
    }

    fn raw(&self) -> &Raw<'a> {
        match &self.stage {
            Stage::Plain(raw) => raw,
            Stage::Gzip(decoder) => decoder.as_ref().expect("present between two calls").get_ref().get_ref(),
            Stage::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// Appends decoded bytes until `buffer` has `size` bytes or nothing is left.
    fn decode(&mut self, buffer: &mut Vec<u8>, size: usize) -> Result<(), Failure> {
        if let Stage::Plain(raw) = &mut self.stage {
            while buffer.len() < size && !self.ended {
                self.ended = !raw.read_more(buffer)?;
            }
            return Ok(());
        }
        let mut filled = buffer.len();
        buffer.resize(size.max(filled), 0);
        while filled < size && !self.ended {
            let read = match &mut self.stage {
                Stage::Plain(_) => unreachable!("handled above"),
                Stage::Gzip(decoder) => read_members(decoder, &mut buffer[filled..]),
                Stage::Zstd(decoder) => decoder.read(&mut buffer[filled..]),
            };
            match read {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    filled += count;
                    self.decoded += count as u64;
                    self.check_expansion()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.undecodable(&error)),
            }
        }
        buffer.truncate(filled);
        Ok(())
    }

    fn check_expansion(&self) -> Result<(), Failure> {
        match self.limits.exceeded(self.decoded, self.bytes()) {
            Some((what, advice)) => Err(self.reject("expansion_exceeded", &what, &advice)),
            None => Ok(()),
        }
    }

    /// The decompressors' own messages are not passed on: only what went wrong, and where.
    fn undecodable(&mut self, error: &io::Error) -> Failure {
        let failed = match &mut self.stage {
            Stage::Plain(raw) => raw.failed.take(),
            Stage::Gzip(decoder) => decoder.as_mut().and_then(|decoder| decoder.get_mut().get_mut().failed.take()),
            Stage::Zstd(decoder) => decoder.get_mut().get_mut().failed.take(),
        };
        if let Some(failed) = failed {
            return retry("read the input", &failed);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.reject("compression_cut_off", "it ends in the middle", "Have the file sent again.")
            }
            // What zstd says is its own text, never the data's.
            _ if error.to_string().contains("memory") => self.reject(
                "compression_window",
                "it asks for a window of more than 128 MiB",
                "Have it compressed without `--long`.",
            ),
            _ => self.reject(
                "compression_damaged",
                "it is damaged, or something else follows it",
                "Have the file compressed and sent again.",
            ),
        }
    }

    fn reject(&self, code: &str, what: &str, advice: &str) -> Failure {
        let (name, read) = (self.compression().map_or("", Compression::name), self.bytes());
        Failure::Reject(Fault {
            code: code.to_owned(),
            sentence: format!(
                "the {name} stream cannot be read: {what}, at or before byte offset {read}, after {} decompressed bytes",
                self.decoded
            ),
            row: None,
            column: None,
            byte_offset: Some(read),
            advice: advice.to_owned(),
        })
    }
}

/// The compression that the first bytes show.
pub(super) fn compression(head: &[u8]) -> Option<Compression> {
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Compression::Gzip),
        // A skippable frame may come first.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
        _ => None,
    }
}

type Member<'a> = Option<Box<GzDecoder<BufReader<Raw<'a>>>>>;

/// Reads on over the ends of members. Zeros behind the last one are padding, anything else is refused.
fn read_members(slot: &mut Member<'_>, out: &mut [u8]) -> io::Result<usize> {
    loop {
        let decoder = slot.as_mut().expect("present between two calls");
        let count = decoder.read(out)?;
        if count > 0 {
            return Ok(count);
        }
        let reader = decoder.get_mut();
        loop {
            match reader.fill_buf()? {
                [] => return Ok(0),
                [0, ..] => reader.consume(1),
                [GZIP_BEGINS, ..] => break,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        let reader = slot.take().expect("present between two calls").into_inner();
        *slot = Some(Box::new(GzDecoder::new(reader)));
    }
}
