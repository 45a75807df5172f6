//! Reads archives: member by member, in order; what is no plain file or directory is refused.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use zip::CompressionMethod;

use super::{ADVICE, Failure, Format, of_member};
use crate::pipeline::Fault;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::fault::of_file;
use crate::pipeline::reading::Compression;
use crate::pipeline::source::{compression, retry};
use crate::pipeline::window::{From, Window};

/// First bytes that tell a tar archive.
const TAR_HEAD: usize = 512;
/// Where a header tells what follows it, and what it tells of GNU tar's label.
const TYPE: usize = 156;
const VOLUME_LABEL: u8 = b'V';
/// How the names of notes begin that say where a file's holes are; its content tells so, too, in a language of its own.
const SPARSE: &[u8] = b"GNU.sparse.";
/// Zeros at the end of a tar archive.
const TAR_END: u64 = 1024;
/// Most bytes of a tar archive between two contents: headers, long names and extensions, which the library reads whole.
const LONGEST_HEAD: u64 = 1 << 20;
/// Bytes of a member read at a time.
pub(super) const BLOCK: usize = 64 << 10;

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::pipeline) struct Kind {
    pub format: Format,
    /// Around the whole.
    pub compression: Option<Compression>,
}

impl Kind {
    /// Whether it is a spreadsheet, whose members are its sheets.
    pub(super) fn is_book(self) -> bool {
        !self.format.is_archive()
    }

    /// The format of what it becomes.
    pub(super) fn made(self) -> Format {
        if self.is_book() { Format::Zip } else { self.format }
    }

    pub(super) fn noun(self) -> &'static str {
        if self.is_book() { "sheet" } else { "member" }
    }
}

/// One file in an archive.
pub(super) struct Found<'a> {
    pub name: String,
    /// Seconds since 1970, where the archive has them.
    pub modified: Option<u64>,
    pub zip_time: Option<zip::DateTime>,
    pub content: &'a mut dyn Read,
}

/// What an input is, by its first bytes, if it is an archive.
pub(in crate::pipeline) fn recognise(file: &File) -> Result<Option<Kind>, Failure> {
    let len = file.metadata().map_err(|error| retry("look at the input", &error))?.len();
    let mut head = [0; 4];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => {}
        // Shorter than any archive, or a pipe: the reader of a member.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(libc::ESPIPE) => {
            return Ok(None);
        }
        Err(error) => return Err(retry("read the input", &error)),
    }
    if matches!(head, [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6]) {
        return Ok(Some(Kind { format: Format::Zip, compression: None }));
    }
    let compression = compression(&head);
    let again = file.try_clone().map_err(|error| retry("read the input", &error))?;
    let window = Window::new(again.into(), len);
    let mut head = Vec::with_capacity(TAR_HEAD);
    // What cannot be decompressed is for the reader of compressed text to tell.
    let _ = decompressed(&window, compression).and_then(|reader| reader.take(TAR_HEAD as u64).read_to_end(&mut head));
    let kind = Kind { format: Format::Tar, compression };
    Ok(head.first_chunk().is_some_and(is_tar).then_some(kind))
}

/// Whether an archive begins so: by its mark, or, older than that, by its checksum.
fn is_tar(head: &[u8; TAR_HEAD]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let outside = head.iter().enumerate().filter(|(at, _)| !CHECKSUM.contains(at));
    let sum = outside.map(|(_, byte)| u32::from(*byte)).sum::<u32>() + u32::from(b' ') * CHECKSUM.len() as u32;
    let told = tar::Header::from_byte_slice(head).cksum();
    head[257..].starts_with(b"ustar") || told.is_ok_and(|told| told == sum)
}

fn decompressed(window: &Window, compression: Option<Compression>) -> io::Result<Box<dyn Read>> {
    let reader = BufReader::with_capacity(BLOCK, window.from(0));
    Ok(match compression {
        None => Box::new(reader),
        Some(Compression::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Some(Compression::Zstd) => Box::new(zstd::Decoder::with_buffer(reader)?),
    })
}

/// What is done with each file of an archive.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Found<'_>) -> Result<(), Failure>;

/// Visits every file of an archive; directories are passed over, they come back with their files.
pub(super) fn walk(window: &Window, kind: Kind, expansion: &Expansion, visit: Visit<'_>) -> Result<(), Failure> {
    match kind.format {
        Format::Zip => walk_zip(window, visit),
        _ => walk_tar(window, kind.compression, expansion, visit),
    }
}

fn walk_zip(window: &Window, visit: Visit<'_>) -> Result<(), Failure> {
    let archive = zip::ZipArchive::new(BufReader::with_capacity(BLOCK, window.from(0)));
    let mut archive: zip::ZipArchive<BufReader<From>> =
        archive.map_err(|_| unreadable(window, "the directory of the zip archive cannot be read"))?;
    if archive.offset() != 0 {
        return Err(unreadable(window, "another archive stands before the zip archive"));
    }
    refuse_trailing(window)?;
    // Only one of them could be seen.
    if archive.has_duplicate_names() {
        return Err(Failure::Reject(of_file(
            "duplicate_member",
            "two members of the archive have the same name",
            ADVICE,
        )));
    }
    let mut number = 0;
    for index in 0..archive.len() {
        let raw = archive.by_index_raw(index).map_err(|_| unreadable(window, "a zip member cannot be read"))?;
        // A name like a directory's does not make content vanish: such a member is refused for its name.
        let (is_dir, is_link, is_encrypted) = (raw.is_dir() && raw.size() == 0, raw.is_symlink(), raw.encrypted());
        let is_read = matches!(raw.compression(), CompressionMethod::Stored | CompressionMethod::Deflated);
        drop(raw);
        if is_dir {
            continue;
        }
        number += 1;
        if is_encrypted {
            let advice = "Have it sent without a password; the vault's encryption protects it.";
            return Err(refused(of_file("encrypted_member", "it is encrypted", advice), number));
        }
        if is_link {
            return Err(refused(of_file("unsafe_member", "it is a link", ADVICE), number));
        }
        if !is_read {
            let advice = "Have it made with the usual method, deflate.";
            return Err(refused(of_file("unsupported_member", "its compression is not read", advice), number));
        }
        let member = archive.by_index(index);
        let mut member = member.map_err(|_| unreadable(window, "a zip member cannot be read"))?;
        let Ok(name) = member.name().map(std::borrow::Cow::into_owned) else {
            return Err(refused(of_file("unsafe_member", "its name cannot be read", ADVICE), number));
        };
        let zip_time = member.last_modified();
        visit(Found { name, modified: None, zip_time, content: &mut member })?;
    }
    Ok(())
}

/// What stands behind the archive would vanish; zeros are padding.
fn refuse_trailing(window: &Window) -> Result<(), Failure> {
    const RECORD: usize = 22;
    let from = window.size().saturating_sub((RECORD + usize::from(u16::MAX)) as u64);
    let mut tail = Vec::new();
    let read = window.from(from).read_to_end(&mut tail);
    read.map_err(|_| unreadable(window, "the end of the zip archive cannot be read"))?;
    let ends = memchr::memmem::find_iter(&tail, b"PK\x05\x06").any(|at| {
        let Some(&[low, high]) = tail.get(at + RECORD - 2..at + RECORD) else { return false };
        let end = at + RECORD + usize::from(u16::from_le_bytes([low, high]));
        tail.get(end..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    });
    if ends { Ok(()) } else { Err(unreadable(window, "something stands behind the end of the zip archive")) }
}

fn walk_tar(
    window: &Window,
    compression: Option<Compression>,
    expansion: &Expansion,
    visit: Visit<'_>,
) -> Result<(), Failure> {
    let unreadable = || unreadable(window, "the tar archive is damaged or cut off");
    let mut reader = decompressed(window, compression).map_err(|_| unreadable())?;
    let mut first = Vec::with_capacity(TAR_HEAD);
    reader.by_ref().take(TAR_HEAD as u64).read_to_end(&mut first).map_err(|_| unreadable())?;
    // A label names the archive as a whole, and tells no size, as members do.
    if first.get(TYPE) == Some(&VOLUME_LABEL) {
        first.clear();
    }
    let reader = io::Cursor::new(first).chain(reader);
    let head = Rc::new(Cell::new(None));
    let mut archive = tar::Archive::new(Ending { reader, bytes: 0, zeros: 0, head: head.clone() });
    let mut number = 0;
    let mut entries = archive.entries().map_err(|_| unreadable())?;
    loop {
        head.set(Some(0));
        let next = entries.next();
        head.set(None);
        let Some(entry) = next else { break };
        let mut entry = entry.map_err(|_| unreadable())?;
        let kind = entry.header().entry_type();
        if (kind.is_dir() && entry.size() == 0) || kind.is_pax_global_extensions() {
            continue;
        }
        number += 1;
        let is_sparse = match entry.pax_extensions() {
            Ok(notes) => notes.into_iter().flatten().flatten().any(|it| it.key_bytes().starts_with(SPARSE)),
            Err(_) => return Err(unreadable()),
        };
        if is_sparse || (!kind.is_file() && !kind.is_contiguous()) {
            return Err(refused(of_file("unsafe_member", "it is a link, a device or a sparse file", ADVICE), number));
        }
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else {
            return Err(refused(of_file("unsafe_member", "its name is not UTF-8", ADVICE), number));
        };
        // As `tar -C dir .` writes it.
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        let modified = entry.header().mtime().ok();
        visit(Found { name, modified, zip_time: None, content: &mut entry })?;
    }
    // To the end: checksums stand there, and without its mark the archive was cut off between two members.
    let (mut rest, mut block) = (archive.into_inner(), vec![0; BLOCK]);
    loop {
        let count = rest.read(&mut block).map_err(|_| unreadable())?;
        if count == 0 {
            break;
        }
        expansion.check(rest.bytes)?;
        if block[..count].iter().any(|byte| *byte != 0) {
            return Err(self::unreadable(window, "something stands behind the end of the tar archive"));
        }
    }
    if rest.zeros < TAR_END { Err(unreadable()) } else { Ok(()) }
}

/// Counts the zeros at the end of what was read, and bounds what is read between two contents.
struct Ending<R> {
    reader: R,
    bytes: u64,
    zeros: u64,
    /// Bytes read since the last content; absent within one, which has bounds of its own.
    head: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Ending<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        if let Some(before) = self.head.get() {
            let bytes = before + count as u64;
            if bytes > LONGEST_HEAD {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.head.set(Some(bytes));
        }
        let zeros = out[..count].iter().rev().take_while(|byte| **byte == 0).count();
        self.bytes += count as u64;
        self.zeros = zeros as u64 + if zeros == count { self.zeros } else { 0 };
        Ok(count)
    }
}

fn refused(fault: Fault, number: usize) -> Failure {
    Failure::Reject(of_member(fault, "member", number))
}

/// A failure to read: the system's, or the file's.
pub(super) fn unreadable(window: &Window, what: &str) -> Failure {
    match window.failure() {
        Some(error) => retry("read the input", &error),
        None => Failure::Reject(of_file("malformed_file", what, "Have the file sent again, whole.")),
    }
}

/// Reads a member that nobody needs.
pub(super) fn pass_over(
    found: Found<'_>,
    expanded: &mut u64,
    expansion: &Expansion,
    window: &Window,
) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    loop {
        match found.content.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => *expanded += count as u64,
            Err(_) => return Err(unreadable(window, "its content is damaged or cut off")),
        }
        expansion.check(*expanded)?;
    }
}
