//! `veild vault verify`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use crate::audit::{Action, Outcome, Record};
use crate::cli::Problems;
use crate::cli::progress::Progress;
use crate::config::Config;
use crate::keys::SigningKey;
use crate::vault::Problem;

#[derive(clap::Args)]
pub struct Arguments {
    /// Also decrypt every object that is sealed to this identity
    #[arg(short, long)]
    identity: Option<PathBuf>,
    /// Public key of the host that signed (F.pub, or an allowed-signers file), instead of the configuration's
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { identity, public_key, json } = arguments;
    let key = crate::cli::verifying_key(config, public_key.as_deref())?;
    let identity = identity.as_deref().map(super::read_identity).transpose()?;
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
    .field("user", crate::cli::user())
    .veild("objects", json!(verdict.objects))
    .veild("archived", json!(verdict.archived))
    .veild("problems", json!(verdict.problems.len()));
    match crate::cli::record(config, record) {
        // Somebody who only has the public key checks what anybody may.
        Err(error) if SigningKey::from_source(&config.keys.signing).is_err() => {
            eprintln!("this verification stands in no audit trail: {error:#}");
        }
        recorded => recorded?,
    }
    if *json {
        crate::cli::print_json(&verdict)?;
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
