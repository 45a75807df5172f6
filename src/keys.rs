//! Masking and signing keys: their files, versions and derivations.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::fsutil;

pub(crate) mod hmac;
mod locked;
mod passphrase;
mod signing;
mod source;

use hmac::ErasedHmac;
use locked::LockedKey;
pub use passphrase::{Passphrase, Passphrases};
pub use signing::{SigningKey, VerifyingKey, generate_signing};
pub use source::{KeySource, read_file};

/// First word of a masking key file; the number after it is the version of the format.
const MASKING_MAGIC: &str = "veild-masking-key";
const MASKING_FORMAT: u32 = 1;

/// A key that cannot be used; never holds key material.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub String);

/// All versions of a masking key. Serialised only to hand it to a worker process.
#[derive(Clone, Serialize, Deserialize)]
pub struct MaskingKeys {
    /// In ascending order of version, never empty.
    versions: Vec<KeyVersion>,
    /// How many of them are in force; the others are for later.
    active: usize,
}

/// One version of a masking key.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyVersion {
    pub version: u32,
    pub created: Timestamp,
    /// Files are not masked under it before; absent: as soon as it is there.
    pub active_from: Option<Timestamp>,
    key: LockedKey,
}

impl KeyVersion {
    /// Tells versions apart and says nothing of the key: two hosts that see the same one mask alike.
    pub fn fingerprint(&self) -> String {
        derive(self.key.bytes(), "fingerprint", "")[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for MaskingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let versions: Vec<u32> = self.versions.iter().map(|known| known.version).collect();
        f.debug_struct("MaskingKeys").field("versions", &versions).finish_non_exhaustive()
    }
}

impl MaskingKeys {
    /// Reads a key file.
    pub fn load(path: &Path) -> Result<MaskingKeys, KeyError> {
        MaskingKeys::from_source(&KeySource::File(path.to_owned()))
    }

    /// Reads the key from where it comes from; some version of it must be in force.
    pub fn from_source(source: &KeySource) -> Result<MaskingKeys, KeyError> {
        let keys = MaskingKeys::parse(&source.read()?).and_then(|keys| keys.at(Timestamp::now()));
        keys.map_err(|error| KeyError(format!("{source}: {error}")))
    }

    /// The keys with what is in force at this time.
    pub fn at(&self, now: Timestamp) -> Result<MaskingKeys, KeyError> {
        let is_active = |known: &&KeyVersion| known.active_from.is_none_or(|from| from <= now);
        match self.versions.iter().take_while(is_active).count() {
            0 => Err(KeyError("none of its versions is in force yet".to_owned())),
            active => Ok(MaskingKeys { versions: self.versions.clone(), active }),
        }
    }

    /// The text of a new key file with one version.
    pub fn generate(now: Timestamp) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{MASKING_MAGIC} {MASKING_FORMAT}\n\
             # Back this file up: without it no file can be masked to the same pseudonyms again.\n\
             # <version> <created> <key> [<in force from>]; the highest version that is in force is current.\n{}",
            new_version(1, now, None).as_str()
        ))
    }

    pub(crate) fn parse(text: &str) -> Result<MaskingKeys, KeyError> {
        let fail = |line: usize, what: &str| KeyError(format!("line {line}: {what}"));
        let mut lines = text.lines();
        let format = lines.next().and_then(|line| line.strip_prefix(MASKING_MAGIC)).map(str::trim);
        match format.and_then(|format| format.parse::<u32>().ok()) {
            Some(MASKING_FORMAT) => {}
            Some(newer) if newer > MASKING_FORMAT => {
                return Err(fail(
                    1,
                    &format!("format {newer} is newer than this veild understands ({MASKING_FORMAT}); upgrade veild"),
                ));
            }
            _ => return Err(fail(1, &format!("expected `{MASKING_MAGIC} {MASKING_FORMAT}`"))),
        }
        let mut versions: Vec<KeyVersion> = Vec::new();
        for (line, number) in lines.zip(2usize..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = parse_version(line).map_err(|what| fail(number, what))?;
            if versions.iter().any(|known| known.version == parsed.version) {
                return Err(fail(number, &format!("version {} stands there twice", parsed.version)));
            }
            versions.push(parsed);
        }
        if versions.is_empty() {
            return Err(KeyError("holds no key".to_owned()));
        }
        versions.sort_by_key(|known| known.version);
        if !versions.is_sorted_by_key(|known| known.active_from) {
            return Err(KeyError("a version would come into force before an older one".to_owned()));
        }
        let active = versions.len();
        Ok(MaskingKeys { versions, active })
    }

    /// The fingerprint of the highest version, in force or not.
    fn newest(&self) -> String {
        self.versions.last().map(KeyVersion::fingerprint).unwrap_or_default()
    }

    /// Version and fingerprint of what is in force, for audit records.
    pub fn in_force(&self) -> (u32, String) {
        (self.current().version, self.current().fingerprint())
    }

    fn current(&self) -> &KeyVersion {
        // Never empty, and one of them is in force.
        &self.versions[self.active - 1]
    }

    /// All versions, oldest first, those for later included.
    pub fn versions(&self) -> &[KeyVersion] {
        &self.versions
    }

    /// The version that new pseudonyms carry.
    pub fn current_version(&self) -> u32 {
        self.current().version
    }

    /// A key for one purpose (`mask/hash`, `input-digest`) and namespace, derived from the current version.
    pub fn derive(&self, purpose: &str, namespace: &str) -> Zeroizing<[u8; 32]> {
        derive(self.current().key.bytes(), purpose, namespace)
    }

    /// The keys as they were when this version was current; `None` when there is no such one.
    pub fn as_of(&self, version: u32) -> Option<MaskingKeys> {
        let end = self.versions.iter().position(|known| known.version == version)?;
        Some(MaskingKeys { versions: self.versions[..=end].to_vec(), active: end + 1 })
    }
}

fn derive(key: &[u8; 32], purpose: &str, namespace: &str) -> Zeroizing<[u8; 32]> {
    ErasedHmac::new(key).digest(&["veild\0", purpose, "\0", namespace].map(str::as_bytes))
}

/// One line of a key file; what is wrong never quotes the line.
fn parse_version(line: &str) -> Result<KeyVersion, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let (Some(version), Some(created), Some(encoded)) = (words.next(), words.next(), words.next()) else {
        return Err("expected `<version> <creation time> <base64 of 32 bytes> [<in force from>]`");
    };
    let (active_from, None) = (words.next(), words.next()) else { return Err("there is something behind the key") };
    let version =
        version.parse::<u32>().ok().filter(|version| *version > 0).ok_or("the version is no number above 0")?;
    let created = created.parse::<Timestamp>().map_err(|_| "the creation time is not RFC 3339")?;
    let active_from = active_from.map(str::parse::<Timestamp>).transpose();
    let active_from = active_from.map_err(|_| "the time from which it is in force is not RFC 3339")?;
    let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| "the key is not base64")?);
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| "the key is not 32 bytes long")?;
    if key == [0; 32] {
        return Err("the key is all zeros, which anybody can guess; `veild key generate masking` makes one");
    }
    Ok(KeyVersion { version, created, active_from, key: LockedKey::new(Zeroizing::new(key)) })
}

/// Writes a new masking key file, durable, mode 0600; never overwrites.
pub fn generate_masking(path: &Path, now: Timestamp) -> Result<(), KeyError> {
    let _lock = exclusively(path)?;
    refuse_taken(path)?;
    place(path, 0o600, MaskingKeys::generate(now).as_bytes())
}

/// Adds a new version to a masking key file, which becomes current, at once or from a time on; the older ones stay.
/// Returns its number. `record` is told before it does, and when it refuses nothing has changed.
///
/// The file keeps its mode and owner, and is at every moment the old one or the new one.
pub fn rotate_masking(
    path: &Path,
    now: Timestamp,
    active_from: Option<Timestamp>,
    record: impl FnOnce(&Rotation) -> Result<(), KeyError>,
) -> Result<u32, KeyError> {
    let fail = |error: std::io::Error| KeyError(format!("cannot rotate {}: {error}", path.display()));
    // A link stays one: what it names is replaced.
    let path = &fs::canonicalize(path).map_err(fail)?;
    // One rotation at a time, or one of two new versions would be lost.
    let _lock = exclusively(path)?;
    let text = source::read_file(path)?;
    let keys = MaskingKeys::parse(&text).map_err(|error| KeyError(format!("{}: {error}", path.display())))?;
    let version = keys.current_version().checked_add(1).ok_or(KeyError("there are no more versions".to_owned()))?;
    // Without a time a version is in force from its making on; behind one that has a time it needs its own.
    let current = keys.current().active_from;
    let active_from = active_from.or(current.map(|_| now));
    if let Some(current) = current.filter(|current| active_from.is_some_and(|from| from < *current)) {
        let version = keys.current_version();
        return Err(KeyError(format!(
            "version {version} comes into force at {current}; give --from with that or a later time"
        )));
    }
    let metadata = fs::metadata(path).map_err(fail)?;
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let new = Zeroizing::new(format!("{}{end}{}", text.as_str(), new_version(version, now, active_from).as_str()));
    let after = MaskingKeys::parse(&new)?;
    let rotation = Rotation { version, before: keys.newest(), after: after.newest() };
    let temporary = with_suffix(path, ".rotating");
    let described = |error: fsutil::PathError| KeyError(format!("{error}: {}", error.source));
    fsutil::remove_if_there(&temporary).map_err(described)?; // of a rotation that was cut off
    let mut file = fsutil::create_new(&temporary, 0o600).map_err(described)?;
    let placed = file
        .write_all(new.as_bytes())
        .and_then(|()| std::os::unix::fs::fchown(&file, Some(metadata.uid()), Some(metadata.gid())))
        .and_then(|()| file.set_permissions(metadata.permissions()))
        .and_then(|()| file.sync_all())
        .map_err(fail)
        .and_then(|()| record(&rotation))
        .and_then(|()| fs::rename(&temporary, path).map_err(fail));
    if let Err(error) = placed {
        let _ = fs::remove_file(&temporary); // the error that matters is the other one
        return Err(error);
    }
    fsutil::fsync_dir(path.parent().unwrap_or(Path::new("/"))).map_err(described)?;
    Ok(version)
}

/// What a rotation changes, by the fingerprints of the newest versions.
#[derive(Clone)]
pub struct Rotation {
    pub version: u32,
    pub before: String,
    pub after: String,
}

/// A line for a masking key file.
fn new_version(version: u32, now: Timestamp, active_from: Option<Timestamp>) -> Zeroizing<String> {
    let mut key = Zeroizing::new([0u8; 32]);
    OsRng.fill_bytes(key.as_mut_slice());
    let encoded = Zeroizing::new(BASE64.encode(key.as_slice()));
    let from = active_from.map(|from| format!(" {from}")).unwrap_or_default();
    Zeroizing::new(format!("{version} {now} {}{from}\n", encoded.as_str()))
}

fn refuse_taken(path: &Path) -> Result<(), KeyError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(KeyError(format!("{} is already there; keys are never overwritten", path.display()))),
        Err(_) => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Puts a new file there, whole or not at all.
fn place(path: &Path, mode: u32, content: &[u8]) -> Result<(), KeyError> {
    fsutil::place_new(path, mode, content).map_err(|error| KeyError(fsutil::chain(&error)))
}

/// Makes this the only one that makes or changes keys beside this path.
fn exclusively(path: &Path) -> Result<File, KeyError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fail = |error: std::io::Error| KeyError(format!("cannot make or change keys in {}: {error}", dir.display()));
    let lock = File::open(dir).map_err(fail)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(|errno| fail(errno.into()))?;
    Ok(lock)
}

#[cfg(test)]
mod tests;
