//! Names of columns and keys that are values, and names that look like some.

use proptest::prelude::*;

use super::*;
use crate::mask::Test;
use crate::pipeline::{DigestKind, Input, Output, OutputFormat, Sink, Writing, process};
use crate::policy::{OnUnlisted, RowRule};

fn unlisted(unlisted: OnUnlisted, rules: &[&str], verify: Verify) -> Policy {
    Policy { unlisted, missing: crate::policy::OnMissing::Ignore, ..with(rules, verify) }
}

fn accept(column: &str, class: &str) -> Acceptance {
    Acceptance { column: column.to_owned(), class: class.to_owned() }
}

#[test]
fn a_column_that_is_called_by_a_value() {
    let header = ["id", "anna@example.org", "note"];
    for rows in [vec![], vec![row(&["1", "x", "y"]), row(&["2", "x", "y"])]] {
        for (format, input, reading) in written(&header, &rows) {
            let is_json = matches!(format, "ndjson" | "json");
            if is_json && rows.is_empty() {
                continue;
            }
            let (number, column) = if is_json { (1, "*") } else { (0, "column 2") };
            for others in [OnUnlisted::Redact, OnUnlisted::Keep] {
                let policy = unlisted(others, &["id=keep"], Verify::Block);
                let fault = verified(&input, &reading, &policy).expect_err(format);
                assert_eq!((fault.code.as_str(), fault.row), ("leak", Some(number)), "{format}");
                assert_eq!(fault.column.as_deref(), Some(column), "{format}");
                assert!(!format!("{fault:?}").contains("anna"), "{format}");
                assert!(fault.advice.contains("column = \"*\", class = \"email\""), "{format}: {}", fault.advice);
                let accepting = |class| Policy { accept: vec![accept("*", class)], ..policy.clone() };
                assert!(verified(&input, &reading, &accepting("iban")).is_err(), "{format}");
                let accepted = verified(&input, &reading, &accepting("email")).expect(format).accepted;
                assert_eq!(accepted, [Accepted { column: "*".to_owned(), class: "email".to_owned(), cells: 1 }]);
            }
            let dropped = unlisted(OnUnlisted::Drop, &["id=keep"], Verify::Block);
            assert!(verified(&input, &reading, &dropped).is_ok(), "{format}");
            let spelled = ["id=keep", "anna@example.org=redact"];
            let has_paths = is_json || matches!(format, "parquet" | "arrow" | "arrow stream");
            let spelled = if has_paths { ["id=keep", "[\"anna@example.org\"]=redact"] } else { spelled };
            let spelled = unlisted(OnUnlisted::Keep, &spelled, Verify::Block);
            assert!(verified(&input, &reading, &spelled).is_ok(), "{format}");
        }
    }
}

#[test]
fn a_first_row_for_a_header() {
    let rows = [row(&["4711", "Bob Ray", "x", "2024-02-03", "7.50"])];
    let name_of = |value: &str| {
        let header = ["4711", "Anna Schmidt", value, "2024-01-31", "12.50"];
        let policy = unlisted(OnUnlisted::Redact, &[], Verify::Warn);
        let found = verified(csv(&header, &rows).as_bytes(), &Reading::default(), &policy).unwrap();
        found.leaks.into_iter().map(|leak| (leak.column, leak.class.name(), leak.row)).collect::<Vec<_>>()
    };
    for (value, class) in [
        ("anna@example.org", "email"),
        ("4111111111111111", "payment_card"),
        ("5500 0055 5555 5559", "payment_card"),
        ("DE89370400440532013000", "iban"),
        ("123-45-6789", "us_ssn"),
        ("+49 1512 3456789", "phone"),
        ("https://ann:secret@example.org/x", "url_credentials"),
        ("write to anna@example.org", "email"),
    ] {
        assert_eq!(name_of(value), [("column 3".to_owned(), class, 0)], "{value}");
    }
    // Of these nothing proves it.
    assert_eq!(name_of("Jürgen Müller"), []);
    assert_eq!(name_of("192.0.2.17"), []);
}

#[test]
fn names_that_only_look_like_values() {
    let headers: [&[&str]; 7] = [
        &["id", "2024-01-31", "2024-02-29", "31.12.2024", "Jan 2024", "Q4/2023", "2024-01-31T10:20:30Z"],
        &["1.2.3.4", "1.2.4.0", "10.0.0.1", "v1.20.3+build.77", "::1", "fe80::1"],
        &["1", "2", "2001", "401", "404", "100001", "20240131", "1700000000000", "1700000060000"],
        &["d41d8cd98f00b204e9800998ecf8427e", "550e8400-e29b-41d4-a716-446655440000", "0xDEADBEEF"],
        &["ENSG00000139618", "rs7412", "NM_000546.6", "chr17:7661779-7687550", "ISO 3166-1", "CO2 (ppm)"],
        &["@timestamp", "user@host", "price_per_100g", "Q12_3_a", "12-17 years", "65+"],
        &["Do you write to them by e-mail? (1 = never; 5 = always)", "email", "card_number", "IBAN"],
    ];
    for header in headers {
        let rows = [header.iter().map(|_| "x".to_owned()).collect::<Vec<_>>()];
        for others in [OnUnlisted::Redact, OnUnlisted::Keep] {
            let policy = unlisted(others, &["id=keep"], Verify::Warn);
            for (format, input, reading) in written(header, &rows) {
                assert_eq!(verified(&input, &reading, &policy).expect(format).leaks, [], "{format} {header:?}");
            }
        }
    }
}

#[test]
fn names_from_the_configuration_are_no_leak() {
    let dialect = Dialect { columns: vec!["anna@example.org".to_owned(), "b".to_owned()], ..Dialect::default() };
    let reading = Reading { dialect, ..Reading::default() };
    let policy = unlisted(OnUnlisted::Keep, &[], Verify::Block);
    assert!(verified(b"1,2\n", &reading, &policy).is_ok());
}

/// What is found where unlisted values are kept.
fn keys_of(lines: &str, rules: &[&str]) -> Vec<(String, &'static str, Option<String>, u64, u64)> {
    let policy = unlisted(OnUnlisted::Keep, rules, Verify::Warn);
    let found = verified(lines.as_bytes(), &Reading::default(), &policy).unwrap().leaks;
    found.into_iter().map(|leak| (leak.column, leak.class.name(), leak.of, leak.row, leak.cells)).collect()
}

#[test]
fn keys_that_are_values() {
    let lines = "{\"id\": 1, \"by\": {\"x\": {\"n\": 1}}}\n\
        {\"id\": 2, \"by\": {\"anna\\u0040example.org\": {\"n\": 1}, \"bob@example.org\": {\"n\": 2}}}\n\
        {\"id\": 3, \"by\": {\"bob@example.org\": {\"n\": 3}}}\n";
    let found = |column: &str| vec![(column.to_owned(), "email", None, 2, 2)];
    assert_eq!(keys_of(lines, &["id=keep", "by.*.n=keep"]), found("by.*"));
    assert_eq!(keys_of(lines, &["id=keep", "by.*.n=redact"]), found("by.*"));
    assert_eq!(keys_of(lines, &["id=keep"]), found("*.**"));
    assert_eq!(keys_of(lines, &["id=keep", "by=drop"]), []);
    assert_eq!(keys_of(lines, &["id=keep", "by.*=drop"]), []);
    assert_eq!(keys_of(lines, &["**=keep"]), found("*.*"));
    let policy = unlisted(OnUnlisted::Reject, &["id=keep", "by.*.n=keep"], Verify::Block);
    let fault = verified(lines.as_bytes(), &Reading::default(), &policy).unwrap_err();
    assert!(fault.sentence.starts_with("row 2, keys by.*: e-mail address is passed on unmasked, in 2 keys at least"));
    assert!(fault.advice.contains("column = \"by.*\", class = \"email\""), "{}", fault.advice);
    let accepted = Policy { accept: vec![accept("By.*", "email")], ..policy };
    assert_eq!(verified(lines.as_bytes(), &Reading::default(), &accepted).unwrap().accepted[0].cells, 2);
}

#[test]
fn masked_values_that_are_keys() {
    let line = |n: usize, key: &str| {
        format!(
            "{{\"no\": \"CUST-77{n:04}\", \"by\": [{{\"{key}\": 1}}, {{\"{key}\": 2}}], \"all\": {{\"k\": {{\"{key}\": 3}}}}}}\n"
        )
    };
    let rules = ["no=hash", "by[*].*=keep"];
    let own: String = (0..4).map(|n| line(n, if n == 2 { "CUST-770002" } else { "total" })).collect();
    let of = |column: &str, cells| (column.to_owned(), "repeated_value", Some("no".to_owned()), 3, cells);
    assert_eq!(keys_of(&own, &rules), [of("by[*].*", 2), of("*.**", 1)]);
    let other: String = (0..4).map(|n| line(n, if n == 2 { "CUST-770000" } else { "total" })).collect();
    // A value of another record is counted where it is met first.
    assert_eq!(keys_of(&other, &rules), [of("by[*].*", 2)]);
    let none: String = (0..40).map(|n| line(n, "total amount of the order")).collect();
    assert_eq!(keys_of(&none, &rules), []);
}

#[test]
fn names_of_people_that_are_keys() {
    let names = ["Miller", "Nguyen", "Kowalski", "Ferreira", "Olsen", "Yilmaz", "Rossi", "Novak", "Dubois", "Silva"];
    let line = |n: usize| format!("{{\"name\": \"{0}\", \"by\": {{\"{0}\": {n}}}}}\n", names[n % names.len()]);
    let lines: String = (0..40).map(line).collect();
    let of = ("by.*".to_owned(), "repeated_value", Some("name".to_owned()), 1, 10);
    assert_eq!(keys_of(&lines, &["name=hash", "by.*=keep"]), [of]);
}

#[test]
fn keys_that_say_what_kind_a_record_is_of() {
    let kinds = ["invoice", "payment", "refund", "shipment", "complaint"];
    let line = |n: usize| {
        let kind = kinds[n % kinds.len()];
        format!("{{\"id\": {n}, \"kind\": \"{kind}\", \"{kind}_number\": \"x\", \"{kind}\": {{\"{kind}\": 1}}}}\n")
    };
    let lines: String = (0..60).map(line).collect();
    let leaving = RowRule {
        column: "id".to_owned(),
        test: Test::In(["7"].map(str::to_owned).into_iter().collect()),
        max_rows: Some(9),
        max_share: None,
    };
    for suppress_rows in [vec![], vec![leaving]] {
        for others in [OnUnlisted::Redact, OnUnlisted::Keep] {
            let policy = unlisted(others, &["id=keep", "kind=redact"], Verify::Warn);
            let policy = Policy { suppress_rows: suppress_rows.clone(), ..policy };
            assert_eq!(verified(lines.as_bytes(), &Reading::default(), &policy).unwrap().leaks, []);
        }
    }
}

#[test]
fn keys_of_records_that_are_left_out_are_not_passed_on() {
    let test = Test::In(["2"].map(str::to_owned).into_iter().collect());
    let rule = RowRule { column: "id".to_owned(), test, max_rows: Some(9), max_share: None };
    let policy = unlisted(OnUnlisted::Keep, &["id=keep"], Verify::Warn);
    let policy = Policy { suppress_rows: vec![rule], ..policy };
    let line = |id: u64, key: &str| format!("{{\"id\": {id}, \"{key}\": 1, \"all\": {{\"{key}\": 1}}}}\n");
    let found = |lines: &str| verified(lines.as_bytes(), &Reading::default(), &policy).unwrap().leaks;
    assert_eq!(found(&(line(1, "x") + &line(2, "anna@example.org"))), []);
    let twice = line(2, "anna@example.org") + &line(3, "anna@example.org");
    let rows: Vec<(String, u64)> = found(&twice).into_iter().map(|leak| (leak.column, leak.row)).collect();
    assert_eq!(rows, [("*".to_owned(), 2), ("*.**".to_owned(), 2)]);
}

/// A record that is read in several pieces is walked over more than once.
#[test]
fn a_key_of_a_long_record_is_met_once() {
    let long = |key: &str, kept: &str| {
        let (filler, kept) = ("x".repeat(3 << 20), format!("{{\"{kept}\": [{{\"{kept}\": 1}}]}}"));
        format!("{{\"{key}\": [{{\"{key}\": 1}}, {{\"{key}\": 2}}], \"all\": {kept}, \"long\": \"{filler}\"}}\n")
    };
    let lines = "{\"long\": \"\"}\n".to_owned() + &long("anna@example.org", "bob@example.org");
    let policy = unlisted(OnUnlisted::Keep, &["*[*].*=keep"], Verify::Warn);
    let found = verified(lines.as_bytes(), &Reading::default(), &policy).unwrap().leaks;
    let found: Vec<(String, u64, u64)> = found.into_iter().map(|leak| (leak.column, leak.row, leak.cells)).collect();
    assert_eq!(found, ["*", "*[*].*", "*.*.**", "*.*"].map(|column| (column.to_owned(), 2, 1)));
}

#[test]
fn each_output_passes_on_keys_of_its_own() {
    let line = "{\"id\": 1, \"by\": {\"anna@example.org\": {\"n\": 1}}}\n";
    let output = |rules: &[&str]| Output {
        policy: unlisted(OnUnlisted::Keep, rules, Verify::Warn),
        writing: Compress::Same.into(),
        sink: Sink::Discard,
    };
    let outputs = vec![output(&["id=keep"]), output(&["id=keep", "by.*.n=keep"]), output(&["id=keep", "by=drop"])];
    let input = Input { file: file(line.as_bytes()), reading: Reading::default(), digest: DigestKind::None };
    let report = process(input, outputs, &keys(), 2, &|_| {}).unwrap();
    let found = |output: usize| report.outputs[output].verify.leaks.iter().map(|leak| leak.cells).collect::<Vec<_>>();
    assert_eq!((found(0), found(1), found(2)), (vec![1], vec![1], vec![]));
}

#[test]
fn nested_columns_are_called_by_values_too() {
    use arrow_array::StructArray;
    use arrow_schema::{DataType, Field};
    let cell: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let of = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
    let nested = StructArray::from(vec![(of("a"), cell.clone()), (of("anna@example.org"), cell.clone())]);
    let batch = RecordBatch::try_from_iter([("id", cell), ("by", Arc::new(nested) as ArrayRef)]).unwrap();
    let mut parquet = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    parquet.write(&batch).unwrap();
    let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    for input in [parquet.into_inner().unwrap(), stream.into_inner().unwrap()] {
        let policy = unlisted(OnUnlisted::Reject, &["id=keep", "by.*=redact"], Verify::Block);
        let fault = verified(&input, &Reading::default(), &policy).unwrap_err();
        assert_eq!((fault.row, fault.column.as_deref()), (Some(0), Some("column 2")));
        let accepted = Policy { accept: vec![accept("by.*", "email")], ..policy };
        assert_eq!(verified(&input, &Reading::default(), &accepted).unwrap().accepted[0].cells, 1);
    }
}

#[test]
fn conversions_and_members_are_looked_at_as_well() {
    let policy = unlisted(OnUnlisted::Redact, &[], Verify::Block);
    let table = "id,anna@example.org\n1,x\n";
    let lines = "{\"id\": 1, \"anna@example.org\": \"x\"}\n";
    for input in [table, lines] {
        for format in [OutputFormat::Csv, OutputFormat::Ndjson, OutputFormat::Parquet] {
            let writing = Writing { format, ..Writing::default() };
            match run(input.as_bytes(), &Reading::default(), &policy, writing) {
                Err(Failure::Reject(fault)) => assert_eq!(fault.code, "leak"),
                other => panic!("{format:?}: {}", other.is_ok()),
            }
        }
    }
    let members = vec![MemberRule::any()];
    let reading = Reading { members, ..Reading::default() };
    let fault = verified(&packed(&[("a.csv", "id\n1\n"), ("b.csv", table)]), &reading, &policy).unwrap_err();
    assert!(fault.sentence.starts_with("member 2: the name of column 2: e-mail address"), "{}", fault.sentence);
}

#[test]
fn leaks_of_names_and_of_cells_of_one_member_stand_apart() {
    let members = vec![MemberRule::any()];
    let reading = Reading { members, ..Reading::default() };
    let table = "4711,anna@example.org\n1,bob@example.org\n";
    let zip = packed(&[("a.csv", table), ("b.csv", table)]);
    let found = verified(&zip, &reading, &unlisted(OnUnlisted::Keep, &[], Verify::Warn)).unwrap();
    let told: Vec<_> = found.leaks.iter().map(|leak| (leak.row, leak.cells, leak.in_words())).collect();
    let what = "e-mail address is passed on unmasked, in 2";
    assert_eq!(
        told,
        [
            (0, 2, format!("the name of *: column 2: {what} names at least (email)")),
            (1, 2, format!("row 1, *: column 2: {what} cells at least (email)")),
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    /// Tables that were turned on their side.
    #[test]
    fn ordinary_names_raise_no_alarm(kind in 0..28_usize, offset in 0..1_000_000_u64, count in 1..60_u64) {
        let mut header: Vec<String> = (0..count).map(|n| ordinary(kind, offset + n)).collect();
        header.sort();
        header.dedup();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows = [header.iter().map(|_| "x".to_owned()).collect::<Vec<_>>()];
        let policy = unlisted(OnUnlisted::Redact, &[], Verify::Warn);
        let lines = serde_json::json!({"by": header.iter().map(|name| ((*name).to_owned(), 1)).collect::<std::collections::HashMap<_, _>>()});
        for input in [csv(&header, &rows), lines.to_string()] {
            prop_assert_eq!(verified(input.as_bytes(), &Reading::default(), &policy).unwrap().leaks, vec![]);
        }
    }
}
