//! Checkpoints: what they sign, how they stand in the trail, and how they are found again elsewhere.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::epoch::EpochKey;
use super::segment::unusable;
use super::{Action, AuditError, NAMESPACE, Outcome, Record};
use crate::fsutil::{At, read_named_text};
use crate::keys::SigningKey;

/// Largest file that is searched for checkpoints: a log of months.
const MAX_BYTES: u64 = 1 << 30;

/// A point of the chain, signed by the host and, where there is a forward-secure key, sealed under that of its epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checkpoint {
    pub seq: u64,
    /// Hash of the record `seq`.
    pub head: String,
    pub at: Timestamp,
    /// Absent in those of before version 3.
    pub host: Option<String>,
    pub seal: Option<Seal>,
    pub signature: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seal {
    /// Names the secret.
    pub key: String,
    pub epoch: u64,
    pub mac: String,
}

impl Checkpoint {
    pub fn new(
        seq: u64,
        head: &str,
        at: Timestamp,
        host: &str,
        epoch: Option<&EpochKey>,
        key: &SigningKey,
    ) -> Checkpoint {
        let (head, host) = (head.to_owned(), Some(host.to_owned()));
        let mut new = Checkpoint { seq, head, at, host, seal: None, signature: String::new() };
        if let Some(epoch) = epoch {
            new.seal = Some(Seal { key: epoch.id.clone(), epoch: epoch.epoch, mac: String::new() });
            let mac = epoch.mac(&new.sealed_message());
            new.seal.iter_mut().for_each(|seal| seal.mac.clone_from(&mac));
        }
        new.signature = key.sign(NAMESPACE, &new.signed_message()).trim_end().to_owned();
        new
    }

    /// What the MAC covers; without a seal, what the signature does.
    pub fn sealed_message(&self) -> Vec<u8> {
        let Checkpoint { seq, head, at, .. } = self;
        let version = if self.host.is_some() { 3 } else { 1 + u8::from(self.seal.is_some()) };
        let mut message = format!("veild-audit-checkpoint v{version}\n{seq}\n{head}\n{at}\n");
        if let Some(host) = &self.host {
            message.push_str(&format!("{host}\n"));
        }
        if let Some(Seal { key, epoch, .. }) = &self.seal {
            message.push_str(&format!("{key}\n{epoch}\n"));
        }
        message.into_bytes()
    }

    pub fn signed_message(&self) -> Vec<u8> {
        let mut message = self.sealed_message();
        if let Some(seal) = &self.seal {
            message.extend_from_slice(seal.mac.as_bytes());
            message.push(b'\n');
        }
        message
    }

    pub fn json(&self) -> Value {
        let mut json = json!({"seq": self.seq, "head": self.head, "at": self.at.to_string()});
        if let Some(host) = &self.host {
            json["host"] = json!(host);
        }
        if let Some(seal) = &self.seal {
            json["key"] = json!(seal.key);
            json["epoch"] = json!(seal.epoch);
            json["mac"] = json!(seal.mac);
        }
        json["signature"] = json!(self.signature);
        json
    }

    pub fn record(&self) -> Record {
        Record::new(self.at, Action::AuditCheckpoint, Outcome::Success).veild("checkpoint", self.json())
    }

    /// `None` where something is missing.
    pub fn parse(json: &Value) -> Option<Checkpoint> {
        let text = |key: &str| json.get(key)?.as_str().map(str::to_owned);
        let seal = match json.get("epoch") {
            None => None,
            Some(epoch) => Some(Seal { key: text("key")?, epoch: epoch.as_u64()?, mac: text("mac")? }),
        };
        let (seq, at) = (json.get("seq")?.as_u64()?, text("at")?.parse().ok()?);
        // A line of its own is all that the signature leaves it.
        let host = text("host").filter(|host| !host.contains('\n'));
        Some(Checkpoint { seq, head: text("head")?, at, host, seal, signature: text("signature")? })
    }

    /// All checkpoints in a file: lines of the trail, of the operational log in either spelling, or a checkpoint alone.
    pub fn load(path: &Path) -> Result<Vec<Checkpoint>, AuditError> {
        let text = read_named_text(path, MAX_BYTES).at("read", path)?;
        let mut found = Vec::new();
        match serde_json::from_str(&text) {
            Ok(value) => find(&value, &mut found),
            Err(_) => text.lines().for_each(|line| find_in_text(line, &mut found)),
        }
        if found.is_empty() {
            return Err(unusable(path, "it holds no checkpoint of a trail"));
        }
        Ok(found)
    }
}

fn find(value: &Value, found: &mut Vec<Checkpoint>) {
    match value {
        Value::Object(inner) => match Checkpoint::parse(value) {
            Some(checkpoint) => found.push(checkpoint),
            None => inner.values().for_each(|value| find(value, found)),
        },
        Value::Array(items) => items.iter().for_each(|value| find(value, found)),
        Value::String(text) if text.starts_with('{') => find_in_text(text, found),
        _ => {}
    }
}

fn find_in_text(text: &str, found: &mut Vec<Checkpoint>) {
    let Some(start) = text.find('{') else { return };
    if let Some(Ok(value)) = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>().next() {
        find(&value, found);
    }
}
