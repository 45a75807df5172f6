//! The control socket `STATE/control.sock` (0600): one JSON request a connection, one JSON answer.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::event::{Event, Request};
use crate::fsutil::{At, PathError};

/// Longest request in bytes.
const MAX_REQUEST_BYTES: u64 = 1 << 20;
/// Time in which a client must have asked and taken its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts answering on the socket; called inside the runtime, by the holder of the state directory's lock.
pub(super) fn listen(path: &Path, events: mpsc::Sender<Event>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let events = events.clone();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(PATIENCE, answer(stream, events)).await; // a slow client is let go
            });
        }
    });
    Ok(())
}

async fn answer(mut stream: UnixStream, events: mpsc::Sender<Event>) -> io::Result<()> {
    let mut text = Vec::new();
    (&mut stream).take(MAX_REQUEST_BYTES).read_to_end(&mut text).await?;
    let reply = match serde_json::from_slice::<Request>(&text) {
        Ok(mut request) => {
            if let Request::Audit(records) = &mut request {
                // What a command says of its user is its own word; this is the kernel's.
                let peer = stream.peer_cred()?.uid();
                records.iter_mut().for_each(|record| drop(record.veild.insert("peer_uid".to_owned(), peer.into())));
            }
            let (answer, reply) = oneshot::channel();
            let sent = events.send(Event::Control { request, answer }).await.is_ok();
            if sent { reply.await.unwrap_or(Value::Null) } else { Value::Null }
        }
        Err(_) => serde_json::json!({"error": "not a request of this version"}),
    };
    stream.write_all(reply.to_string().as_bytes()).await
}

/// Asks a running daemon; `None` when none runs.
pub fn ask(state_dir: &Path, request: &Request) -> Result<Option<Value>, PathError> {
    let socket = state_dir.join("control.sock");
    let stream = match std::os::unix::net::UnixStream::connect(&socket) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        other => other.at("reach the daemon at", &socket)?,
    };
    match exchange(stream, request) {
        // It ended meanwhile; for a moment a worker that it was starting keeps its socket open.
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => Ok(None),
        Ok(reply) if reply.is_empty() => Ok(None),
        other => {
            let reply = other.and_then(|reply| Ok(serde_json::from_slice(&reply)?));
            reply.map(Some).at("talk to the daemon at", socket)
        }
    }
}

fn exchange(mut stream: std::os::unix::net::UnixStream, request: &Request) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = serde_json::to_vec(request)?;
    let mut sent = 0;
    while sent < request.len() {
        // A daemon that ends meanwhile is an error to report, not a signal that ends the command.
        sent += rustix::net::send(&stream, &request[sent..], rustix::net::SendFlags::NOSIGNAL)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "it does not answer"),
        _ => error,
    })?;
    Ok(reply)
}
