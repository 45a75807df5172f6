//! The markup of a part, read once to see whether the library would read it whole and as it is meant.

use std::cell::Cell;
use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::cells::Cells;
use super::extent::Extent;
use super::{malformed, too_large};
use crate::pipeline::{Fault, Format};

/// Deeper than what any program writes.
const MOST_DEPTH: usize = 256;

/// What a part is looked at for.
pub(super) enum Tree {
    /// Cells, texts and styles of an xlsx file.
    Xlsx(Cells),
    /// All cells of an ods file.
    Ods(Extent),
    Other,
}

impl Tree {
    /// By the name of the part, in lower case.
    pub(super) fn of(name: &str, format: Format) -> Tree {
        match format {
            Format::Ods if name == "content.xml" => Tree::Ods(Extent::default()),
            Format::Ods => Tree::Other,
            _ => Tree::Xlsx(Cells::of(name)),
        }
    }

    /// Where reading has come to, for a message.
    fn place(&self) -> String {
        match self {
            Tree::Xlsx(cells) => cells.place(),
            Tree::Ods(extent) => extent.place(),
            Tree::Other => String::new(),
        }
    }
}

/// Bytes of memory that the library takes for what it keeps.
pub(super) struct Held {
    bytes: u64,
    limit: u64,
}

impl Held {
    pub(super) fn add(&mut self, bytes: u64, place: impl FnOnce() -> String) -> Result<(), Fault> {
        self.check(bytes, place)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Whether so much more would be too much.
    pub(super) fn check(&self, bytes: u64, place: impl FnOnce() -> String) -> Result<(), Fault> {
        if self.bytes.saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        let what = "the spreadsheet is held in memory with every cell that its repeats stand for, and takes more than";
        Err(too_large(what, self.limit, "max_buffered", &place()))
    }
}

pub(super) struct Markup {
    tree: Tree,
    held: Held,
}

impl Markup {
    pub(super) fn new(limit: u64) -> Markup {
        Markup { tree: Tree::Other, held: Held { bytes: 0, limit } }
    }

    pub(super) fn begin(&mut self, tree: Tree) {
        self.tree = tree;
    }

    /// Reads a part to its end; `at_once` is set back wherever its reader forgets what it has read.
    pub(super) fn read(&mut self, part: impl BufRead, at_once: &Cell<u64>) -> Result<(), Fault> {
        let mut reader = Reader::from_reader(part);
        reader.config_mut().expand_empty_elements = true; // as the library does
        let (mut buffer, mut depth) = (Vec::new(), 0_usize);
        loop {
            buffer.clear();
            let event = reader.read_event_into(&mut buffer).map_err(|_| malformed(&self.tree.place()))?;
            match &event {
                Event::DocType(_) => {
                    let what = "it has a document type definition, which no spreadsheet program writes";
                    return Err(malformed(&format!(": {what}")));
                }
                Event::Start(_) if depth == MOST_DEPTH => return Err(malformed(&self.tree.place())),
                Event::Start(_) => depth += 1,
                Event::End(_) => depth = depth.saturating_sub(1),
                Event::Eof if depth > 0 => {
                    return Err(malformed(&format!("{}, where a part of it is cut off", self.tree.place())));
                }
                Event::Eof => return Ok(()),
                _ => {}
            }
            let is_within = match &mut self.tree {
                Tree::Xlsx(cells) => cells.take(&event, &mut self.held)?,
                Tree::Ods(extent) => extent.take(&event, &mut self.held)?,
                Tree::Other => false,
            };
            if !is_within {
                at_once.set(0);
            }
        }
    }
}

/// The value of an attribute as it is written.
pub(super) fn attribute<'e>(element: &'e BytesStart<'_>, name: &str) -> Option<std::borrow::Cow<'e, str>> {
    element.attributes().with_checks(false).flatten().find(|it| it.key.as_ref() == name).map(|it| it.value)
}

/// A value that would come out otherwise than it is meant.
pub(super) fn altered(what: &str, place: &str) -> Fault {
    malformed(&format!("{place}: {what}, which would be read as something else"))
}
