//! `veild mask`

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use rustix::fs::FlockOperation;

use super::Usage;
use super::progress::Progress;
use crate::fsutil::{
    create_new, fsync_dir, open_regular, place_new, printable_name, printable_path, read_regular, remove_if_there,
    rename_noreplace,
};
use crate::job::JobId;
use crate::keys::{MaskingKeys, SigningKey};
use crate::pipeline::{DigestKind, Failure, Fault, Input, Output, Reading, Report, Sink, Writing, process};
use crate::policy::Policy;
use crate::seal::{Recipients, Sealing};
use crate::vault::{Receipt, ReceiptOutput, ReceiptPolicy};

/// No receipt is longer, in bytes.
const LONGEST_RECEIPT: u64 = 16 << 20;

#[derive(clap::Args)]
pub struct Arguments {
    /// Files to mask; they stay as they are
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Name of a policy in the configuration, or path of a TOML file
    #[arg(long)]
    policy: String,
    /// Where the sealed output goes (default: FILE.age); `-` with --plaintext: masked plaintext to standard output
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Recipient of the output: age1…, ssh-ed25519 …, ssh-rsa … or group:NAME
    #[arg(short, long)]
    recipient: Vec<String>,
    /// Write masked plaintext; only with `-o -`
    #[arg(long)]
    plaintext: bool,
    /// Masking key, instead of the configuration's
    #[arg(long)]
    masking_key: Option<PathBuf>,
    /// Signing key of the receipt, instead of the configuration's
    #[arg(long)]
    signing_key: Option<PathBuf>,
    #[command(flatten)]
    reading: super::reading::ReadingArguments,
}

pub fn run(config: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    if to_stdout != arguments.plaintext {
        return Err(Usage("masked plaintext needs both `-o -` and `--plaintext`").into());
    }
    if arguments.output.is_some() && arguments.files.len() > 1 {
        return Err(Usage("`-o` takes one FILE; without it each output stands beside its FILE").into());
    }
    if !to_stdout && arguments.recipient.is_empty() {
        return Err(Usage("to whom shall the output be sealed? Give `--recipient age1…` at least once").into());
    }
    let policy = super::find_policy(config, &arguments.policy)?;
    let keys = super::masking_keys(config, arguments.masking_key.as_deref())?;
    crate::pipeline::keep_freed_memory();
    if to_stdout {
        for file in &arguments.files {
            let sink = Sink::Plain(Box::new(io::stdout()));
            process_file(file, &policy, &keys, arguments.reading.of(config, file)?, sink)?;
        }
        return Ok(());
    }
    let readers = super::find_recipients(config, &arguments.recipient)?;
    let mut first = None;
    for file in &arguments.files {
        match (seal_file(config, arguments, file, &policy, &keys, &readers), &first) {
            (Ok(()), _) => {}
            (Err(error), None) => first = Some(error),
            (Err(error), Some(_)) => eprintln!("veild: {error:#}"),
        }
    }
    // The others are masked all the same.
    first.map_or(Ok(()), Err)
}

/// Runs one file through the pipeline that the daemon's workers use.
pub fn process_file(
    path: &Path,
    policy: &Policy,
    keys: &MaskingKeys,
    (reading, writing): (Reading, Writing),
    sink: Sink,
) -> anyhow::Result<Report> {
    let file = File::open(path).with_context(|| format!("cannot open {}", printable_path(path)))?;
    let bytes = file.metadata().with_context(|| format!("cannot examine {}", printable_path(path)))?.len();
    // A bar would be torn by the text around it.
    let is_plain = matches!(sink, Sink::Plain(_));
    let to_terminal = is_plain && io::stdout().is_terminal();
    let input = Input { file, reading, digest: DigestKind::Keyed };
    let output = Output { policy: policy.clone(), writing, sink };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let progress = (!to_terminal).then(|| Progress::start(format!("masking {}", name_of(path))));
    let report = |done| progress.iter().for_each(|progress| progress.set(done, bytes));
    let processed = process(input, vec![output], keys, threads, &report);
    drop(progress);
    let processed = processed.inspect(|report| {
        for leak in report.outputs.iter().flat_map(|output| &output.verify.leaks) {
            eprintln!("leak: {}", leak.in_words());
        }
    });
    processed.map_err(|failure| {
        let error = match failure {
            Failure::Reject(fault) => Rejected { path: path.to_owned(), fault }.into(),
            retry => anyhow::anyhow!("{}: {retry}", printable_path(path)),
        };
        if is_plain { error.context("what was written is not whole") } else { error }
    })
}

/// A file that the daemon would quarantine.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}\nwhat to do: {}", printable_path(path), fault.advice)]
pub struct Rejected {
    pub path: PathBuf,
    pub fault: Fault,
}

fn name_of(path: &Path) -> String {
    printable_name(path.file_name().unwrap_or_default())
}

fn seal_file(
    config: &Path,
    arguments: &Arguments,
    path: &Path,
    policy: &Policy,
    keys: &MaskingKeys,
    (readers, recipients): &(Vec<String>, Recipients),
) -> anyhow::Result<()> {
    let signing = match &arguments.signing_key {
        Some(path) => SigningKey::load(path)?,
        None => SigningKey::from_source(&crate::config::Config::load(config)?.keys.signing)?,
    };
    let sealing = Sealing::new(recipients)?;
    let (reading, writing) = arguments.reading.of(config, path)?;
    let object = arguments.output.clone().unwrap_or_else(|| {
        let name = writing.name_of_output(path.file_name().unwrap_or_default()).into_owned();
        with_suffix(&path.with_file_name(name), ".age")
    });
    let temporary = with_suffix(&object, ".incoming");
    let kept = begin(&object, &temporary)?;
    let file = kept.try_clone()?;
    let started = Timestamp::now();
    let report = process_file(path, policy, keys, (reading, writing), Sink::Sealed { file, sealing });
    let published = report.and_then(|report| {
        kept.sync_all()?;
        publish(readers, path, policy, report, &signing, &object, &temporary, started)
    });
    if published.is_err() {
        let _ = fs::remove_file(&temporary); // already renamed away, or of no use
    }
    published
}

/// Begins an output under another name. What a run that was killed has left there goes: its lock went with it.
fn begin(object: &Path, temporary: &Path) -> anyhow::Result<File> {
    super::hand_out::refuse_no_file(object)?;
    refuse_taken(object)?;
    let receipt = receipt_of(object);
    let signature = with_suffix(&receipt, ".sig");
    if temporary.symlink_metadata().is_ok() {
        lock(&open_regular(temporary)?, temporary)?;
        if is_receipt_of(&receipt, object) {
            remove_if_there(&signature)?;
            remove_if_there(&receipt)?;
        }
        remove_if_there(temporary)?;
    }
    refuse_taken(&receipt)?;
    refuse_taken(&signature)?;
    let file = create_new(temporary, 0o600)?;
    lock(&file, temporary)?;
    Ok(file)
}

fn refuse_taken(path: &Path) -> anyhow::Result<()> {
    let path_shown = printable_path(path);
    let is_free = path.symlink_metadata().is_err();
    anyhow::ensure!(is_free, "{path_shown} is already there; remove it, or name another output with `-o`");
    Ok(())
}

/// Holds an output for this process alone, as long as the file is open.
fn lock(file: &File, path: &Path) -> anyhow::Result<()> {
    let locked = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
    let metadata = file.metadata()?;
    let is_here = path.symlink_metadata().is_ok_and(|it| (it.dev(), it.ino()) == (metadata.dev(), metadata.ino()));
    // Not every file system has locks.
    let is_free = is_here && locked != Err(rustix::io::Errno::WOULDBLOCK);
    anyhow::ensure!(is_free, "{} is being written by another veild", printable_path(path));
    Ok(())
}

/// Whether a receipt is of a run that sealed that object.
fn is_receipt_of(receipt: &Path, object: &Path) -> bool {
    let read = read_regular(receipt, LONGEST_RECEIPT).ok();
    let found = read.and_then(|bytes| serde_json::from_slice::<Receipt>(&bytes).ok());
    found.is_some_and(|receipt| receipt.output.path == name_of(object))
}

#[allow(clippy::too_many_arguments)] // what a receipt says
fn publish(
    readers: &[String],
    path: &Path,
    policy: &Policy,
    report: Report,
    signing: &SigningKey,
    object: &Path,
    temporary: &Path,
    started: Timestamp,
) -> anyhow::Result<()> {
    let output = report.outputs.into_iter().next().context("one output was asked for")?;
    let receipt = Receipt {
        receipt_version: crate::vault::RECEIPT_VERSION,
        job: JobId::claimed_at(started),
        landing: "-".to_owned(),
        view: None,
        original_name: name_of(path),
        arrived_at: started,
        claimed_at: started,
        sealed_at: Timestamp::now(),
        input: report.input,
        output: ReceiptOutput {
            path: name_of(object),
            sha256: output.sha256,
            bytes: output.bytes,
            format: output.format,
        },
        rows_in: report.rows_in,
        rows_out: output.rows_out,
        rows_suppressed: output.rows_suppressed,
        anonymity: output.anonymity,
        columns: output.columns,
        policy: Some(ReceiptPolicy { name: policy.name.clone(), sha256: policy.sha256.clone() }),
        recipients: readers.to_vec(),
        verify: output.verify,
        veild: env!("CARGO_PKG_VERSION").to_owned(),
        amended: Vec::new(),
    };
    let text = format!("{}\n", serde_json::to_string_pretty(&receipt)?);
    let receipt_path = receipt_of(object);
    let signature_path = with_suffix(&receipt_path, ".sig");
    let signature = signing.sign("veild-receipt", text.as_bytes());
    place_new(&receipt_path, 0o440, text.as_bytes())?;
    crate::faults::point("receipt_placed");
    let signed = place_new(&signature_path, 0o440, signature.as_bytes());
    let renamed = signed
        .and_then(|()| rename_noreplace(temporary, object).inspect_err(|_| drop(fs::remove_file(&signature_path))));
    renamed.inspect_err(|_| drop(fs::remove_file(&receipt_path)))?;
    let dir = object.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fsync_dir(dir)?;
    let rows = super::plural(receipt.rows_out, "row", "rows");
    eprintln!("{}: {rows} sealed as {}", printable_path(path), printable_path(object));
    Ok(())
}

fn receipt_of(object: &Path) -> PathBuf {
    with_suffix(&object.with_extension(""), ".receipt.json")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}
