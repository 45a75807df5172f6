//! What each mask costs: nanoseconds a cell and megabytes a second on one core, in the least of several runs.
//!
//! `cargo bench --bench masks -- [CELLS] [RUNS]` (default 8,000 cells, about a block's, and 60 runs).

use std::hint::black_box;
use std::time::Instant;

use polars::prelude::{NewChunkedArray, StringChunked};
use veild::keys::{MaskingKeys, generate_masking};
use veild::mask::{Mask, MaskParams, OnMistyped};

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let cells = numbers.first().copied().unwrap_or(8_000);
    let runs = numbers.get(1).copied().unwrap_or(60);
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
        let (nanos, bytes) = (least.as_nanos() as f64, column.iter().flatten().map(str::len).sum::<usize>() as f64);
        println!("{name:<16} {:>8.1} ns {:>8.0} MB/s", nanos / cells.max(1) as f64, bytes / nanos * 1e3);
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
        ("scrub short", "scrub", none(), |cell| {
            format!("order {cell} delayed, write to person.{cell}@example.com please")
        }),
        ("scrub note", "scrub", none(), note),
    ]
}

/// As people write of an order: three hundred characters, a mail address in every note, a phone number in every fourth.
fn note(cell: usize) -> String {
    let call = match cell % 4 {
        0 => format!("call +49 30 {} in the morning", 1_000_000 + cell % 8_999_999),
        _ => "call back when the parts have arrived".to_owned(),
    };
    format!(
        "The customer says that the parcel was left at the door and got wet, so that two of the three lamps do not work \
         any more. Asked for a refund or for new ones, whatever is faster; {call}. Photographs were sent to \
         support.{cell}@example.com last week, and nobody has answered yet. Please look into it before Friday."
    )
}
