//! What is in the vault, as its directories tell it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::receipt::MAX_RECEIPT_BYTES;
use super::{APART, ARCHIVE, Receipt, siblings};
use crate::fsutil::{At, PathError, read_regular};
use crate::job::JobId;

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Relative to the vault.
    pub path: PathBuf,
    /// `None` when it is missing or cannot be read; not checked against its signature.
    pub receipt: Option<Receipt>,
}

/// All outputs, newest last; a job's main output before its views.
pub fn list(dir: &Path) -> Result<Vec<Entry>, PathError> {
    list_of(dir, files(dir)?)
}

/// All archived originals, newest last.
pub fn list_archive(dir: &Path) -> Result<Vec<Entry>, PathError> {
    list_of(dir, archived(dir)?)
}

/// What one job left, whatever its landing: main output, views, archived original.
pub fn of_job(dir: &Path, job: JobId) -> Result<Vec<Entry>, PathError> {
    let jobs = BTreeSet::from([job]);
    let mut paths = Vec::new();
    for top in [Path::new(""), Path::new(ARCHIVE)] {
        for landing in landings(&dir.join(top))? {
            paths.extend(objects_named(dir, &top.join(super::path::day(&landing, job)), &jobs)?);
        }
    }
    let mut entries = list_of(dir, paths)?;
    entries.sort_by_key(|entry| super::is_archived(&entry.path));
    Ok(entries)
}

/// The directory of one day of a landing, of outputs or archived originals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day {
    pub date: Date,
    pub landing: String,
    /// Relative to the vault.
    pub path: PathBuf,
}

/// All days, oldest first.
pub(super) fn days(dir: &Path) -> Result<Vec<Day>, PathError> {
    let mut found = Vec::new();
    for top in [Path::new(""), Path::new(ARCHIVE)] {
        for landing in landings(&dir.join(top))? {
            let of_landing = top.join(&landing);
            for year in landings(&dir.join(&of_landing))? {
                for month in landings(&dir.join(&of_landing).join(&year))? {
                    let of_month = of_landing.join(&year).join(&month);
                    let days = landings(&dir.join(&of_month))?;
                    found.extend(days.iter().filter_map(|day| super::path::day_of(&of_month.join(day))));
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// All objects below a directory of the vault, in a fixed order.
pub(super) fn objects_below(dir: &Path, below: &Path) -> Result<Vec<PathBuf>, PathError> {
    let mut found: Vec<PathBuf> = if_there(dir, below)?.into_iter().filter(|path| is_object(path)).collect();
    found.sort();
    Ok(found)
}

/// The landings that have a directory here; years, months and days in the same manner.
fn landings(top: &Path) -> Result<Vec<String>, PathError> {
    let entries = match fs::read_dir(top) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.at("read", top)?,
    };
    let names = entries.map(|entry| Ok(entry.at("read", top)?.file_name().into_string().unwrap_or_default()));
    let mut names = names.collect::<Result<Vec<String>, PathError>>()?;
    names.retain(|name| !name.is_empty() && !name.starts_with('.') && name != "lost+found");
    names.sort();
    Ok(names)
}

fn list_of(dir: &Path, paths: Vec<PathBuf>) -> Result<Vec<Entry>, PathError> {
    let read = |path: &Path| Receipt::parse(&read_regular(&siblings(&dir.join(path))?.0, MAX_RECEIPT_BYTES).ok()?).ok();
    let paths = paths.into_iter().filter(|path| is_object(path));
    let mut entries: Vec<Entry> = paths.map(|path| Entry { receipt: read(&path), path }).collect();
    entries.sort_by_cached_key(|entry| {
        let receipt = entry.receipt.as_ref();
        let job = receipt.map(|receipt| receipt.job).or_else(|| job_of(&entry.path));
        (job, receipt.and_then(|receipt| receipt.view.clone()), entry.path.clone())
    });
    Ok(entries)
}

/// Objects below a directory of the vault that have one of these jobs in their name.
pub(super) fn objects_named(dir: &Path, below: &Path, jobs: &BTreeSet<JobId>) -> Result<Vec<PathBuf>, PathError> {
    let is_job = |part: &str| part.parse().is_ok_and(|job: JobId| jobs.contains(&job));
    let is_named = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.split('.').any(is_job))
    };
    Ok(if_there(dir, below)?.into_iter().filter(|path| is_object(path) && is_named(path)).collect())
}

/// All files of the archive, relative to the vault.
pub(super) fn archived(dir: &Path) -> Result<Vec<PathBuf>, PathError> {
    if_there(dir, Path::new(ARCHIVE))
}

fn if_there(dir: &Path, below: &Path) -> Result<Vec<PathBuf>, PathError> {
    match files_below(dir, below) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found,
    }
}

pub(super) fn is_object(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "age")
}

/// The job in an object's name.
fn job_of(path: &Path) -> Option<JobId> {
    path.file_name()?.to_str()?.rsplit('.').find_map(|part| part.parse().ok())
}

/// All files below the vault, relative, without what stands [`APART`]; symbolic links are not followed.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, PathError> {
    files_below(dir, Path::new(""))
}

fn files_below(dir: &Path, top: &Path) -> Result<Vec<PathBuf>, PathError> {
    let (mut found, mut open) = (Vec::new(), vec![top.to_owned()]);
    while let Some(below) = open.pop() {
        let full = dir.join(&below);
        for entry in fs::read_dir(&full).at("read", &full)? {
            let entry = entry.at("read", &full)?;
            let name = entry.file_name();
            // Only at the top: an uploader's directory of that name must not hide objects.
            if below.as_os_str().is_empty() && APART.iter().any(|apart| name == *apart) {
                continue;
            }
            let path = below.join(&name);
            match entry.file_type().at("examine", entry.path())?.is_dir() {
                true => open.push(path),
                false => found.push(path),
            }
        }
    }
    Ok(found)
}
