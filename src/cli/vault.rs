//! `veild vault`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::Problems;
use crate::audit::{Action, Outcome, Record};
use crate::config::Config;
use crate::fsutil::create_new;
use crate::keys::SigningKey;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Objects with what their receipts say
    List {
        #[arg(long)]
        json: bool,
    },
    /// Check digests, signatures and receipts
    Verify {
        /// Also decrypt every object with this identity
        #[arg(short, long)]
        identity: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Decrypt an object with an identity given on the spot
    Open {
        /// Job, or path of the object
        object: String,
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

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    match arguments {
        Arguments::List { json } => list(&config, *json),
        Arguments::Verify { identity, json } => verify(&config, identity.as_deref(), *json),
        Arguments::Open { object, identity, output, reason } => {
            open(&config, object, identity, output.as_deref(), reason.as_deref())
        }
    }
}

fn list(config: &Config, json: bool) -> anyhow::Result<()> {
    let entries = crate::vault::list(&config.vault.dir)?;
    if json {
        let receipts: Vec<_> =
            entries.iter().map(|entry| json!({"path": entry.path, "receipt": entry.receipt})).collect();
        return super::print_json(&receipts);
    }
    for entry in entries {
        match entry.receipt {
            Some(receipt) => {
                println!("{}  {}  {} rows  {}", receipt.job, receipt.sealed_at, receipt.rows_out, entry.path.display())
            }
            None => println!("(no receipt)  {}", entry.path.display()),
        }
    }
    Ok(())
}

fn verify(config: &Config, identity: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let key = SigningKey::load(&config.keys.signing)?.verifying();
    let identity = identity.map(std::fs::read).transpose().context("cannot read the identity")?;
    let verdict = crate::vault::verify(&config.vault.dir, &key, identity.as_deref())?;
    let record = Record::new(
        Timestamp::now(),
        Action::VaultVerified,
        if verdict.problems.is_empty() { Outcome::Success } else { Outcome::Failure },
    )
    .field("user", super::user())
    .veild("objects", json!(verdict.objects))
    .veild("problems", json!(verdict.problems.len()));
    super::record(config, record)?;
    if json {
        super::print_json(&verdict)?;
    } else {
        println!("{} object(s) checked", verdict.objects);
        for problem in &verdict.problems {
            println!("{}: {}", problem.path.display(), problem.what);
        }
    }
    match verdict.problems.len() {
        0 => Ok(()),
        count => Err(Problems(format!("{count} problem(s) in the vault")).into()),
    }
}

fn find_object(config: &Config, object: &str) -> anyhow::Result<PathBuf> {
    if object.parse::<crate::job::JobId>().is_err() {
        return Ok(config.vault.dir.join(object));
    }
    let entries = crate::vault::list(&config.vault.dir)?;
    let found = entries.into_iter().find(|entry| entry.path.to_string_lossy().contains(object));
    let entry = found.with_context(|| format!("the vault holds no object of job {object}"))?;
    Ok(config.vault.dir.join(entry.path))
}

fn open(
    config: &Config,
    object: &str,
    identity: &Path,
    output: Option<&Path>,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let path = find_object(config, object)?;
    let identity = std::fs::read(identity).with_context(|| format!("cannot read {}", identity.display()))?;
    let sealed = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut plain = crate::seal::open(sealed, &identity)?;
    let record = Record::new(Timestamp::now(), Action::VaultOpened, Outcome::Success)
        .field("user", super::user())
        .field("file", json!({"path": path}))
        .veild("reason", json!(reason));
    super::record(config, record)?;
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
