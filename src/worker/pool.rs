//! The parent's side: one thread for each worker process, which it starts, feeds, watches and replaces.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::message::{Hello, Masked, Reply, Task, receive, send};
use crate::fsutil::open_regular;
use crate::fsutil::{PathError, create_anew, remove_if_there};
use crate::job::JobId;
use crate::keys::MaskingKeys;
use crate::pipeline::Failure;
use crate::seal::{canonical, plugin, plugin_of};

/// A task with the paths whose descriptors the worker gets.
pub struct Assignment {
    pub task: Task,
    pub source: PathBuf,
    /// New files, one for each output.
    pub incoming: Vec<PathBuf>,
}

/// What became of an assignment.
pub enum Outcome {
    Masked(Result<Masked, Failure>),
    Sealed(Result<(), Failure>),
    /// The worker died or hung after it had reported starting this job.
    Died {
        hung: bool,
    },
    NotStarted(NotStarted),
}

impl Outcome {
    /// Whether the outputs hold a whole result.
    fn is_whole(&self) -> bool {
        matches!(self, Outcome::Masked(Ok(_)) | Outcome::Sealed(Ok(())))
    }
}

/// Why work did not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// Input or output could not be opened.
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("no worker could be started")]
    Worker(#[from] io::Error),
    #[error("the worker ended before the work")]
    Ended,
}

/// What a worker thread reports.
pub struct WorkerReport {
    pub worker: usize,
    pub job: JobId,
    pub outcome: Outcome,
    /// Whether this was the last of what the worker had been given.
    pub idle: bool,
}

/// Settings of the pool.
#[derive(Clone)]
pub struct PoolOptions {
    pub workers: usize,
    pub memory_bytes: u64,
    /// A worker that says nothing and moves nothing for this long is killed.
    pub patience: Duration,
    pub threads: usize,
    pub keys: MaskingKeys,
}

/// Worker threads, by index. Dropping the pool ends them after what they have at hand.
pub struct Pool {
    inboxes: Vec<SyncSender<Vec<Assignment>>>,
}

impl Pool {
    /// Starts the threads; processes start with the first work.
    pub fn start<F>(options: &PoolOptions, report: F) -> io::Result<Pool>
    where
        F: Fn(WorkerReport) + Clone + Send + 'static,
    {
        let mut inboxes = Vec::new();
        for index in 0..options.workers {
            let (inbox, work) = sync_channel(1);
            let (options, report) = (options.clone(), report.clone());
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || attend(index, &options, &work, report))?;
            inboxes.push(inbox);
        }
        Ok(Pool { inboxes })
    }

    /// Gives an idle worker its next assignments.
    pub fn assign(&self, worker: usize, assignments: Vec<Assignment>) {
        self.inboxes[worker].send(assignments).expect("a worker's thread lives as long as the pool");
    }
}

fn attend(index: usize, options: &PoolOptions, work: &Receiver<Vec<Assignment>>, report: impl Fn(WorkerReport)) {
    let mut process: Option<Process> = None;
    while let Ok(assignments) = work.recv() {
        let count = assignments.len();
        for (position, assignment) in assignments.into_iter().enumerate() {
            let job = assignment.task.job;
            crate::faults::hold("assigned");
            let outcome = run_somehow(&mut process, options, &assignment);
            if !outcome.is_whole() {
                // What may have filled the disk must not keep it full; the next attempt begins with new files anyway.
                assignment.incoming.iter().for_each(|path| {
                    let _ = remove_if_there(path);
                });
            }
            report(WorkerReport { worker: index, job, outcome, idle: position + 1 == count });
        }
    }
}

/// A process that has ended between two jobs is replaced; whatever ends during one is reported.
fn run_somehow(slot: &mut Option<Process>, options: &PoolOptions, assignment: &Assignment) -> Outcome {
    loop {
        let reused = slot.is_some();
        let outcome = run(slot, options, assignment).unwrap_or_else(Outcome::NotStarted);
        let not_served = matches!(outcome, Outcome::NotStarted(NotStarted::Worker(_) | NotStarted::Ended));
        if not_served || matches!(outcome, Outcome::Died { .. }) {
            *slot = None;
        }
        if !(reused && not_served) {
            return outcome;
        }
    }
}

/// A running worker process; killed when dropped.
struct Process {
    child: Child,
    socket: UnixStream,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

fn start_process(options: &PoolOptions) -> io::Result<Process> {
    let (socket, theirs) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("veild").arg("worker").env_clear().env("POLARS_MAX_THREADS", "1");
    command.envs(crate::faults::of_next_worker());
    command.process_group(0); // an interrupt at the terminal is for the daemon
    let child = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let process = Process { child, socket };
    process.socket.set_read_timeout(Some(options.patience))?;
    process.socket.set_write_timeout(Some(options.patience))?;
    let hello = Hello { keys: options.keys.clone(), memory_bytes: options.memory_bytes, threads: options.threads };
    send(&process.socket, &hello, &[])?;
    Ok(process)
}

fn run(slot: &mut Option<Process>, options: &PoolOptions, assignment: &Assignment) -> Result<Outcome, NotStarted> {
    let mut files: Vec<File> = vec![open_regular(&assignment.source)?];
    for path in &assignment.incoming {
        files.push(create_anew(path, 0o600)?);
    }
    let fds: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    if slot.is_none() {
        *slot = Some(start_process(options)?);
    }
    let process = slot.as_ref().expect("started just above");
    send(&process.socket, &assignment.task, &fds)?;
    let (mut started, mut moved) = (false, positions(&files));
    loop {
        match receive::<Reply>(&process.socket) {
            Ok(Some((Reply::Started { .. }, _))) => started = true,
            Ok(Some((Reply::Progress { .. }, _))) => {}
            Ok(Some((Reply::Wrap(call), _))) => {
                let answer = wrap(&call, &assignment.task);
                send(&process.socket, &answer.map_err(|error| error.to_string()), &[])?;
            }
            Ok(Some((Reply::Masked { result, .. }, _))) => return Ok(Outcome::Masked(result)),
            Ok(Some((Reply::Sealed { result, .. }, _))) => return Ok(Outcome::Sealed(result)),
            // Before it has said that it started, its end says nothing about this file.
            Ok(None) | Err(_) if !started => return Err(NotStarted::Ended),
            Ok(None) => return Ok(Outcome::Died { hung: false }),
            Err(error) => {
                let silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                let now = positions(&files);
                if !silent || now == moved {
                    return Ok(Outcome::Died { hung: silent });
                }
                moved = now; // slow, perhaps because its disk is
            }
        }
    }
}

/// Runs a plugin for a worker; which, and for whom, is for the task to say, not for the worker.
fn wrap(call: &plugin::Call, task: &Task) -> io::Result<plugin::Wrapped> {
    let told: Vec<String> = task.recipients().map(canonical).collect();
    let is_told = |recipient: &String| plugin_of(recipient) == Some(&call.plugin) && told.contains(recipient);
    if call.recipients.is_empty() || !call.recipients.iter().all(is_told) {
        return Err(io::Error::other("a worker asks for recipients that it was not given"));
    }
    plugin::run(call)
}

/// How far a worker has come with its files, as we share them with it: where it reads, and how much it has written.
fn positions(files: &[File]) -> Vec<(Option<u64>, Option<u64>)> {
    let position = |file: &File| (rustix::fs::tell(file).ok(), file.metadata().ok().map(|metadata| metadata.len()));
    files.iter().map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Readers, Recipients, Sealing};

    /// A hostile worker must not choose programs or arguments for the daemon.
    #[test]
    fn a_worker_has_plugins_run_for_its_task_only() {
        let given = "age1veildtest1qpdk9y4jhcke2087qgya5mmasuqqnmhfnv".to_owned();
        let readers = |recipient: &str| Readers::new(&[recipient.to_owned()], &crate::keys::Passphrases::default());
        let call = std::sync::Mutex::new(None);
        let call = std::sync::Arc::new(call);
        let keep = call.clone();
        let keep: plugin::Runner = std::sync::Arc::new(move |asked| {
            *keep.lock().unwrap() = Some(asked.clone());
            Err(io::Error::other("kept"))
        });
        let _ = Sealing::new(&Recipients::of(&readers(&given), &keep).unwrap());
        let call = call.lock().unwrap().take().unwrap();
        let task = |recipient: &str| {
            let work = crate::worker::message::Work::Seal { readers: readers(recipient) };
            Task { job: JobId::claimed_at(jiff::Timestamp::now()), work }
        };
        let is_refusal = |error: io::Error| error.to_string().contains("it was not given");
        let refused = |call: &plugin::Call, task: &Task| wrap(call, task).err().is_some_and(is_refusal);
        assert!(refused(&call, &task("age19uqkgvnr553njxhf3pa72wfz7agr8pdh96m280wk20f384kykq3sm765jg")));
        let (mut other, mut nobody) = (call.clone(), call);
        other.plugin = "other".to_owned();
        nobody.recipients.clear();
        assert!(refused(&other, &task(&given)) && refused(&nobody, &task(&given)));
    }
}
