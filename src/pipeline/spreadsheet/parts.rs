//! Unpacks every part once, to nowhere, before the library builds anything of them: what comes out is bounded, also of what
//! is held whole later, checksums hold, and the markup says nothing that the library would pass over.

use std::cell::Cell;
use std::io::{self, BufReader, Read};

use super::book::{BUFFER, reader, unreadable};
use super::markup::{Markup, Tree};
use super::too_large;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::window::Window;
use crate::pipeline::{Failure, Format, Limits};

/// A cell may be so long however short a record may be: also tags are read at once.
const LEAST: u64 = 1 << 20;

/// # Errors
///
/// [`Failure::Reject`] for a file that is damaged, too large to hold, or says what would get lost.
pub(super) fn check(
    window: &Window,
    format: Format,
    limits: &Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Failure> {
    let broken = || unreadable(window, ": a part of it cannot be unpacked, or its checksum is wrong");
    let mut archive = zip::ZipArchive::new(reader(window)).map_err(|_| broken())?;
    let counts = Counts {
        expansion: Expansion::of(window.size(), *limits),
        limits,
        progress,
        unpacked: Cell::new(0),
        at_once: Cell::new(0),
    };
    let mut markup = Markup::new(limits.max_buffered_bytes);
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(|_| broken())?;
        let name = member.name().map_err(|_| broken())?.replace('\\', "/").to_ascii_lowercase();
        // The library takes the first part of a name, and of two that differ in case the last.
        let mut part =
            Part { member, counts: &counts, is_held: is_held(&name), bytes: 0, failure: None, is_broken: false };
        let is_markup = name.ends_with(".xml") || name.ends_with(".rels");
        let found = if is_markup {
            markup.begin(Tree::of(&name, format));
            markup.read(BufReader::with_capacity(BUFFER, &mut part), &counts.at_once)
        } else {
            Ok(())
        };
        let drained = if part.failure.is_none() && found.is_ok() {
            counts.at_once.set(0);
            part.drain()
        } else {
            Ok(())
        };
        if let Some(failure) = part.failure {
            return Err(failure);
        }
        // What cannot be unpacked is no fault of the markup.
        if drained.is_err() || part.is_broken {
            return Err(broken());
        }
        found.map_err(Failure::Reject)?;
    }
    Ok(())
}

/// Parts that the library reads whole, or without forgetting what it has read.
fn is_held(name: &str) -> bool {
    name.ends_with("sharedstrings.xml") || ["content.xml", "meta-inf/manifest.xml"].contains(&name)
}

/// What has come out of all parts, and of a cell or a tag.
struct Counts<'a> {
    expansion: Expansion,
    limits: &'a Limits,
    progress: &'a (dyn Fn(u64) + Sync),
    unpacked: Cell<u64>,
    at_once: Cell<u64>,
}

struct Part<'a, R> {
    member: R,
    counts: &'a Counts<'a>,
    is_held: bool,
    bytes: u64,
    /// Why reading has failed, where it is not the part.
    failure: Option<Failure>,
    is_broken: bool,
}

impl<R: Read> Part<'_, R> {
    fn drain(&mut self) -> io::Result<()> {
        let mut block = vec![0; BUFFER];
        loop {
            self.counts.at_once.set(0);
            if self.read(&mut block)? == 0 {
                return Ok(());
            }
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        let Counts { expansion, limits, progress, unpacked, at_once } = self.counts;
        expansion.add(bytes)?;
        self.bytes += bytes;
        unpacked.set(unpacked.get() + bytes);
        at_once.set(at_once.get() + bytes);
        if self.is_held && self.bytes > limits.max_buffered_bytes {
            let what = "the texts of the spreadsheet are held in memory, and longer than";
            return Err(Failure::Reject(too_large(what, limits.max_buffered_bytes, "max_buffered", "")));
        }
        let most = limits.max_record_bytes.max(LEAST);
        if at_once.get() > most {
            let what = "a cell or a tag of the spreadsheet is longer than";
            return Err(Failure::Reject(too_large(what, most, "max_record", "")));
        }
        progress(unpacked.get());
        Ok(())
    }
}

impl<R: Read> Read for Part<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = match self.member.read(out) {
            Ok(count) => count,
            Err(error) => {
                self.is_broken = true;
                return Err(error);
            }
        };
        if let Err(failure) = self.count(count as u64) {
            self.failure = Some(failure);
            return Err(io::Error::other("refused"));
        }
        Ok(count)
    }
}
