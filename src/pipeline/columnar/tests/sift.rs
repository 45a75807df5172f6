//! Rows that are left out of columnar files.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, ListViewBuilder, StringBuilder, StringDictionaryBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringViewArray};
use arrow_ipc::CompressionType;
use arrow_select::filter::filter_record_batch;

use super::{CANARY, arrow, holds, masked, parquet};
use crate::mask::Test;
use crate::pipeline::Reading;
use crate::pipeline::tests::{fault, policy};
use crate::policy::{Policy, RowRule};

fn is_gone(row: usize) -> bool {
    row.is_multiple_of(3) || (500..800).contains(&row)
}

/// Rows that go hold a canary in every column that is kept.
fn rows(count: usize) -> RecordBatch {
    let text = |row: usize| {
        if is_gone(row) { format!("{CANARY}-of-a-row-that-goes-{row}") } else { format!("a value of row {row}") }
    };
    let why: StringArray = (0..count)
        .map(|row| (row % 5 != 1 || is_gone(row)).then_some(if is_gone(row) { "gone" } else { "x" }))
        .collect();
    let mut cities = StringDictionaryBuilder::<Int32Type>::new();
    (0..count).for_each(|row| cities.append_value(text(row)));
    let mut tags = ListBuilder::new(StringBuilder::new());
    for row in 0..count {
        (0..row % 4).for_each(|_| tags.values().append_value(text(row)));
        tags.append(row % 6 != 5);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..count as i64))),
        ("why", Arc::new(why)),
        ("text", Arc::new((0..count).map(|row| (row % 7 != 2).then(|| text(row))).collect::<StringArray>())),
        ("seen", Arc::new((0..count).map(|row| Some(text(row))).collect::<StringViewArray>())),
        ("city", Arc::new(cities.finish())),
        ("tags", Arc::new(tags.finish())),
        ("n", Arc::new(StringArray::from_iter_values((0..count).map(|row| if is_gone(row) { "much" } else { "17" })))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn rules() -> Policy {
    let rule = RowRule {
        column: "why".to_owned(),
        test: Test::In(vec!["gone".to_owned()]),
        max_rows: None,
        max_share: Some(0.9),
    };
    let rules = ["id=keep", "why=keep", "text=keep", "seen=keep", "city=keep", "tags[*]=keep", "n=round"];
    Policy { suppress_rows: vec![rule], ..policy(&rules) }
}

fn left_of(batch: &RecordBatch) -> RecordBatch {
    let stays = (0..batch.num_rows()).map(|row| Some(!is_gone(row))).collect();
    filter_record_batch(batch, &stays).unwrap()
}

/// Compares all columns but the masked one, dictionaries by what they stand for.
fn assert_same(found: &RecordBatch, expected: &RecordBatch) {
    for name in ["id", "why", "text", "seen", "tags"] {
        assert_eq!(found.column_by_name(name), expected.column_by_name(name), "{name}");
    }
    let texts = |batch: &RecordBatch| -> Vec<String> {
        let column = batch.column_by_name("city").unwrap();
        match column.as_any_dictionary_opt() {
            Some(dictionary) => {
                let values = dictionary.values().as_string::<i32>().clone();
                dictionary.normalized_keys().into_iter().map(|key| values.value(key).to_owned()).collect()
            }
            None => column.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect(),
        }
    };
    assert_eq!(texts(found), texts(expected));
    let numbers = found.column_by_name("n").unwrap().as_string::<i32>();
    assert!(numbers.iter().all(|number| number == Some("20")));
}

#[test]
fn parquet_loses_the_rows_and_every_byte_of_them() {
    let batch = rows(1300);
    let input = parquet::written(&batch, parquet::properties());
    let (output, report) = masked(&input, &rules());
    assert_same(&parquet::read(&output), &left_of(&batch));
    let gone = (0..1300).filter(|row| is_gone(*row)).count() as u64;
    let made = &report.outputs[0];
    assert_eq!((report.rows_in, made.rows_out, made.rows_suppressed), (1300, 1300 - gone, gone));
    assert!(holds(&input, CANARY) && !holds(&output, CANARY), "something of a row is left");
    // Of a file none of whose rows go, the chunks are copied.
    let batch = rows(2000).slice(800, 1);
    let (output, _) = masked(&parquet::written(&batch, parquet::properties()), &rules());
    assert_eq!(parquet::read(&output).num_rows(), 1);
    let (output, report) = masked(&parquet::written(&rows(1), parquet::properties()), &rules_for_all());
    assert_eq!((parquet::read(&output).num_rows(), report.outputs[0].rows_suppressed), (0, 1));
}

fn rules_for_all() -> Policy {
    let mut policy = rules();
    policy.suppress_rows[0].max_share = Some(1.0);
    policy
}

#[test]
fn arrow_loses_the_rows_and_every_byte_of_them() {
    let batch = rows(1300);
    let batches = [batch.slice(0, 450), batch.slice(450, 400), batch.slice(850, 450)];
    for packed in [None, Some(CompressionType::ZSTD)] {
        for input in [arrow::stream(&batches, packed), arrow::file(&batches[..1], packed)] {
            let whole = arrow::read(&input);
            let schema = whole[0].schema();
            let whole = arrow_select::concat::concat_batches(&schema, &whole).unwrap();
            let (output, report) = masked(&input, &rules());
            let found = arrow::read(&output);
            let found = arrow_select::concat::concat_batches(&found[0].schema(), &found).unwrap();
            assert_same(&found, &left_of(&whole));
            assert!(packed.is_some() || !holds(&output, &format!("{CANARY}-of")), "something of a row is left");
            let change = report.outputs[0].columns.iter().find(|column| column.name == "city").unwrap();
            assert_eq!(change.type_change.as_deref(), Some("dictionary to text"));
        }
    }
}

#[test]
fn faults_name_the_row_of_the_input() {
    let mut batch = rows(10);
    let numbers = ["much", "1", "much", "much", "1", "1", "much", "1", "1", "much"];
    let mut columns = batch.columns().to_vec();
    columns[6] = Arc::new(StringArray::from_iter_values(numbers));
    batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    for input in [arrow::stream(std::slice::from_ref(&batch), None), parquet::written(&batch, parquet::properties())] {
        let found = fault(&input, &Reading::default(), &rules());
        assert_eq!((found.code.as_str(), found.row), ("mistyped_cell", Some(3)), "{found}");
        let mut strict = rules();
        strict.suppress_rows[0].max_rows = Some(3);
        strict.columns[6].mask = crate::mask::Mask::Keep;
        let found = fault(&input, &Reading::default(), &strict);
        assert_eq!(found.code, "too_many_rows_suppressed");
        assert!(found.sentence.contains("4 of 10 rows by \"why\", more than max_rows = 3 allows"), "{found}");
        strict.suppress_rows[0].column = "reason".to_owned();
        assert_eq!(fault(&input, &Reading::default(), &strict).code, "missing_column");
    }
}

#[test]
fn what_cannot_be_taken_apart_is_refused() {
    let mut views = ListViewBuilder::new(StringBuilder::new());
    views.values().append_value("x");
    views.append(true);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("why", Arc::new(StringArray::from(vec!["x"]))), ("tags", Arc::new(views.finish()))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let policy = Policy { columns: policy(&["why=keep", "tags[*]=keep"]).columns, ..rules() };
    let found = fault(&arrow::stream(&[batch], None), &Reading::default(), &policy);
    assert_eq!(found.code, "unsupported_file");
}

#[test]
fn a_number_decides_as_it_is_spelled() {
    let batch =
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..9000)) as ArrayRef)]).unwrap();
    let mut rules = Policy { columns: policy(&["n=keep"]).columns, ..rules() };
    rules.suppress_rows[0] = RowRule {
        column: "n".to_owned(),
        test: Test::In(vec!["8999".to_owned(), "0".to_owned()]),
        max_rows: Some(2),
        max_share: None,
    };
    for input in [arrow::stream(std::slice::from_ref(&batch), None), parquet::written(&batch, parquet::properties())] {
        let (output, _) = masked(&input, &rules);
        let found = if output.starts_with(b"PAR1") { parquet::read(&output) } else { arrow::read(&output).remove(0) };
        let numbers = found.column(0).as_primitive::<Int64Type>();
        assert!(numbers.values().iter().copied().eq(1..8999));
    }
}

#[test]
fn the_leak_scan_sees_the_rows_that_go_out() {
    let batch = |last: &str| {
        let why = StringArray::from_iter_values(["gone", "x", "gone", "x"]);
        let note = StringArray::from_iter_values(["a@example.com", "b", "c@example.com", last]);
        let columns: Vec<(&str, ArrayRef)> = vec![("why", Arc::new(why)), ("note", Arc::new(note))];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let policy =
        Policy { columns: policy(&["why=keep", "note=keep"]).columns, verify: crate::policy::Verify::Block, ..rules() };
    let inputs = |last: &str| {
        let batch = batch(last);
        [arrow::stream(std::slice::from_ref(&batch), None), parquet::written(&batch, parquet::properties())]
    };
    for (clean, leaking) in inputs("d").into_iter().zip(inputs("d@example.com")) {
        assert_eq!(masked(&clean, &policy).1.outputs[0].rows_out, 2);
        let found = fault(&leaking, &Reading::default(), &policy);
        assert_eq!((found.code.as_str(), found.row), ("leak", Some(4)), "{found}");
    }
}
