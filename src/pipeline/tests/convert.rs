//! Outputs in another format than their input's.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    Time32MillisecondArray, Time32SecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampSecondArray,
};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::data_type::Int96;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{file, keys, policy, run};
use crate::mask::Test;
use crate::pipeline::{
    Compress, Dialect, DigestKind, Failure, Fault, Input, MemberRule, Output, OutputFormat, Reading, Report, Sink,
    Writing, process,
};
use crate::policy::{OnUnlisted, Policy, RowRule, Verify};

fn to(format: OutputFormat) -> Writing {
    Writing { format, ..Writing::default() }
}

fn keep_all() -> Policy {
    Policy { unlisted: OnUnlisted::Keep, ..policy(&[]) }
}

fn converted(input: &[u8], reading: &Reading, policy: &Policy, format: OutputFormat) -> (Vec<u8>, Report) {
    let (output, report) = run(input, reading, policy, to(format)).unwrap_or_else(|failure| panic!("{failure}"));
    let made = &report.outputs[0];
    assert_eq!(made.rows_out + made.rows_suppressed, report.rows_in);
    (output, report)
}

fn text(input: &[u8], reading: &Reading, policy: &Policy, format: OutputFormat) -> String {
    String::from_utf8(converted(input, reading, policy, format).0).unwrap()
}

fn refusal(input: &[u8], reading: &Reading, policy: &Policy, format: OutputFormat) -> Fault {
    match run(input, reading, policy, to(format)) {
        Err(Failure::Reject(fault)) => fault,
        other => panic!("not refused: {:?}", other.map(|(_, report)| report)),
    }
}

/// All rows of a Parquet file of texts, the names of its columns first.
fn table(parquet: Vec<u8>) -> Vec<Vec<Option<String>>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet)).unwrap();
    let names = builder.schema().fields().iter().map(|field| Some(field.name().clone())).collect();
    let mut rows = vec![names];
    for batch in builder.build().unwrap().map(Result::unwrap) {
        let cell = |column: &ArrayRef, row: usize| {
            let column = column.as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        rows.extend((0..batch.num_rows()).map(|row| batch.columns().iter().map(|it| cell(it, row)).collect()));
    }
    rows
}

fn row(cells: &[&str]) -> Vec<Option<String>> {
    cells.iter().map(|cell| Some((*cell).to_owned())).collect()
}

const PEOPLE: &str = "id,name,gone,note\n007,Alice,x,\"say \"\"hi\"\", you\"\n1.50,Bob,y,\n\"8\",,z,\"l\nm\"\n";

fn people() -> Policy {
    policy(&["id=keep", "name=redact", "gone=drop", "note=keep"])
}

#[test]
fn delimited_text_keeps_every_text() {
    let reading = Reading::default();
    let lines = text(PEOPLE.as_bytes(), &reading, &people(), OutputFormat::Ndjson);
    let expected = "{\"id\":\"007\",\"name\":\"[REDACTED]\",\"note\":\"say \\\"hi\\\", you\"}\n\
                    {\"id\":\"1.50\",\"name\":\"[REDACTED]\",\"note\":\"\"}\n\
                    {\"id\":\"8\",\"name\":\"\",\"note\":\"l\\nm\"}\n";
    assert_eq!(lines, expected);
    let (parquet, report) = converted(PEOPLE.as_bytes(), &reading, &people(), OutputFormat::Parquet);
    let masked = [
        row(&["id", "name", "note"]),
        row(&["007", "[REDACTED]", "say \"hi\", you"]),
        row(&["1.50", "[REDACTED]", ""]),
        row(&["8", "", "l\nm"]),
    ];
    assert_eq!(table(parquet.clone()), masked);
    assert!(!parquet.windows(5).any(|it| it == b"Alice"));
    assert_eq!((report.input.format.as_str(), report.outputs[0].format.as_str()), ("csv", "parquet"));
    let same = run(PEOPLE.as_bytes(), &reading, &people(), Compress::Same).unwrap().0;
    assert_eq!(text(PEOPLE.as_bytes(), &reading, &people(), OutputFormat::Csv).as_bytes(), same);

    let writing = Writing { format: OutputFormat::Ndjson, ..Writing::from(Compress::Gzip) };
    let (packed, report) = run(PEOPLE.as_bytes(), &reading, &people(), writing).unwrap();
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!((unpacked.as_str(), report.outputs[0].format.as_str()), (expected, "ndjson.gz"));
    let none = "id,name,gone,note\n";
    assert_eq!(text(none.as_bytes(), &reading, &people(), OutputFormat::Ndjson), "");
    assert_eq!(table(converted(none.as_bytes(), &reading, &people(), OutputFormat::Parquet).0), masked[..1]);
}

#[test]
fn every_dialect_and_encoding_comes_out_as_utf_8() {
    let mut dialect = Dialect::default();
    dialect.delimiter = dialect.byte_for('§');
    dialect.quote = dialect.byte_for('þ');
    let odd = Reading { dialect, ..Reading::default() };
    let input = "\u{feff}a§b\nþx§yþ§\u{1f}é\nþ1þþ2þ§\n";
    let policy = policy(&["a=keep", "b=keep"]);
    let expected = "{\"a\":\"x§y\",\"b\":\"\\u001fé\"}\n{\"a\":\"1þ2\",\"b\":\"\"}\n";
    assert_eq!(text(input.as_bytes(), &odd, &policy, OutputFormat::Ndjson), expected);
    let utf16: Vec<u8> = input.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(text(&utf16, &odd, &policy, OutputFormat::Ndjson), expected);

    let columns = ["a", "b"].map(str::to_owned).to_vec();
    let dialect = Dialect { escape: Some(b'\\'), comment: Some(b'#'), preamble: 1, columns, ..Dialect::default() };
    let escaped = Reading { dialect, ..Reading::default() };
    let input = "written by\n# Alice\na\\,b,\\N\n# more\n\"say \\\"x\\\"\",l\\nm\n";
    let expected = "{\"a\":\"a,b\",\"b\":\"\"}\n{\"a\":\"say \\\"x\\\"\",\"b\":\"l\\nm\"}\n";
    assert_eq!(text(input.as_bytes(), &escaped, &policy, OutputFormat::Ndjson), expected);
    let fixed = Reading { dialect: Dialect { widths: vec![1, 1], ..Dialect::default() }, ..Reading::default() };
    assert_eq!(refusal(b"ab\n12\n", &fixed, &policy, OutputFormat::Ndjson).code, "unconvertible_file");
}

#[test]
fn json_becomes_a_table_where_it_is_one() {
    let reading = Reading::default();
    let input = "[\n  {\"id\": 1.50, \"name\": \"Alice\", \"ok\": true},\n  {\"name\": null, \"id\": \"0\\u00e97\", \"n\": \"a,b\"}\n]\n";
    let rules = policy(&["id=keep", "name=redact", "ok=keep", "n=keep"]);
    let rules = Policy { missing: crate::policy::OnMissing::Ignore, ..rules };
    let csv = text(input.as_bytes(), &reading, &rules, OutputFormat::Csv);
    assert_eq!(csv, "id,name,ok,n\n1.50,[REDACTED],true,\n0é7,,,\"a,b\"\n");
    let (parquet, report) = converted(input.as_bytes(), &reading, &rules, OutputFormat::Parquet);
    let masked = table(parquet);
    assert_eq!(masked[1][..3], row(&["1.50", "[REDACTED]", "true"]));
    assert_eq!((&masked[1][3], &masked[2][1]), (&None, &None));
    assert_eq!((report.input.format.as_str(), report.outputs[0].format.as_str()), ("json", "parquet"));
    let lines = text(input.as_bytes(), &reading, &rules, OutputFormat::Ndjson);
    let first = "{\"id\": 1.50, \"name\": \"[REDACTED]\", \"ok\": true}\n";
    assert!(lines.starts_with(first) && lines.ends_with("\"n\": \"a,b\"}\n") && lines.lines().count() == 2, "{lines}");
    let spread = text(b"{\n \"a\": [1,\n 2]}\n\n{\"a\": {}}", &reading, &keep_all(), OutputFormat::Ndjson);
    assert_eq!(spread, "{\"a\":[1,2]}\n{\"a\": {}}\n");

    for (input, row, what) in [
        ("{\"a\":1}\n{\"a\":{\"b\":2}}\n", 2, "an object"),
        ("{\"a\":[1]}\n", 1, "an array"),
        ("{\"a\":\"\\ud800\"}\n", 1, "half of a character"),
    ] {
        let fault = refusal(input.as_bytes(), &reading, &keep_all(), OutputFormat::Csv);
        assert_eq!((fault.code.as_str(), fault.row), ("unconvertible_value", Some(row)), "{fault:?}");
        assert!(fault.sentence.starts_with(what), "{fault:?}");
    }
    for empty in ["[]", "{}"] {
        assert_eq!(refusal(empty.as_bytes(), &reading, &keep_all(), OutputFormat::Csv).code, "unconvertible_file");
    }
    // Beyond the first piece no column can join.
    let late = format!("{}{{\"b\":1}}\n", "{\"a\":\"some text that fills the first piece\"}\n".repeat(60_000));
    let fault = refusal(late.as_bytes(), &reading, &keep_all(), OutputFormat::Parquet);
    assert_eq!((fault.row, fault.code.as_str()), (Some(60_001), "unconvertible_value"));
}

#[test]
fn large_files_come_out_whole_and_in_order() {
    let mut input = "n,name\n".to_owned();
    (0..120_000).for_each(|n| input.push_str(&format!("{n},Alice {n}\n")));
    let row_rule = RowRule {
        column: "n".to_owned(),
        test: Test::In(["17", "80000"].map(str::to_owned).into_iter().collect()),
        max_rows: Some(5),
        max_share: None,
    };
    let rules = Policy { suppress_rows: vec![row_rule], ..policy(&["n=keep", "name=redact"]) };
    let (parquet, report) = converted(input.as_bytes(), &Reading::default(), &rules, OutputFormat::Parquet);
    let rows = table(parquet);
    assert_eq!((rows.len(), report.outputs[0].rows_out, report.outputs[0].rows_suppressed), (119_999, 119_998, 2));
    assert_eq!((rows[17][0].as_deref(), rows[18][0].as_deref()), (Some("16"), Some("18")));
    assert_eq!(rows[119_998], row(&["119999", "[REDACTED]"]));
    let lines = text(input.as_bytes(), &Reading::default(), &rules, OutputFormat::Ndjson);
    assert_eq!(lines.lines().last(), Some("{\"n\":\"119999\",\"name\":\"[REDACTED]\"}"));
}

/// Columns of many types; `nested` says whether lists and structs are among them.
fn typed(nested: bool) -> RecordBatch {
    let stamps = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC");
    let decimals = Decimal128Array::from(vec![Some(-12_345_678_901_234_567_890_i128), Some(50)]);
    let kinds: DictionaryArray<arrow_array::types::Int32Type> = ["x,y", "z"].into_iter().collect();
    let uuid = FixedSizeBinaryArray::try_from_iter([[0xab_u8; 16], [0; 16]].iter()).unwrap();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("big", Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None]))),
        ("sum", Arc::new(decimals.with_precision_and_scale(38, 2).unwrap())),
        ("born", Arc::new(Date32Array::from(vec![Some(6_310), None]))),
        ("seen", Arc::new(stamps)),
        ("ok", Arc::new(BooleanArray::from(vec![true, false]))),
        ("size", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
        ("name", Arc::new(StringArray::from(vec![Some("Alice \"A\""), Some("")]))),
        ("raw", Arc::new(BinaryArray::from(vec![Some(&b"bytes"[..]), None]))),
        ("kind", Arc::new(kinds)),
        ("code", Arc::new(uuid)),
    ];
    if nested {
        let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        let city: ArrayRef = Arc::new(StringArray::from(vec!["Ulm", "Bonn"]));
        columns.push(("tags", Arc::new(tags)));
        columns.push((
            "at",
            Arc::new(StructArray::from(vec![(Arc::new(Field::new("city", DataType::Utf8, false)), city)])),
        ));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn arrow(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn typed_rules() -> Policy {
    Policy { unlisted: OnUnlisted::Keep, ..policy(&["name=redact"]) }
}

#[test]
fn typed_columns_are_written_exactly() {
    let (reading, batch) = (Reading::default(), typed(false));
    let hex = "abababababababababababababababab";
    let csv = format!(
        "big,sum,born,seen,ok,size,name,raw,kind,code\n\
         9007199254740993,-123456789012345678.90,1987-04-12,1970-01-01T00:00:01.500000Z,true,0.1,[REDACTED],bytes,\"x,y\",{hex}\n\
         ,0.50,,,false,NaN,\"\",,z,00000000000000000000000000000000\n"
    );
    for input in [parquet(&batch), arrow(&batch)] {
        assert_eq!(text(&input, &reading, &typed_rules(), OutputFormat::Csv), csv);
        let lines = text(&input, &reading, &typed_rules(), OutputFormat::Ndjson);
        let first = format!(
            "{{\"big\":9007199254740993,\"sum\":-123456789012345678.90,\"born\":\"1987-04-12\",\
             \"seen\":\"1970-01-01T00:00:01.500000Z\",\"ok\":true,\"size\":0.1,\"name\":\"[REDACTED]\",\
             \"raw\":\"bytes\",\"kind\":\"x,y\",\"code\":\"{hex}\"}}"
        );
        assert_eq!(lines.lines().next(), Some(first.as_str()));
        assert!(lines.contains("\"size\":null,\"name\":\"\",\"raw\":null"), "{lines}");
    }
    let (made, report) = converted(&arrow(&batch), &reading, &typed_rules(), OutputFormat::Parquet);
    assert_eq!((report.input.format.as_str(), report.outputs[0].format.as_str()), ("arrow", "parquet"));
    let read = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(made)).unwrap().build().unwrap();
    let read = read.map(Result::unwrap).next().unwrap();
    assert_eq!(read.column(0).as_primitive::<Int64Type>(), batch.column(0).as_primitive::<Int64Type>());
    assert_eq!(read.column(1).as_primitive::<Decimal128Type>(), batch.column(1).as_primitive::<Decimal128Type>());
    assert_eq!(read.column(2).as_primitive::<Date32Type>(), batch.column(2).as_primitive::<Date32Type>());
    assert_eq!(read.column_by_name("name").unwrap().as_string::<i32>().value(0), "[REDACTED]");
    let same = run(&parquet(&batch), &reading, &typed_rules(), Compress::Same).unwrap().0;
    assert_eq!(converted(&parquet(&batch), &reading, &typed_rules(), OutputFormat::Parquet).0, same);
}

#[test]
fn lengths_of_time_runs_and_long_decimals_have_texts() {
    use arrow_array::types::Int32Type;
    use arrow_array::{Decimal256Array, DurationMillisecondArray, RunArray};
    use arrow_buffer::i256;
    let nines = i256::from_string(&"9".repeat(60)).unwrap();
    let sums = Decimal256Array::from(vec![Some(nines), None, Some(i256::from_i128(-5))]);
    let runs = RunArray::<Int32Type>::try_new(&[1, 3].to_vec().into(), &Int64Array::from(vec![Some(7), None])).unwrap();
    let lengths = DurationMillisecondArray::from(vec![Some(-1500), None, Some(90_000)]);
    let sums: ArrayRef = Arc::new(sums.with_precision_and_scale(76, 2).unwrap());
    let all: [(&str, ArrayRef, bool); 3] =
        [("sum", sums.clone(), true), ("run", Arc::new(runs), true), ("for", Arc::new(lengths), true)];
    let input = arrow(&RecordBatch::try_from_iter_with_nullable(all).unwrap());
    let csv = text(&input, &Reading::default(), &keep_all(), OutputFormat::Csv);
    assert_eq!(csv, format!("sum,run,for\n{}.99,7,-PT1.500S\n,,\n-0.05,,PT90.000S\n", "9".repeat(58)));
    let lines = text(&input, &Reading::default(), &keep_all(), OutputFormat::Ndjson);
    assert!(lines.ends_with("{\"sum\":-0.05,\"run\":null,\"for\":\"PT90.000S\"}\n"), "{lines}");
    let masked = text(&input, &Reading::default(), &policy(&["sum=hash", "run=hash", "for=redact"]), OutputFormat::Csv);
    assert_eq!(masked.lines().nth(2), Some(",,"));
    assert!(masked.ends_with(",,[REDACTED]\n"), "{masked}");

    let input = parquet(&RecordBatch::try_from_iter([("sum", sums)]).unwrap());
    let (output, report) = run(&input, &Reading::default(), &policy(&["sum=hash"]), Compress::Same).unwrap();
    let hashes: Vec<_> = table(output).into_iter().skip(1).flatten().collect();
    assert!(hashes[0].as_ref().is_some_and(|hash| !hash.contains("99999999")), "{hashes:?}");
    assert_eq!(
        (hashes[1].as_deref(), report.outputs[0].columns[0].type_change.as_deref()),
        (None, Some("decimal to text"))
    );
}

#[test]
fn what_has_no_place_in_the_other_format_is_refused() {
    let reading = Reading::default();
    for input in [parquet(&typed(true)), arrow(&typed(true))] {
        let lines = text(&input, &reading, &typed_rules(), OutputFormat::Ndjson);
        assert!(lines.contains(",\"tags\":[1,null],\"at\":{\"city\":\"Ulm\"}}\n"), "{lines}");
        assert!(lines.ends_with(",\"tags\":null,\"at\":{\"city\":\"Bonn\"}}\n"), "{lines}");
        let fault = refusal(&input, &reading, &typed_rules(), OutputFormat::Csv);
        assert_eq!(fault.code, "unconvertible_column");
        assert!(fault.sentence.starts_with("column \"tags\" is a list"), "{fault:?}");
        let flat = Policy { unlisted: OnUnlisted::Keep, ..policy(&["name=redact", "tags=drop", "at=drop"]) };
        assert!(text(&input, &reading, &flat, OutputFormat::Csv).starts_with("big,sum,"));
    }
    let infinite: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::INFINITY]));
    let binary: ArrayRef = Arc::new(BinaryArray::from(vec![&b"a"[..], b"\xff"]));
    for (column, format) in [(infinite, OutputFormat::Ndjson), (binary, OutputFormat::Csv)] {
        let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
        for input in [parquet(&batch), arrow(&batch)] {
            let fault = refusal(&input, &reading, &keep_all(), format);
            assert_eq!((fault.code.as_str(), fault.row), ("unconvertible_value", Some(2)), "{fault:?}");
        }
    }
}

fn of_message(message: &str, values: &[Int96]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<parquet::data_type::Int96Type>().write_batch(values, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn old_moments_and_uuids_are_written_as_elsewhere() {
    let moment = |day: u32, nanoseconds: u32| {
        let mut value = Int96::new();
        value.set_data(nanoseconds, 0, day);
        value
    };
    let message = "message m { required int96 at; }";
    let near = of_message(message, &[moment(2_440_588, 5), moment(2_440_589, 0)]);
    let csv = text(&near, &Reading::default(), &keep_all(), OutputFormat::Csv);
    assert_eq!(csv, "at\n1970-01-01T00:00:00.000000005\n1970-01-02T00:00:00.000000000\n");
    let far = of_message(message, &[moment(5_373_484, 0)]);
    assert_eq!(refusal(&far, &Reading::default(), &keep_all(), OutputFormat::Csv).code, "unconvertible_value");

    let message = "message m { required fixed_len_byte_array(16) id (UUID); }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let value = parquet::data_type::FixedLenByteArray::from(vec![0xab; 16]);
    column.typed::<parquet::data_type::FixedLenByteArrayType>().write_batch(&[value], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    let input = writer.into_inner().unwrap();
    let csv = text(&input, &Reading::default(), &keep_all(), OutputFormat::Csv);
    assert_eq!(csv, "id\nabababab-abab-abab-abab-abababababab\n");
    // Masks see the same text whatever the output is.
    let partly = policy(&["id=partial"]);
    let here = table(run(&input, &Reading::default(), &partly, Compress::Same).map(|(made, _)| made).unwrap());
    let there = text(&input, &Reading::default(), &partly, OutputFormat::Csv);
    assert_eq!(here[1][0].as_deref(), there.lines().nth(1));
    assert!(there.ends_with("-********abab\n"), "{there}");
}

#[test]
fn the_leak_scan_looks_at_conversions_too() {
    let leaky = Policy { verify: Verify::Block, ..policy(&["id=keep", "name=redact"]) };
    let csv = "id,name\nalice@example.com,Alice\n";
    let json = "{\"id\":\"alice@example.com\",\"name\":\"Alice\"}\n";
    let columns = [("id", "alice@example.com"), ("name", "Alice")];
    let columns = columns.map(|(name, text)| (name, Arc::new(StringArray::from(vec![text])) as ArrayRef));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    for input in [csv.as_bytes(), json.as_bytes(), &parquet(&batch), &arrow(&batch)] {
        for format in [OutputFormat::Csv, OutputFormat::Ndjson, OutputFormat::Parquet] {
            assert_eq!(refusal(input, &Reading::default(), &leaky, format).code, "leak", "{format:?}");
        }
    }
}

#[test]
fn sheets_and_members_are_converted() {
    let rows = [vec!["007".to_owned(), "Alice".to_owned()]];
    let sheet = super::table(&["id", "name"], &rows);
    let rules = policy(&["id=keep", "name=redact"]);
    let (made, report) = converted(&sheet, &Reading::default(), &rules, OutputFormat::Parquet);
    let expected = [row(&["id", "name"]), row(&["007", "[REDACTED]"])];
    assert_eq!((table(made), report.outputs[0].format.as_str()), (expected.to_vec(), "parquet"));

    let members = vec![MemberRule::any()];
    let all = Reading { members, ..Reading::default() };
    let packed = super::archive::zip(&[("d/a.csv", b"id,name\n007,Alice\n"), ("b.xlsx", &sheet)]);
    let (made, report) = converted(&packed, &all, &rules, OutputFormat::Ndjson);
    let line = "{\"id\":\"007\",\"name\":\"[REDACTED]\"}\n";
    let expected = [("d/a.ndjson", line), ("b.ndjson", line)].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!((super::archive::unzipped(&made), report.outputs[0].format.as_str()), (expected.to_vec(), "zip"));

    let clash = super::archive::zip(&[("a.csv", b"id,name\n007,Alice\n"), ("a.xlsx", &sheet)]);
    let fault = refusal(&clash, &all, &rules, OutputFormat::Ndjson);
    assert_eq!(fault.code, "duplicate_member");
    assert!(fault.sentence.contains("under the name of another") && fault.advice.contains("renamed"), "{fault:?}");
}

#[test]
fn seconds_and_long_days_stay_moments_in_parquet() {
    let stamps = TimestampSecondArray::from(vec![Some(1), None]).with_timezone("UTC");
    let batch = |stamps: TimestampSecondArray, days: Vec<i64>| {
        let days: ArrayRef = Arc::new(Date64Array::from(days));
        let times: ArrayRef = Arc::new(Time32SecondArray::from(vec![1, 86_399]));
        RecordBatch::try_from_iter([("seen", Arc::new(stamps) as ArrayRef), ("day", days), ("time", times)]).unwrap()
    };
    let input = arrow(&batch(stamps.clone(), vec![0, -86_400_000]));
    let output = converted(&input, &Reading::default(), &keep_all(), OutputFormat::Parquet).0;
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(output)).unwrap();
    let read = builder.build().unwrap().next().unwrap().unwrap();
    let seen = TimestampMillisecondArray::from(vec![Some(1000), None]).with_timezone("UTC");
    assert_eq!(read.column(0).as_ref(), &seen as &dyn Array);
    assert_eq!(read.column(1).as_ref(), &Date32Array::from(vec![0, -1]) as &dyn Array);
    assert_eq!(read.column(2).as_ref(), &Time32MillisecondArray::from(vec![1000, 86_399_000]) as &dyn Array);

    let far = TimestampSecondArray::from(vec![0, i64::MAX / 2]);
    for refused in [batch(far, vec![0, 0]), batch(stamps, vec![0, 1])] {
        let fault = refusal(&arrow(&refused), &Reading::default(), &keep_all(), OutputFormat::Parquet);
        assert_eq!(fault.code, "unconvertible_value", "{fault:?}");
    }
    let (field, within) = (Field::new("at", DataType::Date64, true), Date64Array::from(vec![0]));
    let nested: ArrayRef = Arc::new(StructArray::from(vec![(Arc::new(field), Arc::new(within) as ArrayRef)]));
    let nested = RecordBatch::try_from_iter([("a", nested)]).unwrap();
    let fault = refusal(&arrow(&nested), &Reading::default(), &keep_all(), OutputFormat::Parquet);
    assert_eq!(fault.code, "unconvertible_column", "{fault:?}");
}

#[test]
fn csv_has_no_place_for_nul() {
    let batch =
        RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec!["x", "y\0z"])) as ArrayRef)]).unwrap();
    for input in [b"{\"a\":\"x\"}\n{\"a\":\"y\\u0000z\"}\n".to_vec(), parquet(&batch), arrow(&batch)] {
        let fault = refusal(&input, &Reading::default(), &keep_all(), OutputFormat::Csv);
        assert_eq!((fault.code.as_str(), fault.row), ("unconvertible_value", Some(2)), "{fault:?}");
        let lines = text(&input, &Reading::default(), &keep_all(), OutputFormat::Ndjson);
        assert_eq!(lines, "{\"a\":\"x\"}\n{\"a\":\"y\\u0000z\"}\n");
    }
    let columns = ["a", "b\0c"].map(|name| (name, Arc::new(StringArray::from(vec!["x"])) as ArrayRef));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    for input in [b"{\"a\":\"x\",\"b\\u0000c\":\"x\"}\n".to_vec(), parquet(&batch), arrow(&batch)] {
        let fault = refusal(&input, &Reading::default(), &keep_all(), OutputFormat::Csv);
        assert_eq!((fault.code.as_str(), fault.column.as_deref()), ("unconvertible_column", Some("column 2")));
        let lines = text(&input, &Reading::default(), &keep_all(), OutputFormat::Ndjson);
        assert_eq!(lines, "{\"a\":\"x\",\"b\\u0000c\":\"x\"}\n");
    }
}

#[test]
fn views_are_converted_by_their_policy() {
    let shared = [super::Shared::default(), super::Shared::default()];
    let policies = [people(), policy(&["id=drop", "name=keep", "gone=drop", "note=drop"])];
    let outputs = policies.into_iter().zip(&shared).map(|(policy, sink)| Output {
        policy,
        writing: to(OutputFormat::Ndjson),
        sink: Sink::Plain(Box::new(sink.clone())),
    });
    let input = Input { file: file(PEOPLE.as_bytes()), reading: Reading::default(), digest: DigestKind::None };
    process(input, outputs.collect(), &keys(), 2, &|_| {}).unwrap();
    let made = |index: usize| String::from_utf8(shared[index].bytes()).unwrap();
    assert!(made(0).starts_with("{\"id\":\"007\",\"name\":\"[REDACTED]\","));
    assert_eq!(made(1), "{\"name\":\"Alice\"}\n{\"name\":\"Bob\"}\n{\"name\":\"\"}\n");
}

#[test]
fn damaged_files_are_refused_when_they_are_converted() {
    let (batch, rules) = (typed(true), typed_rules());
    let mut stream = StreamWriter::try_new(Vec::new(), &Schema::clone(&batch.schema())).unwrap();
    stream.write(&batch).unwrap();
    for input in [parquet(&batch), arrow(&batch), stream.into_inner().unwrap()] {
        for at in (0..input.len()).step_by(17) {
            let mut damaged = input.clone();
            damaged[at] ^= 0x31;
            let result = run(&damaged, &Reading::default(), &rules, to(OutputFormat::Ndjson));
            let defect = matches!(result, Err(Failure::Retry { .. } | Failure::Defect { .. }));
            assert!(!defect, "byte {at}: {:?}", result.map(|(_, report)| report));
        }
    }
}
