//! `veild token`: the way back from reversible pseudonyms, and across a rotation of the key.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use super::hand_out::hand_out;
use super::{Problems, Usage};
use crate::audit::{Action, Outcome, Record};
use crate::config::Config;
use crate::keys::MaskingKeys;
use crate::mask::{Mask, MaskParams, Mistyped, OnMistyped, Prepared};
use crate::policy::normalise;
use crate::seal::Sealer;

/// Bytes of standard input; more than its own buffer has, which is left out then.
const READ_AT_ONCE: usize = 64 << 10;

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Show the values behind reversible pseudonyms, as CSV; the audit trail has who, when, how many and why
    Reveal {
        #[command(flatten)]
        pseudonyms: Pseudonyms,
        /// Version of the key, where the pseudonyms do not say it, as those of "fpe" [default: the current one]
        #[arg(long)]
        key_version: Option<u32>,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: String,
    },
    /// Seal a map from the pseudonyms of one version of the key to those of another; shows no value
    Map {
        #[command(flatten)]
        pseudonyms: Pseudonyms,
        /// The lines are values instead of pseudonyms, for masks without a way back, such as "hash"
        #[arg(long)]
        originals: bool,
        /// Version under which the pseudonyms were made
        #[arg(long)]
        from: u32,
        /// Version whose pseudonyms are wanted
        #[arg(long)]
        to: u32,
        /// Recipient of the map: age1…, ssh-ed25519 …, ssh-rsa … or group:NAME
        #[arg(short, long, required = true)]
        recipient: Vec<String>,
        /// Where the sealed map goes
        #[arg(short, long)]
        output: PathBuf,
        /// Why, for the audit trail
        #[arg(long, value_parser = crate::cli::reason)]
        reason: Option<String>,
    },
}

/// Pseudonyms, and what made them.
#[derive(clap::Args)]
pub struct Pseudonyms {
    /// Delimited text with a header that holds them in a column; absent: standard input, one a line
    file: Option<PathBuf>,
    /// The column that they stand in, or stood in when they were made
    #[arg(long)]
    column: Option<String>,
    /// Namespace that they were made under, instead of the column's name
    #[arg(long)]
    namespace: Option<String>,
    /// Policy that made them: its rule for the column says mask and namespace; absent: mask "token"
    #[arg(long)]
    policy: Option<String>,
    /// Field separator of FILE
    #[arg(long, default_value_t = ',')]
    delimiter: char,
    /// Masking key, instead of the configuration's
    #[arg(long)]
    masking_key: Option<PathBuf>,
}

/// Pseudonyms read (or values), with the mask that made them.
struct Asked {
    lines: Vec<Zeroizing<String>>,
    mask: Mask,
    /// Where the mask has none of its own.
    namespace: String,
}

impl Asked {
    /// What was asked for, by whom: never a value.
    fn record(&self, arguments: &Pseudonyms, action: Action, outcome: Outcome) -> Record {
        let record = Record::new(Timestamp::now(), action, outcome)
            .field("user", super::user())
            .veild("mask", json!(self.mask.name()))
            .veild("namespace", json!(self.mask.namespace().unwrap_or(&self.namespace)));
        match &arguments.file {
            Some(file) => record.field("file", json!({"path": file})),
            None => record,
        }
    }

    /// What is wrong with a mask, and whose it is.
    fn of_rule(&self, arguments: &Pseudonyms, error: &str) -> anyhow::Error {
        match (&arguments.policy, &arguments.column) {
            (Some(policy), Some(column)) => anyhow::anyhow!("column {column:?} in policy {policy:?}: {error}"),
            _ => anyhow::anyhow!("{error}"),
        }
    }

    /// Refuses what was not made under the key and namespace, by its place.
    fn all_known<T>(&self, arguments: &Pseudonyms, revealed: &[Option<T>]) -> anyhow::Result<()> {
        let unknown = revealed.iter().filter(|value| value.is_none()).count();
        let Some(first) = revealed.iter().position(Option::is_none) else { return Ok(()) };
        let (mask, all, first) = (self.mask.name(), revealed.len(), first + 1);
        let namespace = self.mask.namespace().unwrap_or(&self.namespace);
        let advice = match arguments.policy {
            Some(_) => "the namespace is the column's name when they were made, unless the rule gave one",
            None => "say `--policy` where its rule made them otherwise, or `--namespace`",
        };
        Err(Problems(format!(
            "{unknown} of {all} are no pseudonyms of mask {mask:?} under this key and namespace {namespace:?}, the first is \
             number {first}; {advice}"
        ))
        .into())
    }
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    match arguments {
        Arguments::Reveal { pseudonyms, key_version, reason } => reveal(config, pseudonyms, *key_version, reason),
        Arguments::Map { pseudonyms, originals, from, to, recipient, output, reason } => {
            let reason = reason.as_deref();
            map(config, pseudonyms, *originals, (*from, *to), recipient, output, reason)
        }
    }
}

fn reveal(config: &Path, arguments: &Pseudonyms, key_version: Option<u32>, reason: &str) -> anyhow::Result<()> {
    let loaded = Config::load(config)?;
    let keys = super::masking_keys(config, arguments.masking_key.as_deref())?;
    let keys = as_of(&keys, key_version.unwrap_or(keys.current_version()))?;
    let asked = ask(config, arguments)?;
    let revealer = asked.mask.revealer(&asked.namespace, &keys).map_err(|error| asked.of_rule(arguments, &error))?;
    let revealed: Vec<_> = asked.lines.iter().map(|pseudonym| revealer.reveal(pseudonym)).collect();
    let versions: BTreeSet<u32> = revealed.iter().flatten().map(|(_, version)| *version).collect();
    let count = revealed.iter().flatten().count();
    // Whoever was shown one value has had access.
    let outcome = if count > 0 || revealed.is_empty() { Outcome::Success } else { Outcome::Failure };
    let record = asked
        .record(arguments, Action::TokenRevealed, outcome)
        .veild("reason", json!(reason))
        .veild("asked", json!(revealed.len()))
        .veild("revealed", json!(count))
        .veild("key_versions", json!(versions));
    super::record(&loaded, record)?;
    let mut out = csv::Writer::from_writer(io::stdout().lock());
    let mut print = || {
        out.write_record(["pseudonym", "value"])?;
        for (pseudonym, value) in asked.lines.iter().zip(&revealed) {
            out.write_record([pseudonym.as_str(), value.as_ref().map_or("", |(value, _)| value.as_str())])?;
        }
        out.flush()
    };
    print().context(super::NO_OUTPUT)?;
    asked.all_known(arguments, &revealed)
}

fn map(
    config: &Path,
    arguments: &Pseudonyms,
    originals: bool,
    (from, to): (u32, u32),
    recipients: &[String],
    output: &Path,
    reason: Option<&str>,
) -> anyhow::Result<()> {
    let keys = super::masking_keys(config, arguments.masking_key.as_deref())?;
    let (old, new) = (as_of(&keys, from)?, as_of(&keys, to)?);
    let (readers, recipients) = super::find_recipients(config, recipients)?;
    let asked = ask(config, arguments)?;
    let [earlier, later] = [&old, &new].map(|keys| asked.mask.prepare(&asked.namespace, keys));
    anyhow::ensure!(
        later.key_version().is_some() && asked.mask.beside().is_none(),
        "mask {:?} makes no pseudonyms of one value under a key: there is nothing to map",
        asked.mask.name()
    );
    let values = match originals {
        true => asked.lines.clone(),
        false => reveal_all(arguments, &asked, &old, from)?,
    };
    let of = |masker: &Prepared| masker.apply_to(values.iter().map(|value| value.as_str()), OnMistyped::Reject);
    let unreadable = |error: Mistyped| anyhow::anyhow!("number {}: {error}", error.index + 1);
    let pairs = of(&earlier).map_err(unreadable)?.into_iter().zip(of(&later).map_err(unreadable)?);
    let record = asked
        .record(arguments, Action::TokenMapped, Outcome::Success)
        .veild("mapped", json!(values.len()))
        .veild("originals", originals)
        .veild("key_versions", json!([from, to]))
        .veild("recipients", json!(readers))
        .veild("reason", json!(reason));
    let write = |file: &File, _: &Path| write_map(pairs, Sealer::new(&recipients, file)?);
    let written = hand_out(output, write, |()| super::record_on_site(config, record));
    written.with_context(|| format!("cannot write {}", output.display()))?;
    let pairs = super::plural(values.len() as u64, "pseudonym", "pseudonyms");
    eprintln!("{pairs} of version {from} and their successors sealed as {}", output.display());
    Ok(())
}

/// The values of pseudonyms, all of one version.
fn reveal_all(
    arguments: &Pseudonyms,
    asked: &Asked,
    keys: &MaskingKeys,
    version: u32,
) -> anyhow::Result<Vec<Zeroizing<String>>> {
    let revealer = asked.mask.revealer(&asked.namespace, keys).map_err(|error| {
        let error = asked.of_rule(arguments, &error);
        anyhow::anyhow!("{error}; with `--originals` a map is made of values instead of pseudonyms")
    })?;
    let made = |found: &(Zeroizing<String>, u32)| found.1 == version;
    let revealed: Vec<_> = asked.lines.iter().map(|pseudonym| revealer.reveal(pseudonym).filter(made)).collect();
    asked.all_known(arguments, &revealed)?;
    Ok(revealed.into_iter().flatten().map(|(value, _)| value).collect())
}

fn write_map(pairs: impl Iterator<Item = (String, String)>, sealer: Sealer<&File>) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(sealer);
    out.write_record(["old", "new"])?;
    for (old, new) in pairs {
        out.write_record([old, new])?;
    }
    let sealer = out.into_inner().map_err(|error| anyhow::anyhow!("{}", error.error()))?;
    sealer.finish()?;
    Ok(())
}

fn as_of(keys: &MaskingKeys, version: u32) -> anyhow::Result<MaskingKeys> {
    keys.as_of(version).with_context(|| format!("the masking key has no version {version}; see `veild key list`"))
}

/// Reads the pseudonyms, and finds out how they were made.
fn ask(config: &Path, arguments: &Pseudonyms) -> anyhow::Result<Asked> {
    let column = arguments.column.as_deref();
    let mask = match (&arguments.policy, column) {
        (None, _) => Mask::from_params("token", &MaskParams::default()).map_err(anyhow::Error::msg)?,
        (Some(_), None) => return Err(Usage("`--policy` needs `--column`: its rule says how they were made").into()),
        (Some(policy), Some(column)) => {
            let policy = super::find_policy(config, policy)?;
            let mask = policy.mask_of(column).map_err(anyhow::Error::msg)?;
            mask.with_context(|| format!("no rule of policy {:?} names the column", policy.name))?.clone()
        }
    };
    let namespace = match (&arguments.namespace, mask.namespace(), column) {
        (Some(given), None, _) => given.clone(),
        (Some(_), Some(_), _) => return Err(Usage("the policy's rule has a namespace: leave `--namespace` out").into()),
        (None, _, Some(column)) => normalise(column),
        (None, _, None) => return Err(Usage("say `--namespace`, or `--column` as it was named").into()),
    };
    let pseudonyms = match (&arguments.file, column) {
        (None, _) => from_stdin()?,
        (Some(_), None) => return Err(Usage("FILE needs `--column`").into()),
        (Some(file), Some(column)) => from_column(file, column, arguments.delimiter)?,
    };
    Ok(Asked { lines: pseudonyms, mask, namespace })
}

fn from_stdin() -> anyhow::Result<Vec<Zeroizing<String>>> {
    let bytes = read_erased(io::stdin().lock()).context("cannot read standard input")?;
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow::anyhow!("standard input is not UTF-8"))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(|line| Zeroizing::new(line.to_owned())).collect())
}

/// All that can be read, in memory that is erased: a buffer that grows by itself leaves copies behind.
fn read_erased(mut from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut all = Zeroizing::new(Vec::with_capacity(READ_AT_ONCE));
    let mut block = Zeroizing::new(vec![0; READ_AT_ONCE]);
    loop {
        let read = from.read(&mut block)?;
        if read == 0 {
            return Ok(all);
        }
        if all.capacity() - all.len() < read {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * all.capacity()));
            larger.extend_from_slice(&all);
            all = larger;
        }
        all.extend_from_slice(&block[..read]);
    }
}

fn from_column(path: &Path, column: &str, delimiter: char) -> anyhow::Result<Vec<Zeroizing<String>>> {
    let delimiter = u8::try_from(delimiter).ok().filter(u8::is_ascii).context("a delimiter is one ASCII character")?;
    // The parser's own messages may quote what stands in the file.
    let unreadable = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => anyhow::anyhow!("cannot read {}: {error}", path.display()),
        csv::ErrorKind::UnequalLengths { pos, .. } | csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.map_or(0, |pos| pos.line());
            anyhow::anyhow!("{}: line {line} is no row of this delimited text", path.display())
        }
        _ => anyhow::anyhow!("{} is no delimited text", path.display()),
    };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_path(path).map_err(unreadable)?;
    let wanted = normalise(column);
    let index = reader.headers().map_err(unreadable)?.iter().position(|name| normalise(name) == wanted);
    let index = index.with_context(|| format!("{} has no column {column:?}", path.display()))?;
    let mut pseudonyms = Vec::new();
    for row in reader.records() {
        let row = row.map_err(unreadable)?;
        pseudonyms.extend(row.get(index).filter(|cell| !cell.is_empty()).map(|cell| Zeroizing::new(cell.to_owned())));
    }
    Ok(pseudonyms)
}
