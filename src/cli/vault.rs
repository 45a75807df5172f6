//! `veild vault`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::Problems;
use super::progress::Progress;
use crate::audit::{Action, Outcome, Record};
use crate::config::Config;
use crate::fsutil::create_new;
use crate::keys::SigningKey;
use crate::vault::{Problem, Receipt};

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Objects with what their receipts say
    List {
        /// Archived originals instead
        #[arg(long)]
        archive: bool,
        #[command(flatten)]
        filter: Filter,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Check digests, signatures and receipts, and that nothing the audit trail knows is missing
    Verify {
        /// Also decrypt every object that is sealed to this identity
        #[arg(short, long)]
        identity: Option<PathBuf>,
        /// Public key of the host that signed (F.pub, or an allowed-signers file), instead of the configuration's
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Decrypt an object with an identity given on the spot
    Open {
        /// Job, or path of the object
        object: String,
        /// With a job: this view instead of its main output
        #[arg(long)]
        view: Option<String>,
        /// With a job: its archived original instead
        #[arg(long, conflicts_with = "view")]
        archive: bool,
        /// File with the age identity or SSH private key that opens it
        #[arg(short, long)]
        identity: PathBuf,
        /// Where the masked plaintext goes (default: standard output)
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Which objects are listed; by what their receipts say.
#[derive(clap::Args)]
pub struct Filter {
    /// Only of this landing
    #[arg(long, value_name = "NAME")]
    landing: Option<String>,
    /// Only of files whose original name matches this shell pattern
    #[arg(long, value_name = "PATTERN")]
    name: Option<globset::Glob>,
    /// Only with this column
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Only masked under this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    #[command(flatten)]
    sealed: super::when::Window,
}

impl Filter {
    fn is_any(&self) -> bool {
        let Filter { landing, name, column, policy, sealed } = self;
        landing.is_some()
            || name.is_some()
            || column.is_some()
            || policy.is_some()
            || sealed.from.is_some()
            || sealed.to.is_some()
    }

    fn takes(&self, receipt: &Receipt) -> bool {
        let is = |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
        let policy = receipt.policy.as_ref().map_or("", |policy| policy.name.as_str());
        let has_column =
            |wanted: &String| receipt.columns.iter().any(|column| column.name.eq_ignore_ascii_case(wanted));
        is(&self.landing, &receipt.landing)
            && is(&self.policy, policy)
            && self.name.as_ref().is_none_or(|glob| glob.compile_matcher().is_match(&receipt.original_name))
            && self.column.as_ref().is_none_or(has_column)
            && self.sealed.holds(receipt.sealed_at)
    }
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    match arguments {
        Arguments::List { archive, filter, json } => list(&config, *archive, filter, *json),
        Arguments::Verify { identity, public_key, json } => {
            verify(&config, identity.as_deref(), public_key.as_deref(), *json)
        }
        Arguments::Open { object, view, archive, identity, output, reason } => {
            let path = find_object(&config, object, view.as_deref(), *archive)?;
            open(&config, &path, identity, output.as_deref(), reason.as_deref())
        }
    }
}

fn list(config: &Config, archive: bool, filter: &Filter, json: bool) -> anyhow::Result<()> {
    let dir = &config.vault.dir;
    let mut entries = if archive { crate::vault::list_archive(dir)? } else { crate::vault::list(dir)? };
    if filter.is_any() {
        // Of an object without a readable receipt nothing is known.
        entries.retain(|entry| entry.receipt.as_ref().is_some_and(|receipt| filter.takes(receipt)));
    }
    if json {
        let receipts: Vec<_> =
            entries.iter().map(|entry| json!({"path": entry.path, "receipt": entry.receipt})).collect();
        return super::print_json(&receipts);
    }
    if entries.is_empty() {
        let place = if archive { "the archive" } else { "the vault" };
        eprintln!("{place} {}", if filter.is_any() { "holds nothing like that" } else { "is empty" });
    }
    for entry in entries {
        match entry.receipt {
            Some(receipt) => {
                let view = receipt.view.map_or_else(String::new, |view| format!("  view {view}"));
                println!(
                    "{}  {}  {}{view}  {}",
                    receipt.job,
                    receipt.sealed_at,
                    super::plural(receipt.rows_out, "row", "rows"),
                    entry.path.display()
                );
            }
            None => println!("(no readable receipt)  {}", entry.path.display()),
        }
    }
    Ok(())
}

fn verify(config: &Config, identity: Option<&Path>, public_key: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let key = super::verifying_key(config, public_key)?;
    let identity = identity.map(read_identity).transpose()?;
    let progress = Progress::start("verifying the vault".to_owned());
    let report = |done, total| progress.set(done, total);
    // Before the vault is looked at: what is audited is visible.
    let sealed = sealed_objects(config);
    let mut verdict = crate::vault::verify(&config.vault.dir, &key, identity.as_deref(), &report)?;
    drop(progress);
    match sealed {
        Ok(sealed) => verdict.problems.extend(missing(&config.vault.dir, sealed)),
        Err(error) => eprintln!("whether anything is missing cannot be said without the audit trail: {error}"),
    }
    let record = Record::new(
        Timestamp::now(),
        Action::VaultVerified,
        if verdict.problems.is_empty() { Outcome::Success } else { Outcome::Failure },
    )
    .field("user", super::user())
    .veild("objects", json!(verdict.objects))
    .veild("archived", json!(verdict.archived))
    .veild("problems", json!(verdict.problems.len()));
    match super::record(config, record) {
        // Somebody who only has the public key checks what anybody may.
        Err(error) if SigningKey::from_source(&config.keys.signing).is_err() => {
            eprintln!("this verification stands in no audit trail: {error:#}");
        }
        recorded => recorded?,
    }
    if json {
        super::print_json(&verdict)?;
    } else {
        let others = match verdict.sealed_to_others {
            0 => String::new(),
            count => format!(", {count} of them sealed to others and not decrypted"),
        };
        let archived = match verdict.archived {
            0 => String::new(),
            count => format!(" and {count} archived original(s)"),
        };
        println!("{} object(s){archived} checked{others}, {} problem(s)", verdict.objects, verdict.problems.len());
        for problem in &verdict.problems {
            println!("{}: {}", problem.path.display(), problem.what);
        }
    }
    match verdict.problems.len() {
        0 => Ok(()),
        count => Err(Problems(format!("{count} problem(s) in the vault")).into()),
    }
}

/// What the audit trail says must be in the vault: the outputs' paths, and when they were sealed.
fn sealed_objects(config: &Config) -> Result<BTreeMap<PathBuf, String>, crate::audit::AuditError> {
    let mut sealed = BTreeMap::new();
    crate::audit::each_record(&config.audit.dir, |record| {
        let veild = &record["veild"];
        let outputs = std::iter::once(veild).chain(veild["views"].as_array().into_iter().flatten());
        let objects = outputs.chain([&veild["archive"]]).filter_map(|output| output["object"].as_str());
        match record["event"]["action"].as_str() {
            Some("file.sealed") => {
                let at = record["@timestamp"].as_str().unwrap_or_default();
                sealed.extend(objects.map(|object| (PathBuf::from(object), at.to_owned())));
            }
            Some("vault.pruned") => objects.for_each(|object| drop(sealed.remove(Path::new(object)))),
            _ => {}
        }
    })?;
    Ok(sealed)
}

fn missing(dir: &Path, sealed: BTreeMap<PathBuf, String>) -> impl Iterator<Item = Problem> + '_ {
    let gone = sealed.into_iter().filter(|(path, _)| !dir.join(path).exists());
    gone.map(|(path, at)| {
        let what = format!("is not there; the audit trail has it sealed at {at}, and nobody has pruned it");
        Problem { path, what }
    })
}

fn read_identity(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read the identity {}", path.display()))
}

fn find_object(config: &Config, object: &str, view: Option<&str>, archive: bool) -> anyhow::Result<PathBuf> {
    let dir = &config.vault.dir;
    let Ok(job) = object.parse::<crate::job::JobId>() else {
        anyhow::ensure!(view.is_none() && !archive, "`--view` and `--archive` go with a job, not with a path");
        return Ok(dir.join(object));
    };
    let entries = if archive { crate::vault::list_archive(dir)? } else { crate::vault::list(dir)? };
    let wanted = |receipt: &Receipt| receipt.job == job && receipt.view.as_deref() == view;
    let found = entries.into_iter().find(|entry| entry.receipt.as_ref().is_some_and(wanted));
    let entry = found.with_context(|| match view {
        Some(view) => format!("the vault holds no view {view:?} of job {job}; `veild vault list` shows what it holds"),
        None if archive => {
            format!("the archive holds no original of job {job}; `veild vault list --archive` shows all")
        }
        None => format!("the vault holds no object of job {job}; `veild vault list` shows what it holds"),
    })?;
    Ok(dir.join(entry.path))
}

fn open(
    config: &Config,
    path: &Path,
    identity: &Path,
    output: Option<&Path>,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let sealed = File::open(path).map_err(|error| {
        anyhow::anyhow!("cannot open {}: {error}; `veild vault list` shows what the vault holds", path.display())
    })?;
    let secret = read_identity(identity)?;
    let opened = crate::seal::open(sealed, &secret).with_context(|| identity.display().to_string());
    let outcome = if opened.is_ok() { Outcome::Success } else { Outcome::Failure };
    let record = Record::new(Timestamp::now(), Action::VaultOpened, outcome)
        .field("user", super::user())
        .field("file", json!({"path": path}))
        .veild("reason", json!(reason));
    let recorded = super::record(config, record);
    let mut plain = opened?;
    recorded?;
    copy(&mut plain, output)
}

fn copy(plain: &mut dyn Read, output: Option<&Path>) -> anyhow::Result<()> {
    match output {
        Some(path) => {
            let mut file = create_new(path, 0o600)?;
            if let Err(error) = io::copy(plain, &mut file) {
                let _ = std::fs::remove_file(path); // half a file is worse than none
                return Err(error).context("the object does not decrypt to its end");
            }
            file.sync_all()?;
        }
        None => {
            io::copy(plain, &mut io::stdout().lock()).context("the object does not decrypt to its end")?;
        }
    }
    Ok(())
}
