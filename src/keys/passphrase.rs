//! Passphrases that something is sealed with: the one secret on this host that opens what it seals.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::source::read_file;
use super::{KeyError, locked};
use crate::config::Config;

/// Fewer characters are guessed all the same, however much each guess costs.
const LEAST_CHARACTERS: usize = 16;

/// Erased when the last of its users has gone, and kept out of swap; clones share it. Serialised only to hand it to a worker
/// process.
#[derive(Clone)]
pub struct Passphrase(Arc<Zeroizing<String>>);

impl Serialize for Passphrase {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.expose().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Passphrase {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Passphrase, D::Error> {
        String::deserialize(from).map(|text| Passphrase::new(Zeroizing::new(text)))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

impl Passphrase {
    /// Reads a file of one line, which nobody but its owner (and its group, for reading) may touch.
    pub fn load(path: &Path) -> Result<Passphrase, KeyError> {
        let text = read_file(path)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let wrong = |why: &str| KeyError(format!("{} is no passphrase: {why}", path.display()));
        if line.contains(['\n', '\r']) {
            return Err(wrong("it has more than one line"));
        }
        if line.chars().count() < LEAST_CHARACTERS {
            return Err(wrong("it has less than 16 characters; `openssl rand -base64 24` makes a good one"));
        }
        Ok(Passphrase::new(Zeroizing::new(line.to_owned())))
    }

    fn new(text: Zeroizing<String>) -> Passphrase {
        locked::lock_text(&text);
        Passphrase(Arc::new(text))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// By name of the group of recipients.
#[derive(Clone, Debug, Default)]
pub struct Passphrases(BTreeMap<String, Passphrase>);

impl Passphrases {
    /// Reads those of every group that has one.
    pub fn load(config: &Config) -> Result<Passphrases, KeyError> {
        let files = config.groups.values().filter_map(|group| Some((&group.name, group.passphrase.as_deref()?)));
        let read = files.map(|(name, path)| Ok((name.clone(), Passphrase::load(path)?)));
        read.collect::<Result<_, _>>().map(Passphrases)
    }

    pub fn of(&self, group: &str) -> Option<&Passphrase> {
        self.0.get(group)
    }

    /// Takes newer ones; those of groups that are gone stay, for the files that were claimed under them.
    pub fn renew(&mut self, newer: Passphrases) {
        self.0.extend(newer.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_passphrase_is_one_long_line_that_others_cannot_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        let load = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Passphrase::load(&path)
        };
        let read = load("correct horse battery\n", 0o600).unwrap();
        assert_eq!((read.expose(), format!("{read:?}").as_str()), ("correct horse battery", "Passphrase"));
        let copy: Passphrase = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        for kept in [&read, &copy, &read.clone()] {
            if locked::is_locked(kept.expose().as_ptr()) == Some(false) {
                panic!("it may be swapped out");
            }
        }
        assert_eq!(load("correct horse battery\r\n", 0o600).unwrap().expose(), read.expose());
        for (text, mode) in
            [("correct horse battery", 0o644), ("one\ncorrect horse battery\n", 0o600), ("short\n", 0o600)]
        {
            let error = load(text, mode).unwrap_err().to_string();
            assert!(!error.contains("correct") && error.contains("passphrase"), "{error}");
        }
    }
}
