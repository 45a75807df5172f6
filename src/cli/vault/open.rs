//! `veild vault open`

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::json;

use super::find::Which;
use crate::audit::{Action, Outcome, Record};
use crate::cli::hand_out::hand_out;
use crate::cli::identity::Key;
use crate::config::Config;
use crate::fsutil::{At, open_regular, printable_path, read_regular};
use crate::job::JobId;
use crate::vault::lock::Lock;
use crate::vault::{MAX_RECEIPT_BYTES, Receipt};

/// Bytes read at once.
const BLOCK: usize = 256 << 10;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    key: Key,
    /// Where the masked plaintext goes (default: standard output)
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Why, for the audit trail
    #[arg(long, value_parser = crate::cli::reason)]
    reason: Option<String>,
}

pub fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let found = arguments.which.find(config);
    let path = found.as_deref().ok().map(Path::to_owned);
    let record = |outcome| {
        let record = Record::new(Timestamp::now(), Action::VaultOpened, outcome)
            .field("user", crate::cli::user())
            .veild("reason", json!(arguments.reason));
        about(config, record, path.as_deref(), &arguments.which.object)
    };
    let opened = found.and_then(|path| opened(config, &path, &arguments.key));
    let Some(to) = &arguments.output else {
        let mut plain = crate::cli::recorded_if_failed(config, opened, || record(Outcome::Failure))?;
        // Before its first byte, and nothing behind it: whoever sees only a part has seen it.
        crate::cli::record(config, record(Outcome::Success))?;
        return copy(&mut plain, &mut io::stdout().lock(), Path::new("standard output"));
    };
    let handed_out = opened.and_then(|mut plain| {
        let write = |mut file: &File, incoming: &Path| copy(&mut plain, &mut file, incoming);
        hand_out(to, write, |()| crate::cli::record(config, record(Outcome::Success)))
    });
    crate::cli::recorded_if_failed(config, handed_out, || record(Outcome::Failure))
}

/// The object's content, if one of the identities opens it.
fn opened(config: &Config, path: &Path, key: &Key) -> anyhow::Result<Box<dyn Read>> {
    let sealed = open(config, path).map_err(|error| {
        anyhow::anyhow!("cannot open {}: {error}; `veild vault list` shows what the vault holds", printable_path(path))
    })?;
    crate::seal::open_with(sealed, &key.require(config)?).with_context(|| printable_path(path))
}

/// What stands in the vault is a file or nothing: whoever may write there must not have other files opened from here.
fn open_once(config: &Config, path: &Path) -> io::Result<File> {
    if path.starts_with(&config.vault.dir) {
        return open_regular(path).map_err(|error| error.source);
    }
    File::open(path)
}

/// An object that is being replaced just now is there in a moment; it stays readable once it is open.
fn open(config: &Config, path: &Path) -> io::Result<File> {
    match open_once(config, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let _lock = Lock::shared(&config.vault.dir).map_err(|error| error.source)?;
            open_once(config, path)
        }
        opened => opened,
    }
}

/// A record with the object, or with what was asked for and is not there. What the receipt says of the object is its word:
/// whoever opens one without a receipt is recorded all the same.
fn about(config: &Config, record: Record, found: Option<&Path>, asked: &str) -> Record {
    let Some(path) = found else {
        return match asked.parse::<JobId>() {
            Ok(job) => record.veild("job", json!(job)),
            Err(_) => record.field("file", json!({"path": asked})),
        };
    };
    let record = record.field("file", json!({"path": path}));
    let receipt = path.strip_prefix(&config.vault.dir).ok().and_then(|object| {
        let (receipt, _) = crate::vault::receipt_files(path)?;
        Some((object, Receipt::parse(&read_regular(&receipt, MAX_RECEIPT_BYTES).ok()?).ok()?))
    });
    match receipt {
        Some((object, receipt)) => record
            .veild("job", json!(receipt.job))
            .veild("landing", receipt.landing)
            .veild("view", receipt.view)
            .veild("object", json!(object)),
        None => record,
    }
}

/// All of it; what cannot be read is told apart from what cannot be written.
fn copy(plain: &mut dyn Read, to: &mut dyn Write, shown: &Path) -> anyhow::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let count = match plain.read(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.context("the object does not decrypt to its end")?,
        };
        if count == 0 {
            return Ok(to.flush().at("write to", shown)?);
        }
        to.write_all(&block[..count]).at("write to", shown)?;
    }
}
