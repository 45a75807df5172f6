//! Where batches come from: Arrow IPC as a file or a stream, or Parquet that becomes something else.

use std::io::{BufReader, Read};

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::{ADVICE, MAGIC, messages};
use crate::pipeline::columnar::Opened;
use crate::pipeline::columnar::parquet::Records;
use crate::pipeline::fault::of_file;
use crate::pipeline::source::retry;
use crate::pipeline::window::{From, Window};
use crate::pipeline::{Failure, Format};

enum Reader {
    File(Box<FileReader<BufReader<From>>>),
    Stream(Box<StreamReader<BufReader<From>>>),
    Parquet(Box<Records>),
}

pub(super) struct Input {
    reader: Reader,
    window: Window,
    /// Of Arrow's buffers.
    pub compression: Option<CompressionType>,
    batches: u64,
}

impl Input {
    pub(super) fn open(opened: &Opened<'_>) -> Result<Input, Failure> {
        if opened.format == Format::Parquet {
            let records = Records::open(opened)?;
            let window = records.window.clone();
            return Ok(Input { reader: Reader::Parquet(Box::new(records)), window, compression: None, batches: 0 });
        }
        let window = Window::new(opened.file.clone(), opened.len);
        // Before the reader, which believes every length that it is told.
        let messages = messages::look(&window, &opened.reading.limits)?;
        let reader = reader(&window).map_err(|_| blame(&window, "the schema of the Arrow IPC file"))?;
        Ok(Input { reader, window, compression: messages.compression, batches: 0 })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        match &self.reader {
            Reader::File(reader) => reader.schema(),
            Reader::Stream(reader) => reader.schema(),
            Reader::Parquet(records) => records.schema.clone(),
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.reader, Reader::Stream(_))
    }

    /// The next batch; `None` behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        let (next, name) = match &mut self.reader {
            Reader::File(reader) => (reader.next(), "Arrow IPC"),
            Reader::Stream(reader) => (reader.next(), "Arrow IPC"),
            Reader::Parquet(records) => (records.next(), "Parquet"),
        };
        self.batches += 1;
        next.transpose().map_err(|_| blame(&self.window, &format!("batch {} of the {name} file", self.batches)))
    }

    pub(super) fn position(&self) -> u64 {
        match &self.reader {
            Reader::File(reader) => reader.get_ref().get_ref().position(),
            Reader::Stream(reader) => reader.get_ref().get_ref().position(),
            Reader::Parquet(records) => records.position(),
        }
    }
}

fn reader(window: &Window) -> Result<Reader, ArrowError> {
    let mut head = Vec::new();
    window.from(0).take(MAGIC.len() as u64).read_to_end(&mut head)?;
    let reader = BufReader::new(window.from(0));
    if head == MAGIC {
        FileReader::try_new(reader, None).map(|reader| Reader::File(Box::new(reader)))
    } else {
        StreamReader::try_new(reader, None).map(|reader| Reader::Stream(Box::new(reader)))
    }
}

/// A failure to read: the system's, or the file's.
fn blame(window: &Window, what: &str) -> Failure {
    if let Some(failure) = window.failure() {
        return retry("read the input", &failure);
    }
    Failure::Reject(of_file("malformed_file", &format!("{what} cannot be read"), ADVICE))
}
