//! Outputs that are made anonymous, format by format, looked through by a slow way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;
use serde_json::Value;

use super::spreadsheet::table_as_xlsx;
use super::{Shared, fault, file, keys, run};
use crate::anonymity::Mode;
use crate::config::load_policy_file;
use crate::pipeline::{Compress, DigestKind, Failure, Input, MemberRule, Output, Reading, Report, Sink, process};
use crate::policy::Policy;

const RULES: &str = r#"
column = [
  { name = "id", mask = "keep" },
  { name = "why", mask = "keep" },
  { name = "salary", mask = "keep" },
]
[[suppress_rows]]
when = { column = "why", in = ["gone"] }
max_share = 1
[anonymity]
k = 3
max_suppressed = 0.2
[[anonymity.quasi_identifier]]
column = "age"
widths = [5, 10, 20]
[[anonymity.quasi_identifier]]
column = "zip"
prefixes = [4, 3, 1]
[[anonymity.quasi_identifier]]
column = "sex"
[[anonymity.sensitive]]
column = "salary"
l = 2
"#;

pub(super) fn policy_of(text: &str) -> Policy {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.toml");
    std::fs::write(&path, text).unwrap();
    load_policy_file(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// `id,age,zip,sex,why,salary`
type Row = [String; 6];

const HEADER: [&str; 6] = ["id", "age", "zip", "sex", "why", "salary"];

fn rows(count: usize) -> Vec<Row> {
    let row = |n: usize| {
        let age = 18 + (n * 7919 + n / 13) % 60;
        let zip = ["10115", "10117", "10243", "20095", "20097", "80331"][(n * 31 + n / 7) % 6];
        let why = if n.is_multiple_of(11) { "gone" } else { "" };
        // What is wrong in a row that goes does not count.
        let age = if n.is_multiple_of(11) { "old".to_owned() } else { age.to_string() };
        let sex = if n.is_multiple_of(3) { "f" } else { "m" };
        [n.to_string(), age, zip.to_owned(), sex.to_owned(), why.to_owned(), (n % 5 * 1000).to_string()]
    };
    (0..count).map(row).collect()
}

fn as_csv(rows: &[Row]) -> String {
    let line = |row: &Row| format!("{}\n", row.join(","));
    format!("{}\n{}", HEADER.join(","), rows.iter().map(line).collect::<String>())
}

fn from_csv(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let mut cells = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes()).into_records();
        let record = cells.next().unwrap().unwrap();
        std::array::from_fn(|column| record[column].to_owned())
    };
    text.lines().skip(1).map(row).collect()
}

/// Compares an output with its input by all that must hold of it, without knowing the levels.
fn check(before: &[Row], after: &[Row], report: &Report, k: usize, l: usize) {
    let by_id: HashMap<&str, &Row> = before.iter().map(|row| (row[0].as_str(), row)).collect();
    let mut classes: BTreeMap<&[String], Vec<&Row>> = BTreeMap::new();
    for row in after {
        let raw = by_id[row[0].as_str()];
        assert_eq!((&row[4], &row[5]), (&raw[4], &raw[5]), "a column that nobody asked for has changed");
        assert_ne!(row[4], "gone");
        classes.entry(&row[1..4]).or_default().push(row);
    }
    let ids = |rows: &[Row]| rows.iter().map(|row| row[0].parse::<usize>().unwrap()).collect::<Vec<_>>();
    assert!(ids(after).is_sorted(), "rows have changed places");
    for class in classes.values() {
        let salaries: std::collections::BTreeSet<&str> = class.iter().map(|row| row[5].as_str()).collect();
        assert!(class.len() >= k && salaries.len() >= l, "{} alike with {} salaries", class.len(), salaries.len());
    }
    let made = &report.outputs[0];
    assert_eq!((report.rows_in, made.rows_out), (before.len() as u64, after.len() as u64));
    assert_eq!(made.rows_suppressed, (before.len() - after.len()) as u64);
    let said = made.anonymity.as_ref().unwrap();
    assert_eq!(said.k, classes.values().map(|class| class.len() as u64).min());
    assert_eq!((said.holds, said.classes), (true, classes.len() as u64));
    // What each level joins, it joins for all.
    for column in 1..4 {
        let mut becomes: HashMap<&str, &str> = HashMap::new();
        for row in after {
            let raw = by_id[row[0].as_str()][column].as_str();
            assert_eq!(*becomes.entry(raw).or_insert(&row[column]), row[column]);
        }
    }
}

fn anonymous(input: &[u8], policy: &Policy) -> (Vec<u8>, Report) {
    run(input, &Reading::default(), policy, Compress::Same).unwrap()
}

#[test]
fn every_format_comes_out_the_same() {
    let (policy, before) = (policy_of(RULES), rows(900));
    let (output, report) = anonymous(as_csv(&before).as_bytes(), &policy);
    let expected = from_csv(&String::from_utf8(output).unwrap());
    check(&before, &expected, &report, 3, 2);
    assert!(expected.iter().any(|row| row[1].starts_with('[')), "nothing was generalised: {:?}", expected[0]);
    assert!(report.outputs[0].rows_suppressed > 82, "only rules have left out rows");
    let said = report.outputs[0].anonymity.clone();

    let object = |row: &Row| {
        let members: serde_json::Map<String, Value> =
            HEADER.iter().zip(row).map(|(key, cell)| ((*key).to_owned(), Value::from(cell.as_str()))).collect();
        Value::Object(members)
    };
    let from_json = |value: &Value| -> Row { HEADER.map(|key| value[key].as_str().unwrap().to_owned()) };
    let lines: String = before.iter().map(|row| format!("{}\n", object(row))).collect();
    let array = Value::from(before.iter().map(object).collect::<Vec<_>>()).to_string();
    for input in [lines, array] {
        let (output, report) = anonymous(input.as_bytes(), &policy);
        let output = String::from_utf8(output).unwrap();
        let values: Vec<Value> = match serde_json::from_str(&output) {
            Ok(values) => values,
            Err(_) => output.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        };
        assert!(values.iter().map(from_json).collect::<Vec<_>>() == expected);
        assert_eq!(report.outputs[0].anonymity, said);
    }

    let column = |column: usize| -> ArrayRef {
        match column {
            0 => Arc::new(before.iter().map(|row| row[0].parse::<i64>().ok()).collect::<Int64Array>()),
            column => Arc::new(before.iter().map(|row| Some(row[column].as_str())).collect::<StringArray>()),
        }
    };
    let batch =
        RecordBatch::try_from_iter(HEADER.iter().enumerate().map(|(place, name)| (*name, column(place)))).unwrap();
    let from_batch = |batch: &RecordBatch| -> Vec<Row> {
        let ids = batch.column(0).as_primitive::<arrow_array::types::Int64Type>();
        let cell = |row: usize, column: usize| match column {
            0 => ids.value(row).to_string(),
            column => batch.column(column).as_string::<i32>().value(row).to_owned(),
        };
        (0..batch.num_rows()).map(|row| std::array::from_fn(|column| cell(row, column))).collect()
    };
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    for start in [0, 400] {
        writer.write(&batch.slice(start, 400.min(900 - start))).unwrap();
        writer.flush().unwrap();
    }
    writer.write(&batch.slice(800, 100)).unwrap();
    let (output, report) = anonymous(&writer.into_inner().unwrap(), &policy);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(output));
    let found: Vec<Row> = reader.unwrap().build().unwrap().flat_map(|batch| from_batch(&batch.unwrap())).collect();
    assert!(found == expected);
    assert_eq!(report.outputs[0].anonymity, said);

    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch.slice(0, 500)).unwrap();
    writer.write(&batch.slice(500, 400)).unwrap();
    let (output, report) = anonymous(&writer.into_inner().unwrap(), &policy);
    let reader = arrow_ipc::reader::StreamReader::try_new(&output[..], None).unwrap();
    assert!(reader.flat_map(|batch| from_batch(&batch.unwrap())).collect::<Vec<_>>() == expected);
    assert_eq!(report.outputs[0].anonymity, said);

    let table = std::iter::once(HEADER.map(str::to_owned)).chain(before.iter().cloned());
    let (output, report) = anonymous(&table_as_xlsx(table), &policy);
    assert!(from_csv(&String::from_utf8(output).unwrap()) == expected);
    assert_eq!(report.outputs[0].anonymity, said);
}

#[test]
fn a_file_of_many_blocks_comes_out_anonymous() {
    let before = rows(120_000);
    let (output, report) = anonymous(as_csv(&before).as_bytes(), &policy_of(RULES));
    check(&before, &from_csv(&String::from_utf8(output).unwrap()), &report, 3, 2);
}

#[test]
fn outputs_of_one_reading_go_by_their_own_policies() {
    let before = rows(300);
    let watching = r#"
        column = [
          { name = "id", mask = "hash" }, { names = ["why", "salary"], mask = "keep" },
          { name = "age", mask = "generalize", width = 50, mistyped = "redact" },
          { name = "zip", mask = "truncate", keep = 1 }, { name = "sex", mask = "redact" },
        ]
        [anonymity]
        mode = "MODE"
        k = 3
        [[anonymity.quasi_identifier]]
        column = "age"
        [[anonymity.quasi_identifier]]
        column = "zip"
        [[anonymity.sensitive]]
        column = "salary"
        t = 0.5
        distance = "ordered"
    "#;
    let coarser = RULES.replace("max_suppressed = 0.2", "max_suppressed = 0.01");
    let policies = [RULES, &watching.replace("MODE", "report"), &coarser].map(policy_of);
    let sinks: Vec<Shared> = policies.iter().map(|_| Shared::default()).collect();
    let outputs = policies.iter().zip(&sinks).map(|(policy, sink)| Output {
        policy: policy.clone(),
        writing: Compress::Same.into(),
        sink: Sink::Plain(Box::new(sink.clone())),
    });
    let input =
        Input { file: file(as_csv(&before).as_bytes()), reading: Reading::default(), digest: DigestKind::Keyed };
    let report = process(input, outputs.collect(), &keys(), 2, &|_| {}).unwrap();
    let text = |output: usize| String::from_utf8(sinks[output].bytes()).unwrap();
    for output in [0, 2] {
        let own = Report { outputs: vec![report.outputs[output].clone()], ..report.clone() };
        check(&before, &from_csv(&text(output)), &own, 3, 2);
    }
    assert!(report.outputs[0].rows_out < report.outputs[2].rows_out, "the limits are each one's own");
    let made = &report.outputs[1];
    assert_eq!((made.rows_out, made.rows_suppressed, text(1).lines().count()), (300, 0, 301));
    let said = made.anonymity.as_ref().unwrap();
    let mut classes: BTreeMap<(String, String), u64> = BTreeMap::new();
    from_csv(&text(1)).into_iter().for_each(|[_, age, zip, ..]| *classes.entry((age, zip)).or_default() += 1);
    assert_eq!((said.mode, said.k), (Mode::Report, classes.values().min().copied()));
    assert!(said.quasi_identifiers.iter().all(|it| it.level.is_none()) && said.utility.is_none());

    let checking = policy_of(&watching.replace("MODE", "check"));
    assert_eq!(anonymous(as_csv(&before).as_bytes(), &checking).1.outputs[0].anonymity.as_ref().unwrap().k, said.k);
    let alone = [rows(30), vec![["900", "20", "90000", "f", "", "1"].map(str::to_owned)]].concat();
    let found = fault(as_csv(&alone).as_bytes(), &Reading::default(), &checking);
    assert_eq!(found.code, "not_anonymous");
    assert!(found.sentence.contains("k is 1, and 3 is asked for"), "{found}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let policy = policy_of(RULES);
    let refused = |rows: &[Row]| fault(as_csv(rows).as_bytes(), &Reading::default(), &policy);
    let few = refused(&rows(3)[1..]);
    assert_eq!(few.code, "not_anonymous");
    assert!(few.sentence.contains("k = 3, l = 2 of \"salary\": even at the coarsest levels"), "{few}");
    let mut bad = rows(40);
    bad[12][1] = "young".to_owned();
    let found = refused(&bad);
    assert_eq!((found.code.as_str(), found.row, found.column.as_deref()), ("mistyped_cell", Some(13), Some("age")));
    assert!(!format!("{found:?}").contains("young"));
    let without = as_csv(&rows(40)).replacen("zip", "plz", 1);
    assert_eq!(fault(without.as_bytes(), &Reading::default(), &policy).code, "missing_column");
    let record = b"{\"id\":1,\"age\":3,\"zip\":\"1\",\"sex\":\"f\",\"why\":\"\"}";
    assert_eq!(fault(record, &Reading::default(), &policy).code, "undecided_row");

    // A pipe, and members of archives.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(writer);
    let output = Output { policy: policy.clone(), writing: Compress::Same.into(), sink: Sink::Discard };
    let input = Input { file: reader.into(), reading: Reading::default(), digest: DigestKind::None };
    match process(input, vec![output], &keys(), 1, &|_| {}) {
        Err(Failure::Reject(fault)) => assert_eq!(fault.code, "read_once"),
        other => panic!("{other:?}"),
    }
    let members = vec![MemberRule { pattern: "*.csv".to_owned(), policy: Some(policy.clone()), drops: false }];
    let reading = Reading { members, ..Reading::default() };
    let archive = super::archive::zip(&[("a.csv", as_csv(&rows(40)).as_bytes())]);
    assert_eq!(fault(&archive, &reading, &super::policy(&["id=keep"])).code, "unsupported_member");
}

#[test]
fn an_unreadable_value_is_redacted_where_the_policy_says_so() {
    let policy = policy_of(&RULES.replacen("column = [", "mistyped = \"redact\"\ncolumn = [", 1));
    let mut before: Vec<Row> = rows(60);
    (20..30).for_each(|row| before[row][1] = ["young", "very old", "", "33"][row % 4].to_owned());
    let (output, report) = anonymous(as_csv(&before).as_bytes(), &policy);
    let after = from_csv(&String::from_utf8(output).unwrap());
    check(&before, &after, &report, 3, 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_goes_out_anonymous_or_not_at_all(
        cells in prop::collection::vec((0_u32..90, 0_usize..6, any::<bool>(), 0_u32..4, 0_u32..9), 0..120),
        k in 2_u32..6, share in prop::sample::select(vec!["0", "0.05", "0.3"]), utility in prop::sample::select(vec!["entropy", "loss", "discernibility", "class_size"]),
    ) {
        let zips = ["10115", "10117", "10243", "", "2", "80331"];
        let row = |(n, (age, zip, sex, salary, why)): (usize, &(u32, usize, bool, u32, u32))| {
            let why = if *why == 0 { "gone" } else { "" };
            [n.to_string(), age.to_string(), zips[*zip].to_owned(), sex.to_string(), why.to_owned(), salary.to_string()]
        };
        let before: Vec<Row> = cells.iter().enumerate().map(row).collect();
        let text = RULES.replace("k = 3", &format!("k = {k}\nutility = {utility:?}")).replace("max_suppressed = 0.2", &format!("max_suppressed = {share}"));
        match run(as_csv(&before).as_bytes(), &Reading::default(), &policy_of(&text), Compress::Same) {
            Ok((output, report)) => {
                let after = from_csv(&String::from_utf8(output).unwrap());
                check(&before, &after, &report, k as usize, 2);
                let counted = before.iter().filter(|row| row[4] != "gone").count();
                let gone = (counted - after.len()) as f64;
                prop_assert!(counted == 0 || gone / counted as f64 <= share.parse::<f64>().unwrap());
            }
            Err(Failure::Reject(fault)) => prop_assert_eq!(fault.code, "not_anonymous"),
            Err(failure) => panic!("{failure:?}"),
        }
    }
}
