//! What becomes of masked batches: Arrow IPC as it came, Parquet, or rows of text.

use arrow_array::RecordBatch;
use arrow_ipc::MetadataVersion;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use super::input::Input;
use super::rows::Rows;
use super::{stored, unwritable};
use crate::pipeline::convert::parquet_properties;
use crate::pipeline::fault::{internal, of_file};
use crate::pipeline::tap::{Mishap, Tap};
use crate::pipeline::{Failure, Format, OutputFormat, Writing};

const ALIGNMENT: usize = 64;

pub(super) struct Writer {
    body: Body,
    /// As they may be given out.
    columns: Vec<String>,
    mishap: Mishap,
}

enum Body {
    File(Box<FileWriter<Tap>>),
    Stream(Box<StreamWriter<Tap>>),
    Parquet(Box<ArrowWriter<Tap>>, SchemaRef),
    Rows(Box<Rows>),
}

impl Writer {
    /// Arrow stays a file or a stream, compressed as it came.
    pub(super) fn open(
        tap: Tap,
        (schema, columns): (&SchemaRef, Vec<String>),
        input: &Input,
        format: Format,
    ) -> Result<Writer, Failure> {
        let mishap = tap.mishap.clone();
        let failed = |_: ArrowError| mishap.take().unwrap_or_else(unwritable);
        let body = match tap.outlet.conversion(format) {
            Some(Writing { format: OutputFormat::Parquet, compress, .. }) => {
                let schema = stored::schema(schema, &columns)?;
                let writer = ArrowWriter::try_new(tap, schema.clone(), Some(parquet_properties(compress)));
                Body::Parquet(Box::new(writer.map_err(|error| unconvertible(&error, &mishap))?), schema)
            }
            Some(writing) => Body::Rows(Box::new(Rows::begin(tap, (schema, &columns), writing.format)?)),
            None if format != Format::Arrow => return Err(internal("Parquet that stays such was read as Arrow")),
            None => {
                let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
                    .and_then(|options| options.try_with_compression(input.compression))
                    .map_err(failed)?;
                if input.is_stream() {
                    let writer = StreamWriter::try_new_with_options(tap, schema, options);
                    Body::Stream(Box::new(writer.map_err(failed)?))
                } else {
                    let writer = FileWriter::try_new_with_options(tap, schema, options);
                    Body::File(Box::new(writer.map_err(failed)?))
                }
            }
        };
        Ok(Writer { body, columns, mishap })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let mishap = &self.mishap;
        let failed = |_| mishap.take().unwrap_or_else(unwritable);
        match &mut self.body {
            Body::File(writer) => writer.write(batch).map_err(failed),
            Body::Stream(writer) => writer.write(batch).map_err(failed),
            Body::Parquet(writer, schema) => writer
                .write(&stored::batch(batch, schema, &self.columns)?)
                .map_err(|error| unconvertible(&error, mishap)),
            Body::Rows(rows) => rows.write(batch, &self.columns),
        }
    }

    pub(super) fn finish(self) -> Result<Tap, Failure> {
        let mishap = &self.mishap;
        let failed = |_| mishap.take().unwrap_or_else(unwritable);
        match self.body {
            Body::File(writer) => writer.into_inner().map_err(failed),
            Body::Stream(writer) => writer.into_inner().map_err(failed),
            Body::Parquet(writer, _) => writer.into_inner().map_err(|error| unconvertible(&error, mishap)),
            Body::Rows(rows) => rows.finish(),
        }
    }
}

/// What the library says is dropped: it may quote values.
fn unconvertible(_: &ParquetError, mishap: &Mishap) -> Failure {
    let refused = || {
        let sentence = "the Arrow IPC file has columns of a type that Parquet does not have";
        let advice = "Drop them, or set `output.format` to \"same\" on a landing for such files.";
        Failure::Reject(of_file("unconvertible_column", sentence, advice))
    };
    mishap.take().unwrap_or_else(refused)
}
