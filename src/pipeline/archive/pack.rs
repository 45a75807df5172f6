//! Writes archives: names, contents and times, nothing else.

use std::io::{self, Read};

use zip::write::{SimpleFileOptions, StreamWriter, ZipWriter};

use crate::pipeline::Format;
use crate::pipeline::tap::Tap;

/// One output under construction.
pub(super) enum Packer {
    Zip(Box<ZipWriter<StreamWriter<Tap>>>),
    Tar(Box<tar::Builder<Tap>>),
}

/// What is said of a member beside its content.
#[derive(Clone)]
pub(super) struct Label {
    pub name: String,
    pub modified: Option<u64>,
    pub zip_time: Option<zip::DateTime>,
}

impl Packer {
    pub(super) fn new(format: Format, tap: Tap) -> Packer {
        match format {
            Format::Zip => Packer::Zip(Box::new(ZipWriter::new_stream(tap))),
            _ => Packer::Tar(Box::new(tar::Builder::new(tap))),
        }
    }

    /// Adds a member; `size` must be known for tar, and be what is read.
    pub(super) fn append(&mut self, label: &Label, size: Option<u64>, content: &mut dyn Read) -> io::Result<()> {
        match self {
            Packer::Zip(writer) => {
                let options = SimpleFileOptions::default()
                    .compression_method(zip::CompressionMethod::Deflated)
                    .last_modified_time(label.zip_time.unwrap_or_default())
                    .unix_permissions(0o644)
                    .large_file(true);
                writer.start_file(&label.name, options)?;
                io::copy(content, writer).map(|_| ())
            }
            Packer::Tar(builder) => {
                let size = size.ok_or(io::ErrorKind::InvalidInput)?;
                let mut header = tar::Header::new_gnu();
                header.set_size(size);
                header.set_mode(0o644);
                header.set_mtime(label.modified.unwrap_or(0));
                let mut counted = Counted { content, bytes: 0 };
                builder.append_data(&mut header, &label.name, &mut counted)?;
                // Anything else would be read as the next member.
                if counted.bytes == size { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
            }
        }
    }

    /// Ends the archive well.
    pub(super) fn finish(self) -> io::Result<Tap> {
        match self {
            Packer::Zip(writer) => Ok(writer.finish()?.into_inner()),
            Packer::Tar(builder) => builder.into_inner(),
        }
    }
}

struct Counted<'a> {
    content: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(out)?;
        self.bytes += count as u64;
        Ok(count)
    }
}
