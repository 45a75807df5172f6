//! Checks objects against their signed receipts.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::list::{archived, files, is_object};
use super::{Published, RECEIPT_SUFFIX, Receipt, Signed, is_archived};
use crate::fsutil::PathError;
use crate::keys::VerifyingKey;

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct VaultVerdict {
    /// Outputs looked at.
    pub objects: u64,
    /// Archived originals looked at.
    pub archived: u64,
    /// Objects of which the given identity is no recipient: nothing is known of whether they decrypt.
    pub sealed_to_others: u64,
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Relative to the vault.
    pub path: PathBuf,
    pub what: String,
}

/// Checks every object; with an identity, that those sealed to it decrypt to their end, too. `progress` is called now
/// and then with the bytes done and their total.
pub fn verify(
    dir: &Path,
    key: &VerifyingKey,
    identity: Option<&[u8]>,
    progress: &dyn Fn(u64, u64),
) -> Result<VaultVerdict, PathError> {
    verify_with(dir, &|message, armoured| key.verify(super::NAMESPACE, message, armoured).is_ok(), identity, progress)
}

pub(super) fn verify_with(
    dir: &Path,
    signed: &impl Fn(&[u8], &str) -> bool,
    identity: Option<&[u8]>,
    progress: &dyn Fn(u64, u64),
) -> Result<VaultVerdict, PathError> {
    let mut verdict = VaultVerdict::default();
    let own = identity.map(crate::seal::recipients_of).unwrap_or_default();
    let mut all = files(dir)?;
    all.extend(archived(dir)?);
    all.sort();
    let size = |path: &Path| dir.join(path).metadata().map_or(0, |metadata| metadata.len());
    let readings = 1 + u64::from(identity.is_some());
    let total = all.iter().filter(|path| is_object(path)).map(|path| readings * size(path)).sum();
    let mut done = 0;
    for path in all {
        if is_object(&path) {
            *(if is_archived(&path) { &mut verdict.archived } else { &mut verdict.objects }) += 1;
            let bytes = size(&path);
            let checked = check(dir, &path, signed, &|read| progress(done + read, total));
            let is_own = own.is_empty() || checked.as_ref().map_or(true, |(receipt, _)| is_sealed_to(receipt, &own));
            let mut whats = checked.err().into_iter().collect::<Vec<_>>();
            match identity {
                Some(identity) if is_own => {
                    let opened = decrypts(&dir.join(&path), identity, &|read| progress(done + bytes + read, total));
                    whats.extend(opened.err().map(|error| format!("does not decrypt: {error}")));
                }
                Some(_) => verdict.sealed_to_others += 1,
                None => {}
            }
            done += readings * bytes;
            verdict.problems.extend(whats.into_iter().map(|what| Problem { path: path.clone(), what }));
        } else if let Some(object) = object_of(&path)
            && !dir.join(object).exists()
        {
            verdict.problems.push(Problem { path, what: "receipt without an object".to_owned() });
        }
    }
    Ok(verdict)
}

fn is_sealed_to(receipt: &Receipt, own: &[String]) -> bool {
    receipt.recipients.iter().any(|recipient| own.contains(&crate::seal::canonical(recipient)))
}

fn object_of(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let base = text.strip_suffix(".sig").unwrap_or(text).strip_suffix(RECEIPT_SUFFIX)?;
    Some(format!("{base}.age"))
}

fn decrypts(object: &Path, identity: &[u8], progress: &dyn Fn(u64)) -> io::Result<()> {
    copy(&mut crate::seal::open(File::open(object)?, identity)?, &mut io::sink(), progress).map(drop)
}

/// As `io::copy`, calling `progress` with the bytes so far.
fn copy(from: &mut dyn Read, to: &mut dyn Write, progress: &dyn Fn(u64)) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut total = 0;
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                to.write_all(&block[..count])?;
                total += count as u64;
                progress(total);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The receipt of an object below the vault when everything about it is right, else what is not.
pub(super) fn check(
    dir: &Path,
    relative: &Path,
    signed: &impl Fn(&[u8], &str) -> bool,
    progress: &dyn Fn(u64),
) -> Result<(Receipt, Published), String> {
    let Signed { receipt, sha256: receipt_sha256 } = Signed::read(dir, relative, signed)?;
    let mut hash = Sha256::new();
    let bytes = File::open(dir.join(relative))
        .and_then(|mut file| copy(&mut file, &mut hash, progress))
        .map_err(|error| format!("cannot read: {error}"))?;
    if bytes != receipt.output.bytes {
        return Err(format!("size is {bytes}, the receipt says {}", receipt.output.bytes));
    }
    if format!("{:x}", hash.finalize()) != receipt.output.sha256 {
        return Err("digest differs from the receipt's".to_owned());
    }
    let published = Published { job: receipt.job, object: relative.to_owned(), receipt_sha256 };
    Ok((receipt, published))
}
