//! Parquet.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, Decimal128Array, FixedSizeBinaryArray, Int32Array, MapArray, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::{CANARY, KEEP_ALL, holds, masked, people, rules};
use crate::pipeline::tests::{fault, policy, run};
use crate::pipeline::{Compress, Reading};
use crate::policy::{OnMissing, OnUnlisted, Policy};

pub(super) fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_column_compression("name".into(), Compression::ZSTD(ZstdLevel::default()))
        .set_bloom_filter_enabled(true)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_write_page_header_statistics(true)
        .set_max_row_group_row_count(Some(400))
        .set_key_value_metadata(Some(vec![
            KeyValue::new("pandas".to_owned(), format!("{{\"index\":\"{CANARY}-pandas\"}}")),
            KeyValue::new("org.apache.spark.sql.parquet.row.metadata".to_owned(), format!("{CANARY}-spark")),
        ]))
        .build()
}

pub(super) fn written(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

pub(super) fn read(file: &[u8]) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(file)).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    arrow_select::concat::concat_batches(&schema, &batches).unwrap()
}

fn metadata(file: &[u8]) -> ParquetMetaData {
    SerializedFileReader::new(Bytes::copy_from_slice(file)).unwrap().metadata().clone()
}

#[test]
fn untouched_files_keep_everything() {
    let batch = people(1000);
    let input = written(&batch, properties());
    let (output, report) = masked(&input, &policy(&KEEP_ALL));
    assert_eq!((report.rows_in, report.input.format.as_str()), (1000, "parquet"));
    assert_eq!(read(&output), read(&input));
    let (before, after) = (metadata(&input), metadata(&output));
    assert_eq!(after.num_row_groups(), 3);
    for (before, after) in before.row_groups().iter().zip(after.row_groups()) {
        assert_eq!(before.num_rows(), after.num_rows());
        for (before, after) in before.columns().iter().zip(after.columns()) {
            assert_eq!(before.compression_codec(), after.compression_codec());
            assert_eq!(before.statistics(), after.statistics());
            let chunk =
                |file: &[u8], (start, length): (u64, u64)| file[start as usize..(start + length) as usize].to_vec();
            assert_eq!(chunk(&input, before.byte_range()), chunk(&output, after.byte_range()));
            assert!(after.bloom_filter_offset().is_some() == before.bloom_filter_offset().is_some());
            assert!(after.column_index_offset().is_some());
        }
    }
    assert!(holds(&output, "canary-pandas"));
}

#[test]
fn masked_columns_leave_no_trace_and_others_stay() {
    let batch = people(1000);
    let input = written(&batch, properties());
    let plan = policy(&rules(&["name=hash", "address.street=redact", "phones[*]=partial"]));
    let (output, report) = masked(&input, &plan);
    assert!(holds(&input, CANARY) && !holds(&output, CANARY), "a byte of a masked column is left");
    let (before, after) = (read(&input), read(&output));
    for kept in ["id", "city", "born", "seen", "score", "active", "balance"] {
        assert_eq!(before.column_by_name(kept), after.column_by_name(kept), "{kept}");
        let field = |batch: &RecordBatch| batch.schema().field_with_name(kept).unwrap().clone();
        assert_eq!(field(&before), field(&after));
    }
    let names = |batch: &RecordBatch| batch.column_by_name("name").unwrap().as_string::<i32>().clone();
    let (plain, hashed) = (names(&before), names(&after));
    for row in 0..1000 {
        assert_eq!(plain.is_null(row), hashed.is_null(row));
        assert!(plain.is_null(row) || hashed.value(row).len() >= 11);
    }
    let phones = |batch: &RecordBatch| batch.column_by_name("phones").unwrap().as_list::<i32>().clone();
    let (plain, hidden) = (phones(&before), phones(&after));
    assert_eq!(plain.offsets(), hidden.offsets());
    assert_eq!(plain.nulls(), hidden.nulls());
    assert_eq!(plain.values().null_count(), hidden.values().null_count());
    let address = |batch: &RecordBatch| batch.column_by_name("address").unwrap().as_struct().clone();
    assert_eq!(address(&before).column(1), address(&after).column(1));
    assert!(address(&after).column(0).as_string::<i32>().iter().all(|street| street == Some("[REDACTED]")));
    let name = metadata(&output).row_group(0).column(1).clone();
    assert_eq!(name.compression_codec(), metadata(&input).row_group(0).column(1).compression_codec());
    assert!(name.bloom_filter_offset().is_none() && name.statistics().is_some());
    let columns = &report.outputs[0].columns;
    let masks: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.mask.as_str())).collect();
    assert!(masks.contains(&("address.street", "redact")) && masks.contains(&("phones[*]", "partial")));
    assert!(columns.iter().all(|column| column.type_change.is_none()));
}

#[test]
fn columns_made_on_several_threads_are_those_made_on_one() {
    let batch = people(8000);
    let plan = policy(&rules(&["name=partial", "address.street=redact", "id=clamp", "phones[*]=partial", "born=date"]));
    let large = written(&batch, WriterProperties::builder().set_bloom_filter_enabled(true).build());
    let [large, small] = [large, written(&batch, properties())].map(|file| masked(&file, &plan).0);
    let groups = [&large, &small].map(|file| metadata(file).num_row_groups());
    assert!(groups == [1, 20] && read(&large) == read(&small));
    assert!(!holds(&large, CANARY));
    let statistics = metadata(&large).row_group(0).column(1).statistics().cloned().unwrap();
    assert!(statistics.min_bytes_opt().is_some_and(|least| least.starts_with("*".as_bytes())));
}

#[test]
fn numbers_stay_numbers_and_other_types_become_text() {
    let batch = people(100);
    let input = written(&batch, WriterProperties::builder().build());
    let plan = policy(&rules(&["id=clamp", "born=date", "score=clamp", "balance=clamp", "seen=date", "active=hash"]));
    let (output, report) = masked(&input, &plan);
    let after = read(&output);
    let column = |name: &str| after.column_by_name(name).unwrap().clone();
    let ids = column("id");
    assert_eq!(ids.as_primitive::<Int64Type>().values().iter().max(), Some(&50));
    assert_eq!(column("score").data_type(), &DataType::Float64);
    let balances = column("balance");
    let balances = balances.as_any().downcast_ref::<Decimal128Array>().unwrap();
    assert_eq!((balances.value(0), balances.value(99)), (-3, 5000));
    assert_eq!(column("born").as_string::<i32>().value(99), "1970");
    assert_eq!(column("seen").as_string::<i32>().value(99), "1970");
    assert_eq!(column("active").data_type(), &DataType::Utf8);
    let changes = report.outputs[0].columns.iter().filter_map(|column| column.type_change.as_deref());
    assert_eq!(changes.collect::<Vec<_>>(), ["date to text", "timestamp to text", "boolean to text"]);
}

#[test]
fn nulled_and_dropped_columns() {
    let required = Field::new("n", DataType::Int32, false);
    let uuid = FixedSizeBinaryArray::try_from_iter((0..10_u8).map(|byte| [byte; 16])).unwrap();
    let batch = RecordBatch::try_new(
        Arc::new(arrow_schema::Schema::new(vec![
            required,
            Field::new("u", DataType::FixedSizeBinary(16), false),
            Field::new("k", DataType::Utf8, false),
        ])),
        vec![
            Arc::new(Int32Array::from_iter_values(0..10)),
            Arc::new(uuid),
            Arc::new(StringArray::from_iter_values((0..10).map(|n| format!("{CANARY}{n}")))),
        ],
    )
    .unwrap();
    let input = written(&batch, properties());
    let (output, _) = masked(&input, &policy(&["n=null", "u=null", "k=drop"]));
    let after = read(&output);
    assert_eq!(after.num_columns(), 2);
    assert!(after.columns().iter().all(|column| column.null_count() == 10));
    assert_eq!(after.column(0).data_type(), &DataType::Int32);
    assert!(!holds(&output, CANARY));
    let (output, _) = masked(&input, &policy(&["n=round", "u=hash", "k=drop"]));
    let after = read(&output);
    assert!(!after.schema().field(0).is_nullable());
    assert_eq!(after.column(0).as_primitive::<Int32Type>().values()[..], [0, 0, 0, 0, 0, 10, 10, 10, 10, 10]);
}

#[test]
fn maps_keep_their_keys_and_values_together() {
    let map = MapArray::new_from_strings(
        ["a", "b"].into_iter(),
        &StringArray::from(vec!["canary-1", "canary-2"]),
        &[0, 1, 2],
    )
    .unwrap();
    let batch = RecordBatch::try_from_iter([("tags", Arc::new(map) as ArrayRef)]).unwrap();
    let input = written(&batch, properties());
    let value = |rule: &str| format!("tags[*].{rule}");
    let fields = metadata(&input).file_metadata().schema().get_fields()[0].get_fields()[0].get_fields().to_vec();
    let (key, item) = (value(fields[0].name()), value(fields[1].name()));
    let (output, _) = masked(&input, &policy(&[&format!("{key}=keep"), &format!("{item}=redact")]));
    let after = read(&output);
    let entries = after.column(0).as_map().entries().clone();
    assert_eq!(entries.column(0).as_string::<i32>().value(1), "b");
    assert_eq!(entries.column(1).as_string::<i32>().value(1), "[REDACTED]");
    let code = |rules: [String; 2]| fault(&input, &Reading::default(), &policy(&[&rules[0], &rules[1]])).code;
    assert_eq!(code([format!("{key}=drop"), format!("{item}=redact")]), "unmaskable_column");
    assert_eq!(code([format!("{key}=null"), format!("{item}=keep")]), "unmaskable_column");
}

#[test]
fn the_policy_decides_over_paths() {
    let input = written(&people(50), properties());
    let code = |policy: &Policy| fault(&input, &Reading::default(), policy).code;
    assert_eq!(code(&policy(&rules(&[])[1..])), "unlisted_column");
    assert_eq!(code(&policy(&[&rules(&[])[..], &["ssn=redact"]].concat())), "missing_column");
    assert_eq!(code(&policy(&["**=keep", "address=redact"])), "mistyped_cell");
    let (_, any) = masked(&input, &policy(&["**=keep"]));
    assert_eq!(any.outputs[0].columns[1].name, "column 2", "a rule that takes any name knows none");
    let ignoring = Policy { missing: OnMissing::Ignore, ..policy(&["ssn=redact", "**=keep"]) };
    masked(&input, &ignoring);
    let (output, report) = masked(&input, &policy(&["**=keep", "address=drop", "phones[*]=drop"]));
    assert_eq!(read(&output).num_columns(), 8);
    assert_eq!(report.outputs[0].columns[8].mask, "drop");
    let redacting = Policy { unlisted: OnUnlisted::Redact, ..policy(&["id=keep"]) };
    let (output, _) = masked(&input, &redacting);
    assert!(!holds(&output, CANARY));
    let mistyped = fault(&input, &Reading::default(), &policy(&rules(&["city=clamp"])));
    assert_eq!((mistyped.code.as_str(), mistyped.row), ("mistyped_cell", Some(1)));
    assert!(!format!("{mistyped:?}").contains("Łódź"));
    let later =
        fault(&written(&people(1000), properties()), &Reading::default(), &policy(&rules(&["phones[*]=clamp"])));
    assert_eq!(later.row, Some(2), "row 1 has no phone");
}

#[test]
fn what_no_rule_knows_is_told_by_its_place_in_the_table() {
    let input = written(&people(10), properties());
    let known = ["id", "name", "city", "born", "seen", "score", "active", "balance"].map(|name| format!("{name}=keep"));
    let column = |more: &[&str], known: &[String]| {
        let all: Vec<&str> = known.iter().map(String::as_str).chain(more.iter().copied()).collect();
        fault(&input, &Reading::default(), &policy(&all)).column.unwrap()
    };
    assert_eq!(column(&[], &known), "address.?", "no rule knows what lies beside it");
    assert_eq!(column(&["address.zip=keep", "address.street=keep"], &known), "phones[*]");
    let any = policy(&["**=keep"]);
    let columns = masked(&input, &any).1.outputs.remove(0).columns;
    let names: Vec<&str> = columns[7..].iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["column 8", "column 9.?", "column 9.?", "column 10[*]"]);
}

#[test]
fn a_plain_footer_of_encrypted_columns_is_refused_as_such() {
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    let input = written(&batch, WriterProperties::builder().build());
    let (body, tail) = input.split_at(input.len() - 8);
    let length = u32::from_le_bytes(tail[..4].try_into().unwrap());
    // Behind the last field, in the place of the end: field 8, a union of which the first, an empty struct, is there.
    let noted = [&body[..body.len() - 1], &[0x1c, 0x1c, 0, 0, 0]].concat();
    let encrypted = [&noted[..], &(length + 4).to_le_bytes(), b"PAR1"].concat();
    assert_eq!(metadata(&encrypted).num_row_groups(), 1, "the library takes it");
    let refused = fault(&encrypted, &Reading::default(), &policy(&["a=keep"]));
    assert!(refused.code == "unsupported_file" && refused.sentence.contains("encrypted"), "{refused:?}");
}

#[test]
fn a_survey_sees_every_path() {
    let input = written(&people(1000), properties());
    let file = crate::pipeline::tests::file(&input);
    let mut surveyed = crate::pipeline::survey(file, &Reading::default(), true).unwrap();
    assert_eq!((surveyed.rows, surveyed.rows_looked_at, surveyed.is_rectangular), (1000, 1000, true));
    let columns: Vec<_> = surveyed.columns.iter_mut().map(|it| (it.name.clone(), it.survey.cells())).collect();
    assert_eq!(columns[1], ("name".to_owned(), (1000, 857)));
    assert_eq!(columns[8].0, "address.street");
    assert_eq!(columns[10].0, "phones[*]");
}

#[test]
fn one_long_value_many_times_is_bounded() {
    let long = "x".repeat(1 << 20);
    let words = StringArray::from_iter_values((0..100).map(|_| long.as_str()));
    let batch = RecordBatch::try_from_iter([("a", Arc::new(words) as ArrayRef)]).unwrap();
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let packed = WriterProperties::builder().set_compression(zstd).set_dictionary_page_size_limit(1 << 30).build();
    let input = written(&batch, packed);
    assert!(input.len() < 20_000, "{}", input.len());
    assert_eq!(fault(&input, &Reading::default(), &policy(&["a=hash"])).code, "expansion_exceeded");
    assert!(run(&input, &Reading::default(), &policy(&["a=keep"]), Compress::Same).is_ok());
    let scanned = Policy { verify: crate::policy::Verify::Block, ..policy(&["a=keep"]) };
    assert_eq!(fault(&input, &Reading::default(), &scanned).code, "expansion_exceeded");
}

/// As Arrow's C++ writes a table of one column without rows, with and without a dictionary.
const NO_ROWS: [&str; 2] = [
    "504152311504150015004c150015001200001504192c35001806736368656d611502001504250218026964001600191c191c26001c1504\
     19250006191802696415001600161c161c26002608291c150415001502000000161c16002608161c002820706172717565742d6370702d\
     6172726f772076657273696f6e2032362e302e31191c1c0000007600000050415231",
    "504152311504192c35001806736368656d611502001504250218026964001600191c191c26001c15041915061918026964150016001600\
     16002600490c00001600160026001600002820706172717565742d6370702d6172726f772076657273696f6e2032362e302e31191c1c00\
     00006c00000050415231",
];

#[test]
fn a_table_without_rows_has_pages_nowhere() {
    for hex in NO_ROWS {
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        let input: Vec<u8> = bytes.collect();
        for rule in ["id=keep", "id=hash"] {
            let (output, report) = masked(&input, &policy(&[rule]));
            assert_eq!((report.rows_in, metadata(&output).file_metadata().num_rows()), (0, 0), "{rule}");
            let csv = crate::pipeline::Writing { format: crate::pipeline::OutputFormat::Csv, ..Compress::Same.into() };
            assert_eq!(run(&input, &Reading::default(), &policy(&[rule]), csv).unwrap().0, b"id\n");
        }
    }
}

#[test]
fn damaged_files_are_refused() {
    let input = written(&people(1000), properties());
    let rules = rules(&["name=hash", "phones[*]=hash"]);
    let plan = policy(&rules);
    for cut in [4, 11, 12, 100, input.len() / 2, input.len() - 1] {
        assert_eq!(fault(&input[..cut], &Reading::default(), &plan).code, "malformed_file", "{cut}");
    }
    // Whatever byte changes: never a failure that would be tried again.
    for at in (0..input.len()).step_by(509) {
        let mut damaged = input.clone();
        damaged[at] ^= 0x55;
        let result = run(&damaged, &Reading::default(), &plan, Compress::Same);
        assert!(!matches!(result, Err(crate::pipeline::Failure::Retry { .. })), "byte {at}: {result:?}");
    }
}
