//! The file as container libraries read it: at any place, without moving a shared offset.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// Page headers are read one by one through such a buffer.
const BUFFER: usize = 64 << 10;

/// A file of a known length.
#[derive(Clone)]
pub(super) struct Window {
    file: Arc<File>,
    len: u64,
    /// The operating system's own error: the file is not to blame for it.
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Window {
    pub(super) fn new(file: Arc<File>, len: u64) -> Window {
        Window { file, len, failed: Arc::default() }
    }

    pub(super) fn size(&self) -> u64 {
        self.len
    }

    /// Reads from a place on.
    pub(super) fn from(&self, at: u64) -> From {
        From { window: self.clone(), at }
    }

    /// What reading has failed by. It stays: each of several readers asks for itself.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(copy)
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        // The system would call a place beyond all files an invalid argument, though the file alone is to blame for it.
        if at >= self.len {
            return Ok(0);
        }
        loop {
            match self.file.read_at(out, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy(&error));
                    return Err(error);
                }
                done => return done,
            }
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.len
    }
}

/// Reads on from a place.
pub(super) struct From {
    window: Window,
    at: u64,
}

impl Read for From {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.window.read_at(out, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for From {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.window.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl From {
    pub(super) fn position(&self) -> u64 {
        self.at
    }
}

/// Reads on within the file. Behind its end there would be nothing without an error, and a length that a page's header
/// tells would be passed over for ever.
pub(super) struct Within(From);

impl Read for Within {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 if !out.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

impl ChunkReader for Window {
    type T = BufReader<Within>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        if start > self.len {
            return Err(ParquetError::EOF("behind the end of the file".to_owned()));
        }
        Ok(BufReader::with_capacity(BUFFER, Within(self.from(start))))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            return Err(ParquetError::EOF("behind the end of the file".to_owned()));
        }
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            match self
                .read_at(&mut bytes[done..], start + done as u64)
                .map_err(|error| ParquetError::External(error.into()))?
            {
                0 => return Err(ParquetError::EOF("the file became shorter".to_owned())),
                count => done += count,
            }
        }
        Ok(bytes.into())
    }
}
