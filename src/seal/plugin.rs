//! age plugins: programs called `age-plugin-NAME` that wrap a file key for recipients of their own kind, and unwrap it with
//! what they keep (<https://c2sp.org/age-plugin>).
//!
//! A plugin is foreign code. It runs below a child of ours (`veild plugin`) that is killed with all that it has
//! started when no answer comes, and leaves nobody unwaited for. It gets the file key or the stanzas of one object, none of
//! this process' files or capabilities, and whom it may ask is for its caller to say ([`talk`]).

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use age::{Callbacks, NoCallbacks, Recipient};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

mod talk;

use talk::{Relay, words};

/// Time that a plugin has to end by itself.
const ENDS_WITHIN_MS: u32 = 500;
/// Said of a plugin that is not installed.
const NOT_THERE: &str = "there is no such program on PATH";

/// How plugins are run.
pub type Runner = Arc<dyn Fn(&Call) -> io::Result<Wrapped> + Send + Sync>;

/// A file key to be wrapped.
#[derive(Clone, Serialize, Deserialize)]
pub struct Call {
    pub plugin: String,
    pub recipients: Vec<String>,
    file_key: Zeroizing<Vec<u8>>,
}

/// Tag, arguments, body.
type Parts = (String, Vec<String>, Vec<u8>);

/// A file key as a plugin has wrapped it.
#[derive(Serialize, Deserialize)]
pub struct Wrapped {
    stanzas: Vec<Parts>,
    labels: Vec<String>,
}

/// An object's stanzas, one of which a plugin may be able to unwrap.
#[derive(Serialize, Deserialize)]
struct Unwrapping {
    plugin: String,
    identities: Vec<Zeroizing<String>>,
    stanzas: Vec<Parts>,
}

/// What the child is asked.
#[derive(Serialize, Deserialize)]
enum Question {
    Wrap(Call),
    Unwrap(Unwrapping),
}

/// What comes of it.
#[derive(Serialize, Deserialize)]
enum Answer {
    Wrapped(Wrapped),
    /// The file key, if one of the stanzas is for the plugin's identities.
    Unwrapped(Option<Zeroizing<Vec<u8>>>),
}

/// A plugin that could not do its part, which says nothing about the object.
#[derive(Debug, thiserror::Error)]
#[error("age-plugin-{plugin}: {why}")]
struct PluginFailed {
    plugin: String,
    why: String,
}

/// Whether an object was not opened because a plugin failed.
pub fn has_failed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<PluginFailed>())
}

impl Call {
    pub(super) fn new(plugin: &str, recipients: &[String], file_key: &FileKey) -> Call {
        let file_key = Zeroizing::new(file_key.expose_secret().to_vec());
        Call { plugin: plugin.to_owned(), recipients: recipients.to_vec(), file_key }
    }
}

impl Wrapped {
    pub(super) fn into_parts(self) -> (Vec<Stanza>, HashSet<String>) {
        (self.stanzas.into_iter().map(stanza).collect(), self.labels.into_iter().collect())
    }
}

fn stanza((tag, args, body): Parts) -> Stanza {
    Stanza { tag, args, body }
}

fn parts(stanza: Stanza) -> Parts {
    (stanza.tag, stanza.args, stanza.body)
}

/// Runs no plugin.
pub fn refuse() -> Runner {
    Arc::new(|_| Err(io::Error::other(NOT_ALLOWED)))
}

/// Said where the configuration lets no plugin run.
pub(super) const NOT_ALLOWED: &str = "plugins are not allowed: `allow_plugins = true` in [daemon] lets them run";

/// Runs plugins where they are allowed.
pub fn runner(allowed: bool) -> Runner {
    if allowed { Arc::new(run) } else { refuse() }
}

/// Has a plugin wrap a file key.
pub fn run(call: &Call) -> io::Result<Wrapped> {
    match talk::ask(&Question::Wrap(call.clone()), &call.plugin, &NoCallbacks)? {
        Answer::Wrapped(wrapped) => Ok(wrapped),
        Answer::Unwrapped(_) => Err(io::Error::other("it has answered something else")),
    }
}

/// Has a plugin look for a stanza that is for one of its identities; it may ask a person.
pub(super) fn unwrap(
    plugin: &str,
    identities: &[Zeroizing<String>],
    stanzas: &[Stanza],
    person: &impl Callbacks,
) -> io::Result<Option<FileKey>> {
    let failed =
        |kind: io::ErrorKind, why: String| io::Error::new(kind, PluginFailed { plugin: plugin.to_owned(), why });
    let stanzas = stanzas.iter().map(|it| (it.tag.clone(), it.args.clone(), it.body.clone())).collect();
    let question = Unwrapping { plugin: plugin.to_owned(), identities: identities.to_vec(), stanzas };
    let answer = talk::ask(&Question::Unwrap(question), plugin, person);
    match answer.map_err(|error| failed(error.kind(), error.to_string()))? {
        Answer::Unwrapped(None) => Ok(None),
        Answer::Unwrapped(Some(key)) => match <[u8; 16]>::try_from(key.as_slice()) {
            Ok(key) => Ok(Some(FileKey::new(Box::new(key)))),
            Err(_) => Err(failed(io::ErrorKind::Other, "a file key has 16 bytes".to_owned())),
        },
        Answer::Wrapped(_) => Err(failed(io::ErrorKind::Other, "it has answered something else".to_owned())),
    }
}

/// The child's side: one question on standard input, one answer on standard output, and what the plugin asks in between.
pub fn serve() -> io::Result<()> {
    crate::plaintext::guard()?;
    // Without capabilities to inherit a plugin can do what the user can, and no more.
    let _ = rustix::thread::clear_ambient_capability_set(); // where there are none there is nothing to clear
    talk::end_with_the_asker()?;
    let answer = match talk::hear()? {
        Question::Wrap(call) => wrap(&call).map(Answer::Wrapped),
        Question::Unwrap(asked) => unwrap_below(asked).map(Answer::Unwrapped),
    };
    wait_for_plugin();
    talk::answer(answer)
}

/// The plugin ends with its pipes; where this process is gone first, the daemon might be the one who has to bury it.
fn wait_for_plugin() {
    use rustix::process::{WaitOptions, wait};
    for _ in 0..ENDS_WITHIN_MS {
        match wait(WaitOptions::NOHANG) {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(_)) => {}
            Err(_) => return, // there are no more children
        }
    }
}

fn wrap(call: &Call) -> Result<Wrapped, String> {
    let recipients: Result<Vec<age::plugin::Recipient>, _> = call.recipients.iter().map(|text| text.parse()).collect();
    let recipients = recipients.map_err(str::to_owned)?;
    let key: [u8; 16] = call.file_key.as_slice().try_into().map_err(|_| "a file key has 16 bytes".to_owned())?;
    let plugin = age::plugin::RecipientPluginV1::new(&call.plugin, &recipients, &[], NoCallbacks);
    let plugin = plugin.map_err(|_| NOT_THERE.to_owned())?;
    let (stanzas, labels) =
        plugin.wrap_file_key(&FileKey::new(Box::new(key))).map_err(|error| words(&error.to_string()))?;
    Ok(Wrapped { stanzas: stanzas.into_iter().map(parts).collect(), labels: labels.into_iter().collect() })
}

fn unwrap_below(asked: Unwrapping) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let identities: Result<Vec<age::plugin::Identity>, _> = asked.identities.iter().map(|text| text.parse()).collect();
    let identities = identities.map_err(str::to_owned)?;
    let plugin = age::plugin::IdentityPluginV1::new(&asked.plugin, &identities, Relay);
    let plugin = plugin.map_err(|_| NOT_THERE.to_owned())?;
    let stanzas: Vec<Stanza> = asked.stanzas.into_iter().map(stanza).collect();
    match age::Identity::unwrap_stanzas(&plugin, &stanzas) {
        None => Ok(None),
        Some(Ok(key)) => Ok(Some(Zeroizing::new(key.expose_secret().to_vec()))),
        Some(Err(error)) => Err(words(&error.to_string())),
    }
}
