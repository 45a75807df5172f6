//! age plugins: programs called `age-plugin-NAME` that wrap a file key for recipients of their own kind
//! (<https://c2sp.org/age-plugin>).
//!
//! A plugin is foreign code. It runs below a child of ours (`veild plugin`) that is killed with all that it has
//! started when no answer comes, and leaves nobody unwaited for. It gets the file key of one object, none of this
//! process' files or capabilities, and nobody whom it could ask.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use age::{NoCallbacks, Recipient};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A plugin that has not answered after this is killed.
const LASTS: Duration = Duration::from_secs(30);
/// Most that a plugin's answer may be; a post-quantum stanza takes 1.5 KiB.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// Time that a plugin has to end by itself.
const ENDS_WITHIN_MS: u32 = 500;
/// What is passed on of a plugin's own words.
const MAX_WORDS: usize = 300;

/// How plugins are run.
pub type Runner = Arc<dyn Fn(&Call) -> io::Result<Wrapped> + Send + Sync>;

/// A file key to be wrapped.
#[derive(Clone, Serialize, Deserialize)]
pub struct Call {
    pub plugin: String,
    pub recipients: Vec<String>,
    file_key: Zeroizing<Vec<u8>>,
}

/// A file key as a plugin has wrapped it.
#[derive(Serialize, Deserialize)]
pub struct Wrapped {
    /// Tag, arguments, body.
    stanzas: Vec<(String, Vec<String>, Vec<u8>)>,
    labels: Vec<String>,
}

impl Call {
    pub(super) fn new(plugin: &str, recipients: &[String], file_key: &FileKey) -> Call {
        let file_key = Zeroizing::new(file_key.expose_secret().to_vec());
        Call { plugin: plugin.to_owned(), recipients: recipients.to_vec(), file_key }
    }
}

impl Wrapped {
    pub(super) fn into_parts(self) -> (Vec<Stanza>, HashSet<String>) {
        let stanza = |(tag, args, body)| Stanza { tag, args, body };
        (self.stanzas.into_iter().map(stanza).collect(), self.labels.into_iter().collect())
    }
}

/// Runs no plugin.
pub fn refuse() -> Runner {
    Arc::new(|_| Err(io::Error::other("plugins are not allowed: `allow_plugins = true` in [daemon] lets them run")))
}

/// Runs plugins where they are allowed.
pub fn runner(allowed: bool) -> Runner {
    if allowed { Arc::new(run) } else { refuse() }
}

/// Has a plugin wrap a file key.
pub fn run(call: &Call) -> io::Result<Wrapped> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("veild").arg("plugin").env_clear().process_group(0);
    let kept = ["PATH", "HOME", "LANG", "TMPDIR"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(kept).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Group(command.spawn()?);
    let pipe = || io::Error::other("a pipe is missing");
    let (mut to, from) = child.0.stdin.take().zip(child.0.stdout.take()).ok_or_else(pipe)?;
    let question = Zeroizing::new(serde_json::to_vec(call)?);
    let (sender, answer) = std::sync::mpsc::channel();
    // Ends with the pipe, which ends with the group.
    std::thread::Builder::new().name("plugin".to_owned()).spawn(move || {
        let mut text = Vec::new();
        let read = from.take(MAX_ANSWER_BYTES).read_to_end(&mut text).map(|_| text);
        let _ = sender.send(read); // too late, perhaps
    })?;
    let lasts = crate::faults::limit("PLUGIN_LASTS", LASTS);
    let until = Instant::now() + lasts;
    to.write_all(&question)?; // at most a few KiB: the pipe takes it whole
    drop(to);
    let silent = || io::Error::new(io::ErrorKind::TimedOut, format!("it has not answered after {lasts:?}"));
    let text = answer.recv_timeout(until.saturating_duration_since(Instant::now())).map_err(|_| silent())??;
    let answer: Result<Wrapped, String> = serde_json::from_slice(&text).map_err(|_| io::Error::other("it ended"))?;
    answer.map_err(io::Error::other)
}

/// A child with all that it has started, which end with it.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL); // it may be empty by now
        let _ = self.0.wait();
    }
}

/// The child's side: one call on standard input, one answer on standard output.
pub fn serve() -> io::Result<()> {
    crate::plaintext::guard()?;
    // Without capabilities to inherit a plugin can do what the user can, and no more.
    let _ = rustix::thread::clear_ambient_capability_set(); // where there are none there is nothing to clear
    let mut question = Zeroizing::new(Vec::new());
    io::stdin().take(MAX_ANSWER_BYTES).read_to_end(&mut question)?;
    let call: Call = serde_json::from_slice(&question).map_err(|_| io::Error::other("this is no call"))?;
    let answer = wrap(&call);
    wait_for_plugin();
    io::stdout().write_all(&serde_json::to_vec(&answer)?)
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
    let plugin = plugin.map_err(|_| "there is no such program on PATH".to_owned())?;
    let (stanzas, labels) =
        plugin.wrap_file_key(&FileKey::new(Box::new(key))).map_err(|error| words(&error.to_string()))?;
    let stanzas = stanzas.into_iter().map(|stanza| (stanza.tag, stanza.args, stanza.body)).collect();
    Ok(Wrapped { stanzas, labels: labels.into_iter().collect() })
}

/// Foreign words, on one line and not many.
fn words(text: &str) -> String {
    let plain = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    plain.take(MAX_WORDS).collect()
}
