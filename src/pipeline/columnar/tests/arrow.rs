//! Arrow IPC.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, Decimal128Array, DictionaryArray, Int32Array, LargeStringArray, ListArray, RecordBatch,
    StringArray, StringViewArray, StructArray, UInt8Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema, UnionMode};

use super::{CANARY, KEEP_ALL, holds, masked, people, rules};
use crate::pipeline::tests::{fault, policy, run};
use crate::pipeline::{Compress, Failure, Reading};
use crate::policy::{Policy, Verify};

fn options(compression: Option<CompressionType>) -> IpcWriteOptions {
    IpcWriteOptions::default().try_with_compression(compression).unwrap()
}

pub(super) fn file(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options(compression)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.write_metadata("note", format!("{CANARY}-footer"));
    writer.into_inner().unwrap()
}

pub(super) fn stream(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options(compression)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

pub(super) fn read(bytes: &[u8]) -> Vec<RecordBatch> {
    if bytes.starts_with(b"ARROW1") {
        FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap().map(Result::unwrap).collect()
    } else {
        StreamReader::try_new(bytes, None).unwrap().map(Result::unwrap).collect()
    }
}

fn noted(batch: &RecordBatch) -> RecordBatch {
    let note: std::collections::HashMap<String, String> = [("pandas".to_owned(), format!("{CANARY}-pandas"))].into();
    let schema = Schema::clone(&batch.schema()).with_metadata(note);
    RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap()
}

/// A batch whose kept columns have notes of programs, on every level of their types.
fn noted_fields() -> RecordBatch {
    let note = |field: Field| {
        let notes = [("comment", CANARY), ("ARROW:extension:name", "of.mine"), ("ARROW:extension:metadata", "{}")];
        field.with_metadata(notes)
    };
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 2]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let item = Arc::new(note(Field::new("item", DataType::Int32, true)));
    let lists: ArrayRef =
        Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths([1, 1, 1]), ids.clone(), None).unwrap());
    let within = note(Field::new("at", lists.data_type().clone(), true));
    let structs: ArrayRef = Arc::new(StructArray::try_new(vec![within].into(), vec![lists], None).unwrap());
    let values = Arc::new(note(Field::new("values", DataType::Int32, true)));
    let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
    let runs = arrow_array::RunArray::<arrow_array::types::Int32Type>::try_new(
        &Int32Array::from(vec![1, 3]),
        &Int32Array::from(vec![7, 8]),
    );
    let runs = runs.unwrap().to_data().into_builder().data_type(DataType::RunEndEncoded(ends, values));
    let runs = arrow_array::make_array(runs.build().unwrap());
    let columns = [("id", ids), ("name", names), ("in", structs), ("runs", runs)];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| note(Field::new(*name, array.data_type().clone(), true))).collect();
    let columns = columns.map(|(_, array)| array).to_vec();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn notes_of_fields_stay_only_with_all_columns() {
    let batch = noted_fields();
    let some = policy(&["id=keep", "name=redact", "**=keep"]);
    let all = policy(&["**=keep"]);
    for input in [file(std::slice::from_ref(&batch), None), stream(std::slice::from_ref(&batch), None)] {
        let same = run(&input, &Reading::default(), &all, Compress::Same).unwrap().0;
        assert_eq!(read(&same)[0].schema(), batch.schema());
        let output = run(&input, &Reading::default(), &some, Compress::Same).unwrap().0;
        let made = read(&output);
        let schema = made[0].schema();
        assert!(!holds(&output, CANARY));
        for name in ["id", "in", "runs"] {
            assert_eq!(schema.field_with_name(name).unwrap().extension_type_name(), Some("of.mine"), "{name}");
        }
        let ids: &Int32Array = made[0].column(0).as_primitive();
        assert_eq!((ids, made[0].num_rows()), (batch.column(0).as_primitive(), 3));
        let nested = |batch: &RecordBatch| {
            let list = batch.column(2).as_struct().column(0).as_list::<i32>().values().clone();
            let runs = batch.column(3).as_run::<arrow_array::types::Int32Type>().values().clone();
            (list, runs)
        };
        assert_eq!(nested(&made[0]), nested(&batch));
    }
    // What the leak scan can prove in a note does not go out even so.
    let mail = Schema::clone(&people(3).schema()).with_metadata([("by", "alice@example.com")]);
    let batch = RecordBatch::try_new(Arc::new(mail), people(3).columns().to_vec()).unwrap();
    for (verify, stays) in [(Verify::Off, true), (Verify::Block, false)] {
        let policy = Policy { verify, ..policy(&KEEP_ALL) };
        let arrow = run(&stream(std::slice::from_ref(&batch), None), &Reading::default(), &policy, Compress::Same);
        let parquet = super::parquet::written(&batch, parquet::file::properties::WriterProperties::default());
        let parquet = run(&parquet, &Reading::default(), &policy, Compress::Same).unwrap().0;
        let read_back = super::parquet::read(&parquet);
        for schema in [read(&arrow.unwrap().0)[0].schema(), read_back.schema()] {
            assert_eq!(schema.metadata().contains_key("by"), stays, "{verify:?}");
        }
    }
}

fn inputs() -> Vec<Vec<u8>> {
    let batches = [noted(&people(300)), noted(&people(40).slice(7, 30))];
    let packed = [None, Some(CompressionType::ZSTD), Some(CompressionType::LZ4_FRAME)];
    let all = packed.into_iter().flat_map(|packed| [stream(&batches, packed), file(&batches[..1], packed)]);
    all.collect()
}

#[test]
fn untouched_files_keep_everything() {
    for input in inputs() {
        let (output, report) = masked(&input, &policy(&KEEP_ALL));
        assert_eq!((read(&output), report.input.format.as_str()), (read(&input), "arrow"));
        assert_eq!(output.starts_with(b"ARROW1"), input.starts_with(b"ARROW1"));
        let (before, after) = (input.len(), output.len());
        assert!(after.abs_diff(before) < 2000, "compressed as it came: {before} and {after} bytes");
        assert_eq!(report.rows_in, read(&input).iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
    }
}

#[test]
fn masked_columns_leave_no_trace_and_others_stay() {
    let plan = policy(&rules(&["name=hash", "address.street=redact", "phones[*]=partial"]));
    for input in inputs() {
        let (output, report) = masked(&input, &plan);
        assert!(!holds(&output, CANARY), "a byte of a masked column is left");
        for (before, after) in read(&input).iter().zip(read(&output)) {
            for kept in ["id", "city", "born", "seen", "score", "active", "balance"] {
                assert_eq!(before.column_by_name(kept), after.column_by_name(kept), "{kept}");
            }
            let phones = |batch: &RecordBatch| batch.column_by_name("phones").unwrap().as_list::<i32>().clone();
            assert_eq!(phones(before).nulls(), phones(&after).nulls());
            let lengths = |batch: &RecordBatch| phones(batch).offsets().lengths().collect::<Vec<_>>();
            assert_eq!(lengths(before), lengths(&after));
            let address = after.column_by_name("address").unwrap().as_struct().clone();
            assert!(address.column(0).as_string::<i32>().iter().all(|street| street == Some("[REDACTED]")));
        }
        assert!(report.outputs[0].columns.iter().all(|column| column.type_change.is_none()));
    }
}

#[test]
fn types_are_kept_where_they_can_be() {
    let input = stream(&[people(100)], None);
    let plan = policy(&rules(&["id=clamp", "city=hash", "born=date", "balance=clamp", "seen=null", "active=redact"]));
    let (output, report) = masked(&input, &plan);
    let after = &read(&output)[0];
    let column = |name: &str| after.column_by_name(name).unwrap().clone();
    assert_eq!(column("id").as_primitive::<Int64Type>().values().iter().max(), Some(&50));
    assert_eq!(column("balance").as_any().downcast_ref::<Decimal128Array>().unwrap().value(99), 5000);
    assert_eq!(column("born").as_string::<i32>().value(99), "1970");
    assert_eq!((column("seen").null_count(), column("active").data_type()), (100, &DataType::Utf8));
    assert!(matches!(column("seen").data_type(), DataType::Timestamp(..)));
    let changes: Vec<_> = report.outputs[0].columns.iter().filter_map(|it| it.type_change.as_deref()).collect();
    assert_eq!(changes, ["dictionary to text", "date to text", "boolean to text"]);
    let batch = RecordBatch::try_from_iter([
        ("l", Arc::new(LargeStringArray::from(vec![Some("canary-1"), None, Some("")])) as ArrayRef),
        ("v", Arc::new(StringViewArray::from(vec![Some("canary and a long text"), None, Some("")]))),
        ("u", Arc::new(UInt8Array::from(vec![Some(7), None, Some(90)]))),
    ])
    .unwrap();
    let (output, _) = masked(&file(&[batch], None), &policy(&["l=redact", "v=partial", "u=clamp"]));
    let after = &read(&output)[0];
    assert_eq!(after.column(0).as_string::<i64>().iter().collect::<Vec<_>>(), [Some("[REDACTED]"), None, Some("")]);
    assert!(after.column(1).as_string_view().value(0).ends_with("text") && !holds(&output, CANARY));
    assert_eq!(after.column(2).as_primitive::<arrow_array::types::UInt8Type>().value(2), 50);
}

/// Below what is missing, between lists and in unused entries of dictionaries lie bytes that a reader does not show.
#[test]
fn nothing_hidden_is_carried_along() {
    let secrets = || StringArray::from(vec!["canary-a", "canary-b", "canary-c", "canary-d"]);
    let name = Field::new("name", DataType::Utf8, false);
    let whole: StructArray = StructArray::new(
        vec![name.clone()].into(),
        vec![Arc::new(secrets())],
        Some(NullBuffer::from(vec![true, false, true, false])),
    );
    let items = Arc::new(Field::new("item", DataType::Utf8, false));
    let offsets = OffsetBuffer::new(vec![0, 1, 1, 3, 4].into());
    let list =
        ListArray::new(items, offsets, Arc::new(secrets()), Some(NullBuffer::from(vec![true, true, false, true])));
    let keys = arrow_array::Int8Array::from(vec![Some(0), None, Some(2), Some(0)]);
    let words = DictionaryArray::<Int8Type>::new(keys, Arc::new(secrets()));
    let masked_null = StringArray::new(
        OffsetBuffer::new(vec![0, 8, 16, 24, 32].into()),
        "canary-acanary-bcanary-ccanary-d".as_bytes().into(),
        Some(NullBuffer::from(vec![true, false, true, false])),
    );
    let columns: Vec<(&str, ArrayRef)> =
        vec![("s", Arc::new(whole)), ("l", Arc::new(list)), ("d", Arc::new(words)), ("n", Arc::new(masked_null))];
    let input = stream(&[RecordBatch::try_from_iter(columns).unwrap()], None);
    assert!(holds(&input, "canary-b"));
    let (output, _) = masked(&input, &policy(&["s.name=redact", "l[*]=redact", "d=redact", "n=redact"]));
    assert!(!holds(&output, CANARY));
    let after = &read(&output)[0];
    let names = after.column(0).as_struct().column(0).as_string::<i32>().clone();
    assert_eq!((names.value(0), names.value(1)), ("[REDACTED]", ""));
    assert_eq!(after.column(2).as_string::<i32>().null_count(), 1);
    // What is hidden is not looked at either.
    let mistyped = fault(&input, &Reading::default(), &policy(&["s.name=keep", "l[*]=clamp", "d=keep", "n=keep"]));
    assert_eq!((mistyped.row, mistyped.column.as_deref()), (Some(1), Some("l[*]")));
}

#[test]
fn damaged_files_are_refused() {
    let plan = policy(&rules(&["name=hash", "phones[*]=hash"]));
    for input in inputs() {
        for cut in [9, 40, input.len() / 2] {
            let reading = Reading { accept: vec![crate::pipeline::Format::Arrow], ..Reading::default() };
            assert_eq!(fault(&input[..cut], &reading, &plan).code, "malformed_file", "{cut}");
        }
        for at in (0..input.len()).step_by(499) {
            let mut damaged = input.clone();
            damaged[at] ^= 0x55;
            let result = run(&damaged, &Reading::default(), &plan, Compress::Same);
            assert!(!matches!(result, Err(crate::pipeline::Failure::Retry { .. })), "byte {at}: {result:?}");
        }
    }
}

#[test]
fn what_stands_behind_a_stream_s_end_is_not_lost() {
    let one = stream(&[people(10)], None);
    for more in [&one[..], b"junk", &[0]] {
        let fault = fault(&[&one, more].concat(), &Reading::default(), &policy(&KEEP_ALL));
        assert_eq!((fault.code.as_str(), fault.byte_offset), ("malformed_file", Some(one.len() as u64)));
        assert!(fault.sentence.contains("goes on behind its end mark"), "{}", fault.sentence);
    }
    // The mark itself may be missing.
    let (output, report) = run(&one[..one.len() - 8], &Reading::default(), &policy(&KEEP_ALL), Compress::Same).unwrap();
    assert_eq!((read(&output), report.rows_in), (vec![people(10)], 10));
}

#[test]
fn where_a_file_is_damaged_is_told() {
    let batches = [people(100), people(100)];
    let (file, stream) = (file(&batches, None), stream(&batches, None));
    let said = |input: &[u8]| fault(input, &Reading::default(), &policy(&KEEP_ALL)).sentence;
    for cut in [20, file.len() / 2, file.len() - 1] {
        let expected = format!("the Arrow IPC file was cut off: it ends without a footer, at byte offset {cut}");
        assert_eq!(said(&file[..cut]), expected);
    }
    let junk = [&file[..], b"junk"].concat();
    let behind = format!("something follows behind the end of the Arrow IPC file, at byte offset {}", file.len());
    assert_eq!(said(&junk), behind);
    let length = file.len() - 10;
    let bad = [&file[..length], &(-1_i32).to_le_bytes(), b"ARROW1"].concat();
    assert!(said(&bad).ends_with(&format!("at byte offset {length}")), "{}", said(&bad));
    let cut = stream.len() * 3 / 4;
    let expected = format!("the Arrow IPC stream was cut off: it ends within batch 2, at byte offset {cut}");
    assert_eq!(said(&stream[..cut]), expected);
    let expected = "the Arrow IPC stream was cut off: it ends within the schema, at byte offset 20";
    assert_eq!(said(&stream[..20]), expected);
}

#[test]
fn one_value_of_a_dictionary_a_million_times_is_bounded() {
    let values = StringArray::from(vec!["x".repeat(5000)]);
    let keys = arrow_array::Int32Array::from(vec![0; 1_000_000]);
    let array: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(values)));
    let input = stream(&[RecordBatch::try_from_iter([("n", array)]).unwrap()], Some(CompressionType::ZSTD));
    assert!(input.len() < 100_000);
    assert_eq!(fault(&input, &Reading::default(), &policy(&["n=partial"])).code, "expansion_exceeded");
    // What is kept is read by the leak scan alone.
    let scanned = Policy { verify: Verify::Block, ..policy(&["n=keep"]) };
    assert_eq!(fault(&input, &Reading::default(), &scanned).code, "expansion_exceeded");
}

#[test]
fn what_a_buffer_says_to_become_is_bounded() {
    let numbers = Int32Array::from_iter_values((0..5000).map(|n| n % 3));
    let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).unwrap();
    for input in [
        stream(std::slice::from_ref(&batch), Some(CompressionType::ZSTD)),
        file(&[batch], Some(CompressionType::LZ4_FRAME)),
    ] {
        let length = 20_000_u64.to_le_bytes();
        let at = input.windows(8).position(|window| window == length).unwrap();
        let bomb = [&input[..at], &(300_u64 << 30).to_le_bytes(), &input[at + 8..]].concat();
        assert_eq!(fault(&bomb, &Reading::default(), &policy(&["n=keep"])).code, "expansion_exceeded");
    }
}

#[test]
fn a_survey_sees_every_path() {
    let input = crate::pipeline::tests::file(&stream(&[people(100)], None));
    let surveyed = crate::pipeline::survey(input, &Reading::default(), true).unwrap();
    let columns: Vec<_> = surveyed.columns.iter().map(|it| (it.name.as_str(), it.survey.cells())).collect();
    assert_eq!((surveyed.rows, columns[1]), (100, ("name", (100, 85))));
    assert_eq!(columns[10].0, "phones[*]");
    let ints = RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    let input = crate::pipeline::tests::file(&file(&[ints], None));
    assert_eq!(crate::pipeline::survey(input, &Reading::default(), true).unwrap().rows, 1);
}

#[test]
fn arrays_without_bytes_are_bounded() {
    use arrow_array::{FixedSizeListArray, LargeListArray, NullArray, RunArray};
    const MANY: usize = 1 << 30;
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let nulls: ArrayRef = Arc::new(NullArray::new(MANY));
    let offsets = OffsetBuffer::new(vec![0, MANY as i64].into());
    let list = LargeListArray::try_new(item.clone(), offsets, nulls.clone(), None).unwrap();
    let none: ArrayRef = Arc::new(NullArray::new(0));
    let lists = FixedSizeListArray::try_new_with_length(item, 0, none, None, MANY).unwrap();
    let runs = RunArray::<Int64Type>::try_new(&vec![MANY as i64].into(), &StringArray::from(vec!["x"])).unwrap();
    let all: [ArrayRef; 4] = [nulls, Arc::new(list), Arc::new(lists), Arc::new(runs)];
    for array in all {
        let name = format!("{:?}", array.data_type());
        let batch = RecordBatch::try_from_iter_with_nullable([("a", array, true)]).unwrap();
        for input in [file(std::slice::from_ref(&batch), None), stream(std::slice::from_ref(&batch), None)] {
            let refused = fault(&input, &Reading::default(), &policy(&["**=keep"]));
            assert_eq!(refused.code, "expansion_exceeded", "{name}");
        }
    }
    let nothing = arrow_array::FixedSizeBinaryArray::try_new_with_len(0, arrow_buffer::Buffer::default(), None, 3);
    let batch = RecordBatch::try_from_iter([("a", Arc::new(nothing.unwrap()) as ArrayRef)]).unwrap();
    let to = crate::pipeline::Writing { format: crate::pipeline::OutputFormat::Parquet, ..Default::default() };
    match run(&stream(&[batch], None), &Reading::default(), &policy(&["a=keep"]), to) {
        Err(crate::pipeline::Failure::Reject(fault)) => assert_eq!(fault.code, "unconvertible_column"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn places_beyond_all_files_are_the_file_s_fault() {
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    let input = file(&[batch], None);
    for at in input.len() / 2..input.len() - 8 {
        for place in [i64::MIN, i64::MAX] {
            let mut moved = input.clone();
            moved[at..at + 8].copy_from_slice(&place.to_le_bytes());
            let result = run(&moved, &Reading::default(), &policy(&["**=keep"]), Compress::Same);
            let is_ours = matches!(result, Err(Failure::Retry { .. } | Failure::Defect { .. }));
            assert!(!is_ours, "byte {at}: {:?}", result.map(|(_, report)| report));
        }
    }
}

#[test]
fn a_map_of_something_else_than_pairs_is_the_file_s_fault() {
    let key = Field::new("key", DataType::Utf8, false);
    let alone = DataType::Struct(vec![key.clone()].into());
    for entries in [DataType::Utf8, DataType::Boolean, alone] {
        let map = DataType::Map(Arc::new(Field::new("entries", entries.clone(), false)), false);
        let within = |name: &str| Arc::new(Field::new(name, map.clone(), true));
        let runs = DataType::RunEndEncoded(Arc::new(Field::new("run_ends", DataType::Int32, false)), within("values"));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(map.clone()));
        let union = DataType::Union([(0, within("a"))].into_iter().collect(), UnionMode::Sparse);
        for data_type in [map.clone(), DataType::List(within("item")), runs, dictionary, union] {
            let schema = Schema::new(vec![key.clone(), Field::new("a", data_type.clone(), true)]);
            let mut input = Vec::new();
            StreamWriter::try_new(&mut input, &schema).unwrap().finish().unwrap();
            let refused = fault(&input, &Reading::default(), &policy(&["**=keep"]));
            assert_eq!(refused.code, "malformed_file", "{data_type}");
        }
    }
}
