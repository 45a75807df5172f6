//! The forward-secure key beside the chain.
//!
//! Every checkpoint carries a MAC under the key of its epoch; then the next epoch's key is derived from it, and it is
//! erased. Whoever takes the host has keys for what is still to come, and none for what was written: only the secret from
//! which all keys derive, which is kept elsewhere, can make or check those MACs.
//!
//! Its file (`STATE/audit-epoch.key`, away from the trail, which is copied elsewhere) has two slots of fixed length, written in place: the next key is durable in one before the other is
//! blanked, so that a kill leaves one key or two, of which the later counts. On file systems that never write in place,
//! and on flash, erased keys may survive below.

use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use super::AuditError;
use super::segment::unusable;
use crate::fsutil::{self, At};
use crate::keys::hmac::ErasedHmac;

const SLOT_MAGIC: &str = "veild-epoch-key 1";
const SLOT: usize = 138;
const SECRET_MAGIC: &str = "veild-audit-secret-1-";
/// A checkpoint every ten minutes for 1900 years.
const MAX_EPOCH: u64 = 100_000_000;

type Key = Zeroizing<[u8; 32]>;

fn derive(key: &Key, purpose: &str) -> Key {
    ErasedHmac::new(key).digest(&[b"veild-audit-epoch ", purpose.as_bytes()])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    // Of its full size at once: a text that grows leaves copies behind, and some of these are keys.
    let mut text = String::with_capacity(2 * bytes.len());
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text
}

fn unhex(text: &str) -> Option<Key> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut key = Zeroizing::new([0; 32]);
    for (index, byte) in key.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    is_hex.then_some(key)
}

fn mac_of(key: &Key, message: &[u8]) -> String {
    hex(ErasedHmac::new(&derive(key, "mac")).digest(&[message]).as_slice())
}

/// What all epochs' keys derive from; it is shown once, and never kept on the host.
pub struct Secret {
    first: Key,
    /// The key that was reached last, so that epochs in order cost one step each.
    reached: (u64, Key),
}

impl Secret {
    pub fn generate() -> Secret {
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(key.as_mut_slice());
        Secret { reached: (0, key.clone()), first: key }
    }

    /// The secrets in a file, one a line; other lines are left alone.
    pub fn load(path: &Path) -> Result<Vec<Secret>, AuditError> {
        let text = fsutil::read_named_text(path, fsutil::MAX_NAMED_BYTES).at("read", path)?;
        let keys = text.lines().filter_map(|line| unhex(line.trim().strip_prefix(SECRET_MAGIC)?));
        let secrets: Vec<Secret> = keys.map(|key| Secret { reached: (0, key.clone()), first: key }).collect();
        if secrets.is_empty() {
            return Err(unusable(path, format!("it holds no audit secret ({SECRET_MAGIC}…)")));
        }
        Ok(secrets)
    }

    /// As it is shown.
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SECRET_MAGIC.len() + 2 * self.first.len()));
        text.push_str(SECRET_MAGIC);
        text.push_str(&Zeroizing::new(hex(self.first.as_slice())));
        text
    }

    /// Names it without telling anything about it; every checkpoint carries this.
    pub fn id(&self) -> String {
        hex(&derive(&self.first, "id")[..8])
    }

    fn key_of(&mut self, epoch: u64) -> Option<&Key> {
        if epoch > MAX_EPOCH {
            return None;
        }
        if epoch < self.reached.0 {
            self.reached = (0, self.first.clone());
        }
        while self.reached.0 < epoch {
            self.reached = (self.reached.0 + 1, derive(&self.reached.1, "next"));
        }
        Some(&self.reached.1)
    }

    /// Whether this is the MAC of a message in that epoch.
    pub fn verifies(&mut self, epoch: u64, message: &[u8], mac: &str) -> bool {
        self.key_of(epoch).is_some_and(|key| mac_of(key, message) == mac)
    }

    /// Whether the host's key is the one of its epoch.
    pub fn leads_to(&mut self, key: &EpochKey) -> bool {
        self.key_of(key.epoch).is_some_and(|derived| *derived == key.key)
    }
}

/// The key of the epoch that is to come.
pub struct EpochKey {
    path: PathBuf,
    pub id: String,
    pub epoch: u64,
    key: Key,
}

impl EpochKey {
    /// Begins with a new secret; there must be no key yet.
    pub fn create(path: &Path, secret: &Secret) -> Result<(), AuditError> {
        let key = EpochKey { path: path.to_owned(), id: secret.id(), epoch: 0, key: secret.first.clone() };
        let slots = Zeroizing::new([key.slot().as_bytes(), &blank()].concat());
        Ok(fsutil::place_new(path, 0o600, &slots)?)
    }

    /// `None` when there is none.
    pub fn load(path: &Path) -> Result<Option<EpochKey>, AuditError> {
        let mut file = match fsutil::open_regular(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata().at("stat", path)?;
        if metadata.mode() & 0o077 != 0 {
            return Err(unusable(path, "it is open to others; run chmod 0600 on it"));
        }
        if metadata.len() != 2 * SLOT as u64 {
            return Err(unusable(
                path,
                "it is no epoch key; restore it, or move it away and begin with `veild audit seal`",
            ));
        }
        let mut slots = Zeroizing::new([0; 2 * SLOT]);
        file.read_exact(slots.as_mut_slice()).at("read", path)?;
        let keys = slots.chunks(SLOT).filter_map(|slot| EpochKey::parse(path, std::str::from_utf8(slot).ok()?));
        match keys.max_by_key(|key| key.epoch) {
            Some(key) => Ok(Some(key)),
            None => {
                Err(unusable(path, "it holds no whole key; move it away and begin a new one with `veild audit seal`"))
            }
        }
    }

    fn parse(path: &Path, slot: &str) -> Option<EpochKey> {
        let (body, check) = slot.strip_suffix('\n')?.rsplit_once(' ')?;
        let (id, rest) = body.strip_prefix(SLOT_MAGIC)?.trim_start().split_once(' ')?;
        let (epoch, key) = rest.split_once(' ')?;
        let key = unhex(key)?;
        let key = EpochKey { path: path.to_owned(), id: id.to_owned(), epoch: epoch.parse().ok()?, key };
        (check_of(body) == check).then_some(key)
    }

    fn slot(&self) -> Zeroizing<String> {
        let mut slot = Zeroizing::new(String::with_capacity(SLOT));
        let key = Zeroizing::new(hex(self.key.as_slice()));
        let body = write!(slot, "{SLOT_MAGIC} {} {:020} {}", self.id, self.epoch, key.as_str());
        let check = check_of(&slot);
        body.and_then(|()| writeln!(slot, " {check}")).expect("a String takes every text");
        slot
    }

    /// The secret, as long as nothing was sealed: for whoever was cut off before it was shown.
    pub fn secret(&self) -> Option<Secret> {
        (self.epoch == 0).then(|| Secret { first: self.key.clone(), reached: (0, self.key.clone()) })
    }

    pub fn mac(&self, message: &[u8]) -> String {
        mac_of(&self.key, message)
    }

    /// Goes on to a later epoch, and erases what came before it.
    pub fn advance_to(&mut self, epoch: u64) -> Result<(), AuditError> {
        if epoch > MAX_EPOCH {
            return Err(unusable(
                &self.path,
                format!("no trail comes to epoch {epoch}; it was left in {}", self.epoch),
            ));
        }
        let mut key = self.key.clone();
        for _ in self.epoch..epoch {
            key = derive(&key, "next");
        }
        let next = EpochKey { path: self.path.clone(), id: self.id.clone(), epoch, key };
        let file = OpenOptions::new().write(true).open(&self.path).at("open", &self.path)?;
        let offset = |epoch: u64| (epoch % 2) * SLOT as u64;
        file.write_all_at(next.slot().as_bytes(), offset(epoch)).at("write", &self.path)?;
        file.sync_data().at("make durable", &self.path)?;
        crate::faults::point("epoch_advanced");
        file.write_all_at(&blank(), offset(epoch + 1)).at("write", &self.path)?;
        file.sync_data().at("make durable", &self.path)?;
        *self = next;
        Ok(())
    }
}

fn blank() -> Vec<u8> {
    let mut slot = vec![b'-'; SLOT];
    slot[SLOT - 1] = b'\n';
    slot
}

/// Tells a slot that was cut off while it was written.
fn check_of(body: &str) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(body.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_key_goes_on_and_the_old_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let mut secret = Secret::generate();
        EpochKey::create(&path, &secret).unwrap();
        assert!(EpochKey::create(&path, &secret).is_err(), "never overwritten");
        let mut key = EpochKey::load(&path).unwrap().unwrap();
        let first = key.mac(b"m");
        for epoch in 1..5 {
            key.advance_to(epoch).unwrap();
            let loaded = EpochKey::load(&path).unwrap().unwrap();
            assert_eq!((loaded.epoch, &loaded.key), (epoch, &key.key));
            assert!(secret.verifies(epoch, b"m", &key.mac(b"m")) && !secret.verifies(epoch, b"m", &first));
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text.matches(SLOT_MAGIC).count(), 1, "{text}");
        }
        assert!(secret.verifies(0, b"m", &first) && secret.leads_to(&key));
        // A kill that left both, or half of the next one.
        let good = fs::read(&path).unwrap();
        let mut half = good.clone();
        let at = if good[0] == b'-' { 0 } else { SLOT };
        half[at..at + 40].copy_from_slice(&good[SLOT - at..][..40]);
        fs::write(&path, half).unwrap();
        let mut loaded = EpochKey::load(&path).unwrap().unwrap();
        assert_eq!(loaded.epoch, 4);
        loaded.advance_to(4).unwrap();
        assert_eq!(fs::read(&path).unwrap(), good);
        fs::write(dir.path().join("s"), format!("# kept elsewhere\n{}\n", secret.text().as_str())).unwrap();
        assert_eq!(Secret::load(&dir.path().join("s")).unwrap()[0].id(), key.id);
    }
}
