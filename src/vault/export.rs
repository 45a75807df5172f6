//! Objects for an auditor: with receipts, signatures and the audit records about them, in one tar.
//!
//! The same objects and records give the same bytes: members come in a fixed order, and have no owner and no time but that
//! of their sealing.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::list::Entry;
use super::lock::Lock;
use super::receipt::MAX_RECEIPT_BYTES;
use super::tombstone;
use super::verify::Problem;
use super::{PRUNED, Receipt, siblings};
use crate::fsutil::{At, PathError, open_regular, read_regular};
use crate::job::JobId;

/// Directory of everything in the archive.
const TOP: &str = "veild-export";
/// What the auditor is told.
const VERIFY: &str = include_str!("export/VERIFY.txt");
/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// What stands in an export beside the objects.
pub struct Beside<'a> {
    /// Lines of the audit trail, byte for byte.
    pub audit: &'a File,
    /// For `ssh-keygen -Y verify`.
    pub allowed_signers: &'a str,
}

/// What an export holds.
#[derive(Debug, Default)]
pub struct Exported {
    pub objects: u64,
    /// Tombstones about the jobs, which may tell of others too.
    pub tombstones: u64,
    /// Objects that are not as their receipts say; they are in it as they are.
    pub problems: Vec<Problem>,
    /// SHA-256 of the tar, lower-case hexadecimal.
    pub sha256: String,
}

/// Writes the tar; `progress` is called with the bytes done.
pub fn export(
    dir: &Path,
    entries: &[Entry],
    jobs: &BTreeSet<JobId>,
    beside: &Beside<'_>,
    to: &mut impl Write,
    progress: &dyn Fn(u64),
) -> Result<Exported, PathError> {
    let mut exported = Exported::default();
    let to = Hashing { inner: to, hash: Sha256::new() };
    let mut tar = Tar { builder: tar::Builder::new(to), sums: String::new(), done: 0, progress };
    tar.text("VERIFY.txt", VERIFY)?;
    tar.text("allowed_signers", beside.allowed_signers)?;
    tar.file(beside.audit, Path::new("the audit trail's lines"), "audit.jsonl", 0, &|_| {})?;
    for entry in entries {
        // Its three files must be of one time.
        let _lock = Lock::shared(dir)?;
        let problem = |what: &str| Problem { path: entry.path.clone(), what: what.to_owned() };
        match std::fs::symlink_metadata(dir.join(&entry.path)) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => {
                exported.problems.push(problem("is not a regular file, and left out"));
                continue;
            }
            Err(_) => {
                exported.problems.push(problem("has gone meanwhile"));
                continue;
            }
        }
        exported.problems.extend(tar.object(dir, &entry.path)?.map(problem));
        exported.objects += 1;
    }
    for path in tombstone::of(dir, jobs)? {
        for path in [path.with_extension("json.sig"), path] {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = open_regular(&path)?;
            tar.file(&file, &path, &format!("{PRUNED}/{name}"), 0, &|_| {})?;
        }
        exported.tombstones += 1;
    }
    let sums = std::mem::take(&mut tar.sums);
    tar.text("SHA256SUMS", sums)?;
    let written = tar.builder.into_inner().at("write", "the export")?;
    exported.sha256 = format!("{:x}", written.hash.finalize());
    Ok(exported)
}

struct Tar<'a, W: Write> {
    builder: tar::Builder<W>,
    /// As `sha256sum -c` takes them.
    sums: String,
    done: u64,
    progress: &'a dyn Fn(u64),
}

impl<W: Write> Tar<'_, W> {
    /// One object with its receipt and signature; returns what is wrong with it.
    fn object(&mut self, dir: &Path, relative: &Path) -> Result<Option<&'static str>, PathError> {
        let object = dir.join(relative);
        let (receipt, signature) = siblings(&object).unwrap_or_default();
        let said = read_regular(&receipt, MAX_RECEIPT_BYTES).ok().and_then(|text| Receipt::parse(&text).ok());
        let time = said.as_ref().map_or(0, |receipt| receipt.sealed_at.as_second().max(0).unsigned_abs());
        let named = |path: &Path| format!("vault/{}", path.strip_prefix(dir).unwrap_or(path).display());
        let file = open_regular(&object)?;
        let (done, progress) = (self.done, self.progress);
        let sha256 = self.file(&file, &object, &named(&object), time, &|read| progress(done + read))?;
        self.done += file.metadata().at("stat", &object)?.len();
        let mut left_out = false;
        for path in [receipt, signature].iter().filter(|path| path.symlink_metadata().is_ok()) {
            let is_one = |metadata: Metadata| metadata.is_file() && metadata.len() <= MAX_RECEIPT_BYTES;
            match path.symlink_metadata().is_ok_and(is_one) {
                true => drop(self.file(&open_regular(path)?, path, &named(path), time, &|_| {})?),
                false => left_out = true,
            }
        }
        Ok(match said {
            _ if left_out => Some("has a receipt or signature that is no regular file or too large, and left out"),
            None => Some("has no readable receipt"),
            Some(receipt) if receipt.output.sha256 != sha256 => Some("digest differs from the receipt's"),
            Some(_) => None,
        })
    }

    fn text(&mut self, name: &str, text: impl AsRef<[u8]>) -> Result<(), PathError> {
        let text = text.as_ref();
        self.note(name, &format!("{:x}", Sha256::digest(text)));
        let mut header = header(text.len() as u64, 0);
        self.builder.append_data(&mut header, format!("{TOP}/{name}"), text).at("write", name)
    }

    /// A file from its beginning, as it is; returns its SHA-256.
    fn file(
        &mut self,
        mut file: &File,
        path: &Path,
        name: &str,
        time: u64,
        progress: &dyn Fn(u64),
    ) -> Result<String, PathError> {
        file.rewind().at("read", path)?;
        let bytes = file.metadata().at("stat", path)?.len();
        let mut reader = HashingReader { inner: file.take(bytes), hash: Sha256::new(), read: 0, progress };
        let mut header = header(bytes, time);
        let buffered = io::BufReader::with_capacity(BLOCK, &mut reader);
        self.builder.append_data(&mut header, format!("{TOP}/{name}"), buffered).at("write", path)?;
        let sha256 = format!("{:x}", reader.hash.finalize());
        self.note(name, &sha256);
        Ok(sha256)
    }

    /// As `sha256sum` spells names that would break a line.
    fn note(&mut self, name: &str, sha256: &str) {
        let spelled = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        let mark = if spelled == name { "" } else { "\\" };
        self.sums.push_str(&format!("{mark}{sha256}  {spelled}\n"));
    }
}

fn header(bytes: u64, time: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mtime(time);
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

struct HashingReader<'a, R> {
    inner: R,
    hash: Sha256,
    read: u64,
    progress: &'a dyn Fn(u64),
}

impl<R: Read> Read for HashingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.read += count as u64;
        (self.progress)(self.read);
        Ok(count)
    }
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
