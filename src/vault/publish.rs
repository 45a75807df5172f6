//! Makes finished objects visible: receipt and signature first, the object's rename last.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Finished, INCOMING, Published, siblings};
use crate::fsutil::{At, PathError, create_dir_durable, create_new, fsync_dir, remove_if_there, rename_noreplace};

/// From this many files on, one `syncfs` is cheaper than one fsync for each.
const SYNCFS_ABOVE: usize = 16;

/// One object with its receipt and signature, still in `.incoming`.
struct Staged {
    /// (incoming, final) of receipt, signature and object.
    receipt: (PathBuf, PathBuf),
    signature: (PathBuf, PathBuf),
    object: (PathBuf, PathBuf),
    published: Published,
}

pub(super) fn publish(
    dir: &Path,
    batch: &[Finished],
    sign: &impl Fn(&[u8]) -> String,
) -> Result<Vec<Published>, PathError> {
    let staged = batch.iter().map(|finished| stage(dir, finished, sign)).collect::<Result<Vec<_>, _>>()?;
    crate::faults::point("staged");
    make_durable(dir, &staged)?;
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
    for staged in &staged {
        rename_noreplace(&staged.object.0, &staged.object.1)?;
        crate::faults::point("object_renamed");
    }
    dirs.iter().try_for_each(|parent| fsync_dir(parent))?;
    Ok(staged.into_iter().map(|staged| staged.published).collect())
}

/// Makes directories and all above them up to `top` durable, each once.
pub(super) fn sync_up_to(top: &Path, dirs: &[&Path]) -> Result<(), PathError> {
    let chain: BTreeSet<&Path> =
        dirs.iter().flat_map(|dir| dir.ancestors().take_while(|above| above.starts_with(top))).collect();
    chain.into_iter().try_for_each(fsync_dir)
}

fn stage(dir: &Path, finished: &Finished, sign: &impl Fn(&[u8]) -> String) -> Result<Staged, PathError> {
    let relative = Path::new(&finished.receipt.output.path);
    let object = dir.join(relative);
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    let (Some((receipt, signature)), Some(name), true) = (siblings(&object), finished.incoming.file_name(), inside)
    else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput)).at("publish at", &object);
    };
    // Before anything is replaced: the receipt of a visible object is never touched.
    if fs::symlink_metadata(&object).is_ok() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists)).at("rename to", &object);
    }
    let mut json = serde_json::to_vec_pretty(&finished.receipt).at("write", &receipt)?;
    json.push(b'\n');
    let incoming = |suffix: &str| {
        let mut name: OsString = name.to_owned();
        name.push(suffix);
        dir.join(INCOMING).join(name)
    };
    let (receipt, signature) = ((incoming(".receipt"), receipt), (incoming(".sig"), signature));
    write_fresh(&receipt.0, &json)?;
    write_fresh(&signature.0, sign(&json).as_bytes())?;
    fs::set_permissions(&finished.incoming, Permissions::from_mode(0o440)).at("set the mode of", &finished.incoming)?;
    let published = Published {
        job: finished.receipt.job,
        object: relative.to_owned(),
        receipt_sha256: format!("{:x}", Sha256::digest(&json)),
    };
    Ok(Staged { receipt, signature, object: (finished.incoming.clone(), object), published })
}

fn write_fresh(path: &Path, content: &[u8]) -> Result<(), PathError> {
    use std::io::Write;
    remove_if_there(path)?;
    let mut file = create_new(path, 0o440)?;
    file.write_all(content).at("write", path)?;
    file.set_permissions(Permissions::from_mode(0o440)).at("set the mode of", path)
}

fn make_durable(dir: &Path, staged: &[Staged]) -> Result<(), PathError> {
    if staged.len() > SYNCFS_ABOVE {
        let incoming = dir.join(INCOMING);
        return rustix::fs::syncfs(File::open(&incoming).at("open", &incoming)?).at("make durable", &incoming);
    }
    for path in staged.iter().flat_map(|s| [&s.object.0, &s.receipt.0, &s.signature.0]) {
        File::open(path).at("open", path)?.sync_all().at("make durable", path)?;
    }
    Ok(())
}
