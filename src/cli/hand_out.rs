//! Files that a command leaves for somebody: whole and recorded, or not there.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::fsutil::{At, create_new, fsync_dir, open_regular, printable_path, rename_noreplace};

/// Refuses a path at which no file can be made, as it names a directory or lies in none.
pub fn refuse_no_file(to: &Path) -> anyhow::Result<()> {
    let shown = printable_path(to);
    let names_directory = to.is_dir() || to.as_os_str().as_encoded_bytes().ends_with(b"/");
    anyhow::ensure!(!names_directory, "{shown} names a directory: name a file in it, which is not there yet");
    let Some(dir) = to.parent().filter(|dir| !dir.as_os_str().is_empty()) else { return Ok(()) };
    let is_missing = matches!(dir.try_exists(), Ok(false));
    anyhow::ensure!(!is_missing, "there is no directory {}: make it, or name another file", printable_path(dir));
    Ok(())
}

/// Writes a new file beside its place, records it, and shows it under its name. What a kill leaves ends in `.incoming`.
pub fn hand_out<T>(
    to: &Path,
    write: impl FnOnce(&File, &Path) -> anyhow::Result<T>,
    record: impl FnOnce(&T) -> anyhow::Result<()>,
) -> anyhow::Result<T> {
    refuse_no_file(to)?;
    anyhow::ensure!(
        to.symlink_metadata().is_err(),
        "{} is already there, and nothing is overwritten: name another file, or move it away",
        printable_path(to)
    );
    let incoming = incoming(to)?;
    anyhow::ensure!(
        incoming.symlink_metadata().is_err(),
        "{} is what another command writes, or has left when it was cut off: wait for it, or remove the file",
        printable_path(&incoming)
    );
    let file = create_new(&incoming, 0o600)?;
    let shown = write(&file, &incoming).and_then(|written| {
        file.sync_all().at("write", &incoming)?;
        crate::faults::point("handout_ready");
        record(&written)?;
        crate::faults::point("handout_recorded");
        rename_noreplace(&incoming, to)?;
        Ok(written)
    });
    if shown.is_err() {
        let _ = std::fs::remove_file(&incoming); // half a file, or one that is not recorded, is worse than none
    }
    let written = shown?;
    fsync_dir(to.parent().unwrap_or(Path::new("")))?;
    Ok(written)
}

/// Makes a file durable that was handed out before, by a command that may have been cut off just then.
pub fn make_durable(to: &Path) -> anyhow::Result<()> {
    open_regular(to)?.sync_all().at("make durable", to)?;
    Ok(fsync_dir(to.parent().unwrap_or(Path::new("")))?)
}

/// Where a file is written before it has its name.
pub fn incoming(to: &Path) -> anyhow::Result<PathBuf> {
    let mut name = to.file_name().with_context(|| format!("{} names no file", printable_path(to)))?.to_owned();
    name.push(".incoming");
    Ok(to.with_file_name(name))
}
