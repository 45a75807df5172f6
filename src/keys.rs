//! Masking and signing keys: their files, versions and derivations.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
use zeroize::Zeroizing;

use crate::fsutil;

/// First word of a masking key file; the number after it is the version of the format.
const MASKING_MAGIC: &str = "veild-masking-key";
const MASKING_FORMAT: u32 = 1;
/// No honest key file comes near this; it bounds what a wrong path can make us read.
const MAX_KEY_FILE: u64 = 1 << 20;

/// A key that cannot be used; never holds key material.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub String);

/// All versions of a masking key. Serialised only to hand it to a worker process.
#[derive(Clone, Serialize, Deserialize)]
pub struct MaskingKeys {
    /// In ascending order of version, never empty.
    versions: Vec<KeyVersion>,
}

/// One version of a masking key.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyVersion {
    pub version: u32,
    pub created: Timestamp,
    key: Zeroizing<[u8; 32]>,
}

impl KeyVersion {
    /// Tells versions apart and says nothing of the key: two hosts that see the same one mask alike.
    pub fn fingerprint(&self) -> String {
        derive(&self.key, "fingerprint", "")[..8].iter().map(|byte| format!("{byte:02x}")).collect()
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
        let text = read_secret(path)?;
        MaskingKeys::parse(&text).map_err(|error| KeyError(format!("{}: {error}", path.display())))
    }

    /// The text of a new key file with one version.
    pub fn generate(now: Timestamp) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{MASKING_MAGIC} {MASKING_FORMAT}\n\
             # Back this file up: without it no file can be masked to the same pseudonyms again.\n\
             # <version> <created> <key>; the highest version is current.\n{}",
            new_version(1, now).as_str()
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
        Ok(MaskingKeys { versions })
    }

    fn current(&self) -> &KeyVersion {
        self.versions.last().expect("parse refuses a file without keys")
    }

    /// All versions, oldest first.
    pub fn versions(&self) -> &[KeyVersion] {
        &self.versions
    }

    /// The version that new pseudonyms carry.
    pub fn current_version(&self) -> u32 {
        self.current().version
    }

    /// A key for one purpose (`mask/hash`, `input-digest`) and namespace, derived from the current version.
    pub fn derive(&self, purpose: &str, namespace: &str) -> Zeroizing<[u8; 32]> {
        derive(&self.current().key, purpose, namespace)
    }

    /// The keys as they were when this version was current; `None` when there is no such one.
    pub fn as_of(&self, version: u32) -> Option<MaskingKeys> {
        let end = self.versions.iter().position(|known| known.version == version)?;
        Some(MaskingKeys { versions: self.versions[..=end].to_vec() })
    }
}

fn derive(key: &[u8; 32], purpose: &str, namespace: &str) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes keys of any length");
    for part in ["veild\0", purpose, "\0", namespace] {
        mac.update(part.as_bytes());
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// One line of a key file; what is wrong never quotes the line.
fn parse_version(line: &str) -> Result<KeyVersion, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let (Some(version), Some(created), Some(encoded), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("expected `<version> <creation time> <base64 of 32 bytes>`");
    };
    let version =
        version.parse::<u32>().ok().filter(|version| *version > 0).ok_or("the version is no number above 0")?;
    let created = created.parse::<Timestamp>().map_err(|_| "the creation time is not RFC 3339")?;
    let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| "the key is not base64")?);
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| "the key is not 32 bytes long")?;
    Ok(KeyVersion { version, created, key: Zeroizing::new(key) })
}

/// Reads a file that nobody but its owner (and its group, for reading) may touch.
fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let fail = |error: std::io::Error| KeyError(format!("cannot read key file {}: {error}", path.display()));
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o037 != 0 {
        return Err(KeyError(format!(
            "key file {path} is open to others (mode {mode:04o}); run: chmod 0600 {path}",
            path = path.display()
        )));
    }
    if metadata.len() > MAX_KEY_FILE {
        return Err(KeyError(format!("{} is too large for a key file", path.display())));
    }
    let mut text = Zeroizing::new(String::with_capacity(metadata.len() as usize + 1));
    file.take(MAX_KEY_FILE).read_to_string(&mut text).map_err(fail)?;
    Ok(text)
}

/// Writes a new masking key file, durable, mode 0600; never overwrites.
pub fn generate_masking(path: &Path, now: Timestamp) -> Result<(), KeyError> {
    refuse_taken(path)?;
    write_durable(path, 0o600, MaskingKeys::generate(now).as_bytes())
}

/// Adds a new version to a masking key file, which becomes current; the older ones stay. Returns its number.
///
/// The file keeps its mode and owner, and is at every moment the old one or the new one.
pub fn rotate_masking(path: &Path, now: Timestamp) -> Result<u32, KeyError> {
    let fail = |error: std::io::Error| KeyError(format!("cannot rotate {}: {error}", path.display()));
    // A link stays one: what it names is replaced.
    let path = &fs::canonicalize(path).map_err(fail)?;
    let dir = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(fail)?;
    // One rotation at a time, or one of two new versions would be lost.
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive).map_err(|errno| fail(errno.into()))?;
    let text = read_secret(path)?;
    let keys = MaskingKeys::parse(&text).map_err(|error| KeyError(format!("{}: {error}", path.display())))?;
    let version = keys.current_version().checked_add(1).ok_or(KeyError("there are no more versions".to_owned()))?;
    let metadata = fs::metadata(path).map_err(fail)?;
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let new = Zeroizing::new(format!("{}{end}{}", text.as_str(), new_version(version, now).as_str()));
    let temporary = with_suffix(path, ".rotating");
    let described = |error: fsutil::PathError| KeyError(format!("{error}: {}", error.source));
    fsutil::remove_if_there(&temporary).map_err(described)?; // of a rotation that was cut off
    let mut file = fsutil::create_new(&temporary, 0o600).map_err(described)?;
    let placed = file
        .write_all(new.as_bytes())
        .and_then(|()| std::os::unix::fs::fchown(&file, Some(metadata.uid()), Some(metadata.gid())))
        .and_then(|()| file.set_permissions(metadata.permissions()))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&temporary); // the error that matters is the other one
        return Err(fail(error));
    }
    fsutil::fsync_dir(path.parent().unwrap_or(Path::new("/"))).map_err(described)?;
    Ok(version)
}

/// A line for a masking key file.
fn new_version(version: u32, now: Timestamp) -> Zeroizing<String> {
    let mut key = Zeroizing::new([0u8; 32]);
    OsRng.fill_bytes(key.as_mut_slice());
    let encoded = Zeroizing::new(BASE64.encode(key.as_slice()));
    Zeroizing::new(format!("{version} {now} {}\n", encoded.as_str()))
}

fn refuse_taken(path: &Path) -> Result<(), KeyError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(KeyError(format!("{} is already there; keys are never overwritten", path.display()))),
        Err(_) => Ok(()),
    }
}

/// Writes a new signing key F, its public half F.pub and F.allowed_signers for `ssh-keygen -Y verify`; never overwrites.
pub fn generate_signing(path: &Path) -> Result<(), KeyError> {
    let (public_path, signers_path) = (with_suffix(path, ".pub"), with_suffix(path, ".allowed_signers"));
    // Looked at beforehand so that no half set is left behind; create_new below still decides.
    for path in [path, &public_path, &signers_path] {
        refuse_taken(path)?;
    }
    let fail = |error: ssh_key::Error| KeyError(format!("cannot generate a signing key: {error}"));
    let mut private = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(fail)?;
    private.set_comment("veild");
    let secret = private.to_openssh(LineEnding::LF).map_err(fail)?;
    let public = private.public_key().to_openssh().map_err(fail)?;
    let mut bare = private.public_key().clone();
    bare.set_comment("");
    let bare = bare.to_openssh().map_err(fail)?;
    let signers = format!("veild namespaces=\"veild-audit,veild-receipt\" {}\n", bare.trim_end());
    write_durable(path, 0o600, secret.as_bytes())?;
    write_durable(&public_path, 0o644, format!("{}\n", public.trim_end()).as_bytes())?;
    write_durable(&signers_path, 0o644, signers.as_bytes())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn write_durable(path: &Path, mode: u32, content: &[u8]) -> Result<(), KeyError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fsutil::write_new_synced(path, mode, content)
        .and_then(|()| fsutil::fsync_dir(parent))
        .map_err(|error| KeyError(format!("{error}: {}", error.source)))
}

/// The host's signing key.
#[derive(Clone)]
pub struct SigningKey {
    key: PrivateKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    pub fn load(path: &Path) -> Result<SigningKey, KeyError> {
        let text = read_secret(path)?;
        let fail = |what: String| KeyError(format!("{}: {what}", path.display()));
        let key = PrivateKey::from_openssh(text.as_str())
            .map_err(|error| fail(format!("no OpenSSH private key: {error}")))?;
        if key.is_encrypted() {
            return Err(fail("has a passphrase; the daemon cannot enter one".to_owned()));
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(fail(format!("is {}, not ssh-ed25519", key.algorithm())));
        }
        Ok(SigningKey { key })
    }

    /// An armoured SSH signature (`ssh-keygen -Y verify` checks it) over `message` in `namespace`.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        self.key
            .sign(namespace, HashAlg::Sha512, message)
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .expect("an unencrypted ed25519 key signs any message in a named namespace")
    }

    pub fn verifying(&self) -> VerifyingKey {
        VerifyingKey { key: self.key.public_key().clone() }
    }
}

/// The public half of a signing key.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    key: PublicKey,
}

impl VerifyingKey {
    /// Reads `F.pub` in OpenSSH's format, or the first ssh-ed25519 key of an allowed-signers file.
    pub fn load(path: &Path) -> Result<VerifyingKey, KeyError> {
        let fail = |what: String| KeyError(format!("cannot read public key {}: {what}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let key = lines.filter_map(|line| line.find("ssh-ed25519 ").map(|at| &line[at..])).next();
        let key = key.ok_or_else(|| fail("it holds no ssh-ed25519 key".to_owned()))?;
        let key = PublicKey::from_openssh(key).map_err(|error| fail(error.to_string()))?;
        Ok(VerifyingKey { key })
    }

    /// The public half of the signing key at this path; where that is not for this user to read, its `.pub`.
    pub fn of_signing_key(path: &Path) -> Result<VerifyingKey, KeyError> {
        match SigningKey::load(path) {
            Ok(key) => Ok(key.verifying()),
            Err(error) => VerifyingKey::load(&with_suffix(path, ".pub")).map_err(|_| error),
        }
    }

    /// Whether the armoured signature is this key's over the message in the namespace.
    pub fn verify(&self, namespace: &str, message: &[u8], armoured: &str) -> Result<(), KeyError> {
        let signature =
            SshSig::from_pem(armoured).map_err(|error| KeyError(format!("no armoured SSH signature: {error}")))?;
        // Another spelling of the same signature means that somebody has touched it.
        let canonical = signature.to_pem(LineEnding::LF).map_err(|error| KeyError(error.to_string()))?;
        if canonical.trim_end() != armoured.trim_end() {
            return Err(KeyError("the signature's armour has been altered".to_owned()));
        }
        self.key
            .verify(namespace, message, &signature)
            .map_err(|error| KeyError(format!("the signature does not hold: {error}")))
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
