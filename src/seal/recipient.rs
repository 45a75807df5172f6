//! To whom something is sealed: the kinds of age recipients, and which of them share an object.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use age::EncryptError;
use age_core::format::{FileKey, Stanza};
use serde::{Deserialize, Serialize};

use super::plugin::{Call, Runner};
use crate::keys::{Passphrase, Passphrases};

/// How a list of recipients spells a passphrase; behind it stands the name of its group.
pub const PASSPHRASE_PREFIX: &str = "passphrase:";
/// log2 of scrypt's N, as the `age` command has it: 256 MiB and about a second for every guess, and for every object.
pub const WORK_FACTOR: u8 = 18;

const ACCEPTED: &str = "accepted are age1… (X25519, tag, tagpq or of a plugin), ssh-ed25519 … and ssh-rsa …";

/// Recipients of one output on their way to whoever seals: as they are spelled, with the passphrase where it is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Readers {
    pub recipients: Vec<String>,
    passphrase: Option<Passphrase>,
}

impl Readers {
    pub fn new(recipients: &[String], passphrases: &Passphrases) -> Readers {
        let group = recipients.first().and_then(|only| only.strip_prefix(PASSPHRASE_PREFIX));
        let passphrase = group.and_then(|group| passphrases.of(group)).cloned();
        Readers { recipients: recipients.to_vec(), passphrase }
    }
}

/// Checked recipients of one output.
#[derive(Clone)]
pub struct Recipients {
    all: Vec<Arc<dyn age::Recipient + Send + Sync>>,
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipients").field("count", &self.all.len()).finish()
    }
}

/// A recipient that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RecipientError(pub String);

impl Recipients {
    /// Reads recipients: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`, one per string. Those of plugins can be read, not sealed
    /// to.
    ///
    /// # Errors
    ///
    /// Names the entry that cannot be used, says why and what is accepted; an identity given by mistake is never
    /// repeated in the message.
    pub fn parse<S: AsRef<str>>(recipients: &[S]) -> Result<Recipients, RecipientError> {
        let numbered = recipients.iter().enumerate().map(|(index, text)| (index + 1, text.as_ref()));
        Recipients::parse_numbered(&numbered.collect::<Vec<_>>())
    }

    /// The same for recipients that stand among other things: each with the number by which messages call it.
    pub fn parse_numbered(recipients: &[(usize, &str)]) -> Result<Recipients, RecipientError> {
        Recipients::read(recipients, &super::plugin::refuse())
    }

    /// Reads recipients, those of plugins and a passphrase included.
    pub fn of(readers: &Readers, plugins: &Runner) -> Result<Recipients, RecipientError> {
        if let Some(passphrase) = &readers.passphrase {
            return Ok(Recipients { all: vec![Arc::new(ByPassphrase(passphrase.clone()))] });
        }
        let numbered = readers.recipients.iter().enumerate().map(|(index, text)| (index + 1, text.as_str()));
        Recipients::read(&numbered.collect::<Vec<_>>(), plugins)
    }

    fn read(recipients: &[(usize, &str)], plugins: &Runner) -> Result<Recipients, RecipientError> {
        if recipients.is_empty() {
            return Err(RecipientError("there are no recipients: at least one is needed".to_owned()));
        }
        let mut all: Vec<Arc<dyn age::Recipient + Send + Sync>> = Vec::with_capacity(recipients.len());
        let mut of_plugins: Vec<OfPlugin> = Vec::new();
        let mut seen: Vec<(usize, String)> = Vec::with_capacity(recipients.len());
        for (number, text) in recipients {
            let why = |why: String| RecipientError(format!("recipient {number} {why}; {ACCEPTED}"));
            let (canonical, recipient) = parse_one(text.trim()).map_err(why)?;
            if let Some((first, _)) = seen.iter().find(|(_, earlier)| *earlier == canonical) {
                return Err(RecipientError(format!("recipient {number} is the same as recipient {first}")));
            }
            match recipient {
                Parsed::Native(native) => all.push(native),
                // One call for all recipients of a plugin.
                Parsed::OfPlugin(name) => match of_plugins.iter_mut().find(|plugin| plugin.name == name) {
                    Some(plugin) => plugin.recipients.push(canonical.clone()),
                    None => {
                        let recipients = vec![canonical.clone()];
                        of_plugins.push(OfPlugin { name, recipients, runner: plugins.clone() });
                    }
                },
            }
            seen.push((*number, canonical));
        }
        let texts: Vec<&str> = seen.iter().map(|(_, text)| text.as_str()).collect();
        if let Some(discord) = discord(&texts) {
            return Err(RecipientError(discord));
        }
        all.extend(of_plugins.into_iter().map(|plugin| Arc::new(plugin) as _));
        Ok(Recipients { all })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.all.iter().map(|recipient| &**recipient as &dyn age::Recipient)
    }
}

/// Why recipients, each of which is right by itself, cannot share an object.
pub fn discord(recipients: &[impl AsRef<str>]) -> Option<String> {
    let is = |wanted: Kind| recipients.iter().any(|recipient| Kind::of(recipient.as_ref()) == wanted);
    if is(Kind::Passphrase) && recipients.len() > 1 {
        return Some("a passphrase stands alone: age seals to it and nobody else".to_owned());
    }
    (is(Kind::PostQuantum) && is(Kind::Classical)).then(|| {
        "post-quantum recipients (age1tagpq…) and others are not mixed: who breaks the others would read it all the same"
            .to_owned()
    })
}

#[derive(PartialEq, Eq)]
enum Kind {
    Classical,
    PostQuantum,
    Passphrase,
    /// Only the plugin knows.
    OfPlugin,
}

impl Kind {
    fn of(recipient: &str) -> Kind {
        match recipient {
            _ if recipient.starts_with(PASSPHRASE_PREFIX) => Kind::Passphrase,
            _ if recipient.starts_with("age1tagpq1") => Kind::PostQuantum,
            _ if plugin_of(recipient).is_some() => Kind::OfPlugin,
            _ => Kind::Classical,
        }
    }
}

/// The name of the plugin that knows what to do with a recipient.
pub fn plugin_of(recipient: &str) -> Option<&str> {
    // Behind the last 1 of Bech32 stands the data, which has none.
    let (name, _) = recipient.trim().strip_prefix("age1")?.rsplit_once('1')?;
    (!matches!(name, "tag" | "tagpq")).then_some(name)
}

enum Parsed {
    Native(Arc<dyn age::Recipient + Send + Sync>),
    OfPlugin(String),
}

/// The recipient with its canonical spelling, or why not. No reason repeats the text: it may be a secret.
fn parse_one(text: &str) -> Result<(String, Parsed), String> {
    use age::ssh::ParseRecipientKeyError as Ssh;
    let upper = text.to_ascii_uppercase();
    if ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY"].iter().any(|secret| upper.contains(secret)) {
        return Err("is a secret key, which must not be on this host (it is not repeated here)".to_owned());
    }
    if text.lines().count() > 1 {
        return Err("has more than one line".to_owned());
    }
    if text.starts_with("age1") {
        return parse_age(text);
    }
    if text.starts_with(PASSPHRASE_PREFIX) {
        return Err("is a passphrase, which a group has: [recipients.NAME] with `passphrase`".to_owned());
    }
    if !(text.starts_with("ssh-ed25519 ") || text.starts_with("ssh-rsa ")) {
        return Err(if text.is_empty() { "is empty" } else { "is of a kind that is not known" }.to_owned());
    }
    let recipient: age::ssh::Recipient = text.parse().map_err(|error| match error {
        Ssh::RsaModulusTooLarge => "is an RSA key that is too large".to_owned(),
        Ssh::RsaModulusTooSmall => "is an RSA key of less than 2048 bits".to_owned(),
        _ => "is not a valid SSH public key".to_owned(),
    })?;
    Ok((canonical(text), Parsed::Native(Arc::new(recipient))))
}

fn parse_age(text: &str) -> Result<(String, Parsed), String> {
    if let Some(name) = plugin_of(text) {
        let recipient: age::plugin::Recipient = text
            .parse()
            .map_err(|_| format!("is not a valid recipient of the plugin age-plugin-{name} (mistyped?)"))?;
        return Ok((recipient.to_string(), Parsed::OfPlugin(recipient.plugin().to_owned())));
    }
    if text.starts_with("age1tagpq1") {
        let recipient: age::tagpq::Recipient =
            text.parse().map_err(|_| "is not a valid tagpq recipient (mistyped?)".to_owned())?;
        return Ok((recipient.to_string(), Parsed::Native(Arc::new(recipient))));
    }
    if text.starts_with("age1tag1") {
        let recipient: age::tag::Recipient =
            text.parse().map_err(|_| "is not a valid tag recipient (mistyped?)".to_owned())?;
        return Ok((recipient.to_string(), Parsed::Native(Arc::new(recipient))));
    }
    let recipient: age::x25519::Recipient =
        text.parse().map_err(|_| "is not a valid X25519 recipient (mistyped?)".to_owned())?;
    Ok((recipient.to_string(), Parsed::Native(Arc::new(recipient))))
}

/// A recipient without what does not make it another one: an SSH key's comment, white space.
pub fn canonical(recipient: &str) -> String {
    recipient.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

struct ByPassphrase(Passphrase);

impl age::Recipient for ByPassphrase {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let mut recipient = age::scrypt::Recipient::new(self.0.expose().to_owned().into());
        recipient.set_work_factor(WORK_FACTOR);
        recipient.wrap_file_key(file_key)
    }
}

/// Recipients that a plugin knows what to do with.
struct OfPlugin {
    name: String,
    recipients: Vec<String>,
    runner: Runner,
}

impl age::Recipient for OfPlugin {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let call = Call::new(&self.name, &self.recipients, file_key);
        let failed = |error: io::Error| {
            EncryptError::Io(io::Error::new(error.kind(), format!("age-plugin-{}: {error}", self.name)))
        };
        (self.runner)(&call).map(super::plugin::Wrapped::into_parts).map_err(failed)
    }
}

/// What an error of age's means for an operator.
pub(super) fn sealing(error: EncryptError) -> io::Error {
    match error {
        EncryptError::Io(error) => error,
        EncryptError::IncompatibleRecipients { .. } => io::Error::other(
            "these recipients cannot share one object: a plugin says that its own are of another strength or must be alone",
        ),
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "age1tag1qwnc3483dptup3090q8mjzj0h0a0vl8xpu09heng9h6qz8aug5qjsfqrmg3";
    const X25519: &str = "age19uqkgvnr553njxhf3pa72wfz7agr8pdh96m280wk20f384kykq3sm765jg";
    const OF_PLUGIN: &str = "age1veildtest1qpdk9y4jhcke2087qgya5mmasuqqnmhfnv";

    #[test]
    fn kinds_are_told_apart_and_mistakes_in_each() {
        assert!(Recipients::parse(&[TAG, X25519, OF_PLUGIN]).is_ok());
        assert_eq!((plugin_of(OF_PLUGIN), plugin_of(TAG), plugin_of(X25519)), (Some("veildtest"), None, None));
        assert_eq!(plugin_of("age1yubikey1q1"), Some("yubikey1q"), "data has no 1");
        for (wrong, what) in [
            (TAG.replace("qwnc", "qwnq"), "is not a valid tag recipient"),
            ("age1tagpq1qqqq".to_owned(), "is not a valid tagpq recipient"),
            (OF_PLUGIN.replace("qpdk", "qpdq"), "is not a valid recipient of the plugin age-plugin-veildtest"),
            ("AGE-PLUGIN-VEILDTEST-1QPDK9Y4JHCKE2087QGYA5MMASUQQ97QNG3".to_owned(), "is a secret key"),
            ("passphrase:shared".to_owned(), "is a passphrase, which a group has"),
        ] {
            let error = Recipients::parse(&[X25519, &wrong]).unwrap_err().to_string();
            assert!(error.contains(&format!("recipient 2 {what}")) && !error.contains("QPDK"), "{error}");
        }
    }

    #[test]
    fn what_weakens_another_does_not_share_an_object() {
        let tagpq = "age1tagpq1abc";
        assert!(discord(&[tagpq, TAG]).is_some() && discord(&[X25519, tagpq]).is_some());
        assert!(discord(&[tagpq, "ssh-rsa A"]).is_some() && discord(&["passphrase:a", X25519]).is_some());
        for peaceful in [&[tagpq, tagpq][..], &[TAG, X25519], &[tagpq, OF_PLUGIN], &["passphrase:a"]] {
            assert_eq!(discord(peaceful), None);
        }
    }

    #[test]
    fn plugins_do_not_run_unless_they_may() {
        let recipients = Recipients::parse(&[OF_PLUGIN]).unwrap();
        let error = super::super::Sealing::new(&recipients).err().unwrap();
        assert!(error.to_string().contains("plugins are not allowed"), "{error}");
    }
}
