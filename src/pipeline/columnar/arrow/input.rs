//! Where batches come from: Arrow IPC as a file or a stream, or Parquet that becomes something else.

use std::io::{BufReader, Read};

use arrow_array::{Array, RecordBatch};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::schema::maps_are_whole;
use super::{ADVICE, MAGIC, messages};
use crate::pipeline::columnar::Opened;
use crate::pipeline::columnar::parquet::Records;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::fault::of_file;
use crate::pipeline::source::retry;
use crate::pipeline::window::{From, Window};
use crate::pipeline::{Failure, Fault, Format};

const FILE: &str = "Arrow IPC file";
const STREAM: &str = "Arrow IPC stream";

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
    /// Counts the places of all arrays: those of some types take no byte.
    expansion: Expansion,
}

impl Input {
    pub(super) fn open(opened: &Opened<'_>) -> Result<Input, Failure> {
        let expansion = Expansion::of(opened.len, opened.reading.limits);
        if opened.format == Format::Parquet {
            let records = Records::open(opened)?;
            let window = records.window.clone();
            let reader = Reader::Parquet(Box::new(records));
            return Ok(Input { reader, window, compression: None, batches: 0, expansion });
        }
        let window = Window::new(opened.file.clone(), opened.len);
        // Before the reader, which believes every length that it is told.
        let messages = messages::look(&window, &opened.reading.limits)?;
        let is_file = is_file(&window).map_err(|error| blame(&window, "the schema", FILE, is_end(&error)))?;
        let name = if is_file { FILE } else { STREAM };
        let unreadable = |is_cut_off: bool| blame(&window, "the schema", name, is_cut_off);
        let reader = reader(&window, is_file);
        let reader = reader.map_err(|error| unreadable(is_end(&error) || (!is_file && lacks_schema(&window))))?;
        let input = Input { reader, window: window.clone(), compression: messages.compression, batches: 0, expansion };
        // Its reader takes maps of anything.
        let is_whole = input.schema().fields().iter().all(|field| maps_are_whole(field.data_type()));
        if is_whole { Ok(input) } else { Err(unreadable(false)) }
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
            Reader::File(reader) => (reader.next(), FILE),
            Reader::Stream(reader) => (reader.next(), STREAM),
            Reader::Parquet(records) => (records.next(), "Parquet file"),
        };
        self.batches += 1;
        let next = next.transpose();
        let part = || format!("batch {}", self.batches);
        let next = next.map_err(|error| blame(&self.window, &part(), name, is_end(&error)))?;
        match &next {
            Some(batch) => self.expansion.add(places(batch))?,
            None => self.ensure_ended()?,
        }
        Ok(next)
    }

    /// The reader stops at a stream's end, whatever follows: another stream's rows would be lost.
    fn ensure_ended(&self) -> Result<(), Failure> {
        let Reader::Stream(reader) = &self.reader else { return Ok(()) };
        let buffered = reader.get_ref();
        let end = buffered.get_ref().position() - buffered.buffer().len() as u64;
        if end == self.window.size() {
            return Ok(());
        }
        let what = format!("the Arrow IPC stream goes on behind its end mark, at byte offset {end}");
        let advice = "Have each stream sent as a file of its own, or all batches in one stream.";
        Err(Failure::Reject(Fault { byte_offset: Some(end), ..of_file("malformed_file", &what, advice) }))
    }

    pub(super) fn position(&self) -> u64 {
        match &self.reader {
            Reader::File(reader) => reader.get_ref().get_ref().position(),
            Reader::Stream(reader) => reader.get_ref().get_ref().position(),
            Reader::Parquet(records) => records.position(),
        }
    }
}

/// The length of all arrays of a batch, nested ones included.
fn places(batch: &RecordBatch) -> u64 {
    let mut left: Vec<_> = batch.columns().iter().map(|column| column.to_data()).collect();
    let mut count = batch.num_rows() as u64;
    while let Some(data) = left.pop() {
        count = count.saturating_add(data.len() as u64);
        left.extend_from_slice(data.child_data());
    }
    count
}

fn is_file(window: &Window) -> Result<bool, ArrowError> {
    let mut head = Vec::new();
    window.from(0).take(MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(head == MAGIC)
}

fn reader(window: &Window, is_file: bool) -> Result<Reader, ArrowError> {
    let reader = BufReader::new(window.from(0));
    if is_file {
        FileReader::try_new(reader, None).map(|reader| Reader::File(Box::new(reader)))
    } else {
        StreamReader::try_new(reader, None).map(|reader| Reader::Stream(Box::new(reader)))
    }
}

fn is_end(error: &ArrowError) -> bool {
    matches!(error, ArrowError::IoError(_, error) if error.kind() == std::io::ErrorKind::UnexpectedEof)
}

/// Whether a stream ends within its first message, which its reader does not tell from another fault.
fn lacks_schema(window: &Window) -> bool {
    let mut head = [0; 8];
    let is_read = window.from(0).read_exact(&mut head).is_ok();
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    !is_read || window.size() < head.len() as u64 + u64::from(length)
}

/// A failure to read a part: the system's, or the file's. What else the library says is dropped: it may quote values.
fn blame(window: &Window, part: &str, name: &str, is_cut_off: bool) -> Failure {
    if let Some(failure) = window.failure() {
        return retry("read the input", &failure);
    }
    if !is_cut_off {
        return Failure::Reject(of_file("malformed_file", &format!("{part} of the {name} cannot be read"), ADVICE));
    }
    let size = window.size();
    let sentence = format!("the {name} was cut off: it ends within {part}, at byte offset {size}");
    Failure::Reject(Fault { byte_offset: Some(size), ..of_file("malformed_file", &sentence, ADVICE) })
}
