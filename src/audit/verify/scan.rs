//! Reading for verification: segments in order, their lines hashed and parsed on all processors.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::segment;
use super::super::{AUDIT_VERSION, AuditError, MAX_LINE};
use crate::fsutil::At;

/// Bytes that one thread takes at once.
const BLOCK: usize = 1 << 20;
/// Blocks that wait for each thread.
const AHEAD: usize = 2;

/// What the chain needs of a line; of the rest only that it is JSON.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: Option<Event<'a>>,
    veild: Links<'a>,
}

#[derive(Deserialize)]
struct Event<'a> {
    action: &'a str,
}

#[derive(Deserialize)]
struct Links<'a> {
    audit_version: u64,
    seq: u64,
    prev: &'a str,
    checkpoint: Option<IgnoredAny>,
}

/// A line as the chain sees it.
pub(super) struct Scanned {
    /// Of its first byte.
    pub offset: u64,
    pub is_whole: bool,
    pub hash: String,
    pub kind: Kind,
}

/// What a line is, with its bytes where more is needed than its link.
pub(super) enum Kind {
    Plain(Link),
    Checkpoint(Link, Vec<u8>),
    Pruned(Link, Vec<u8>),
    /// No audit line of a known version.
    Unknown(Vec<u8>),
}

pub(super) struct Link {
    pub seq: u64,
    pub prev: String,
}

/// A piece of a segment, in order.
pub(super) enum Item {
    /// Lines that a thread is at.
    Lines(Receiver<Vec<Scanned>>),
    /// Its end, or why it could not be read to its end.
    End(Result<(), AuditError>),
}

/// Bytes of whole lines, as far as there are any.
struct Block {
    offset: u64,
    bytes: Vec<u8>,
    answer: SyncSender<Vec<Scanned>>,
}

/// Starts to read these segments; each one's items are followed by its end.
pub(super) fn start<'s>(scope: &'s Scope<'s, '_>, segments: Vec<PathBuf>) -> Receiver<Item> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
    let (blocks, to_do) = sync_channel::<Block>(AHEAD * threads);
    let to_do = std::sync::Arc::new(Mutex::new(to_do));
    for _ in 0..threads {
        let to_do = to_do.clone();
        scope.spawn(move || {
            let next = || to_do.lock().unwrap_or_else(PoisonError::into_inner).recv();
            while let Ok(Block { offset, bytes, answer }) = next() {
                let _ = answer.send(scan(&bytes, offset)); // whoever asked may have stopped
            }
        });
    }
    let (items, read) = sync_channel(AHEAD * threads);
    scope.spawn(move || {
        for path in segments {
            let ended = blocks_of(&path, &blocks, &items);
            if items.send(Item::End(ended)).is_err() {
                return; // nobody wants the rest
            }
        }
    });
    read
}

/// Cuts a segment into blocks, each at the end of a line.
fn blocks_of(path: &Path, blocks: &SyncSender<Block>, items: &SyncSender<Item>) -> Result<(), AuditError> {
    let mut reader = open(path)?;
    let (mut rest, mut offset): (Vec<u8>, u64) = (Vec::new(), 0);
    loop {
        let had = rest.len();
        let read = reader.by_ref().take(BLOCK as u64).read_to_end(&mut rest).at("read", path);
        let is_end = matches!(read, Ok(0) | Err(_));
        let whole = if is_end { rest.len() } else { cut(&rest, had) };
        if whole > 0 {
            let bytes: Vec<u8> = rest.drain(..whole).collect();
            let (answer, lines) = sync_channel(1);
            if items.send(Item::Lines(lines)).is_err() || blocks.send(Block { offset, bytes, answer }).is_err() {
                return Ok(()); // nobody wants the rest
            }
            offset += whole as u64;
        }
        read?;
        if is_end {
            return Ok(());
        }
    }
}

/// Where the last whole line ends; of what is longer than a line may be, where [`lines`] would cut it anyway.
fn cut(bytes: &[u8], had: usize) -> usize {
    match memchr::memrchr(b'\n', &bytes[had..]) {
        Some(end) => had + end + 1,
        None => bytes.len() / (MAX_LINE + 1) * (MAX_LINE + 1),
    }
}

/// A segment under the name that it has now.
fn open(path: &Path) -> Result<Box<dyn Read>, AuditError> {
    let (file, path) = segment::open_file(path)?;
    match segment::is_compressed(&path) {
        true => Ok(Box::new(zstd::stream::read::Decoder::new(file).at("open", &path)?)),
        false => Ok(Box::new(file)),
    }
}

/// Lines with their newline, never more than [`MAX_LINE`] bytes and one of any.
fn lines(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1).min(MAX_LINE + 1);
        let (line, rest) = bytes.split_at(end);
        bytes = rest;
        Some(line)
    })
}

fn scan(bytes: &[u8], mut offset: u64) -> Vec<Scanned> {
    let mut scanned = Vec::with_capacity(bytes.len() / 512);
    for line in lines(bytes) {
        let is_whole = segment::is_whole(line);
        scanned.push(Scanned { offset, is_whole, hash: segment::hash(line), kind: kind(line) });
        offset += line.len() as u64;
    }
    scanned
}

fn kind(line: &[u8]) -> Kind {
    let parsed: Option<Line<'_>> = serde_json::from_slice(line).ok();
    let known = parsed.filter(|line| (1..=AUDIT_VERSION).contains(&line.veild.audit_version));
    let Some(Line { event, veild }) = known else { return Kind::Unknown(line.to_vec()) };
    let link = Link { seq: veild.seq, prev: veild.prev.to_owned() };
    match event.map(|event| event.action) {
        Some("audit.checkpoint") => Kind::Checkpoint(link, line.to_vec()),
        _ if veild.checkpoint.is_some() => Kind::Checkpoint(link, line.to_vec()),
        Some("audit.pruned") => Kind::Pruned(link, line.to_vec()),
        _ => Kind::Plain(link),
    }
}
