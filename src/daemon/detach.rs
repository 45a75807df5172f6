//! Leaving the terminal, for hosts without systemd: before any thread starts, and with a line back to the process that
//! was started, which ends only when the daemon is ready or has failed.
//!
//! What `daemonize` 0.5 lacks is added here: root's supplementary groups go, and the starter waits. Its pid file is not
//! used, because it follows links (see [`super::pid_file`]).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use daemonize::{Daemonize, Outcome, Stdio};

/// As the unit's UMask=.
const UMASK: u32 = 0o077;

/// On which side of the fork this process finds itself.
pub enum Side {
    /// It was started, and the daemon is ready or has failed.
    Starter(Result<(), Failure>),
    Daemon(Line),
}

/// How the daemon's start failed.
#[derive(Debug)]
pub struct Failure {
    pub exit_code: u8,
    pub message: String,
}

/// The daemon's end of the line to its starter.
pub struct Line(File);

impl Line {
    /// Lets the starter end; that it has gone is no error.
    pub fn ready(mut self) {
        let _ = self.0.write_all(&[0]);
    }

    /// Lets the starter end with this failure.
    pub fn failed(mut self, failure: &Failure) {
        let mut message = vec![failure.exit_code.max(1)];
        message.extend(failure.message.as_bytes());
        let _ = self.0.write_all(&message);
    }
}

/// Forks, leaves session, directory and standard streams; `keep_stderr` leaves standard error where it leads.
pub fn detach(keep_stderr: bool) -> io::Result<Side> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert_eq!(threads, 1, "a fork would leave the other threads behind");
    drop_groups()?;
    let (read_end, write_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let stderr = if keep_stderr { Stdio::keep() } else { Stdio::devnull() };
    match Daemonize::new().umask(UMASK).stderr(stderr).execute() {
        Outcome::Parent(Ok(_)) => {
            drop(write_end);
            Ok(Side::Starter(listen(read_end)))
        }
        Outcome::Parent(Err(error)) => Err(io::Error::other(error)),
        Outcome::Child(Ok(_)) => Ok(Side::Daemon(Line(write_end.into()))),
        Outcome::Child(Err(error)) => {
            let message = format!("cannot leave the terminal: {error}");
            Line(write_end.into()).failed(&Failure { exit_code: 1, message });
            std::process::exit(1)
        }
    }
}

/// Root's own groups give access that the daemon shall not have; another user cannot drop any.
fn drop_groups() -> io::Result<()> {
    match rustix::thread::set_thread_groups(&[]) {
        Err(rustix::io::Errno::PERM) => Ok(()),
        other => Ok(other?),
    }
}

fn listen(line: OwnedFd) -> Result<(), Failure> {
    let mut said = Vec::new();
    let read = File::from(line).read_to_end(&mut said);
    match (read, said.split_first()) {
        (Ok(_), Some((0, _))) => Ok(()),
        (Ok(_), Some((exit_code, message))) => {
            Err(Failure { exit_code: *exit_code, message: String::from_utf8_lossy(message).into_owned() })
        }
        _ => {
            let message = "the daemon ended before it was ready; its log may say why".to_owned();
            Err(Failure { exit_code: 1, message })
        }
    }
}
