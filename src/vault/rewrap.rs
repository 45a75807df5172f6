//! Objects for other readers: a new header before the same payload, and an amended receipt.
//!
//! New objects are complete and durable in `.changes/<id>/` before anything is touched. Then the old ones leave their
//! places, receipts and signatures are replaced, and the new ones come: an object that can be seen has its own receipt.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::change::{self, Books, Cause, Change, Deed, Staging};
use super::lock::Lock;
use super::publish::{is_inside, sync_up_to, write_fresh};
use super::receipt::{Amendment, Receipt, Signed};
use super::verify::Problem;
use super::{CHANGES, NAMESPACE, siblings, signed_by};
use crate::audit::{self, AuditError};
use crate::fsutil::{At, PathError, create_new, fsync_dir, open_regular, rename_noreplace};
use crate::job::JobId;
use crate::keys::SigningKey;
use crate::seal::{Identities, Recipients, canonical, plugin};

/// Most objects that change together, and most bytes of them that are made ready before.
const MAX_BATCH: usize = 64;
const MAX_BATCH_BYTES: u64 = 256 << 20;
/// From this many files on, one `syncfs` is cheaper than one fsync for each.
const SYNCFS_ABOVE: usize = 16;
/// Bytes copied at once.
const BLOCK: usize = 1 << 20;

/// One object that is ready for its new readers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rewrapped {
    /// Relative to the vault.
    pub path: String,
    /// What its files in `.changes/<id>/` begin with.
    staged: String,
    job: JobId,
    landing: String,
    view: Option<String>,
    recipients: Vec<String>,
    recipients_before: Vec<String>,
    object_sha256: String,
    receipt_sha256: String,
    receipt_sha256_before: String,
}

impl Rewrapped {
    /// What the record of it says.
    pub fn fields(&self) -> Value {
        json!({
            "job": self.job,
            "landing": self.landing,
            "view": self.view,
            "object_sha256": self.object_sha256,
            "receipt_sha256": self.receipt_sha256,
            "receipt_sha256_before": self.receipt_sha256_before,
            "recipients": self.recipients,
            "recipients_before": self.recipients_before,
        })
    }
}

/// Who opens the objects, and who shall.
pub struct Readers<'a> {
    pub identities: &'a Identities,
    pub recipients: &'a Recipients,
    /// As receipts name them.
    pub names: &'a [String],
}

/// What a run has done.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    pub rewrapped: u64,
    /// Those that had these readers already.
    pub unchanged: u64,
    /// None of the identities opens them.
    pub sealed_to_others: u64,
    /// Not as their receipts say: evidence, which stays.
    pub problems: Vec<Problem>,
}

/// What became of one object while it was made ready.
enum Ready {
    Yes(Box<Rewrapped>, u64),
    Unchanged,
    SealedToOthers,
    Damaged(String),
}

/// Rewraps objects, given by their paths below the vault, after what a crash had cut off. `progress` is called with the
/// bytes done.
pub fn rewrap<E: From<PathError> + From<AuditError>>(
    dir: &Path,
    objects: &[PathBuf],
    readers: &Readers<'_>,
    key: &SigningKey,
    cause: &Cause,
    books: &mut Books<'_, E>,
    progress: &dyn Fn(u64),
) -> Result<Outcome, E> {
    change::recover(dir, &Lock::alone(dir)?, books)?;
    let recorded_after = audit::last_seq(books.trail)?;
    let (mut outcome, mut done) = (Outcome::default(), 0);
    let mut rest = objects.iter();
    while !rest.as_slice().is_empty() {
        let staging = Staging::begin(dir)?;
        let (mut ready, mut bytes) = (Vec::new(), 0);
        while ready.len() < crate::faults::bound("VAULT_BATCH", MAX_BATCH)
            && bytes < MAX_BATCH_BYTES
            && let Some(path) = rest.next()
        {
            let size = fs::metadata(dir.join(path)).map_or(0, |metadata| metadata.len());
            match make_ready(dir, path, &staging, ready.len(), readers, key, &|copied| progress(done + copied))? {
                Ready::Yes(object, size) => {
                    ready.push(*object);
                    bytes += size;
                }
                Ready::Unchanged => outcome.unchanged += 1,
                Ready::SealedToOthers => outcome.sealed_to_others += 1,
                Ready::Damaged(what) => outcome.problems.push(Problem { path: path.clone(), what }),
            }
            done += size;
            progress(done);
        }
        outcome.rewrapped += swap(dir, staging, ready, recorded_after, key, cause, books)?;
    }
    Ok(outcome)
}

/// Makes what is ready durable, and puts it in the place of what is there.
fn swap<E: From<PathError>>(
    dir: &Path,
    staging: Staging,
    mut ready: Vec<Rewrapped>,
    recorded_after: u64,
    key: &SigningKey,
    cause: &Cause,
    books: &mut Books<'_, E>,
) -> Result<u64, E> {
    make_durable(&staging.dir, &ready)?;
    crate::faults::point("rewrap_ready");
    let lock = Lock::alone(dir)?;
    let verifying = key.verifying();
    let signed = signed_by(&verifying);
    // Somebody else may have been quicker.
    ready.retain(|object| {
        let now = Signed::read(dir, Path::new(&object.path), &signed);
        now.is_ok_and(|now| now.sha256 == object.receipt_sha256_before) && dir.join(&object.path).exists()
    });
    let count = ready.len() as u64;
    if ready.is_empty() {
        fs::remove_dir_all(&staging.dir).at("remove", &staging.dir)?;
        return Ok(0);
    }
    let change = Change::new(staging.id.clone(), recorded_after, Timestamp::now(), cause, Deed::Rewrap(ready));
    change.carry_out(dir, &lock, books)?;
    Ok(count)
}

fn make_ready(
    dir: &Path,
    path: &Path,
    staging: &Staging,
    index: usize,
    readers: &Readers<'_>,
    key: &SigningKey,
    progress: &dyn Fn(u64),
) -> Result<Ready, PathError> {
    let verifying = key.verifying();
    let signed = signed_by(&verifying);
    let before = match Signed::read(dir, path, &signed) {
        Ok(before) => before,
        Err(what) => return Ok(Ready::Damaged(what)),
    };
    if is_same(&before.receipt.recipients, readers.names) {
        return Ok(Ready::Unchanged);
    }
    let object = dir.join(path);
    let mut sealed = match open_regular(&object) {
        Ok(sealed) => sealed,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
        Err(error) => return Ok(Ready::Damaged(crate::fsutil::chain(&error))),
    };
    let made = match crate::seal::rewrap(&mut sealed, readers.identities, readers.recipients) {
        Ok(made) => made,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Ready::SealedToOthers),
        Err(error) if plugin::has_failed(&error) => return Err(error).at("open", &object),
        Err(error) => return Ok(Ready::Damaged(error.to_string())),
    };
    let staged = index.to_string();
    let at = |suffix: &str| staging.dir.join(format!("{staged}{suffix}"));
    let fresh = at(".age");
    let file = create_new(&fresh, 0o440)?;
    let copied = copy(&mut sealed, &object, &made, &file, &fresh, progress)?;
    let output = &before.receipt.output;
    if (&copied.old_sha256, copied.old_bytes) != (&output.sha256, output.bytes) {
        fs::remove_file(&fresh).at("remove", &fresh)?;
        return Ok(Ready::Damaged("size or digest differs from the receipt's".to_owned()));
    }
    file.set_permissions(Permissions::from_mode(0o440)).at("set the mode of", &fresh)?;
    let receipt = amended(&before, readers.names, &copied);
    let mut json = serde_json::to_vec_pretty(&receipt).at("write", &fresh)?;
    json.push(b'\n');
    write_fresh(&at(".receipt"), &json)?;
    write_fresh(&at(".sig"), key.sign(NAMESPACE, &json).as_bytes())?;
    let ready = Rewrapped {
        path: path.to_string_lossy().into_owned(),
        staged,
        job: receipt.job,
        landing: receipt.landing,
        view: receipt.view,
        recipients: receipt.recipients,
        recipients_before: before.receipt.recipients,
        object_sha256: receipt.output.sha256,
        receipt_sha256: format!("{:x}", Sha256::digest(&json)),
        receipt_sha256_before: before.sha256,
    };
    Ok(Ready::Yes(Box::new(ready), copied.bytes))
}

/// Whether these are the same readers, in whatever order.
fn is_same(one: &[String], other: &[String]) -> bool {
    let set = |names: &[String]| names.iter().map(|name| canonical(name)).collect::<BTreeSet<_>>();
    set(one) == set(other)
}

/// Digests of an object before and after.
struct Copied {
    old_sha256: String,
    old_bytes: u64,
    sha256: String,
    bytes: u64,
}

/// Writes the new header and the old payload, reading all that is there for its digest.
fn copy(
    sealed: &mut File,
    sealed_path: &Path,
    made: &crate::seal::Rewrapped,
    mut to: &File,
    to_path: &Path,
    progress: &dyn Fn(u64),
) -> Result<Copied, PathError> {
    sealed.rewind().at("read", sealed_path)?;
    let mut header = vec![0; usize::try_from(made.old_bytes).map_err(io::Error::other).at("read", sealed_path)?];
    sealed.read_exact(&mut header).at("read", sealed_path)?;
    let (mut old, mut new) = (Sha256::new_with_prefix(&header), Sha256::new_with_prefix(&made.header));
    to.write_all(&made.header).at("write", to_path)?;
    let (mut block, mut payload) = (vec![0; BLOCK], 0);
    loop {
        let count = match sealed.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).at("read", sealed_path),
        };
        old.update(&block[..count]);
        new.update(&block[..count]);
        to.write_all(&block[..count]).at("write", to_path)?;
        payload += count as u64;
        progress(payload);
    }
    Ok(Copied {
        old_sha256: format!("{:x}", old.finalize()),
        old_bytes: made.old_bytes + payload,
        sha256: format!("{:x}", new.finalize()),
        bytes: made.header.len() as u64 + payload,
    })
}

fn amended(before: &Signed, recipients: &[String], copied: &Copied) -> Receipt {
    let mut receipt = before.receipt.clone();
    let amendment = Amendment {
        amended_at: Timestamp::now(),
        receipt_sha256: before.sha256.clone(),
        recipients: std::mem::replace(&mut receipt.recipients, recipients.to_vec()),
        sha256: std::mem::replace(&mut receipt.output.sha256, copied.sha256.clone()),
        bytes: std::mem::replace(&mut receipt.output.bytes, copied.bytes),
        veild: env!("CARGO_PKG_VERSION").to_owned(),
    };
    receipt.amend(amendment);
    receipt
}

fn make_durable(staging: &Path, ready: &[Rewrapped]) -> Result<(), PathError> {
    if ready.len() * 3 > SYNCFS_ABOVE {
        return rustix::fs::syncfs(File::open(staging).at("open", staging)?).at("make durable", staging);
    }
    for path in ready.iter().flat_map(|object| [".age", ".receipt", ".sig"].map(|it| ready_path(staging, object, it))) {
        File::open(&path).at("open", &path)?.sync_all().at("make durable", &path)?;
    }
    fsync_dir(staging)
}

fn ready_path(staging: &Path, object: &Rewrapped, suffix: &str) -> PathBuf {
    staging.join(format!("{}{suffix}", object.staged))
}

/// Where the files of an object that is not in its place yet come from and go.
struct Move {
    /// The new object.
    fresh: PathBuf,
    object: PathBuf,
    /// Where the old one waits for its end.
    old: PathBuf,
    /// Receipt and signature.
    beside: [(PathBuf, PathBuf); 2],
}

/// Takes the old objects out of sight, replaces their receipts, and shows the new ones; again and again to the same end.
pub(super) fn apply(dir: &Path, id: &str, objects: &[Rewrapped]) -> Result<(), PathError> {
    let staging = dir.join(CHANGES).join(id);
    let moves = objects.iter().map(|object| plan(dir, &staging, object)).collect::<Result<Vec<_>, PathError>>()?;
    // Where the new object is no longer ready, it is in its place.
    let moves: Vec<Move> = moves.into_iter().filter(|it| it.fresh.exists()).collect();
    let parents: BTreeSet<&Path> = moves.iter().filter_map(|it| it.object.parent()).collect();
    let parents: Vec<&Path> = parents.into_iter().collect();
    for Move { object, old, .. } in &moves {
        match fs::rename(object, old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // hidden before the crash
            renamed => renamed.at("rename to", old)?,
        }
        crate::faults::point("rewrap_hidden");
    }
    sync_up_to(dir, &parents)?;
    for (from, to) in moves.iter().flat_map(|it| &it.beside) {
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.at("rename to", to)?,
        }
        crate::faults::point("rewrap_receipt_renamed");
    }
    sync_up_to(dir, &parents)?;
    for Move { fresh, object, .. } in &moves {
        rename_noreplace(fresh, object)?;
        crate::faults::point("rewrap_shown");
    }
    parents.iter().try_for_each(|parent| fsync_dir(parent))?;
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("remove", &staging),
    }
}

fn plan(dir: &Path, staging: &Path, object: &Rewrapped) -> Result<Move, PathError> {
    let final_object = dir.join(&object.path);
    let (Some((receipt, signature)), true) = (siblings(&final_object), is_inside(Path::new(&object.path))) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput)).at("rewrap", final_object);
    };
    let ready = |suffix: &str| ready_path(staging, object, suffix);
    Ok(Move {
        fresh: ready(".age"),
        old: ready(".old"),
        beside: [(ready(".receipt"), receipt), (ready(".sig"), signature)],
        object: final_object,
    })
}
