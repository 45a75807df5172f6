//! The input's own bytes: read once more after the masking, sealed unmasked for the archive, digested for the search for
//! duplicates; or, of a file that no reader takes, sealed in the place of everything else.
//!
//! Nobody can read what is sealed but the archive's recipients. It must be what was masked: a file that changed in
//! between starts over.

use std::fs::File;
use std::io::{self, Seek, Write};

use super::source::{Digester, retry};
use super::{DigestKind, Failure, InputReport, OutputReport, Report, UNRECOGNISED, Verified};
use crate::keys::MaskingKeys;
use crate::seal::{Sealer, Sealing};

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Seals the whole input as it is.
///
/// `masked` is what the reading for the masking said of the input, `rows` the number of its rows.
pub fn seal(
    input: &File,
    output: File,
    sealing: Sealing,
    (masked, rows): (&InputReport, u64),
    keys: &MaskingKeys,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<OutputReport, Failure> {
    let doing = |error: io::Error| retry("seal the original for the archive", &error);
    let mut sealer = Sealer::begin(sealing, output).map_err(doing)?;
    read_again(input, masked, masked.digest_kind, keys, progress, |block| sealer.write_all(block)).map_err(doing)?;
    crate::faults::point("before_archive_finish");
    let (_, sealed) = sealer.finish().map_err(doing)?;
    Ok(OutputReport {
        sha256: sealed.sha256,
        bytes: sealed.bytes,
        format: masked.format.clone(),
        rows_out: rows,
        rows_suppressed: 0,
        anonymity: None,
        columns: Vec::new(),
        verify: Verified::default(),
    })
}

/// Seals a file of no format that is read, as it is.
pub fn seal_unread(
    input: &File,
    output: File,
    sealing: Sealing,
    digest_kind: DigestKind,
    keys: &MaskingKeys,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let doing = |error: io::Error| retry("seal the file as it is", &error);
    let mut sealer = Sealer::begin(sealing, output).map_err(doing)?;
    let mut digester = Digester::new(digest_kind, keys);
    let bytes = each_block(input, progress, |block| {
        digester.update(block);
        sealer.write_all(block)
    });
    let bytes = bytes.map_err(doing)?;
    crate::faults::point("before_unread_finish");
    let (_, sealed) = sealer.finish().map_err(doing)?;
    let format = UNRECOGNISED.1.to_owned();
    let input = InputReport { digest: digester.finish(), digest_kind, bytes, format: format.clone() };
    let output = OutputReport {
        sha256: sealed.sha256,
        bytes: sealed.bytes,
        format,
        rows_out: 0,
        rows_suppressed: 0,
        columns: Vec::new(),
        verify: Verified::default(),
        anonymity: None,
    };
    Ok(Report { input, rows_in: 0, outputs: vec![output] })
}

/// The keyed digest of an input whose receipt shall not hold it; lower-case hexadecimal.
pub fn keyed_digest(
    input: &File,
    masked: &InputReport,
    keys: &MaskingKeys,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<String, Failure> {
    let digest = read_again(input, masked, DigestKind::Keyed, keys, progress, |_| Ok(()));
    digest.map(Option::unwrap_or_default).map_err(|error| retry("digest the input", &error))
}

fn read_again(
    mut input: &File,
    masked: &InputReport,
    kind: DigestKind,
    keys: &MaskingKeys,
    progress: &(dyn Fn(u64) + Sync),
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Option<String>> {
    input.rewind()?;
    let mut digester = Digester::new(kind, keys);
    let bytes = each_block(input, progress, |block| {
        digester.update(block);
        take(block)
    })?;
    let digest = digester.finish();
    if bytes != masked.bytes || (kind == masked.digest_kind && digest != masked.digest) {
        return Err(io::Error::other("the file changed while it was read"));
    }
    Ok(digest)
}

/// Reads a file from where it stands to its end; the number of bytes.
fn each_block(
    input: &File,
    progress: &(dyn Fn(u64) + Sync),
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let (mut block, mut bytes) = (Vec::with_capacity(BLOCK), 0);
    loop {
        block.clear();
        match rustix::io::read(input, rustix::buffer::spare_capacity(&mut block)) {
            Ok(0) => return Ok(bytes),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        take(&block)?;
        bytes += block.len() as u64;
        progress(bytes);
    }
}
