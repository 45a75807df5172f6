//! `veild quarantine`

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::hand_out::{hand_out, incoming, make_durable};
use super::identity::Key;
use crate::audit::{self, Action, Outcome, Record};
use crate::config::Config;
use crate::daemon::clerk::quarantine_dir;
use crate::daemon::{control, event::Request};
use crate::fsutil::{self, copy_in_kernel, create_new, fsync_dir, open_regular, printable_path, printable_text};
use crate::job::JobId;
use crate::quarantine::decision::Decision;
use crate::quarantine::expiry::Discard;
use crate::quarantine::release::{self, Release};
use crate::quarantine::retry::Retry;
use crate::quarantine::{self, Reason, ShowError};
use crate::seal::Identities;

mod shown;

use shown::{list, show};

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Rejected files, oldest first
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// One rejected file and why
    Show {
        /// Job, as `quarantine list` shows it
        job: JobId,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: Option<String>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Process it again under today's policy
    Retry {
        /// Job, as `quarantine list` shows it
        job: JobId,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: String,
        #[command(flatten)]
        key: Key,
    },
    /// Hand the original to a path
    Release {
        /// Job, as `quarantine list` shows it
        job: JobId,
        /// Where the original goes; nothing may stand there
        #[arg(long)]
        to: PathBuf,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: String,
    },
    /// Destroy the original
    Discard {
        /// Job, as `quarantine list` shows it
        job: JobId,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: String,
    },
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    match arguments {
        Arguments::List { json } => list(&config, *json),
        Arguments::Show { job, reason, json } => show(&config, *job, reason.as_deref(), *json),
        Arguments::Retry { job, reason, key } => retry(&config, *job, reason, key),
        Arguments::Release { job, to, reason } => release(&config, *job, &std::path::absolute(to)?, reason),
        Arguments::Discard { job, reason } => super::as_service(&config, || discard(&config, *job, reason)),
    }
}

/// Decided, recorded, handed out, and only then removed. Given again after it was cut off, it finishes what the first one
/// began.
fn release(config: &Config, job: JobId, to: &Path, reason: &str) -> anyhow::Result<()> {
    let dir = quarantine_dir(config);
    let _lock = quarantine::retry::lock(&dir, job)?;
    ensure_unretried(config, job)?;
    let (entry, original) = &find_kept(config, job)?;
    let copy = |file: &File, path: &Path| Ok(copy_in_kernel(&open_regular(original)?, file, path)?);
    if let Some(begun) = Release::decided(&dir, job)? {
        fsutil::remove_if_there(&incoming(&begun.to)?)?; // of the one that was cut off
    }
    match standing::<Release>(config, job)? {
        Some(begun) if begun.to != to => anyhow::bail!(
            "the audit trail has it released to {}, which was cut off: give that path again",
            printable_path(&begun.to)
        ),
        Some(_) if to.symlink_metadata().is_ok() => {
            anyhow::ensure!(
                release::is_copy(original, to)?,
                "{} is there, and is not what lies in quarantine: move it away",
                printable_path(to)
            );
            make_durable(to)?;
        }
        Some(_) => drop(hand_out(to, copy, |_| Ok(()))?),
        None => {
            let record = acted(Action::FileReleased, job, Some(entry), reason).veild("released_to", json!(to));
            hand_out(to, copy, |_| {
                let new = Release { recorded_after: audit::last_seq(&config.audit.dir)?, to: to.to_owned() };
                decide(config, job, &new, record)
            })?;
        }
    }
    crate::faults::point("release_handed_out");
    quarantine::remove(&dir, job)?;
    println!("released to {}", printable_path(to));
    Ok(())
}

/// Decided, recorded, and only then removed; what is cut off is finished by the same command, or by the daemon.
fn discard(config: &Config, job: JobId, reason: &str) -> anyhow::Result<()> {
    let dir = quarantine_dir(config);
    let _lock = quarantine::retry::lock(&dir, job)?;
    let entry = match quarantine::find(&dir, &config.audit.dir, job) {
        Ok(Some((entry, _))) => {
            ensure_unretried(config, job)?;
            ensure_unreleased(config, job)?;
            Some(entry)
        }
        // Nothing but a discard can become of a damaged one.
        Err(ShowError::Damaged(_)) => {
            if let Some(retry) = standing::<Retry>(config, job)?
                && retry.is_placed(job)?
            {
                quarantine::remove(&dir, job)?;
                println!("its retry was carried out, as job {}; nothing is left to discard", retry.retried_as);
                return Ok(());
            }
            if let Some(release) = standing::<Release>(config, job)? {
                let (to, copy) = (printable_path(&release.to), printable_path(&incoming(&release.to)?));
                eprintln!("its release to {to} was cut off: look there and at {copy} for the copy, and remove it");
            }
            None
        }
        Ok(None) if Discard::is_decided(&dir, job) => None,
        Ok(None) => anyhow::bail!(not_there(job)),
        Err(error) => return Err(error.into()),
    };
    let record = acted(Action::FileDiscarded, job, entry.as_ref(), reason);
    match Discard::decided(&dir, job)? {
        Some(begun) if begun.cause.is_some() => {
            finish_discard(config, job, &begun, record).context(
                "a discard of it was cut off before, and is finished by the daemon or by this command given again",
            )?;
        }
        Some(_) => return find_kept(config, job).map(drop),
        None => {
            let cause = Some(super::vault::cause(Some(reason)));
            let new = Discard { recorded_after: audit::last_seq(&config.audit.dir)?, cause };
            decide(config, job, &new, record)?;
        }
    }
    crate::faults::point("discard_recorded");
    quarantine::remove(&dir, job)?;
    println!("discarded {job}");
    Ok(())
}

fn finish_discard(config: &Config, job: JobId, begun: &Discard, record: Record) -> anyhow::Result<()> {
    super::record_all(config, Vec::new())?; // what somebody who was killed had sent is in the trail behind this
    if begun.is_recorded(&config.audit.dir, job)? { Ok(()) } else { super::record(config, record) }
}

/// Decides, and has it recorded. After an error nothing is decided, or somebody would carry out what was said to have failed.
fn decide<D: Decision + Sync>(config: &Config, job: JobId, decision: &D, record: Record) -> anyhow::Result<()> {
    let dir = quarantine_dir(config);
    super::as_service(config, || Ok(decision.decide(&dir, job)?))?;
    crate::faults::point_named(|| format!("{}_decided", D::DEED));
    let Err(error) = super::record(config, record) else { return Ok(()) };
    // The record may be there all the same, when only the answer was lost.
    let _ = super::record_all(config, Vec::new());
    if matches!(decision.is_recorded(&config.audit.dir, job), Ok(true)) {
        return Ok(());
    }
    match super::as_service(config, || Ok(decision.revoke(&dir, job)?)) {
        Ok(()) => Err(error),
        Err(stays) => Err(error.context(format!("{stays:#}: it may yet be carried out"))),
    }
}

/// A decision that the audit trail has on record; one of which it says nothing has never been.
fn standing<D: Decision + Send + Sync>(config: &Config, job: JobId) -> anyhow::Result<Option<D>> {
    let dir = quarantine_dir(config);
    let Some(begun) = D::decided(&dir, job)? else { return Ok(None) };
    super::record_all(config, Vec::new())?; // what somebody who was killed had sent is in the trail behind this
    if begun.is_recorded(&config.audit.dir, job)? {
        return Ok(Some(begun));
    }
    super::as_service(config, || Ok(begun.revoke(&dir, job)?))?;
    Ok(None)
}

/// Of a damaged entry nothing is known but its job.
fn acted(action: Action, job: JobId, entry: Option<&Reason>, reason: &str) -> Record {
    let record = Record::new(Timestamp::now(), action, Outcome::Success)
        .field("user", super::user())
        .veild("job", json!(job))
        .veild("landing", json!(entry.map(|entry| &entry.landing)))
        .veild("reason", json!(reason));
    match entry {
        Some(entry) => record.field("file", json!({"name": entry.original_name})),
        None => record,
    }
}

fn find(config: &Config, job: JobId) -> anyhow::Result<(Reason, PathBuf)> {
    let found = match quarantine::find(&quarantine_dir(config), &config.audit.dir, job) {
        Err(error @ ShowError::Damaged(_)) => {
            let what = format!("the entry of job {job} is damaged; `veild quarantine discard {job}` destroys it");
            return Err(anyhow::Error::from(error).context(what));
        }
        found => found?,
    };
    found.with_context(|| not_there(job))
}

fn not_there(job: JobId) -> String {
    format!("job {job} is not in quarantine; `veild quarantine list` shows what is")
}

/// One of which the audit trail may say that it was discarded is as good as gone.
fn find_kept(config: &Config, job: JobId) -> anyhow::Result<(Reason, PathBuf)> {
    match Discard::decided(&quarantine_dir(config), job)? {
        None => find(config, job),
        Some(Discard { cause: None, .. }) => {
            anyhow::bail!("job {job} was in quarantine for longer than `[quarantine] keep`, and is being discarded")
        }
        Some(_) => anyhow::bail!("a discard of job {job} was cut off, and is finished by the daemon or by `discard`"),
    }
}

/// One of which the audit trail says that it is retried is as good as gone.
fn ensure_unretried(config: &Config, job: JobId) -> anyhow::Result<()> {
    let begun = standing::<Retry>(config, job)?;
    anyhow::ensure!(begun.is_none(), "a retry of job {job} was cut off; finish it with `quarantine retry`");
    Ok(())
}

/// One of which the audit trail says that it was released is as good as handed out.
fn ensure_unreleased(config: &Config, job: JobId) -> anyhow::Result<()> {
    let Some(begun) = standing::<Release>(config, job)? else { return Ok(()) };
    anyhow::bail!(
        "a release of job {job} to {} was cut off; finish it with `quarantine release` to the same path",
        printable_path(&begun.to)
    )
}

/// Puts a copy at a path that nothing stands at, durable.
fn place(from: &File, to: &Path) -> anyhow::Result<()> {
    let copy = create_new(to, 0o600)?;
    copy_in_kernel(from, &copy, to)?;
    copy.sync_all()?;
    Ok(fsync_dir(to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?)
}

/// Hands the original to its landing's spool as a job of its own. Given again after it was cut off, it finishes what the
/// first one began.
fn retry(config: &Config, job: JobId, reason: &str, key: &Key) -> anyhow::Result<()> {
    let identities = key.read(config)?;
    super::as_service(config, || retry_with(config, job, reason, identities.as_ref()))
}

fn retry_with(config: &Config, job: JobId, reason: &str, identities: Option<&Identities>) -> anyhow::Result<()> {
    let dir = quarantine_dir(config);
    let _lock = quarantine::retry::lock(&dir, job)?;
    let (entry, original) = find_kept(config, job)?;
    ensure_unreleased(config, job)?;
    let retry = match standing::<Retry>(config, job)? {
        Some(begun) => begun,
        None => {
            let landing = config
                .landing(&entry.landing)
                .with_context(|| format!("there is no landing {:?} any more", entry.landing))?;
            make_ready(&landing.dir, &entry, &original, identities)?;
            crate::faults::point("retry_ready");
            let retried_as = JobId::claimed_at(Timestamp::now());
            let new = Retry::new(&landing.dir, retried_as, audit::last_seq(&config.audit.dir)?)?;
            let record = acted(Action::FileRetried, job, Some(&entry), reason).veild("retried_as", json!(retried_as));
            decide(config, job, &new, record)?;
            new
        }
    };
    crate::faults::point("retry_recorded");
    retry.place(&entry)?;
    crate::faults::point("retry_placed");
    let retried_as = retry.retried_as;
    let request = Request::Adopt { landing_dir: retry.landing_dir, job: retried_as };
    let running = control::ask(&config.daemon.state_dir, &request)?.is_some();
    quarantine::remove(&dir, job)?;
    let when = if running { "" } else { " when the daemon starts" };
    let (name, landing) = (printable_text(&entry.original_name), printable_text(&entry.landing));
    println!("{name} goes through landing {landing} again{when}, as job {retried_as}");
    Ok(())
}

/// A whole and durable copy in the landing's spool, which only veild can reach.
fn make_ready(landing: &Path, entry: &Reason, original: &Path, identities: Option<&Identities>) -> anyhow::Result<()> {
    crate::spool::check(landing)?;
    let ready = quarantine::retry::ready_path(landing, entry.job);
    let from = open_regular(original)?;
    crate::fsutil::remove_if_there(&ready)?; // of a retry that was cut off
    if !entry.sealed {
        return place(&from, &ready);
    }
    let identities = identities.context("the original is sealed: give `--identity` or `--passphrase`")?;
    let mut plain = crate::seal::open_with(from, identities)?;
    let mut file = create_new(&ready, 0o600)?;
    io::copy(&mut plain, &mut file)
        .and_then(|_| file.sync_all())
        .inspect_err(|_| drop(fs::remove_file(&ready))) // half a file is worse than none
        .context("the original does not decrypt to its end")?;
    Ok(fsync_dir(&landing.join(crate::spool::SPOOL))?)
}
