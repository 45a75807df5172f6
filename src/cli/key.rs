//! `veild key`

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use super::Problems;
use crate::audit::{Action, Outcome, Record};
use crate::config::Config;
use crate::keys::{KeyError, KeySource, MaskingKeys, Rotation, VerifyingKey};

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Make a new key file; never overwrites one
    Generate {
        /// What the key is for: pseudonyms, or receipts and audit trail
        kind: Kind,
        /// New file for the key; for a signing key also OUT.pub and OUT.allowed_signers
        #[arg(long)]
        out: PathBuf,
    },
    /// Add a new version to the masking key; files are masked under it from veild's next start on
    Rotate {
        /// Time (RFC 3339) from which files are masked under it, so that several hosts change together
        #[arg(long, value_name = "TIME", value_parser = super::when::instant)]
        from: Option<Timestamp>,
        /// Masking key, instead of the configuration's
        #[arg(long)]
        masking_key: Option<PathBuf>,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: Option<String>,
    },
    /// What is wrong with the configuration's keys: where they come from, modes, owners, versions
    Check {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Versions of the masking key, with a fingerprint each that tells whether two hosts have the same
    List {
        /// Masking key, instead of the configuration's
        #[arg(long)]
        masking_key: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Kind {
    Masking,
    Signing,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    match arguments {
        Arguments::Generate { kind, out } => generate(config, *kind, out),
        Arguments::Rotate { from, masking_key, reason } => {
            rotate(config, *from, masking_key.as_deref(), reason.as_deref())
        }
        Arguments::Check { json } => check(&Config::load(config)?, *json),
        Arguments::List { masking_key, json } => list(&super::masking_keys(config, masking_key.as_deref())?, *json),
    }
}

fn generate(config: &Path, kind: Kind, out: &Path) -> anyhow::Result<()> {
    let made = match kind {
        Kind::Masking => crate::keys::generate_masking(out, Timestamp::now()),
        Kind::Signing => crate::keys::generate_signing(out),
    };
    if made.is_ok() {
        println!("wrote {}; back it up where this host cannot reach it", out.display());
    }
    record_generated(config, kind, out, made.is_ok());
    Ok(made?)
}

/// On a host with a running site, that a key was made or was to be made belongs into its trail; elsewhere there is none.
fn record_generated(config: &Path, kind: Kind, out: &Path, is_made: bool) {
    let config = match super::site(config) {
        Ok(Some(config)) => config,
        Ok(None) => return,
        Err(error) => return eprintln!("this stands in no audit trail: {error:#}"),
    };
    let (name, fingerprint) = match kind {
        Kind::Masking => {
            let keys = MaskingKeys::load(out).ok().filter(|_| is_made);
            ("masking", keys.and_then(|keys| Some(keys.versions().last()?.fingerprint())))
        }
        Kind::Signing => {
            let public = VerifyingKey::load(Path::new(&format!("{}.pub", out.display()))).ok().filter(|_| is_made);
            ("signing", public.map(|public| public.fingerprint()))
        }
    };
    let outcome = if is_made { Outcome::Success } else { Outcome::Failure };
    let record = Record::new(Timestamp::now(), Action::KeyGenerated, outcome)
        .field("user", super::user())
        .field("file", json!({"path": out}))
        .veild("key", json!({"kind": name, "fingerprint": fingerprint}));
    if let Err(error) = super::record(&config, record) {
        eprintln!("this stands in no audit trail: {error:#}");
    }
}

fn check(config: &Config, json: bool) -> anyhow::Result<()> {
    let findings = super::check::keys(config)?;
    if json {
        super::print_json(&findings)?;
    } else {
        findings.iter().for_each(super::check::print);
        println!("masking key: {}; signing key: {}", config.keys.masking, config.keys.signing);
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Problems(super::plural(count as u64, "problem", "problems")).into()),
    }
}

fn rotate(
    config: &Path,
    from: Option<Timestamp>,
    masking_key: Option<&Path>,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let path = match masking_key {
        Some(path) => path.to_owned(),
        None => {
            let config = Config::load(config)?;
            let KeySource::File(path) = &config.keys.masking else {
                anyhow::bail!("the masking key comes from {}: rotate it there", config.keys.masking);
            };
            anyhow::ensure!(
                !path.starts_with("/run/credentials"),
                "the masking key comes as a credential: give its source with `--masking-key`, then restart the service"
            );
            path.clone()
        }
    };
    let record = |rotation: &Rotation, outcome| {
        let record = Record::new(Timestamp::now(), Action::KeyRotated, outcome)
            .field("user", super::user())
            .field("file", json!({"path": path}))
            .veild("key_version", json!(rotation.version))
            .veild("key", json!({"kind": "masking", "fingerprint": rotation.after}))
            .veild("before", rotation.before.as_str())
            .veild("reason", json!(reason));
        super::record_on_site(config, record)
    };
    // Recorded first: there is no version that the trail does not know.
    let mut recorded = None;
    let rotated = crate::keys::rotate_masking(&path, Timestamp::now(), from, |rotation| {
        record(rotation, Outcome::Success).map_err(|error| KeyError(format!("{error:#}")))?;
        recorded = Some(rotation.clone());
        Ok(())
    });
    if let (Err(_), Some(rotation)) = (&rotated, &recorded) {
        record(rotation, Outcome::Failure)?;
    }
    let version = rotated?;
    let from = from.map(|from| format!(", in force from {from}")).unwrap_or_default();
    println!(
        "version {version} of {} is there{from}; back the file up, hand it to the hosts whose files shall join, and \
         restart veild on all of them: pseudonyms of version {version} match none of the older ones",
        path.display()
    );
    Ok(())
}

fn list(keys: &MaskingKeys, json: bool) -> anyhow::Result<()> {
    let current = keys.current_version();
    if json {
        let all = keys.versions().iter().map(|known| {
            json!({
                "version": known.version,
                "created": known.created,
                "fingerprint": known.fingerprint(),
                "current": known.version == current,
                "active_from": known.active_from,
            })
        });
        return super::print_json(&all.collect::<Vec<_>>());
    }
    for known in keys.versions() {
        let note = match known.active_from {
            _ if known.version == current => "  current".to_owned(),
            Some(from) if known.version > current => format!("  in force from {from}"),
            _ => String::new(),
        };
        println!("{}  {}  {}{note}", known.version, known.created, known.fingerprint());
    }
    Ok(())
}
