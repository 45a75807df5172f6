//! What parent and worker say to each other: a length, then JSON; descriptors ride on the length.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::job::JobId;
use crate::keys::MaskingKeys;
use crate::pipeline::{DigestKind, Failure, Reading, Report, Writing};
use crate::policy::Policy;
use crate::seal::{Readers, plugin};

/// Longest message in bytes; a policy of thousands of columns stays far below.
const MAX_MESSAGE_BYTES: u32 = 16 << 20;
/// Most descriptors that ride on one message.
const MAX_FDS: usize = 64;

/// First message to a worker.
#[derive(Serialize, Deserialize)]
pub struct Hello {
    pub keys: MaskingKeys,
    pub memory_bytes: u64,
    /// Masking threads for a large file.
    pub threads: usize,
}

/// One piece of work; the descriptors are the input and then one per output.
#[derive(Clone, Serialize, Deserialize)]
pub struct Task {
    pub job: JobId,
    pub work: Work,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Mask and seal, once for each output.
    Mask {
        reading: Box<Reading>,
        digest: DigestKind,
        /// Whether the keyed digest of the input is wanted, whatever `digest` is.
        content: bool,
        outputs: Vec<OutputSpec>,
    },
    /// Seal the bytes as they are, for the quarantine.
    Seal { readers: Readers },
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a job has a handful of outputs")]
pub enum OutputSpec {
    Masked {
        policy: Policy,
        writing: Writing,
        readers: Readers,
    },
    /// The input as it is, for the archive; at most one, and the last. Alone it is of no format that is read.
    Original {
        readers: Readers,
    },
}

impl Task {
    /// Everybody to whom anything of it is sealed.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        let readers: Vec<&Readers> = match &self.work {
            Work::Seal { readers } => vec![readers],
            Work::Mask { outputs, .. } => outputs.iter().map(OutputSpec::readers).collect(),
        };
        readers.into_iter().flat_map(|readers| &readers.recipients).map(String::as_str)
    }
}

impl OutputSpec {
    fn readers(&self) -> &Readers {
        match self {
            OutputSpec::Masked { readers, .. } | OutputSpec::Original { readers } => readers,
        }
    }
}

/// What came of masking a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Masked {
    pub report: Report,
    /// Keyed digest of the input, lower-case hexadecimal, where it was wanted.
    pub content: Option<String>,
}

/// What a worker says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Started {
        job: JobId,
    },
    Progress {
        bytes: u64,
    },
    /// Asks for a file key to be wrapped by a plugin, which a worker cannot run; the answer is a `Result` of
    /// [`plugin::Wrapped`] or a reason.
    Wrap(plugin::Call),
    Masked {
        job: JobId,
        result: Result<Masked, Failure>,
    },
    Sealed {
        job: JobId,
        result: Result<(), Failure>,
    },
}

/// Sends one message with descriptors.
pub fn send<T: Serialize>(socket: &UnixStream, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = zeroize::Zeroizing::new(serde_json::to_vec(message)?);
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_MESSAGE_BYTES);
    let length = length.ok_or_else(|| io::Error::other("the message is too long"))?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)?;
    (&mut &*socket).write_all(&length[sent..])?;
    (&mut &*socket).write_all(&body)
}

/// Receives one message with its descriptors; `None` at the end of the socket.
pub fn receive<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut fds = Vec::new();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let slices = &mut [IoSliceMut::new(&mut length)];
        match rustix::net::recvmsg(socket.as_fd(), slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    if received == 0 {
        return Ok(None);
    }
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    (&mut &*socket).read_exact(&mut length[received..])?;
    let length = u32::from_be_bytes(length);
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::other("the message is too long"));
    }
    let mut body = zeroize::Zeroizing::new(vec![0; length as usize]);
    (&mut &*socket).read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, fds)))
}
