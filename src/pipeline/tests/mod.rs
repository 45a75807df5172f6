//! Whole files through [`process`], for what holds in every format.

mod anonymous;
mod archive;
mod bounds;
mod compression;
mod convert;
mod rows;
mod spreadsheet;
mod spreadsheet_hostile;
mod text;

pub(super) use spreadsheet::{packed, table};

use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::{Arc, Mutex};

use super::{Compress, DigestKind, Failure, Fault, Input, Output, Reading, Report, Sink, Writing, process};
use crate::keys::MaskingKeys;
use crate::mask::{Mask, MaskParams, OnMistyped};
use crate::policy::{ColumnRule, OnMissing, OnUnlisted, Policy, Selector, Verify};

#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// A policy of rules `name=mask`; the masks' parameters are fixed ones.
pub(super) fn policy(rules: &[&str]) -> Policy {
    let params = |mask: &str| match mask {
        "partial" => MaskParams { keep_last: Some(4), ..MaskParams::default() },
        "truncate" => MaskParams { keep: Some(3), ..MaskParams::default() },
        "round" => MaskParams { to: Some(toml::Value::Integer(10)), ..MaskParams::default() },
        "clamp" => MaskParams { max: Some(toml::Value::Integer(50)), ..MaskParams::default() },
        "date" => MaskParams { to: Some(toml::Value::from("year")), ..MaskParams::default() },
        "hashes" => MaskParams { text: Some("#".to_owned()), ..MaskParams::default() },
        _ => MaskParams::default(),
    };
    let rule = |text: &&str| {
        let (name, mask) = text.rsplit_once('=').unwrap();
        let kind = if mask == "hashes" { "redact" } else { mask };
        let mask = Mask::from_params(kind, &params(mask)).unwrap();
        ColumnRule { columns: Selector::Names(vec![name.to_owned()]), mask, mistyped: None, preset: false }
    };
    Policy {
        name: "p".to_owned(),
        unlisted: OnUnlisted::Reject,
        missing: OnMissing::Reject,
        mistyped: OnMistyped::Reject,
        verify: Verify::Off,
        accept: Vec::new(),
        columns: rules.iter().map(rule).collect(),
        suppress_rows: Vec::new(),
        anonymity: None,
        sha256: String::new(),
    }
}

pub(super) fn keys() -> MaskingKeys {
    MaskingKeys::parse(&MaskingKeys::generate(jiff::Timestamp::UNIX_EPOCH)).unwrap()
}

pub(super) fn run(
    input: &[u8],
    reading: &Reading,
    policy: &Policy,
    writing: impl Into<Writing>,
) -> Result<(Vec<u8>, Report), Failure> {
    let shared = Shared::default();
    let output =
        Output { policy: policy.clone(), writing: writing.into(), sink: Sink::Plain(Box::new(shared.clone())) };
    let input = Input { file: file(input), reading: reading.clone(), digest: DigestKind::Sha256 };
    let report = process(input, vec![output], &keys(), 2, &|_| {})?;
    Ok((shared.bytes(), report))
}

pub(super) fn fault(input: &[u8], reading: &Reading, policy: &Policy) -> Fault {
    match run(input, reading, policy, Compress::Same) {
        Err(Failure::Reject(fault)) => fault,
        Err(failure) => panic!("not the file's fault: {failure:?}"),
        Ok(_) => panic!("accepted"),
    }
}
