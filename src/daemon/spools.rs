//! `STATE/spools.json`: every directory that was ever a landing, until its spool is seen to be empty.
//!
//! A landing can leave the configuration while its spool still holds claimed files, and nothing would look there again.
//! A configuration takes effect only after its landings stand in this file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::fsutil::{At, PathError, replace_durable};
use crate::spool;

const VERSION: u32 = 1;

#[derive(Default, Serialize, Deserialize)]
struct Known {
    spools_version: u32,
    spools: Vec<Spool>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Spool {
    landing: String,
    dir: PathBuf,
}

/// A spool with claimed files in a directory that is no landing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftBehind {
    /// The name that the landing had.
    pub landing: String,
    pub dir: PathBuf,
    /// `None`: it cannot be looked into.
    pub files: Option<usize>,
}

impl std::fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let spool = self.dir.join(spool::SPOOL);
        match self.files {
            Some(files) => write!(f, "{files} claimed file(s) wait in {}", spool.display())?,
            None => write!(f, "claimed files may wait in {}, which cannot be looked into", spool.display())?,
        }
        write!(
            f,
            ", and no landing of the configuration has this directory (it was {:?}); put the landing back and reload, and they are processed",
            self.landing
        )
    }
}

/// Adds the spools of a configuration to those known; durable when this returns.
pub fn remember(config: &Config) -> Result<(), PathError> {
    let before = read(config)?;
    let mut spools: Vec<Spool> = before.iter().filter(|it| !is_landing(config, &it.dir)).cloned().collect();
    spools.extend(config.landings.iter().map(|it| Spool { landing: it.name.clone(), dir: it.dir.clone() }));
    if spools == before { Ok(()) } else { write(config, spools) }
}

/// Drops the spools outside the configuration that are empty. Only for the start: nothing may be on its way into one.
pub fn forget_empty(config: &Config) -> Result<(), PathError> {
    let before = read(config)?;
    let is_empty = |dir: &Path| matches!(spool::count(dir), Ok(Some(0)));
    let kept: Vec<Spool> =
        before.iter().filter(|it| is_landing(config, &it.dir) || !is_empty(&it.dir)).cloned().collect();
    if kept == before { Ok(()) } else { write(config, kept) }
}

/// Spools outside the configuration that hold files, or may do so.
pub fn left_behind(config: &Config) -> Result<Vec<LeftBehind>, PathError> {
    let outside = read(config)?.into_iter().filter(|it| !is_landing(config, &it.dir));
    let left = outside.map(|Spool { landing, dir }| {
        // One that is not there holds nothing, or lies on a file system that is not mounted: it stays remembered.
        let files = spool::count(&dir).map(Option::unwrap_or_default).ok();
        LeftBehind { landing, dir, files }
    });
    Ok(left.filter(|it| it.files != Some(0)).collect())
}

fn is_landing(config: &Config, dir: &Path) -> bool {
    config.landings.iter().any(|landing| landing.dir == dir)
}

fn path(config: &Config) -> PathBuf {
    config.daemon.state_dir.join("spools.json")
}

fn read(config: &Config) -> Result<Vec<Spool>, PathError> {
    let path = path(config);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("read", &path)?,
    };
    let known: Known = serde_json::from_slice(&text).map_err(io::Error::other).at("understand", &path)?;
    if known.spools_version > VERSION {
        return Err(io::Error::other("written by a newer veild; upgrade veild")).at("use", &path);
    }
    Ok(known.spools)
}

fn write(config: &Config, spools: Vec<Spool>) -> Result<(), PathError> {
    let known = Known { spools_version: VERSION, spools };
    let text = serde_json::to_vec_pretty(&known).expect("paths of a TOML file are UTF-8");
    replace_durable(&path(config), 0o640, &text)
}
