//! Makes finished objects visible: receipts and signatures first, the objects' renames last.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Finished, INCOMING, Published, Receipt, find_with, intent, siblings, take_back};
use crate::fsutil::{At, PathError, create_anew, create_dir_durable, fsync_dir, remove_if_there, rename_noreplace};

/// From this many files on, one `syncfs` is cheaper than one fsync for each.
const SYNCFS_ABOVE: usize = 16;

/// What receipt and signature are called behind the object's name while they are in `.incoming`.
const RECEIPT: &str = ".receipt";
const SIGNATURE: &str = ".sig";

/// One object with its receipt and signature, still in `.incoming`.
struct Staged {
    /// (incoming, final) of receipt, signature and object.
    receipt: (PathBuf, PathBuf),
    signature: (PathBuf, PathBuf),
    object: (PathBuf, PathBuf),
}

/// One job's outputs on their way.
struct Batch {
    /// In the order of the job's outputs, those that an earlier attempt has made visible included.
    published: Vec<(Receipt, Published)>,
    /// Those that are still to become visible.
    staged: Vec<Staged>,
    /// Present where a crash between two renames would show a part only.
    intent: Option<PathBuf>,
}

pub(super) fn publish(
    dir: &Path,
    jobs: &[Vec<Finished>],
    sign: &impl Fn(&[u8]) -> String,
    signed: &impl Fn(&[u8], &str) -> bool,
) -> Result<Vec<Vec<(Receipt, Published)>>, PathError> {
    let batches = jobs.iter().map(|outputs| stage_all(dir, outputs, sign, signed)).collect::<Result<Vec<_>, _>>()?;
    let staged: Vec<&Staged> = batches.iter().flat_map(|batch| &batch.staged).collect();
    let intents: Vec<&PathBuf> = batches.iter().filter_map(|batch| batch.intent.as_ref()).collect();
    crate::faults::point("staged");
    make_durable(dir, &staged, &intents)?;
    crate::faults::point("staged_durable");
    let mut dirs: Vec<&Path> = staged.iter().filter_map(|staged| staged.object.1.parent()).collect();
    dirs.sort_unstable();
    dirs.dedup();
    for parent in &dirs {
        create_dir_durable(parent, 0o750)?;
    }
    for staged in &staged {
        // Replaces what an earlier attempt left: its object never became visible.
        for (from, to) in [&staged.receipt, &staged.signature] {
            fs::rename(from, to).at("rename to", to)?;
            crate::faults::point("receipt_renamed");
        }
    }
    // With their parents: a crash may have come between a directory's creation and its fsync.
    sync_up_to(dir, &dirs)?;
    // A job's main output comes last: where it is, all are.
    for staged in batches.iter().flat_map(|batch| batch.staged.iter().rev()) {
        rename_noreplace(&staged.object.0, &staged.object.1)?;
        crate::faults::point("object_renamed");
    }
    dirs.iter().try_for_each(|parent| fsync_dir(parent))?;
    for intent in intents {
        remove_if_there(intent)?;
        crate::faults::point("intent_removed");
    }
    Ok(batches.into_iter().map(|batch| batch.published).collect())
}

/// Makes directories and all above them up to `top` durable, each once.
pub(super) fn sync_up_to(top: &Path, dirs: &[&Path]) -> Result<(), PathError> {
    let chain: BTreeSet<&Path> =
        dirs.iter().flat_map(|dir| dir.ancestors().take_while(|above| above.starts_with(top))).collect();
    chain.into_iter().try_for_each(fsync_dir)
}

/// Whether a path below the vault stays there.
pub(super) fn is_inside(relative: &Path) -> bool {
    relative.components().all(|part| matches!(part, Component::Normal(_)))
}

fn stage_all(
    dir: &Path,
    outputs: &[Finished],
    sign: &impl Fn(&[u8]) -> String,
    signed: &impl Fn(&[u8], &str) -> bool,
) -> Result<Batch, PathError> {
    let mut batch = Batch { published: Vec::new(), staged: Vec::new(), intent: None };
    for finished in outputs {
        let relative = Path::new(&finished.receipt.output.path);
        if let Some(found) = find_with(dir, relative, signed) {
            if found.0.input == finished.receipt.input {
                remove_if_there(&finished.incoming)?;
                batch.published.push(found);
                continue;
            }
            // Of another content, and nobody has been told: the file was written to after all.
            take_back(dir, relative)?;
        }
        let (staged, published) = stage(dir, finished, sign)?;
        batch.staged.push(staged);
        batch.published.push((finished.receipt.clone(), published));
    }
    if outputs.len() > 1 && !batch.staged.is_empty() {
        batch.intent = Some(intent::write(dir, outputs)?);
    }
    Ok(batch)
}

fn stage(dir: &Path, finished: &Finished, sign: &impl Fn(&[u8]) -> String) -> Result<(Staged, Published), PathError> {
    let relative = Path::new(&finished.receipt.output.path);
    let object = dir.join(relative);
    let (Some((receipt, signature)), Some(name), true) =
        (siblings(&object), finished.incoming.file_name(), is_inside(relative))
    else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput)).at("publish at", &object);
    };
    // Before anything is replaced: the receipt of a visible object is never touched.
    if fs::symlink_metadata(&object).is_ok() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists)).at("rename to", &object);
    }
    let mut json = serde_json::to_vec_pretty(&finished.receipt).at("write", &receipt)?;
    json.push(b'\n');
    let incoming = dir.join(INCOMING).join(name);
    let receipt = (with_suffix(&incoming, RECEIPT), receipt);
    let signature = (with_suffix(&incoming, SIGNATURE), signature);
    write_fresh(&receipt.0, &json)?;
    write_fresh(&signature.0, sign(&json).as_bytes())?;
    fs::set_permissions(&finished.incoming, Permissions::from_mode(0o440)).at("set the mode of", &finished.incoming)?;
    let published = Published {
        job: finished.receipt.job,
        object: relative.to_owned(),
        receipt_sha256: format!("{:x}", Sha256::digest(&json)),
    };
    Ok((Staged { receipt, signature, object: (finished.incoming.clone(), object) }, published))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(suffix);
    path.into()
}

/// See [`super::withdraw`]. What cannot be removed now is removed at the next attempt, or the next start.
pub(super) fn withdraw(incoming: &Path) {
    for path in [with_suffix(incoming, RECEIPT), with_suffix(incoming, SIGNATURE), incoming.to_owned()] {
        let _ = remove_if_there(&path);
    }
}

pub(super) fn write_fresh(path: &Path, content: &[u8]) -> Result<(), PathError> {
    use std::io::Write;
    let mut file = create_anew(path, 0o440)?;
    file.write_all(content).at("write", path)?;
    file.set_permissions(Permissions::from_mode(0o440)).at("set the mode of", path)
}

fn make_durable(dir: &Path, staged: &[&Staged], intents: &[&PathBuf]) -> Result<(), PathError> {
    let incoming = dir.join(INCOMING);
    if staged.len() > SYNCFS_ABOVE {
        return rustix::fs::syncfs(File::open(&incoming).at("open", &incoming)?).at("make durable", &incoming);
    }
    let objects = staged.iter().flat_map(|s| [&s.object.0, &s.receipt.0, &s.signature.0]);
    for path in objects.chain(intents.iter().copied()) {
        File::open(path).at("open", path)?.sync_all().at("make durable", path)?;
    }
    // What an intent speaks of must still have its name there when the first rename is durable.
    if intents.is_empty() { Ok(()) } else { fsync_dir(&incoming) }
}
