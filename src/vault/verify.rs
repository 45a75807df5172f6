//! Checks objects against their signed receipts, and the vault against the audit trail.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::list::{archived, files, is_object};
use super::lock::Lock;
use super::told::Told;
use super::{Published, RECEIPT_SUFFIX, Receipt, Signed, change, is_archived, siblings, signed_by, tombstone};
use crate::audit::AuditError;
use crate::fsutil::{At, PathError, open_regular};
use crate::keys::VerifyingKey;
use crate::seal::{Identities, plugin};

/// Bytes read at once.
const BLOCK: usize = 1 << 20;
/// What was sealed so long ago has had its audit record, or never will.
const RECORDED_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// Time between two looks for records that are being written.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Number of such looks.
const MAX_LOOKS: u32 = 50;
/// Said of objects in the middle of a change.
const CUT_OFF: &str =
    "a change of it was cut off; the next start of veild, or the next `vault prune` or `rewrap`, finishes it";

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct VaultVerdict {
    /// Outputs looked at.
    pub objects: u64,
    /// Archived originals looked at.
    pub archived: u64,
    /// Objects of which the given identity is no recipient: nothing is known of whether they decrypt.
    pub sealed_to_others: u64,
    /// Objects that have gone, and left a signed tombstone.
    pub pruned: u64,
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Relative to the vault.
    pub path: PathBuf,
    pub what: String,
}

/// What the vault is checked with.
#[derive(Default)]
pub struct Evidence<'a> {
    /// Opens every object that is sealed to it, to its end.
    pub identities: Option<&'a Identities>,
    /// What the audit trail says, read before the vault is looked at.
    pub told: Option<Told>,
    /// Most bytes read in a second.
    pub rate: Option<u64>,
}

/// The vault cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Io(#[from] PathError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Checks every object, tombstone and file of the vault. `progress` is called now and then with the bytes done and their
/// total.
pub fn verify(
    dir: &Path,
    key: &VerifyingKey,
    evidence: Evidence<'_>,
    progress: &dyn Fn(u64, u64),
) -> Result<VaultVerdict, VerifyError> {
    let signed = signed_by(key);
    verify_with(dir, &signed, evidence, progress)
}

pub(super) fn verify_with(
    dir: &Path,
    signed: &impl Fn(&[u8], &str) -> bool,
    evidence: Evidence<'_>,
    progress: &dyn Fn(u64, u64),
) -> Result<VaultVerdict, VerifyError> {
    let Evidence { identities, told, rate } = evidence;
    let mut all = files(dir)?;
    all.extend(archived(dir)?);
    all.sort();
    let size = |path: &Path| dir.join(path).metadata().map_or(0, |metadata| metadata.len());
    let readings = 1 + u64::from(identities.is_some());
    let total = all.iter().filter(|path| is_object(path)).map(|path| readings * size(path)).sum();
    let throttle = Throttle::new(rate);
    let mut check =
        Check { dir, signed, identities, told, verdict: VaultVerdict::default(), doubts: Doubts::default() };
    let mut done = 0;
    for path in all {
        if is_object(&path) {
            let bytes = size(&path);
            check.object(&path, &|read| {
                throttle.spent(done + read);
                progress(done + read, total);
            })?;
            done += readings * bytes;
        } else {
            check.doubts.strays.push(path);
        }
    }
    check.settle()?;
    Ok(check.verdict)
}

/// What cannot be said while the vault is being used.
#[derive(Default)]
struct Doubts {
    /// Objects that the trail did not know as they are.
    unknown: Vec<PathBuf>,
    /// What is no object: most of it are receipts.
    strays: Vec<PathBuf>,
}

/// What a look at one object found.
struct Looked {
    checked: Option<(Receipt, Published)>,
    problems: Vec<String>,
    is_others: bool,
}

/// An object that the trail contradicts.
struct Contradicted {
    path: PathBuf,
    sealed_at: Timestamp,
    what: String,
}

struct Check<'a, S> {
    dir: &'a Path,
    signed: &'a S,
    identities: Option<&'a Identities>,
    told: Option<Told>,
    verdict: VaultVerdict,
    doubts: Doubts,
}

impl<S: Fn(&[u8], &str) -> bool> Check<'_, S> {
    fn object(&mut self, path: &Path, progress: &dyn Fn(u64)) -> Result<(), PathError> {
        let mut found = self.look_at(path, progress)?;
        if !found.problems.is_empty() {
            // Somebody may have been replacing or removing it.
            let _lock = Lock::shared(self.dir)?;
            if is_gone(self.dir, path) {
                return Ok(());
            }
            found = self.look_at(path, progress)?;
        }
        *(if is_archived(path) { &mut self.verdict.archived } else { &mut self.verdict.objects }) += 1;
        self.verdict.sealed_to_others += u64::from(found.is_others);
        let problem = |what| Problem { path: path.to_owned(), what };
        self.verdict.problems.extend(found.problems.into_iter().map(problem));
        if let Some(told) = &mut self.told {
            told.see(path);
            let of_it = found.checked.map(|(receipt, published)| (published.receipt_sha256, receipt.sealed_at));
            if of_it.is_some_and(|(sha256, sealed_at)| told.against(path, &sha256, sealed_at).is_some()) {
                self.doubts.unknown.push(path.to_owned());
            }
        }
        Ok(())
    }

    fn look_at(&self, path: &Path, progress: &dyn Fn(u64)) -> Result<Looked, PathError> {
        let (mut checked, mut problems) = (None, Vec::new());
        let bytes = match check(self.dir, path, self.signed, progress) {
            Ok(found) => {
                let bytes = found.0.output.bytes;
                checked = Some(found);
                bytes
            }
            Err(what) => {
                problems.push(what);
                0
            }
        };
        let mut is_others = false;
        if let Some(identities) = self.identities {
            let own = identities.recipients();
            let receipt = checked.as_ref().map(|(receipt, _)| receipt);
            is_others = !own.is_empty() && receipt.is_some_and(|receipt| !is_sealed_to(receipt, own));
            if !is_others && let Err(error) = decrypts(&self.dir.join(path), identities, &|read| progress(bytes + read))
            {
                if plugin::has_failed(&error) {
                    return Err(error).at("open", self.dir.join(path));
                }
                // Without a word on whose it is, it may be anybody's.
                is_others = own.is_empty() && error.kind() == io::ErrorKind::PermissionDenied;
                if !is_others {
                    problems.push(format!("does not decrypt: {error}"));
                }
            }
        }
        Ok(Looked { checked, problems, is_others })
    }

    /// Says what could not be said before, with nobody changing anything meanwhile.
    fn settle(&mut self) -> Result<(), VerifyError> {
        self.wait_for_records()?;
        let _lock = Lock::shared(self.dir)?;
        let unfinished = change::unfinished(self.dir)?;
        let (tombstones, mut problems) = tombstone::all(self.dir, self.signed)?;
        self.verdict.pruned = tombstones.len() as u64;
        if let Some(told) = &mut self.told {
            told.catch_up()?;
            problems.extend(told.missing(self.dir, &tombstones));
            problems.extend(self.contradicted().into_iter().map(|it| Problem { path: it.path, what: it.what }));
        }
        problems.extend(self.doubts.strays.iter().filter_map(|path| stray(self.dir, path)));
        problems.retain(|problem| !unfinished.contains(&problem.path));
        self.verdict.problems.extend(problems);
        self.verdict.problems.extend(unfinished.into_iter().map(|path| Problem { path, what: CUT_OFF.to_owned() }));
        Ok(())
    }

    /// A file can be seen a moment before its record is durable.
    fn wait_for_records(&mut self) -> Result<(), AuditError> {
        for _ in 0..MAX_LOOKS {
            let Some(told) = &mut self.told else { break };
            told.catch_up()?;
            let fresh = |it: &Contradicted| Timestamp::now().duration_since(it.sealed_at) < RECORDED_WITHIN;
            if !self.contradicted().iter().any(fresh) {
                break;
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
        Ok(())
    }

    /// Which of the doubtful objects the trail contradicts, as they are by now.
    fn contradicted(&self) -> Vec<Contradicted> {
        let Some(told) = &self.told else { return Vec::new() };
        let of = |path: &PathBuf| {
            let Signed { receipt, sha256 } = Signed::read(self.dir, path, self.signed).ok()?;
            let what = told.against(path, &sha256, receipt.sealed_at)?;
            Some(Contradicted { path: path.clone(), sealed_at: receipt.sealed_at, what })
        };
        self.doubts.unknown.iter().filter_map(of).collect()
    }
}

/// Whether an object has left its place, and its receipt too.
fn is_gone(dir: &Path, path: &Path) -> bool {
    let object = dir.join(path);
    !object.exists() && siblings(&object).is_none_or(|(receipt, _)| !receipt.exists())
}

/// What is wrong with a file that is no object.
fn stray(dir: &Path, path: &Path) -> Option<Problem> {
    let what = match object_of(path) {
        Some(object) if dir.join(&object).exists() => return None,
        Some(_) => "receipt without an object",
        None => "is neither an object nor a receipt of one",
    };
    dir.join(path).exists().then(|| Problem { path: path.to_owned(), what: what.to_owned() })
}

fn is_sealed_to(receipt: &Receipt, own: &[String]) -> bool {
    receipt.recipients.iter().any(|recipient| own.contains(&crate::seal::canonical(recipient)))
}

fn object_of(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let base = text.strip_suffix(".sig").unwrap_or(text).strip_suffix(RECEIPT_SUFFIX)?;
    Some(format!("{base}.age"))
}

fn decrypts(object: &Path, identities: &Identities, progress: &dyn Fn(u64)) -> io::Result<()> {
    let sealed = open_regular(object).map_err(|error| error.source)?;
    copy(&mut crate::seal::open_with(sealed, identities)?, &mut io::sink(), progress).map(drop)
}

/// Keeps reading to a rate.
struct Throttle {
    bytes_per_second: Option<u64>,
    /// When so many bytes had been read.
    mark: Cell<(Instant, u64)>,
}

impl Throttle {
    fn new(bytes_per_second: Option<u64>) -> Throttle {
        Throttle { bytes_per_second: bytes_per_second.filter(|rate| *rate > 0), mark: Cell::new((Instant::now(), 0)) }
    }

    /// Waits until it is time to have read so many bytes in all. What was slower than it might have been is not caught up.
    fn spent(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        let (at, before) = self.mark.get();
        let due = Duration::from_secs_f64(bytes.saturating_sub(before) as f64 / rate as f64);
        if let Some(early) = due.checked_sub(at.elapsed()) {
            std::thread::sleep(early);
        }
        self.mark.set((Instant::now(), bytes));
    }
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
    let object = open_regular(&dir.join(relative)).map_err(|error| format!("cannot read: {}", error.source))?;
    is_as_said(object, &receipt, progress)?;
    let published = Published { job: receipt.job, object: relative.to_owned(), receipt_sha256 };
    Ok((receipt, published))
}

/// Whether an object has the size and the digest that its receipt says; `progress` is told the bytes read.
pub fn is_as_said(object: File, receipt: &Receipt, progress: &dyn Fn(u64)) -> Result<(), String> {
    compare(object, receipt, progress).map_err(|error| format!("cannot read: {error}"))?
}

/// As [`is_as_said`], apart from objects that cannot be read now.
pub(super) fn compare(mut object: File, receipt: &Receipt, progress: &dyn Fn(u64)) -> io::Result<Result<(), String>> {
    let mut hash = Sha256::new();
    let bytes = copy(&mut object, &mut hash, progress)?;
    if bytes != receipt.output.bytes {
        return Ok(Err(format!("size is {bytes}, the receipt says {}", receipt.output.bytes)));
    }
    if format!("{:x}", hash.finalize()) != receipt.output.sha256 {
        return Ok(Err("digest differs from the receipt's".to_owned()));
    }
    Ok(Ok(()))
}
