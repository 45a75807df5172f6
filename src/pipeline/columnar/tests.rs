//! Columnar files through the pipeline, compared with what a reader of the format finds in them.

mod arrow;
mod beside;
mod parquet;
mod sift;

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field};

use crate::pipeline::tests::run;
use crate::pipeline::{Compress, Reading, Report};
use crate::policy::Policy;

/// A value that must not be in an output whose column is masked.
const CANARY: &str = "canary";

fn masked(file: &[u8], policy: &Policy) -> (Vec<u8>, Report) {
    run(file, &Reading::default(), policy, Compress::Same).unwrap()
}

fn holds(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|window| window == text.as_bytes())
}

fn people(rows: usize) -> RecordBatch {
    let names: StringArray = (0..rows).map(|row| (row % 7 != 0).then(|| format!("{CANARY}-name-{row}"))).collect();
    let cities: DictionaryArray<Int32Type> = (0..rows).map(|row| ["Łódź", "Bonn", ""][row % 3]).collect();
    let streets: StringArray = (0..rows).map(|row| Some(format!("{CANARY}-street-{}", row % 5))).collect();
    let zips: Int32Array = (0..rows).map(|row| Some(10_000 + row as i32)).collect();
    let mut phones = ListBuilder::new(StringBuilder::new());
    for row in 0..rows {
        for phone in 0..row % 3 {
            phones.values().append_value(format!("{CANARY}-phone-{row}-{phone}"));
        }
        if row % 4 == 3 {
            phones.values().append_null();
        }
        phones.append(row % 5 != 4);
    }
    let address: StructArray = vec![
        (Arc::new(Field::new("street", DataType::Utf8, true)), Arc::new(streets) as ArrayRef),
        (Arc::new(Field::new("zip", DataType::Int32, true)), Arc::new(zips) as ArrayRef),
    ]
    .into();
    let stamps = TimestampMicrosecondArray::from_iter_values((0..rows).map(|row| row as i64 * 86_400_000_001));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row as i64 - 5)))),
        ("name", Arc::new(names)),
        ("city", Arc::new(cities)),
        ("born", Arc::new(Date32Array::from_iter_values((0..rows).map(|row| row as i32)))),
        ("seen", Arc::new(stamps.with_timezone("Europe/Berlin"))),
        ("score", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 / 3.0)))),
        ("active", Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 2 == 0))))),
        (
            "balance",
            Arc::new(
                Decimal128Array::from_iter_values((0..rows).map(|row| row as i128 * 101 - 3))
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        ("address", Arc::new(address)),
        ("phones", Arc::new(phones.finish())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

const KEEP_ALL: [&str; 11] = [
    "id=keep",
    "name=keep",
    "city=keep",
    "born=keep",
    "seen=keep",
    "score=keep",
    "active=keep",
    "balance=keep",
    "address.street=keep",
    "address.zip=keep",
    "phones[*]=keep",
];

fn rules<'a>(changed: &[&'a str]) -> Vec<&'a str> {
    let path = |rule: &&str| rule.rsplit_once('=').unwrap().0.to_owned();
    let kept = KEEP_ALL.iter().filter(|rule| !changed.iter().any(|other| path(other) == path(rule)));
    kept.copied().chain(changed.iter().copied()).collect()
}
