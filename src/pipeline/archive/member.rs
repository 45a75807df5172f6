//! One member's way: from the archive through a pipe into the pipeline, and out of it through pipes into each output.
//!
//! What cannot be read in order (Parquet, Arrow, spreadsheets) is held in memory whole, within a limit.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::thread;

use super::pack::{Label, Packer};
use super::unpack::{self, BLOCK, Found};
use super::{Archive, Failure};
use crate::pipeline::expansion::Expansion;
use crate::pipeline::fault::{internal, of_file};
use crate::pipeline::source::retry;
use crate::pipeline::survey::{self, Sample, Surveyed};
use crate::pipeline::tap::Mishap;
use crate::pipeline::{DigestKind, Input, Output, Reading, Report, Sink, extension, pipe, process_counted};
use crate::pipeline::{columnar, spreadsheet};
use crate::policy::Policy;

/// First bytes that tell how a member is read.
const HEAD: usize = 8;

/// What one output does with a member.
pub(super) struct Side<'p> {
    pub policy: Policy,
    /// Where it goes; absent when only its size is wanted.
    pub packer: Option<&'p mut Packer>,
    pub size: Option<u64>,
    /// Counts what conversions make.
    pub converted: Arc<Expansion>,
}

/// Where an output's bytes come out.
struct Outflow<'p> {
    packer: &'p mut Packer,
    size: Option<u64>,
    content: File,
}

/// Passes a member through.
///
/// # Errors
///
/// Of several failures the one that caused the others.
pub(super) fn pass(
    archive: &Archive<'_>,
    found: Found<'_>,
    sides: Vec<Side<'_>>,
    expanded: &mut u64,
    mishaps: &[Mishap],
) -> Result<Report, Failure> {
    let label = Label { name: archive.name_out(&found.name), modified: found.modified, zip_time: found.zip_time };
    let Opened { reading, input, feed, mut content } = open(archive, found, expanded)?;
    let (mut outputs, mut converted, mut outflows) = (Vec::new(), Vec::new(), Vec::new());
    for side in sides {
        let sink = match side.packer {
            None => Sink::Discard,
            Some(packer) => {
                let (content, sink) = pipe()?;
                outflows.push(Outflow { packer, size: side.size, content });
                Sink::Plain(Box::new(sink))
            }
        };
        outputs.push(Output { policy: side.policy, writing: archive.writing(), sink });
        converted.push(side.converted);
    }
    let (keys, threads) = (archive.keys, archive.threads);
    let (progress, done) = (archive.progress, (*expanded).min(archive.window.size()));
    thread::scope(|scope| {
        let processing = scope.spawn(move || {
            let input = Input { file: input, reading, digest: DigestKind::None };
            process_counted(input, (outputs, converted), keys, threads, &|_| progress(done))
        });
        let append = |mut outflow: Outflow<'_>| outflow.packer.append(&label, outflow.size, &mut outflow.content);
        let appending: Vec<_> = outflows.into_iter().map(|outflow| scope.spawn(move || append(outflow))).collect();
        let fed = feed.map_or(Ok(()), |feed| self::feed(archive, &mut content, feed, expanded));
        let processed = processing.join().unwrap_or_else(|_| Err(internal("the thread of a member panicked")));
        let appended: Vec<_> = appending.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // A panic of ours goes before the broken pipes that it has caused.
        if appended.iter().any(Result::is_err) {
            return Err(internal("the thread of an output panicked"));
        }
        fed?;
        if let Some(failure) = mishaps.iter().find_map(Mishap::take) {
            return Err(failure);
        }
        let report = processed?;
        appended.into_iter().flatten().collect::<io::Result<()>>().map_err(|error| retry("write a member", &error))?;
        Ok(report)
    })
}

/// Looks at a member.
pub(super) fn survey(
    archive: &Archive<'_>,
    found: Found<'_>,
    expanded: &mut u64,
    sample: Sample,
) -> Result<Surveyed, Failure> {
    let Opened { reading, input, feed, mut content } = open(archive, found, expanded)?;
    thread::scope(|scope| {
        let looking = scope.spawn(move || survey::table(input, &reading, sample));
        let fed = feed.map_or(Ok(()), |feed| self::feed(archive, &mut content, feed, expanded));
        let surveyed = looking.join().unwrap_or_else(|_| Err(internal("the thread of a member panicked")));
        fed?;
        surveyed
    })
}

/// A member that is ready to be read.
struct Opened<'c> {
    reading: Reading,
    /// What is read: a pipe, or the whole in memory.
    input: File,
    /// The pipe's other end.
    feed: Option<File>,
    content: io::Chain<io::Cursor<Vec<u8>>, &'c mut dyn Read>,
}

fn open<'c>(archive: &Archive<'_>, found: Found<'c>, expanded: &mut u64) -> Result<Opened<'c>, Failure> {
    let reading = if archive.kind.is_book() {
        spreadsheet::as_text(archive.reading)
    } else {
        reading(archive.reading, &found.name)
    };
    let mut head = Vec::with_capacity(HEAD);
    let begun = (&mut *found.content).take(HEAD as u64).read_to_end(&mut head);
    begun.map_err(|_| unreadable(archive))?;
    let held = held_as(&head).filter(|_| !archive.kind.is_book());
    let mut content = io::Cursor::new(head).chain(found.content);
    let (input, feed) = match held {
        None => pipe().map(|(input, feed)| (input, Some(feed)))?,
        Some(title) => (hold(archive, title, &mut content, expanded)?, None),
    };
    Ok(Opened { reading, input, feed, content })
}

/// How a member is read: as a file of that name that lands here, but no archive again.
fn reading(of_archive: &Reading, name: &str) -> Reading {
    let last = name.rsplit('/').next().unwrap_or(name);
    let accept = of_archive.accept.iter().copied().filter(|format| !format.is_archive()).collect();
    Reading {
        extension: extension(last.as_ref()),
        accept,
        members: Vec::new(),
        sheets: Vec::new(),
        ..of_archive.clone()
    }
}

/// The first bytes of a member that must be read at any place, as a person says what it is.
fn held_as(head: &[u8]) -> Option<&'static str> {
    match columnar::format_of(head) {
        Some(format) => Some(format.title()),
        // Or an archive in the archive, which is refused then.
        None => head.starts_with(b"PK\x03\x04").then_some("a spreadsheet"),
    }
}

/// Takes a whole member into memory, as a file that has no name and no place on a disk.
fn hold(archive: &Archive<'_>, title: &str, content: &mut dyn Read, expanded: &mut u64) -> Result<File, Failure> {
    let doing = |error: io::Error| retry("hold a member in memory", &error);
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut held: File = rustix::fs::memfd_create("member", flags).map_err(|errno| doing(errno.into()))?.into();
    let limit = archive.reading.limits.max_buffered_bytes;
    let (mut block, mut bytes) = (vec![0; BLOCK], 0);
    while let Some(count) = next_block(archive, content, &mut block, expanded)? {
        bytes += count as u64;
        if bytes > limit {
            let sentence = format!("it is {title}, which is held in memory, and longer than {limit} bytes");
            let advice = "Have it sent by itself, or raise `max_buffered` in the limits.";
            return Err(Failure::Reject(of_file("too_large_to_hold", &sentence, advice)));
        }
        held.write_all(&block[..count]).map_err(doing)?;
    }
    held.rewind().map_err(doing)?;
    Ok(held)
}

/// Feeds a member into its pipe; an end of the reader's is no failure of ours.
fn feed(archive: &Archive<'_>, content: &mut dyn Read, mut pipe: File, expanded: &mut u64) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    while let Some(count) = next_block(archive, content, &mut block, expanded)? {
        if pipe.write_all(&block[..count]).is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads on within a member; `None` at its end.
fn next_block(
    archive: &Archive<'_>,
    content: &mut dyn Read,
    block: &mut [u8],
    expanded: &mut u64,
) -> Result<Option<usize>, Failure> {
    let count = loop {
        match content.read(block) {
            Ok(0) => return Ok(None),
            Ok(count) => break count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(unreadable(archive)),
        }
    };
    *expanded += count as u64;
    archive.expansion.check(*expanded)?;
    (archive.progress)((*expanded).min(archive.window.size()));
    Ok(Some(count))
}

fn unreadable(archive: &Archive<'_>) -> Failure {
    unpack::unreadable(&archive.window, "its content is damaged or cut off")
}
