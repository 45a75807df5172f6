//! What each mask costs: nanoseconds a cell on one core, the least of several runs.
//!
//! `cargo bench --bench masks -- [CELLS] [RUNS]` (default 200,000 cells and 7 runs).

use std::hint::black_box;
use std::time::Instant;

use polars::prelude::{NewChunkedArray, StringChunked};
use veild::keys::{MaskingKeys, generate_masking};
use veild::mask::{Mask, MaskParams, OnMistyped};

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let cells = numbers.first().copied().unwrap_or(200_000);
    let runs = numbers.get(1).copied().unwrap_or(7);
    let dir = tempfile::tempdir().expect("there is room for a key");
    let path = dir.path().join("masking.key");
    generate_masking(&path, jiff::Timestamp::UNIX_EPOCH).expect("the directory is new");
    let keys = MaskingKeys::load(&path).expect("it was just made");
    let subjects = column(cells, |cell| format!("p{}", cell % 1000));
    for (name, mask, params, value) in cases() {
        let column = column(cells, value);
        let mask = Mask::from_params(mask, &params).expect("the parameters are in order");
        let prepared = mask.prepare("column", &keys);
        let least = (0..runs.max(1)).map(|_| {
            let began = Instant::now();
            let masked = prepared.apply_beside(black_box(&column), Some(&subjects), OnMistyped::Reject);
            black_box(masked.expect("the cells are of the mask's kind"));
            began.elapsed()
        });
        let least = least.min().unwrap_or_default();
        println!("{name:<16} {:>8.1} ns", least.as_nanos() as f64 / cells.max(1) as f64);
    }
}

fn column(cells: usize, value: fn(usize) -> String) -> StringChunked {
    StringChunked::from_iter_values("".into(), (0..cells).map(value))
}

type Case = (&'static str, &'static str, MaskParams, fn(usize) -> String);

fn cases() -> Vec<Case> {
    let none = MaskParams::default;
    let kind = |kind: &str| MaskParams { kind: Some(kind.to_owned()), ..none() };
    let mail = |cell: usize| format!("person.{cell}@example.com");
    let ssn = |cell: usize| format!("{:03}-{:02}-{:04}", cell % 899 + 1, cell % 97 + 1, cell % 9999);
    let date = |cell: usize| format!("19{:02}-{:02}-{:02}", cell % 100, cell % 12 + 1, cell % 28 + 1);
    let number = |cell: usize| (cell * 37 % 100_000).to_string();
    vec![
        ("redact", "redact", none(), mail),
        ("partial", "partial", MaskParams { keep_last: Some(4), ..none() }, ssn),
        ("hash", "hash", none(), mail),
        ("hash blake3", "hash", MaskParams { algorithm: Some("blake3".to_owned()), ..none() }, mail),
        ("hash lowercase", "hash", MaskParams { normalize: Some(vec!["lowercase".to_owned()]), ..none() }, mail),
        ("token", "token", none(), mail),
        ("fpe", "fpe", none(), ssn),
        ("fpe iban", "fpe", kind("iban"), |_| "DE89 3704 0044 0532 0130 00".to_owned()),
        ("fake name", "fake", kind("name"), mail),
        ("fake address", "fake", kind("address"), mail),
        ("date year", "date", MaskParams { to: Some("year".into()), ..none() }, date),
        ("date_shift", "date_shift", MaskParams { subject: Some("id".to_owned()), ..none() }, date),
        ("round", "round", MaskParams { to: Some(1000.into()), ..none() }, number),
        ("noise", "noise", MaskParams { scale: Some(10.into()), ..none() }, number),
        ("generalize", "generalize", MaskParams { width: Some(10.into()), ..none() }, number),
        ("truncate ip", "truncate", kind("ip"), |cell| format!("192.0.{}.{}", cell % 256, cell % 251)),
        ("scrub", "scrub", none(), |cell| format!("order {cell} delayed, write to person.{cell}@example.com please")),
    ]
}
