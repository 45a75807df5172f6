//! The input's own bytes, read once more after the masking: sealed unmasked for the archive.
//!
//! Nobody can read the result but the archive's recipients. It must be what was masked: a file that changed in between
//! starts over.

use std::fs::File;
use std::io::{self, Seek, Write};

use super::source::{Digester, retry};
use super::{DigestKind, Failure, InputReport, OutputReport};
use crate::keys::MaskingKeys;
use crate::seal::{Recipients, Sealer};

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Seals the whole input as it is.
///
/// `masked` is what the reading for the masking said of the input, `rows` the number of its rows.
pub fn seal(
    mut input: File,
    output: File,
    recipients: &Recipients,
    (masked, rows): (&InputReport, u64),
    keys: &MaskingKeys,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<OutputReport, Failure> {
    let doing = |error: io::Error| retry("seal the original for the archive", &error);
    input.rewind().map_err(doing)?;
    let mut sealer = Sealer::new(recipients, output).map_err(doing)?;
    let mut digester = Digester::new(masked.digest_kind, keys);
    let (mut block, mut bytes) = (Vec::with_capacity(BLOCK), 0);
    loop {
        block.clear();
        match rustix::io::read(&input, rustix::buffer::spare_capacity(&mut block)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(doing(errno.into())),
        }
        digester.update(&block);
        sealer.write_all(&block).map_err(doing)?;
        bytes += block.len() as u64;
        progress(bytes);
    }
    if bytes != masked.bytes || (masked.digest_kind != DigestKind::None && digester.finish() != masked.digest) {
        return Err(doing(io::Error::other("the file changed while it was read")));
    }
    crate::faults::point("before_archive_finish");
    let (_, sealed) = sealer.finish().map_err(doing)?;
    Ok(OutputReport {
        sha256: sealed.sha256,
        bytes: sealed.bytes,
        format: masked.format.clone(),
        rows_out: rows,
        columns: Vec::new(),
    })
}
