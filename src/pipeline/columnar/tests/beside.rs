//! Masks that look at another column.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{Date32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};

use super::{arrow, masked, parquet};
use crate::mask::{Case, Mask, MaskParams, OnMistyped, Test, WhenMask};
use crate::pipeline::Reading;
use crate::pipeline::tests::{fault, policy};
use crate::policy::Policy;

/// Visits in lists, of patients some of whom are unknown.
fn hospital(rows: usize) -> RecordBatch {
    let patients: StringArray = (0..rows).map(|row| (row % 7 != 0).then(|| format!("p{}", row % 5))).collect();
    let mut visits = ListBuilder::new(Date32Builder::new());
    for row in 0..rows {
        (0..row % 3).for_each(|visit| visits.values().append_value((row * 10 + visit) as i32));
        if row % 4 == 3 {
            visits.values().append_null();
        }
        visits.append(row % 11 != 4);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("visits", Arc::new(visits.finish())),
        ("patient", Arc::new(patients)),
        ("born", Arc::new(Date32Array::from_iter_values((0..rows).map(|row| row as i32)))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn shifting(mistyped: OnMistyped) -> Policy {
    let mut policy = policy(&["visits[*]=keep", "patient=drop", "born=keep"]);
    let params = MaskParams { subject: Some("patient".to_owned()), ..MaskParams::default() };
    for column in [0, 2] {
        policy.columns[column].mask = Mask::from_params("date_shift", &params).unwrap();
    }
    policy.mistyped = mistyped;
    policy
}

fn day(text: &str) -> i32 {
    (text.parse::<jiff::civil::Date>().unwrap() - jiff::civil::date(1970, 1, 1)).get_days()
}

/// Compares record by record; `days` has the shift of every patient seen so far.
fn check(before: &RecordBatch, after: &RecordBatch, days: &mut HashMap<String, i32>) {
    let patients = before.column_by_name("patient").unwrap().as_string::<i32>();
    let plain_born = before.column_by_name("born").unwrap().as_primitive::<Date32Type>();
    let born = after.column_by_name("born").unwrap().as_string::<i32>();
    let lists = |batch: &RecordBatch| batch.column_by_name("visits").unwrap().as_list::<i32>().clone();
    let (plain, moved) = (lists(before), lists(after));
    assert_eq!((plain.len(), plain.nulls()), (moved.len(), moved.nulls()));
    for row in 0..before.num_rows() {
        let values = (plain.value(row), moved.value(row));
        let pairs = values.0.as_primitive::<Date32Type>().iter().zip(values.1.as_string::<i32>());
        if plain.is_null(row) {
            continue;
        }
        if patients.is_null(row) {
            assert!(born.is_null(row) && pairs.map(|(_, moved)| moved).all(|moved| moved.is_none()));
            continue;
        }
        let by = day(born.value(row)) - plain_born.value(row);
        assert_eq!(*days.entry(patients.value(row).to_owned()).or_insert(by), by, "row {row}");
        for (plain, moved) in pairs {
            assert_eq!(moved.map(|moved| day(moved) - by), plain, "row {row}");
        }
    }
}

#[test]
fn the_subject_is_the_one_of_the_record() {
    let batch = hospital(1000);
    let batches = [batch.slice(0, 300), batch.slice(300, 700)];
    let mut days = HashMap::new();
    for input in [arrow::file(&batches, None), arrow::stream(&batches, None)] {
        let output = masked(&input, &shifting(OnMistyped::Null)).0;
        arrow::read(&input)
            .iter()
            .zip(arrow::read(&output))
            .for_each(|(before, after)| check(before, &after, &mut days));
        assert_eq!(days.len(), 5);
        days.clear(); // every run has another key
    }
    // In several row groups.
    let input = parquet::written(&batch, parquet::properties());
    let output = masked(&input, &shifting(OnMistyped::Null)).0;
    check(&parquet::read(&input), &parquet::read(&output), &mut days);
    assert_eq!(days.len(), 5);
}

#[test]
fn a_date_without_its_subject_is_refused_by_its_row() {
    let batch = hospital(100);
    for input in [arrow::stream(std::slice::from_ref(&batch), None), parquet::written(&batch, parquet::properties())] {
        let found = fault(&input, &Reading::default(), &shifting(OnMistyped::Reject));
        assert_eq!((found.code.as_str(), found.row), ("mistyped_cell", Some(8)), "the first visit of nobody: {found}");
        let mut policy = shifting(OnMistyped::Null);
        let params = MaskParams { subject: Some("doctor".to_owned()), ..MaskParams::default() };
        policy.columns[2].mask = Mask::from_params("date_shift", &params).unwrap();
        let found = fault(&input, &Reading::default(), &policy);
        assert_eq!(found.code, "missing_column");
        assert!(found.sentence.contains("no column \"doctor\", without which"), "{found}");
    }
}

#[test]
fn a_condition_is_told_by_the_row_and_numbers_stay_numbers() {
    let numbers = Int64Array::from_iter_values(0..100);
    let countries: StringArray = (0..100).map(|row| ["US", "DE", ""].get(row % 4).copied()).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![("n", Arc::new(numbers)), ("country", Arc::new(countries))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut policy = policy(&["n=keep", "country=keep"]);
    let case = |test, mask| Case { test, mask };
    let tens = Mask::from_params("round", &MaskParams { to: Some(10.into()), ..MaskParams::default() }).unwrap();
    let cases = vec![case(Test::In(vec!["US".to_owned()]), tens), case(Test::In(vec!["DE".to_owned()]), Mask::Keep)];
    let when = WhenMask { column: "country".to_owned(), cases, otherwise: Mask::Null };
    policy.columns[0].mask = Mask::When(Box::new(when));
    let stream = arrow::stream(std::slice::from_ref(&batch), None);
    let file = parquet::written(&batch, parquet::properties());
    let outputs = [arrow::read(&masked(&stream, &policy).0).remove(0), parquet::read(&masked(&file, &policy).0)];
    for output in outputs {
        let numbers = output.column_by_name("n").unwrap().as_primitive::<Int64Type>();
        for row in 0..100 {
            let expected = match row % 4 {
                0 => Some((row as i64 + 5) / 10 * 10),
                1 => Some(row as i64),
                _ => None,
            };
            assert_eq!(numbers.is_valid(row).then(|| numbers.value(row)), expected, "row {row}");
        }
    }
}
