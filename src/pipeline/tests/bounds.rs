//! What conversions may come to, and how little of it is held at a time.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, types::Int32Type};
use arrow_ipc::writer::FileWriter;

use super::{file, keys, policy, run};
use crate::pipeline::{
    DigestKind, Failure, Fault, Input, Limits, MemberRule, Output, OutputFormat, Reading, Sink, Writing, process,
};
use crate::policy::{OnUnlisted, Policy};

fn keep_all() -> Policy {
    Policy { unlisted: OnUnlisted::Keep, ..policy(&[]) }
}

fn to(format: OutputFormat) -> Writing {
    Writing { format, ..Writing::default() }
}

/// A record with so many keys, and then records without any.
fn wide(keys: usize, records: usize) -> Vec<u8> {
    let members: Vec<String> = (0..keys).map(|key| format!("\"k{key}\":1")).collect();
    format!("{{{}}}\n{}", members.join(","), "{}\n".repeat(records)).into_bytes()
}

fn limited(max_expanded_bytes: u64) -> Reading {
    Reading { limits: Limits { max_expanded_bytes, ..Limits::default() }, ..Reading::default() }
}

fn refusal(input: &[u8], reading: &Reading, format: OutputFormat) -> Fault {
    match run(input, reading, &keep_all(), to(format)) {
        Err(Failure::Reject(fault)) => fault,
        other => panic!("not refused: {:?}", other.map(|(_, report)| report)),
    }
}

#[test]
fn few_bytes_may_not_stand_for_any_number_of_fields() {
    let (lines, limit) = (wide(1000, 2000), 1 << 20);
    let names: Vec<String> = (0..100).map(|column| format!("a column whose name is long {column}")).collect();
    let csv = format!("{}\n{}", names.join(","), format!("{}\n", ",".repeat(99)).repeat(2000)).into_bytes();
    let long: DictionaryArray<Int32Type> = std::iter::repeat_n("x".repeat(1000).as_str(), 2000).collect();
    let batch = RecordBatch::try_from_iter([("a", Arc::new(long) as ArrayRef)]).unwrap();
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    let arrow = writer.into_inner().unwrap();
    for (input, format, least) in [
        (&lines, OutputFormat::Csv, 1000),
        (&lines, OutputFormat::Parquet, 1000),
        (&csv, OutputFormat::Ndjson, 200),
        (&arrow, OutputFormat::Csv, 1000),
    ] {
        let fault = refusal(input, &limited(limit), format);
        assert_eq!(fault.code, "expansion_exceeded", "{fault:?}");
        assert!(fault.row.is_some_and(|row| (least..2000).contains(&row)), "{fault:?}");
        assert!(fault.sentence.contains("of the output on") && fault.advice.contains("`max_expanded`"), "{fault:?}");
        run(input, &limited(16 << 20), &keep_all(), to(format)).unwrap();
    }
    let small = Limits { max_expansion: 2, ..Limits::default() };
    let fault = refusal(&wide(4000, 4400), &Reading { limits: small, ..Reading::default() }, OutputFormat::Csv);
    assert!(fault.advice.contains("`max_expansion`"), "{fault:?}");
}

/// Its writer holds buffers for each column.
#[test]
fn parquet_has_no_more_columns_than_paths_are_allowed() {
    let csv = |width: usize| {
        let names: Vec<String> = (0..width).map(|column| format!("c{column}")).collect();
        format!("{}\n{}\n", names.join(","), vec!["x"; width].join(",")).into_bytes()
    };
    let reading = Reading { limits: Limits { max_paths: 20, ..Limits::default() }, ..Reading::default() };
    let fault = refusal(&csv(21), &reading, OutputFormat::Parquet);
    assert_eq!(fault.code, "too_many_paths");
    assert_eq!(fault.sentence, "21 columns would go into one Parquet file, and `max_paths` lets 20 do so");
    let dropping = Policy { columns: policy(&["c0=drop"]).columns, ..keep_all() };
    run(&csv(21), &reading, &dropping, to(OutputFormat::Parquet)).unwrap();
    for (width, format) in [(20, OutputFormat::Parquet), (21, OutputFormat::Ndjson), (21, OutputFormat::Csv)] {
        run(&csv(width), &reading, &keep_all(), to(format)).unwrap();
    }
}

#[test]
fn members_of_an_archive_expand_together() {
    let lines = String::from_utf8(wide(1000, 600)).unwrap();
    let packed = super::archive::zip(&[("a.ndjson", lines.as_bytes()), ("b.ndjson", lines.as_bytes())]);
    let members = vec![MemberRule::any()];
    let fault = refusal(&packed, &Reading { members: members.clone(), ..limited(1 << 20) }, OutputFormat::Csv);
    assert_eq!((fault.code.as_str(), &fault.sentence[..9]), ("expansion_exceeded", "member 2:"), "{fault:?}");
    run(&packed, &Reading { members, ..limited(2 << 20) }, &keep_all(), to(OutputFormat::Csv)).unwrap();
}

/// Notes the most bytes that came at a time.
#[derive(Clone, Default)]
struct Widest(Arc<AtomicUsize>);

impl Write for Widest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_max(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_piece_becomes_is_written_bit_by_bit() {
    for format in [OutputFormat::Csv, OutputFormat::Ndjson] {
        let widest = Widest::default();
        let input = match format {
            OutputFormat::Csv => wide(1000, 3000),
            _ => format!("{}\n{}", "abcdefghij".repeat(20), "x\n".repeat(20_000)).into_bytes(),
        };
        let input = Input { file: file(&input), reading: Reading::default(), digest: DigestKind::None };
        let output = Output { policy: keep_all(), writing: to(format), sink: Sink::Plain(Box::new(widest.clone())) };
        let report = process(input, vec![output], &keys(), 2, &|_| {}).unwrap();
        let (bytes, most) = (report.outputs[0].bytes, widest.0.load(Ordering::Relaxed));
        assert!(bytes > 2 << 20 && most < 300 << 10, "{most} of {bytes} bytes at a time");
    }
}
