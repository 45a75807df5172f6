//! `veild receipt`

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::Problems;
use super::progress::Progress;
use super::vault::find::Which;
use crate::anonymity::AnonymityReport;
use crate::config::Config;
use crate::fsutil::{PathError, chain, open_regular, printable_path, read_regular};
use crate::keys::VerifyingKey;
use crate::pipeline::{ColumnReport, DigestKind, InputReport, Verified};
use crate::policy::Verify;
use crate::vault::lock::Lock;
use crate::vault::{
    Amendment, MAX_RECEIPT_BYTES, NAMESPACE, Receipt, is_archived, is_as_said, object_of, receipt_files,
};

#[derive(clap::Subcommand)]
pub enum Arguments {
    /// Say in plain words what was done to a file, and whether the receipt is as this host signed it
    Show {
        #[command(flatten)]
        which: Which,
        /// Public key of the host that signed (F.pub, or an allowed-signers file), instead of the configuration's
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// What is known of a receipt's signature.
enum Signature {
    Holds,
    Wrong(String),
    /// There is no key to check it with.
    Unchecked(String),
}

/// What is known of the object beside a receipt.
enum Object {
    /// It is there, byte for byte.
    IsIt,
    Another(String),
    Absent,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments::Show { which, public_key, json } = arguments;
    // A receipt may lie anywhere, on hosts without a vault too.
    let given = Path::new(&which.object);
    let path = match which.job()? {
        None if given.exists() => given.to_owned(),
        _ => which.find(&Config::load(config)?)?,
    };
    let (receipt, armoured) = receipt_files(&path)
        .with_context(|| format!("{} is named neither like an object nor like a receipt", printable_path(&path)))?;
    // Receipt, signature and object must be of one time; once it is open, an object stays as it is.
    let vault = Config::load(config).ok().map(|config| config.vault.dir);
    let lock = vault.filter(|dir| path.starts_with(dir)).map(|dir| Lock::shared(&dir)).transpose()?;
    let text = read_regular(&receipt, MAX_RECEIPT_BYTES)?;
    let signature = check(config, public_key.as_deref(), &text, &armoured);
    let beside = object_of(&receipt).map(|object| open_regular(&object));
    drop(lock);
    let receipt = Receipt::parse(&text).map_err(|what| anyhow::anyhow!("{}: {what}", printable_path(&path)))?;
    let object = compare(&receipt, beside);
    if *json {
        let (holds, why) = match &signature {
            Signature::Holds => (Some(true), None),
            Signature::Wrong(why) => (Some(false), Some(why)),
            Signature::Unchecked(why) => (None, Some(why)),
        };
        let (is_it, differs) = match &object {
            Object::IsIt => (Some(true), None),
            Object::Another(what) => (Some(false), Some(what)),
            Object::Absent => (None, None),
        };
        super::print_json(&json!({
            "receipt": receipt,
            "signature": {"holds": holds, "why": why},
            "object": {"matches": is_it, "why": differs},
        }))?;
    } else {
        print!("{}", in_words(&receipt, &signature, &object));
    }
    match (signature, object) {
        (Signature::Wrong(what), _) => Err(Problems(format!("the receipt proves nothing: {what}")).into()),
        (_, Object::Another(what)) => {
            Err(Problems(format!("the receipt is of another object than the one beside it: {what}")).into())
        }
        _ => Ok(()),
    }
}

/// Reads what lies beside the receipt to its end.
fn compare(receipt: &Receipt, beside: Option<Result<File, PathError>>) -> Object {
    let file = match beside {
        None => return Object::Absent,
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Object::Absent,
        Some(Err(error)) => return Object::Another(error.source.to_string()),
        Some(Ok(file)) => file,
    };
    let progress = Progress::start("reading the object".to_owned());
    let compared = is_as_said(file, receipt, &|done| progress.set(done, receipt.output.bytes));
    compared.map_or_else(Object::Another, |()| Object::IsIt)
}

fn check(config: &Path, public_key: Option<&Path>, text: &[u8], armoured: &Path) -> Signature {
    let key = match public_key {
        Some(path) => VerifyingKey::load(path).map_err(|error| error.to_string()),
        None => Config::load(config)
            .map_err(|_| "without a configuration, give `--public-key`".to_owned())
            .and_then(|config| super::verifying_key(&config, None).map_err(|error| error.to_string())),
    };
    let key = match key {
        Ok(key) => key,
        Err(why) => return Signature::Unchecked(why),
    };
    let armoured = match read_regular(armoured, MAX_RECEIPT_BYTES) {
        Ok(armoured) => armoured,
        Err(error) => return Signature::Wrong(chain(&error)),
    };
    match key.verify(NAMESPACE, text, &String::from_utf8_lossy(&armoured)) {
        Ok(()) => Signature::Holds,
        Err(error) => Signature::Wrong(error.to_string()),
    }
}

fn in_words(receipt: &Receipt, signature: &Signature, object: &Object) -> String {
    let Receipt { input, output, .. } = receipt;
    let is_masked = !is_archived(Path::new(&output.path));
    let mut lines = vec![
        ("job", receipt.job.to_string()),
        ("landing", receipt.landing.clone()),
        ("file", format!("{}, {}, {}", receipt.original_name, bytes(input.bytes), input.format)),
        ("", digest(input)),
        ("arrived", receipt.arrived_at.to_string()),
        ("claimed", receipt.claimed_at.to_string()),
        ("sealed", format!("{}, by veild {}", receipt.sealed_at, receipt.veild)),
        ("object", output.path.clone()),
        ("", format!("{} of sealed {}, SHA-256 {}", bytes(output.bytes), output.format, output.sha256)),
        (
            "",
            match object {
                Object::IsIt => "the file beside this receipt is that object".to_owned(),
                Object::Another(what) => format!("ANOTHER lies beside this receipt: {what}"),
                Object::Absent => "it does not lie beside this receipt: not looked at".to_owned(),
            },
        ),
    ];
    lines.extend(receipt.view.iter().map(|view| ("view", view.clone())));
    if is_masked {
        let Receipt { rows_in, rows_out, rows_suppressed, .. } = receipt;
        lines.push(("rows", format!("{rows_in} in, {rows_out} out, {rows_suppressed} suppressed")));
        lines.extend(titled("anonymity", receipt.anonymity.iter().flat_map(anonymity_in_words)));
    } else {
        lines.push(("masked", "not at all: it is the original, for the archive's readers".to_owned()));
    }
    if let Some(policy) = &receipt.policy {
        lines.push(("policy", format!("{}, SHA-256 {}", policy.name, policy.sha256)));
        lines.extend(titled("leak scan", scan_in_words(&receipt.verify).into_iter()));
    }
    let width = receipt.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
    lines.extend(titled("columns", receipt.columns.iter().map(|column| column_in_words(column, width))));
    lines.extend(titled("readers", receipt.recipients.iter().cloned()));
    let before = |it: &Amendment| format!("{}; until then: {}", it.amended_at, it.recipients.join(", "));
    lines.extend(titled("amended", receipt.amended.iter().map(before)));
    lines.push((
        "signature",
        match signature {
            Signature::Holds => "holds: the host of this key has signed exactly this".to_owned(),
            Signature::Wrong(what) => format!("WRONG: {what}"),
            Signature::Unchecked(why) => format!("not checked: {why}"),
        },
    ));
    lines.into_iter().map(|(title, what)| format!("{title:<11}{what}\n")).collect()
}

fn scan_in_words(verify: &Verified) -> Vec<String> {
    let mut lines = match (verify.mode, verify.leaks.as_slice()) {
        (Verify::Off, _) => vec!["none was made".to_owned()],
        (_, []) => vec!["no leak found".to_owned()],
        (_, leaks) => leaks.iter().map(|leak| format!("LEAK: {}", leak.in_words())).collect(),
    };
    lines.extend(verify.accepted.iter().map(|accepted| {
        let cells = super::plural(accepted.cells, "cell", "cells");
        format!("accepted by the policy: {} in {}, {cells}", accepted.class, accepted.column)
    }));
    lines.extend(verify.sampled_one_in.map(|one_in| {
        format!("values of masked columns: one in {one_in} was looked for in other rows, all in their own")
    }));
    lines
}

/// Lines of which the first has the title.
fn titled(title: &'static str, lines: impl Iterator<Item = String>) -> impl Iterator<Item = (&'static str, String)> {
    lines.enumerate().map(move |(index, line)| (if index == 0 { title } else { "" }, line))
}

fn bytes(count: u64) -> String {
    super::plural(count, "byte", "bytes")
}

fn digest(input: &InputReport) -> String {
    match (&input.digest, input.digest_kind) {
        (Some(digest), DigestKind::Keyed) => format!("keyed digest {digest}"),
        (Some(digest), DigestKind::Sha256) => format!("SHA-256 {digest}"),
        (_, DigestKind::None) | (None, _) => "no digest of it was kept".to_owned(),
    }
}

pub(super) fn anonymity_in_words(found: &AnonymityReport) -> Vec<String> {
    let k = found.k.map_or_else(|| "no record".to_owned(), |k| format!("k = {k}"));
    let holds = if found.holds { "" } else { ", which is not what the policy asks for" };
    let mut lines =
        vec![format!("{k} in {}, within this output alone{holds}", super::plural(found.classes, "class", "classes"))];
    lines.extend(found.sensitive.iter().filter_map(|it| {
        let (l, entropy, t) = (it.l_distinct?, it.l_entropy?, it.t?);
        Some(format!("{}: l = {l}, by entropy {entropy:.2}; t = {t:.3}", it.column))
    }));
    lines.extend(
        found
            .quasi_identifiers
            .iter()
            .filter_map(|it| Some(format!("{}: level {} of {}", it.column, it.level?, it.coarsest?))),
    );
    lines
}

fn column_in_words(column: &ColumnReport, width: usize) -> String {
    let ColumnReport { name, mask, key_version, type_change } = column;
    let mut text = format!("{name:<width$}  {}", mask_in_words(mask));
    if let Some(version) = key_version {
        text.push_str(&format!(", key version {version}"));
    }
    if let Some(change) = type_change {
        text.push_str(&format!(", {change}"));
    }
    text
}

fn mask_in_words(mask: &str) -> &str {
    match mask {
        "keep" => "as it came",
        "drop" => "left out",
        "null" => "emptied",
        "redact" => "replaced by a fixed text",
        "partial" => "partly hidden",
        "hash" => "one-way pseudonyms",
        "token" => "reversible pseudonyms",
        "fpe" => "encrypted in its own format",
        "fake" => "replaced by made-up values",
        "truncate" => "cut short",
        "generalize" => "made coarser",
        "pattern" => "what matched a pattern was replaced",
        "scrub" => "personal data found in the text was replaced",
        "date" => "dates made coarser",
        "date_shift" => "dates shifted by subject",
        "round" => "rounded",
        "clamp" => "extremes cut off",
        "noise" => "random noise added",
        "when" => "masked depending on another column",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mask_has_its_words() {
        for mask in crate::mask::MASKS {
            assert_ne!(mask_in_words(mask), mask);
        }
    }
}
