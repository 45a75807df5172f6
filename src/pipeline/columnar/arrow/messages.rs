//! A walk over the messages of Arrow IPC before their bodies are read: how they are compressed, and what would come out.

use std::io::{BufReader, Read, Seek};

use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Block, CompressionType, Message, MessageHeader, RecordBatch, root_as_footer, root_as_message};

use super::{ADVICE, MAGIC};
use crate::pipeline::expansion::Expansion;
use crate::pipeline::fault::of_file;
use crate::pipeline::source::retry;
use crate::pipeline::window::Window;
use crate::pipeline::{Failure, Fault, Limits};

const CONTINUATION: [u8; 4] = [0xff; 4];
/// Bytes behind a file's footer: its length and the magic.
const TAIL: usize = 10;
/// Longest message without its body.
const LONGEST_HEAD: usize = 64 << 20;
/// Bytes behind a file among which its end is looked for, and the places there that may be it.
const LONGEST_TRAILER: u64 = 64 << 10;
const FEW_ENDS: usize = 8;

/// What the messages say.
#[derive(Default)]
pub(super) struct Messages {
    /// Of the first batch that has one.
    pub compression: Option<CompressionType>,
    /// Bytes that come out of compressed buffers.
    expanded: u64,
    /// Why there may be a message that was not looked at, and that the reader would take.
    unseen: Option<Fault>,
}

/// Looks at all messages, in a stream up to one that cannot be read: the reader will say what is wrong with it.
///
/// # Errors
///
/// [`Failure::Reject`] where more comes out of the file than its limits allow: each buffer says itself how long it
/// becomes, and is believed by its reader. Also for a message that only the reader might understand.
pub(super) fn look(window: &Window, limits: &Limits) -> Result<Messages, Failure> {
    let mut messages = Messages::default();
    messages.walk(window);
    if let Some(error) = window.failure() {
        return Err(retry("read the input", &error));
    }
    if let Some(fault) = messages.unseen {
        return Err(Failure::Reject(fault));
    }
    Expansion::of(window.size(), *limits).check(messages.expanded)?;
    Ok(messages)
}

impl Messages {
    fn walk(&mut self, window: &Window) {
        let mut magic = [0; MAGIC.len()];
        if window.from(0).read_exact(&mut magic).is_ok() && magic == MAGIC {
            self.unseen = self.blocks(window).err();
            return;
        }
        let mut at = Some(0);
        while let Some(here) = at {
            at = self.message(window, here);
        }
    }

    /// The messages that a file's footer names.
    fn blocks(&mut self, window: &Window) -> Result<(), Fault> {
        let (start, footer) = footer(window)?;
        let unreadable = |_| damaged("the footer of the Arrow IPC file cannot be read", start);
        let footer = root_as_footer(&footer).map_err(unreadable)?;
        let blocks = footer.recordBatches().into_iter().flatten().chain(footer.dictionaries().into_iter().flatten());
        for block in blocks {
            let Ok(at) = u64::try_from(block.offset()) else {
                return Err(damaged("the footer of the Arrow IPC file cannot be read", start));
            };
            let unreadable = || damaged("a batch of the Arrow IPC file cannot be read", at);
            self.block(at, block, window).ok_or_else(unreadable)?;
        }
        Ok(())
    }

    /// Message and body stand where the footer says: the reader does not look at what the message says before it.
    fn block(&mut self, at: u64, block: &Block, window: &Window) -> Option<()> {
        let length = u64::try_from(block.metaDataLength()).ok()?;
        let body = at.checked_add(length)?;
        // The reader makes room for a body before it reads it.
        body.checked_add(u64::try_from(block.bodyLength()).ok()?).filter(|end| *end <= window.size())?;
        let mut head = Vec::new();
        window.from(at).take(length.min(LONGEST_HEAD as u64 + 1)).read_to_end(&mut head).ok()?;
        let head = head.strip_prefix(&CONTINUATION).unwrap_or(&head).get(4..).filter(|it| it.len() <= LONGEST_HEAD)?;
        self.add(root_as_message(head).ok()?, body, window);
        Some(())
    }

    /// Looks at the message of a stream that begins at a place; where the next one does.
    fn message(&mut self, window: &Window, at: u64) -> Option<u64> {
        let mut reader = BufReader::new(window.from(at));
        let mut word = [0; 4];
        reader.read_exact(&mut word).ok()?;
        if word == CONTINUATION {
            reader.read_exact(&mut word).ok()?;
        }
        let length = u32::from_le_bytes(word) as usize;
        if length > LONGEST_HEAD {
            self.unseen = Some(damaged("a message of the Arrow IPC stream is longer than any can be", at));
        }
        if length == 0 || length > LONGEST_HEAD {
            return None;
        }
        let mut head = Vec::new();
        (&mut reader).take(length as u64).read_to_end(&mut head).ok()?;
        let message = root_as_message(&head).ok()?;
        let body = reader.stream_position().ok()?;
        self.add(message, body, window);
        // Forward only: a length below zero must not lead round and round.
        body.checked_add(u64::try_from(message.bodyLength()).ok()?)
    }

    fn add(&mut self, message: Message<'_>, body: u64, window: &Window) {
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|it| it.data()),
            _ => None,
        };
        if let Some(batch) = batch {
            let compression = batch.compression().map(|compression| compression.codec());
            self.compression = self.compression.or(compression);
            self.expanded = self.expanded.saturating_add(expanded(batch, body, window));
        }
    }
}

/// A file's footer, and where it begins.
fn footer(window: &Window) -> Result<(u64, Vec<u8>), Fault> {
    let size = window.size();
    if let Some(found) = footer_before(window, size) {
        return Ok(found);
    }
    let mut last = Vec::new();
    if window.from(size.saturating_sub(MAGIC.len() as u64)).read_to_end(&mut last).is_ok() && last == MAGIC {
        return Err(damaged(
            "the footer of the Arrow IPC file has no length that can be",
            size.saturating_sub(TAIL as u64),
        ));
    }
    last.clear();
    let from = size.saturating_sub(LONGEST_TRAILER);
    let is_read = window.from(from).read_to_end(&mut last).is_ok();
    let places = (0..last.len()).rev().filter(|at| is_read && last[*at..].starts_with(MAGIC));
    let mut ends = places.map(|at| from + (at + MAGIC.len()) as u64).filter(|end| *end < size).take(FEW_ENDS);
    let is_whole = |end: &u64| footer_before(window, *end).is_some_and(|(_, footer)| root_as_footer(&footer).is_ok());
    Err(match ends.find(is_whole) {
        Some(end) => damaged("something follows behind the end of the Arrow IPC file", end),
        None => damaged("the Arrow IPC file was cut off: it ends without a footer", size),
    })
}

/// The footer of a file that ends at a place, and where it begins.
fn footer_before(window: &Window, end: u64) -> Option<(u64, Vec<u8>)> {
    let mut tail = [0; TAIL];
    let end = end.checked_sub(TAIL as u64)?;
    window.from(end).read_exact(&mut tail).ok()?;
    let length = read_footer_length(tail).ok()? as u64;
    let start = end.checked_sub(length)?;
    let mut footer = Vec::new();
    window.from(start).take(length).read_to_end(&mut footer).ok()?;
    Some((start, footer))
}

fn damaged(what: &str, offset: u64) -> Fault {
    let sentence = format!("{what}, at byte offset {offset}");
    Fault { byte_offset: Some(offset), ..of_file("malformed_file", &sentence, ADVICE) }
}

/// What comes out of a batch, as its buffers say.
fn expanded(batch: RecordBatch<'_>, body: u64, window: &Window) -> u64 {
    if batch.compression().is_none() {
        return 0;
    }
    let buffers = batch.buffers().into_iter().flatten();
    let lengths = buffers.filter_map(|buffer| {
        let mut length = [0; 8];
        let at = body.checked_add(u64::try_from(buffer.offset()).ok()?).filter(|_| buffer.length() >= 8)?;
        window.from(at).read_exact(&mut length).ok()?;
        // -1 stands for a buffer that is not compressed.
        u64::try_from(i64::from_le_bytes(length)).ok()
    });
    lengths.fold(0, u64::saturating_add)
}
