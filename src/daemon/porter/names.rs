//! Which names below a landing are files to take, which are markers, which directories are looked into. Pure.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::{Complete, Landing};
use crate::spool::SPOOL;

/// Path of the marker that speaks for a file.
pub(super) fn marker_path(landing: &Landing, relative: &Path) -> PathBuf {
    let name = relative.file_name().unwrap_or_default();
    let (before, after) = landing.marker.split_once("{name}").unwrap_or((&landing.marker, ""));
    let mut marker = std::ffi::OsString::from(before);
    marker.push(name);
    marker.push(after);
    landing.dir.join(relative).with_file_name(marker)
}

/// Whether a directory below a landing is looked into: hidden ones, the spool among them, never are.
pub fn is_swept(relative: &Path) -> bool {
    relative.components().all(|part| !part.as_os_str().as_bytes().starts_with(b"."))
}

/// Whether a file's name is included and not excluded.
pub fn is_wanted(landing: &Landing, relative: &Path) -> bool {
    let Some(name) = relative.file_name() else { return false };
    let parents_wanted = relative.parent().is_none_or(is_swept);
    let depth_wanted = landing.recursive || relative.components().count() == 1;
    let is_marker = marked_by(landing, relative).is_some();
    parents_wanted
        && depth_wanted
        && !is_marker
        && !name.as_bytes().starts_with(SPOOL.as_bytes())
        && landing.include.set.is_match(Path::new(name))
        && !landing.exclude.set.is_match(Path::new(name))
}

/// The file that a marker speaks for; `None` when the path is no marker's.
pub fn marked_by(landing: &Landing, relative: &Path) -> Option<PathBuf> {
    if landing.complete != Complete::Marker {
        return None;
    }
    let (before, after) = landing.marker.split_once("{name}").unwrap_or((&landing.marker, ""));
    let name = relative.file_name()?.as_bytes();
    let name = name.strip_prefix(before.as_bytes())?.strip_suffix(after.as_bytes())?;
    (!name.is_empty()).then(|| relative.with_file_name(OsStr::from_bytes(name)))
}
