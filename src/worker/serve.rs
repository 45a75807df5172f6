//! The child's side: limits first, then one task after the other until the socket ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::message::{Hello, Masked, OutputSpec, Reply, Task, Work, receive, send};
use crate::keys::MaskingKeys;
use crate::pipeline::{self, DigestKind, Failure, Input, InputReport, Output, Reading, Sink};
use crate::seal::{Readers, Recipients, Sealer, Sealing, plugin};

/// Time between two signs of life while a long file is at work.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Stack of the thread that watches for the parent's end.
const WATCH_STACK_BYTES: usize = 64 << 10;

/// Serves tasks from `socket` until it ends.
pub fn serve(socket: &UnixStream) -> io::Result<()> {
    ignore_signals();
    let _ = offer_to_oom_killer(); // without /proc there is nothing to raise
    crate::plaintext::guard()?;
    end_with(socket.try_clone()?)?;
    let Some((hello, _)) = receive::<Hello>(socket)? else { return Ok(()) };
    limit_memory(hello.memory_bytes)?;
    pipeline::keep_freed_memory();
    crate::faults::point("worker_ready");
    while let Some((task, fds)) = receive::<Task>(socket)? {
        crate::faults::point("task_received");
        send(socket, &Reply::Started { job: task.job }, &[])?;
        // A version may have come into force meanwhile; a clock that was set back takes away none but newer ones.
        let keys = hello.keys.at(Timestamp::now()).unwrap_or_else(|_| hello.keys.clone());
        let reply = perform(task, fds, &keys, hello.threads, socket);
        crate::faults::point("before_reply");
        send(socket, &reply, &[])?;
        crate::faults::point("replied");
        if matches!(reply, Reply::Masked { result: Err(Failure::Defect { .. }), .. }) {
            break; // after a panic nothing here is to be trusted any more: another process takes over
        }
    }
    Ok(())
}

/// A terminal, a service manager or `pkill` may send the daemon's signals to its workers too: they end with their socket,
/// so that a daemon that drains keeps them.
fn ignore_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1] {
        // SAFETY: no handler is installed, and no other thread runs yet.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Ends this process when its parent is gone, amid whatever work: that would be thrown away, and the next daemon may be
/// at the same file already.
fn end_with(socket: UnixStream) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let watch = move || {
        loop {
            let mut polled = [PollFd::new(&socket, PollFlags::RDHUP)];
            if poll(&mut polled, None).is_ok() && !polled[0].revents().is_empty() {
                std::process::exit(1);
            }
        }
    };
    std::thread::Builder::new().name("parent".to_owned()).stack_size(WATCH_STACK_BYTES).spawn(watch)?;
    Ok(())
}

/// Under memory pressure the kernel takes a worker, not the daemon. Comes before [`crate::plaintext::guard`], which makes
/// this file root's.
fn offer_to_oom_killer() -> io::Result<()> {
    File::options().write(true).open("/proc/self/oom_score_adj")?.write_all(b"500")
}

/// Limits what this process may allocate (RLIMIT_DATA: RLIMIT_AS would count mere reservations).
pub fn limit_memory(bytes: u64) -> io::Result<()> {
    rlimit::setrlimit(rlimit::Resource::DATA, bytes, bytes)
}

fn perform(task: Task, fds: Vec<OwnedFd>, keys: &MaskingKeys, threads: usize, socket: &UnixStream) -> Reply {
    crate::faults::point("worker_started");
    crate::faults::hold("worker_started");
    let mut files = fds.into_iter().map(File::from);
    let input = files.next();
    // Tells one file from the others where no name is known.
    crate::faults::point_named(|| {
        let bytes = input.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        format!("input_of_{bytes}_bytes")
    });
    match task.work {
        Work::Mask { reading, digest, content, outputs } => {
            let result = mask(input, files, *reading, digest, content, outputs, keys, threads, socket);
            Reply::Masked { job: task.job, result }
        }
        Work::Seal { readers } => {
            let result = seal(input, files.next(), &readers, socket);
            Reply::Sealed { job: task.job, result }
        }
    }
}

/// Tells the parent now and then that there is life.
fn progress(socket: &UnixStream) -> impl Fn(u64) + Sync {
    let last = std::sync::Mutex::new(Instant::now());
    move |bytes| {
        let Ok(mut last) = last.lock() else { return };
        if last.elapsed() < PROGRESS_EVERY {
            return;
        }
        *last = Instant::now();
        let _ = send(socket, &Reply::Progress { bytes }, &[]); // without a parent this process ends anyway
    }
}

#[allow(clippy::too_many_arguments)] // the parts of one task, taken apart once
fn mask(
    input: Option<File>,
    sinks: impl Iterator<Item = File>,
    reading: Reading,
    digest: DigestKind,
    content: bool,
    outputs: Vec<OutputSpec>,
    keys: &MaskingKeys,
    threads: usize,
    socket: &UnixStream,
) -> Result<Masked, Failure> {
    let file = input.ok_or_else(no_descriptor)?;
    let again = file.try_clone().map_err(|error| io_failure("read the input again", &error))?;
    let (mut masked, mut original) = (Vec::new(), None);
    for (output, sink) in outputs.into_iter().zip(sinks) {
        match output {
            OutputSpec::Masked { policy, writing, readers } => {
                let sink = Sink::Sealed { file: sink, sealing: sealing(&readers, socket)? };
                masked.push(Output { policy, writing, sink });
            }
            OutputSpec::Original { readers } => {
                original = Some((sink, sealing(&readers, socket)?));
            }
        }
    }
    let progress = progress(socket);
    let report = match original {
        Some((sink, sealing)) if masked.is_empty() => {
            pipeline::original::seal_unread(&file, sink, sealing, digest, keys, &progress)?
        }
        original => {
            let mut report = pipeline::process(Input { file, reading, digest }, masked, keys, threads, &progress)?;
            if let Some((sink, sealing)) = original {
                let read = (&report.input, report.rows_in);
                report.outputs.push(pipeline::original::seal(&again, sink, sealing, read, keys, &progress)?);
            }
            report
        }
    };
    let content = match (content, &report.input) {
        (false, _) => None,
        (true, InputReport { digest_kind: DigestKind::Keyed, digest, .. }) => digest.clone(),
        (true, masked) => Some(pipeline::original::keyed_digest(&again, masked, keys, &progress)?),
    };
    Ok(Masked { report, content })
}

/// Makes and wraps a key for these readers. Before anything else is at work here: plugins are asked through the socket.
fn sealing(readers: &Readers, socket: &UnixStream) -> Result<Sealing, Failure> {
    let failed = |error: &io::Error| io_failure("seal to the recipients", error);
    let socket = socket.try_clone().map_err(|error| failed(&error))?;
    let ask = move |call: &plugin::Call| {
        send(&socket, &Reply::Wrap(call.clone()), &[])?;
        let answer = receive::<Result<plugin::Wrapped, String>>(&socket)?;
        let (answer, _) = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        answer.map_err(io::Error::other)
    };
    let recipients = Recipients::of(readers, &(Arc::new(ask) as plugin::Runner));
    let recipients = recipients.map_err(|error| failed(&io::Error::other(error)))?;
    Sealing::new(&recipients).map_err(|error| failed(&error))
}

fn io_failure(doing: &str, error: &io::Error) -> Failure {
    Failure::Retry { doing: doing.to_owned(), error: error.to_string(), errno: error.raw_os_error() }
}

fn no_descriptor() -> Failure {
    Failure::Retry { doing: "take the task".to_owned(), error: "a descriptor is missing".to_owned(), errno: None }
}

fn seal(input: Option<File>, output: Option<File>, readers: &Readers, socket: &UnixStream) -> Result<(), Failure> {
    let (mut input, output) = input.zip(output).ok_or_else(no_descriptor)?;
    let retry = |error: io::Error| Failure::Retry {
        doing: "seal the original".to_owned(),
        errno: error.raw_os_error(),
        error: error.kind().to_string(),
    };
    let mut sealer = Sealer::begin(sealing(readers, socket)?, output).map_err(retry)?;
    let progress = progress(socket);
    let (mut block, mut bytes) = (vec![0; 1 << 20], 0);
    loop {
        let count = match input.read(&mut block).map_err(retry)? {
            0 => break,
            count => count,
        };
        sealer.write_all(&block[..count]).map_err(retry)?;
        crate::faults::point("original_block_sealed");
        bytes += count as u64;
        progress(bytes);
    }
    crate::faults::point("before_original_finish");
    sealer.finish().map_err(retry)?;
    crate::faults::point("original_sealed");
    Ok(())
}
