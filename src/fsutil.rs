//! File-system edges: errors that carry their path, writes whose names state what they guarantee.
//!
//! Nothing here decides anything; each function does one thing and says in its name what survives a power loss.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Most that a file that somebody writes by hand, or keeps a key in, comes to: a configuration, a policy, an identity.
pub const MAX_NAMED_BYTES: u64 = 16 << 20;
/// Size of what [`try_write`] writes: a few audit records and receipts.
const PROBE_BYTES: usize = 64 << 10;

/// An I/O error with the path it happened on and what was being done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", printable_path(path))]
pub struct PathError {
    /// A verb phrase: "open", "rename", "make durable".
    pub doing: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl PathError {
    /// The kind of the I/O error below.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Adds the path and the deed to an I/O result.
pub trait At<T> {
    fn at(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, PathError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str, path: impl AsRef<Path>) -> Result<T, PathError> {
        self.map_err(|source| PathError { doing, path: path.as_ref().to_owned(), source: source.into() })
    }
}

/// Opens a regular file for reading, following no link and waiting for nothing.
pub fn open_regular(path: &Path) -> Result<File, PathError> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(io::Error::other("it is a symbolic link, which is not followed")).at("open", path);
        }
        opened => opened.at("open", path)?,
    };
    if file.metadata().at("look at", path)?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("not a regular file")).at("open", path)
}

/// Reads a regular file of at most this size, likewise. What is refused, and not unreadable, has no code of the system.
pub fn read_regular(path: &Path, at_most: u64) -> Result<Vec<u8>, PathError> {
    let mut content = Vec::new();
    open_regular(path)?.take(at_most + 1).read_to_end(&mut content).at("read", path)?;
    match content.len() as u64 > at_most {
        true => Err(io::Error::other("it is too large for what it should be")).at("read", path),
        false => Ok(content),
    }
}

/// Reads what somebody has named, a pipe too, as long as it comes to no more than this.
pub fn read_named(path: &Path, at_most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    // Of its full size at once: what grows leaves copies behind, and some of these are keys.
    let size = file.metadata()?.len().min(at_most) as usize;
    let mut content = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(at_most + 1).read_to_end(&mut content)?;
    match content.len() as u64 > at_most {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, longer_than(at_most))),
        false => Ok(content),
    }
}

fn longer_than(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("it is longer than {bytes} bytes"),
        mebibytes => format!("it is longer than {mebibytes} MiB"),
    }
}

/// The same of text.
pub fn read_named_text(path: &Path, at_most: u64) -> io::Result<Zeroizing<String>> {
    let mut content = read_named(path, at_most)?;
    match String::from_utf8(std::mem::take(&mut *content)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
        }
    }
}

/// Makes a directory's entries durable; the empty path, parent of a plain relative name, is the current directory.
pub fn fsync_dir(dir: &Path) -> Result<(), PathError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).at("open", dir)?.sync_all().at("make durable", dir)
}

/// Creates a directory and its missing parents with `mode`, each durable in its parent.
pub fn create_dir_durable(dir: &Path, mode: u32) -> Result<(), PathError> {
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        create_dir_durable(parent, mode)?;
    }
    match fs::DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => match dir.parent() {
            Some(parent) => fsync_dir(parent),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error).at("create", dir),
    }
}

/// Creates a new file with `mode` for writing; fails if anything stands at the path.
pub fn create_new(path: &Path, mode: u32) -> Result<File, PathError> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path).at("create", path)
}

/// The same in place of what a writer that was cut off has left there.
pub fn create_anew(path: &Path, mode: u32) -> Result<File, PathError> {
    match create_new(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove_if_there(path)?;
            create_new(path, mode)
        }
        done => done,
    }
}

/// Writes a whole new file and makes its content durable; its name is durable after [`fsync_dir`] of its directory.
pub fn write_new_synced(path: &Path, mode: u32, content: &[u8]) -> Result<(), PathError> {
    let mut file = create_new(path, mode)?;
    file.write_all(content).at("write", path)?;
    file.sync_all().at("make durable", path)
}

/// Writes a file's whole content in place of what was there, or of nothing: old or new after a crash, durable when this
/// returns. For one writer at a time.
pub fn replace_durable(path: &Path, mode: u32, content: &[u8]) -> Result<(), PathError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    remove_if_there(&fresh)?; // of a writer that was cut off
    write_new_synced(&fresh, mode, content)?;
    fs::rename(&fresh, path).at("rename to", path)?;
    fsync_dir(path.parent().unwrap_or(Path::new("/")))
}

/// Puts a new file there, whole or not at all, durably; with exactly this mode, whatever the umask. Fails if anything
/// stands at the path.
pub fn place_new(path: &Path, mode: u32, content: &[u8]) -> Result<(), PathError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let fresh = path.with_file_name(name);
    remove_if_there(&fresh)?; // of a writer that was cut off
    let set_mode = || {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&fresh, permissions).at("set the mode of", &fresh)
    };
    let written = write_new_synced(&fresh, mode, content).and_then(|()| set_mode());
    if let Err(error) = written.and_then(|()| rename_noreplace(&fresh, path)) {
        let _ = fs::remove_file(&fresh); // the error that matters is the other one
        return Err(error);
    }
    fsync_dir(path.parent().unwrap_or(Path::new("/")))
}

/// Kinds of file systems that others change behind this kernel's back, by statfs(2)'s magic numbers.
const REMOTE: [(u32, &str); 7] = [
    (0x6969, "nfs"),
    (0x517B, "smb"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb"),
    (0x6573_5546, "fuse"),
    (0x00C3_6400, "ceph"),
    (0x5346_414F, "afs"),
];

/// The kind of the file system that a directory is on, if events there do not tell everything.
pub fn remote(dir: &Path) -> Result<Option<&'static str>, PathError> {
    let magic = rustix::fs::statfs(dir).at("look at", dir)?.f_type as u32; // some kinds are negative in an i32
    Ok(REMOTE.iter().find(|(of, _)| *of == magic).map(|(_, kind)| *kind))
}

/// Renames, refusing to replace anything that stands at `to`.
pub fn rename_noreplace(from: &Path, to: &Path) -> Result<(), PathError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without RENAME_NOREPLACE (some FUSE and network ones): hard link, then unlink.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to).at("rename to", to)?;
            fs::remove_file(from).at("remove", from)
        }
        other => other.at("rename to", to),
    }
}

/// Removes a file; that it is already gone is no error.
pub fn remove_if_there(path: &Path) -> Result<(), PathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// For users other than root.
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Number of the file system, as `stat` gives it.
    pub device: u64,
}

/// The room of the file system that a directory lies on.
pub fn space(dir: &Path) -> Result<Space, PathError> {
    let room = rustix::fs::statvfs(dir).at("look at the room of", dir)?;
    Ok(Space {
        free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
        device: fs::metadata(dir).at("look at", dir)?.dev(),
    })
}

/// Proves that files can be written in a directory and made durable: writes one, and removes it.
pub fn try_write(dir: &Path) -> Result<(), PathError> {
    let path = dir.join(".veild-write-probe");
    remove_if_there(&path)?;
    let written = write_new_synced(&path, 0o600, &[0; PROBE_BYTES]);
    let removed = remove_if_there(&path);
    written?;
    removed?;
    fsync_dir(dir)
}

/// Copies a whole file inside the kernel, so that no byte of it enters this process' memory.
///
/// Returns the number of bytes copied. The copy is not yet durable.
pub fn copy_in_kernel(from: &File, to: &File, to_path: &Path) -> Result<u64, PathError> {
    let mut offset = 0u64;
    loop {
        match rustix::fs::sendfile(to, from, Some(&mut offset), 1 << 30) {
            Ok(0) => return Ok(offset),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).at("copy to", to_path),
        }
    }
}

/// A file name as text for logs, receipts and reasons: bytes that are not UTF-8, control characters and `%` are
/// percent-encoded, so that distinct names stay distinct and no terminal escape gets through.
pub fn printable_name(name: &std::ffi::OsStr) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        push_printable(chunk.valid(), "%", &mut text);
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Text of a file that somebody may have tampered with, for a terminal: only what would steer that is percent-encoded.
pub fn printable_text(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    push_printable(text, "", &mut printable);
    printable
}

fn push_printable(text: &str, also_encoded: &str, out: &mut String) {
    for character in text.chars() {
        if character.is_control() || also_encoded.contains(character) || is_bidi_override(character) {
            let mut utf8 = [0; 4];
            for byte in character.encode_utf8(&mut utf8).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(character);
        }
    }
}

/// As [`printable_name`], for a whole path: an uploader may have named some part of it.
pub fn printable_path(path: &Path) -> String {
    printable_name(path.as_os_str())
}

/// Characters that make a terminal or browser show a name in another order than it is stored.
fn is_bidi_override(character: char) -> bool {
    matches!(character, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// An error with everything below it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn names_are_made_printable_without_collisions() {
        assert_eq!(printable_name(OsStr::new("people.csv")), "people.csv");
        assert_eq!(printable_name(OsStr::new("Łukasz 1.csv")), "Łukasz 1.csv");
        assert_eq!(printable_name(OsStr::from_bytes(b"a\xff\n%.csv")), "a%FF%0A%25.csv");
        assert_eq!(printable_name(OsStr::new("a\u{202E}vsc.exe")), "a%E2%80%AEvsc.exe");
        assert_eq!(printable_text("100 % of a\u{1b}[2J.csv"), "100 % of a%1B[2J.csv");
        let error = Err::<(), _>(io::Error::other("x")).at("open", Path::new("/srv/a\x1b[2J\n/b")).unwrap_err();
        assert_eq!(error.to_string(), "cannot open /srv/a%1B[2J%0A/b");
    }

    #[test]
    fn what_is_named_is_read_up_to_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read_named_text(&file, 5).unwrap().as_str(), "12345");
        let longer = read_named(&file, 4).unwrap_err();
        assert_eq!((longer.kind(), &*longer.to_string()), (io::ErrorKind::FileTooLarge, "it is longer than 4 bytes"));
        let endless = read_named(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(endless.to_string(), "it is longer than 1 MiB");
        fs::write(&file, b"a\xff").unwrap();
        assert_eq!(read_named_text(&file, 5).unwrap_err().to_string(), "it is not UTF-8");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(open_regular(&link).unwrap_err().source.to_string().contains("symbolic link"));
        assert_eq!(read_regular(&file, 2).unwrap(), b"a\xff");
        assert!(read_regular(&file, 1).unwrap_err().source.to_string().contains("too large"));
        // A regular file that is longer than it says, as one is that grows meanwhile.
        let grown = Path::new("/proc/self/status");
        assert_eq!(grown.metadata().unwrap().len(), 0);
        assert!(read_regular(grown, 16).unwrap_err().source.to_string().contains("too large"));
    }

    #[test]
    fn missing_parents_are_created_and_impossible_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_durable(&deep, 0o700).unwrap();
        create_dir_durable(&deep, 0o700).unwrap();
        assert!(deep.is_dir());
        // Says "not found" however often its parent is looked at.
        assert_eq!(create_dir_durable(Path::new("/proc/veild/x"), 0o700).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn rename_noreplace_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        assert_eq!(rename_noreplace(&a, &b).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&b).unwrap(), b"b");
    }
}
