//! Objects as commands name them.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::Config;
use crate::fsutil::{PathError, printable_path};
use crate::job::JobId;
use crate::vault::lock::Lock;
use crate::vault::{Entry, is_archived};

/// One object.
#[derive(clap::Args)]
pub struct Which {
    /// Job, or path of the object
    pub object: String,
    /// With a job: this view instead of its main output
    #[arg(long)]
    view: Option<String>,
    /// With a job: its archived original instead
    #[arg(long, conflicts_with = "view")]
    archive: bool,
}

impl Which {
    /// The job, if that is what was given.
    pub fn job(&self) -> anyhow::Result<Option<JobId>> {
        let job = self.object.parse().ok();
        let is_plain = self.view.is_none() && !self.archive;
        anyhow::ensure!(job.is_some() || is_plain, "`--view` and `--archive` go with a job, not with a path");
        Ok(job)
    }

    /// Where the object is; a relative path is one below the vault.
    pub fn find(&self, config: &Config) -> anyhow::Result<PathBuf> {
        let dir = &config.vault.dir;
        let Some(job) = self.job()? else { return Ok(dir.join(&self.object)) };
        let view = self.view.as_deref();
        let is_wanted = |entry: &Entry| {
            let receipt = entry.receipt.as_ref();
            is_archived(&entry.path) == self.archive
                && receipt.is_some_and(|receipt| receipt.job == job && receipt.view.as_deref() == view)
        };
        let look = || Ok::<_, PathError>(crate::vault::of_job(dir, job)?.into_iter().find(is_wanted));
        let found = match look()? {
            // One that is being replaced is there in a moment.
            None => {
                super::complete_changes(config)?;
                let _lock = Lock::shared(dir)?;
                look()?
            }
            found => found,
        };
        if let (None, Some((tombstone, at))) = (&found, crate::vault::pruned(dir, job)?) {
            anyhow::bail!(
                "objects of job {job} were pruned at {at}; its tombstone {} says which and why",
                printable_path(&tombstone)
            );
        }
        if found.is_none() {
            self.refuse_unreadable(dir, job)?;
        }
        let entry = found.with_context(|| match view {
            Some(view) => {
                format!("the vault holds no view {view:?} of job {job}; `veild vault list` shows what it holds")
            }
            None if self.archive => {
                format!("the archive holds no original of job {job}; `veild vault list --archive` shows all")
            }
            None => format!("the vault holds no object of job {job}; `veild vault list` shows what it holds"),
        })?;
        Ok(dir.join(entry.path))
    }

    /// Of an object without its receipt nobody knows which one it is; by its path it can be opened all the same.
    fn refuse_unreadable(&self, dir: &Path, job: JobId) -> anyhow::Result<()> {
        let is_unknown = |entry: &Entry| entry.receipt.is_none() && is_archived(&entry.path) == self.archive;
        let Some(entry) = crate::vault::of_job(dir, job)?.into_iter().find(is_unknown) else { return Ok(()) };
        let path = printable_path(&entry.path);
        anyhow::bail!(
            "the receipt of {path}, of job {job}, cannot be read: `veild vault verify` says why; give the path in the \
             place of the job to open the object all the same"
        )
    }
}
