//! Where a key comes from: a file, of which a systemd credential is one, or the output of a command, for secret managers.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::{KeyError, locked};

/// No honest key comes near this; it bounds what a wrong path can make us read.
const MAX_KEY_BYTES: u64 = 1 << 20;
/// A secret manager that does not answer must not keep a service from saying so.
const COMMAND_LASTS: Duration = Duration::from_secs(30);

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    File(PathBuf),
    /// A program by its absolute path, and its arguments; it prints the key.
    Command(Vec<String>),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::File(path) => path.display().fmt(f),
            // Its arguments may be nobody's business.
            KeySource::Command(words) => write!(f, "the command {}", words.first().map_or("", String::as_str)),
        }
    }
}

impl KeySource {
    pub(super) fn read(&self) -> Result<Zeroizing<String>, KeyError> {
        match self {
            KeySource::File(path) => read_file(path),
            KeySource::Command(words) => {
                ask(words, COMMAND_LASTS).map_err(|what| KeyError(format!("cannot read a key from {self}: {what}")))
            }
        }
    }

    /// The file, or the program, that whoever may change it can change the key with.
    pub fn path(&self) -> &Path {
        match self {
            KeySource::File(path) => path,
            KeySource::Command(words) => Path::new(words.first().map_or("", String::as_str)),
        }
    }
}

/// Reads a secret from a file that nobody but its owner (and its group, for reading) may touch.
pub fn read_file(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let fail = |error: std::io::Error| KeyError(format!("cannot read key file {}: {error}", path.display()));
    // A link may lead to a key; a FIFO would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(KeyError(format!("key file {} is not a regular file", path.display())));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o037 != 0 {
        return Err(KeyError(format!(
            "key file {path} is open to others (mode {mode:04o}); run: chmod 0600 {path}",
            path = path.display()
        )));
    }
    let own = rustix::process::geteuid().as_raw();
    if own != 0 && ![0, own].contains(&metadata.uid()) {
        return Err(KeyError(format!(
            "key file {} belongs to user {}, who can change it; give it to root or to user {own}",
            path.display(),
            metadata.uid()
        )));
    }
    if metadata.len() > MAX_KEY_BYTES {
        return Err(KeyError(format!("{} is too large for a key file", path.display())));
    }
    text(file, metadata.len()).map_err(fail)
}

fn text(from: impl Read, bytes: u64) -> std::io::Result<Zeroizing<String>> {
    // Grown strings leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes as usize + 1));
    locked::lock_text(&text);
    from.take(MAX_KEY_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// What a program prints; what it says on standard error goes where ours goes.
fn ask(words: &[String], lasts: Duration) -> Result<Zeroizing<String>, String> {
    let (program, arguments) = words.split_first().ok_or("there is none")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let output = child.stdout.take().ok_or("it has no output")?;
    let reader = std::thread::spawn(move || text(output, MAX_KEY_BYTES));
    let until = Instant::now() + lasts;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            None => {
                let _ = child.kill(); // it may have ended by itself just now
                let _ = child.wait();
                return Err(format!("it has not ended after {lasts:?}"));
            }
        }
    };
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    // Something that it has left behind may hold the pipe.
    while !reader.is_finished() {
        if Instant::now() > until {
            return Err("its output has no end".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let text = reader.join().map_err(|_| "its output cannot be read")?;
    text.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(script: &str) -> Result<String, String> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        ask(&words, Duration::from_millis(300)).map(|text| text.to_string())
    }

    #[test]
    fn a_command_gives_the_key_or_a_reason() {
        assert_eq!(says("echo key"), Ok("key\n".to_owned()));
        assert!(says("echo key; exit 3").unwrap_err().contains("exit status: 3"));
        assert!(says("sleep 20").unwrap_err().contains("not ended"));
        assert!(says("sleep 20 & echo key").unwrap_err().contains("no end"));
        assert!(ask(&["/nowhere".to_owned()], COMMAND_LASTS).is_err());
    }
}
