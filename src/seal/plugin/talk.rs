//! Between a process that wants a plugin run and its child that runs it: one JSON value a line, both ways.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use age::Callbacks;
use rustix::event::{PollFd, PollFlags};
use rustix::net::SendFlags;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Answer, Question};

/// A plugin that has not answered after this is killed; while a person is asked, time stands still.
const LASTS: Duration = Duration::from_secs(30);
/// Most that one side says; a post-quantum stanza takes 1.5 KiB, and four times as much here.
const MAX_BYTES: u64 = 8 << 20;
/// What is passed on of a plugin's own words.
const MAX_WORDS: usize = 300;

/// What the child says.
#[derive(Serialize, Deserialize)]
enum Said {
    /// For the person to read.
    Message(String),
    /// The next line of the asker is a truth value, or null where nobody could be asked.
    Confirm { message: String, yes: String, no: Option<String> },
    /// The next line of the asker is a text, or null.
    Public(String),
    /// Likewise, and nobody may see it.
    Secret(String),
    /// The last word.
    Done(Result<Answer, String>),
}

/// Asks a child of its own. What the plugin wants of a person meanwhile, that person is asked.
pub(super) fn ask(question: &Question, plugin: &str, person: &impl Callbacks) -> io::Result<Answer> {
    let (to, its_end) = UnixStream::pair()?;
    let mut child = Group(command().stdin(OwnedFd::from(its_end)).spawn()?);
    let from = child.0.stdout.take().ok_or_else(|| io::Error::other("a pipe is missing"))?;
    let (sender, lines) = mpsc::sync_channel(1);
    // Ends with the pipe, which ends with the group.
    std::thread::Builder::new().name("plugin".to_owned()).spawn(move || {
        for line in BufReader::new(from.take(MAX_BYTES)).split(b'\n') {
            if sender.send(line.map(Zeroizing::new)).is_err() {
                return;
            }
        }
    })?;
    send(&to, question)?;
    let lasts = crate::faults::limit("PLUGIN_LASTS", LASTS);
    let mut left = lasts;
    loop {
        let began = Instant::now();
        let line = lines.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                io::Error::new(io::ErrorKind::TimedOut, format!("it has not answered after {lasts:?}"))
            }
            RecvTimeoutError::Disconnected => io::Error::other("it ended"),
        })??;
        left = left.saturating_sub(began.elapsed());
        let named = |text: &str| format!("age-plugin-{plugin}: {text}");
        match serde_json::from_slice(&line).map_err(|_| io::Error::other("it ended"))? {
            Said::Done(answer) => return answer.map_err(io::Error::other),
            Said::Message(text) => person.display_message(&named(&text)),
            Said::Confirm { message, yes, no } => send(&to, &person.confirm(&named(&message), &yes, no.as_deref()))?,
            Said::Public(text) => send(&to, &person.request_public_string(&named(&text)))?,
            Said::Secret(text) => {
                let secret = person.request_passphrase(&named(&text));
                send(&to, &secret.as_ref().map(ExposeSecret::expose_secret))?;
            }
        }
    }
}

fn command() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("veild").arg("plugin").env_clear().process_group(0);
    let kept = ["PATH", "HOME", "LANG", "TMPDIR"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(kept).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Says something to the child. One that has ended is an error, and no signal that would end a command too.
fn send(to: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let line = line(value)?;
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match rustix::net::send(to, rest, SendFlags::NOSIGNAL) {
            Ok(count) => rest = &rest[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::PIPE) => return Err(io::Error::other("it ended")),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn line(value: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(serde_json::to_vec(value)?);
    line.push(b'\n');
    if line.len() as u64 > MAX_BYTES { Err(io::Error::other("that is too much for a plugin")) } else { Ok(line) }
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

/// The child's side: whoever asked may be killed, and the plugin must not wait for a finger for ever then.
pub(super) fn end_with_the_asker() -> io::Result<()> {
    let watch = || {
        let stdin = io::stdin();
        loop {
            let mut closed = [PollFd::new(&stdin, PollFlags::RDHUP)];
            match rustix::event::poll(&mut closed, None) {
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::KILL); // ours too
    };
    std::thread::Builder::new().name("asker".to_owned()).spawn(watch).map(drop)
}

/// The next line of the asker.
pub(super) fn hear<T: DeserializeOwned>() -> io::Result<T> {
    let mut line = Zeroizing::new(Vec::new());
    io::stdin().lock().take(MAX_BYTES).read_until(b'\n', &mut line)?;
    serde_json::from_slice(&line).map_err(|_| io::Error::other("this is no call"))
}

fn say(said: &Said) -> io::Result<()> {
    io::stdout().write_all(&line(said)?)
}

pub(super) fn answer(answer: Result<Answer, String>) -> io::Result<()> {
    say(&Said::Done(answer))
}

/// Passes on what a plugin asks.
#[derive(Clone)]
pub(super) struct Relay;

impl Relay {
    fn ask<T: DeserializeOwned>(said: &Said) -> Option<T> {
        say(said).ok()?;
        hear::<Option<T>>().ok()?
    }
}

impl Callbacks for Relay {
    fn display_message(&self, message: &str) {
        let _ = say(&Said::Message(words(message))); // the asker has gone, and so is this process in a moment
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        Relay::ask(&Said::Confirm { message: words(message), yes: words(yes), no: no.map(words) })
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        Relay::ask(&Said::Public(words(description)))
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        Relay::ask::<Zeroizing<String>>(&Said::Secret(words(description))).map(|secret| secret.as_str().into())
    }
}

/// Foreign words, on one line and not many.
pub(super) fn words(text: &str) -> String {
    let plain = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    plain.take(MAX_WORDS).collect()
}
