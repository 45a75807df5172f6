//! Which segments there are, told by their names.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::AuditError;
use crate::fsutil::{At, open_regular};

pub fn file_name(first_seq: u64) -> String {
    format!("audit-{first_seq:020}.jsonl")
}

/// A segment's file name for messages.
pub fn label(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What a segment's name ends with while it is written, and once it is compressed.
const SUFFIXES: [&str; 2] = [".jsonl", ".jsonl.zst"];

/// All segments in order, each with the first sequence number that its name gives; where a compressed one stands beside
/// what it was made of, that counts.
pub fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    let mut segments = numbered(dir, &SUFFIXES)?;
    segments.dedup_by_key(|(first, _)| *first);
    Ok(segments)
}

/// All files `audit-<number><suffix>`, by number and then by name.
pub fn numbered(dir: &Path, suffixes: &[&str]) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).at("list", dir)? {
        let path = entry.at("list", dir)?.path();
        found.extend(number(&label(&path), suffixes).map(|first| (first, path)));
    }
    found.sort();
    Ok(found)
}

fn number(name: &str, suffixes: &[&str]) -> Option<u64> {
    let (digits, suffix) = name.strip_prefix("audit-")?.split_at_checked(20)?;
    let is_one = suffixes.contains(&suffix) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| digits.parse().ok())?
}

/// Files that are named like segments and are none of [`list`], as their number is none.
pub fn misnamed(dir: &Path) -> Result<Vec<String>, AuditError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).at("list", dir)? {
        found.extend(Some(label(&entry.at("list", dir)?.path())).filter(|name| is_misnamed(name)));
    }
    found.sort();
    Ok(found)
}

/// Judged by itself: what else is there changes meanwhile.
fn is_misnamed(name: &str) -> bool {
    let is_like_one = name.starts_with("audit-") && SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    is_like_one && number(name, &SUFFIXES).is_none()
}

/// Compressed segments that stand beside what they were made of, which [`list`] leaves out, with that.
pub fn doubled(dir: &Path) -> Result<Vec<(PathBuf, PathBuf)>, AuditError> {
    let all = numbered(dir, &SUFFIXES)?;
    let pairs = all.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    Ok(pairs.map(|pair| (pair[0].1.clone(), pair[1].1.clone())).collect())
}

/// Whether a compressed segment holds what another one holds; one that is damaged does not.
pub fn is_the_same(plain: &Path, compressed: &Path) -> Result<bool, AuditError> {
    let digest = |mut from: &mut dyn Read| {
        let mut hash = Sha256::new();
        io::copy(&mut from, &mut hash).map(|_| hash.finalize())
    };
    let of_plain = digest(&mut open_regular(plain)?).at("read", plain)?;
    let unpacked = zstd::stream::read::Decoder::new(open_regular(compressed)?).and_then(|mut it| digest(&mut it));
    match unpacked {
        Ok(unpacked) => Ok(unpacked == of_plain),
        Err(error) if error.raw_os_error().is_some() => Err(error).at("read", compressed)?,
        Err(_) => Ok(false),
    }
}

/// Both names that a segment may have.
pub fn spellings(dir: &Path, first_seq: u64) -> [PathBuf; 2] {
    SUFFIXES.map(|suffix| dir.join(format!("audit-{first_seq:020}{suffix}")))
}

pub fn is_there(dir: &Path, first_seq: u64) -> bool {
    spellings(dir, first_seq).iter().any(|path| path.exists())
}

pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// The name of a segment once it is compressed.
pub fn compressed(path: &Path) -> PathBuf {
    path.with_extension("jsonl.zst")
}

/// Size of all segments and stubs.
pub fn bytes(dir: &Path) -> Result<u64, AuditError> {
    let all = numbered(dir, &[SUFFIXES[0], SUFFIXES[1], ".pruned.json"])?;
    Ok(all.iter().map(|(_, path)| path.metadata().map_or(0, |metadata| metadata.len())).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_judged_by_itself() {
        for (name, first) in [
            ("audit-00000000000000000001.jsonl", Some(1)),
            ("audit-00000000000000000412.jsonl.zst", Some(412)),
            ("audit-18446744073709551615.jsonl", Some(u64::MAX)),
            ("audit-18446744073709551616.jsonl", None),
            ("audit-0000000000000000001.jsonl", None),
            ("audit-+0000000000000000001.jsonl", None),
            ("audit-0000000000000000000\u{fffd}.jsonl", None),
            ("audit-.jsonl", None),
        ] {
            assert_eq!((number(name, &SUFFIXES), is_misnamed(name)), (first, first.is_none()), "{name}");
        }
        for name in ["audit-00000000000000000412.pruned.json", "audit-00000000000000000412.jsonl.zst.new", "a.jsonl"] {
            assert!(number(name, &SUFFIXES).is_none() && !is_misnamed(name), "{name}");
        }
    }

    #[test]
    fn a_compressed_segment_that_is_damaged_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, compressed) = (dir.path().join("plain"), dir.path().join("compressed"));
        fs::write(&plain, "one line\n".repeat(1000)).unwrap();
        let whole = zstd::encode_all(&*fs::read(&plain).unwrap(), 0).unwrap();
        for (bytes, is_same) in
            [(&whole[..], true), (&whole[..whole.len() - 4], false), (b"no frame", false), (b"", false)]
        {
            fs::write(&compressed, bytes).unwrap();
            assert_eq!(is_the_same(&plain, &compressed).unwrap(), is_same, "{}", bytes.len());
        }
        fs::remove_file(&compressed).unwrap();
        assert!(is_the_same(&plain, &compressed).is_err());
    }
}
