//! `veild quarantine`

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use crate::audit::{Action, Outcome, Record};
use crate::config::Config;
use crate::daemon::clerk::quarantine_dir;
use crate::daemon::{control, event::Request};
use crate::fsutil::{copy_in_kernel, create_dir_durable, create_new, fsync_dir, rename_noreplace};
use crate::job::JobId;
use crate::quarantine::{self, Reason};

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Rejected files, oldest first
    List {
        #[arg(long)]
        json: bool,
    },
    /// One rejected file and why
    Show {
        job: JobId,
        #[arg(long)]
        json: bool,
    },
    /// Process it again under today's policy
    Retry {
        job: JobId,
        /// Why, for the audit trail
        #[arg(long)]
        reason: String,
        /// Opens an original that was sealed
        #[arg(short, long)]
        identity: Option<PathBuf>,
    },
    /// Hand the original to a path
    Release {
        job: JobId,
        #[arg(long)]
        to: PathBuf,
        /// Why, for the audit trail
        #[arg(long)]
        reason: String,
    },
    /// Destroy the original
    Discard {
        job: JobId,
        /// Why, for the audit trail
        #[arg(long)]
        reason: String,
    },
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let dir = quarantine_dir(&config);
    match arguments {
        Arguments::List { json } => list(&dir, *json),
        Arguments::Show { job, json } => show(&dir, *job, *json),
        Arguments::Retry { job, reason, identity } => retry(&config, *job, reason, identity.as_deref()),
        Arguments::Release { job, to, reason } => {
            let (entry, original) = find(&dir, *job)?;
            let from = File::open(&original).with_context(|| format!("cannot open {}", original.display()))?;
            place(&from, to)?;
            super::record(&config, acted(Action::FileReleased, &entry, reason))?;
            quarantine::remove(&dir, *job)?;
            println!("released to {}", to.display());
            Ok(())
        }
        Arguments::Discard { job, reason } => {
            let (entry, _) = find(&dir, *job)?;
            super::record(&config, acted(Action::FileDiscarded, &entry, reason))?;
            quarantine::remove(&dir, *job)?;
            println!("discarded {job}");
            Ok(())
        }
    }
}

fn acted(action: Action, entry: &Reason, reason: &str) -> Record {
    Record::new(Timestamp::now(), action, Outcome::Success)
        .field("user", super::user())
        .field("file", json!({"name": entry.original_name}))
        .veild("job", json!(entry.job))
        .veild("landing", json!(entry.landing))
        .veild("reason", json!(reason))
}

fn find(dir: &Path, job: JobId) -> anyhow::Result<(Reason, PathBuf)> {
    quarantine::show(dir, job)?
        .with_context(|| format!("job {job} is not in quarantine; `veild quarantine list` shows what is"))
}

fn list(dir: &Path, json: bool) -> anyhow::Result<()> {
    let entries = quarantine::list(dir)?;
    if json {
        return super::print_json(&entries);
    }
    for entry in entries {
        println!(
            "{}  {}  {}  {}: {}",
            entry.job, entry.landing, entry.original_name, entry.fault.code, entry.fault.sentence
        );
    }
    Ok(())
}

fn show(dir: &Path, job: JobId, json: bool) -> anyhow::Result<()> {
    let (entry, original) = find(dir, job)?;
    if json {
        return super::print_json(&entry);
    }
    println!("file       {} ({} bytes), landing {}", entry.original_name, entry.bytes, entry.landing);
    println!("rejected   {}: {}", entry.fault.code, entry.fault.sentence);
    println!("next       {}", entry.fault.advice);
    println!("original   {}{}", original.display(), if entry.sealed { " (sealed)" } else { "" });
    Ok(())
}

/// Puts a copy at a path that nothing stands at, durable.
fn place(from: &File, to: &Path) -> anyhow::Result<()> {
    let copy = create_new(to, 0o600)?;
    copy_in_kernel(from, &copy, to)?;
    copy.sync_all()?;
    Ok(fsync_dir(to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?)
}

/// Puts the original back where the file landed, under its own name and by a rename, as an uploader would.
fn retry(config: &Config, job: JobId, reason: &str, identity: Option<&Path>) -> anyhow::Result<()> {
    let dir = quarantine_dir(config);
    let (entry, original) = find(&dir, job)?;
    let landing =
        config.landing(&entry.landing).with_context(|| format!("there is no landing {:?} any more", entry.landing))?;
    let name = Path::new(&entry.original_name).file_name().context("the file has no name")?;
    let target = landing.dir.join(name);
    let temporary = landing.dir.join(format!(".veild-retry-{job}"));
    create_dir_durable(&landing.dir, 0o750)?;
    let from = File::open(&original).with_context(|| format!("cannot open {}", original.display()))?;
    crate::fsutil::remove_if_there(&temporary)?; // of a retry that was cut off
    if entry.sealed {
        let identity = identity.context("the original is sealed: give `--identity`")?;
        let identity = fs::read(identity).with_context(|| format!("cannot read {}", identity.display()))?;
        let mut file = create_new(&temporary, 0o600)?;
        io::copy(&mut crate::seal::open(from, &identity)?, &mut file)?;
        file.sync_all()?;
    } else {
        place(&from, &temporary)?;
    }
    super::record(config, acted(Action::FileRetried, &entry, reason))?;
    // From here on the landing holds it; the entry goes after that, so that a crash loses nothing.
    rename_noreplace(&temporary, &target)?;
    fsync_dir(&landing.dir)?;
    quarantine::remove(&dir, job)?;
    control::ask(&config.daemon.state_dir, &Request::Sweep)?;
    println!("{} is back in landing {}", entry.original_name, entry.landing);
    Ok(())
}
