//! gzip and zstd around delimited text.

use std::io::{Read, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use flate2::GzBuilder;
use flate2::read::MultiGzDecoder;
use parquet::arrow::ArrowWriter;
use sha2::{Digest, Sha256};

use super::{fault, policy, run};
use crate::pipeline::{Compress, Failure, Limits, MemberRule, Reading};

const PLAIN: &[u8] = b"id,ssn\n1,123-45-6789\n2,987-65-4321\n";
const MASKED: &[u8] = b"id,ssn\n1,***-**-6789\n2,***-**-4321\n";
const RULES: [&str; 2] = ["id=keep", "ssn=partial"];

fn gzip(plain: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new().filename("Alice Liddell.csv").comment("salary list").mtime(1_700_000_000);
    let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn gzip_of_many_members_comes_out_as_gzip_without_the_name() {
    let (first, rest) = PLAIN.split_at(11);
    let input = [gzip(first), gzip(b""), gzip(rest), vec![0; 512]].concat();
    let (output, report) = run(&input, &Reading::default(), &policy(&RULES), Compress::Same).unwrap();
    assert_eq!(gunzip(&output), MASKED);
    assert_eq!((report.input.format.as_str(), report.outputs[0].format.as_str()), ("csv.gz", "csv.gz"));
    assert_eq!(report.input.digest.unwrap(), format!("{:x}", Sha256::digest(&input)), "of the bytes as they came");
    assert_eq!(report.input.bytes, input.len() as u64);
    assert_eq!(&output[..10], b"\x1f\x8b\x08\0\0\0\0\0\x04\xff", "no name, no comment, no time");
}

#[test]
fn zstd_frames_and_the_chosen_compression() {
    let (first, rest) = PLAIN.split_at(20);
    let skippable = b"\x50\x2a\x4d\x18\x05\0\0\0Alice".to_vec();
    let input = [skippable, zstd(first), zstd(rest)].concat();
    let (output, report) = run(&input, &Reading::default(), &policy(&RULES), Compress::Same).unwrap();
    assert_eq!(zstd::decode_all(&output[..]).unwrap(), MASKED);
    assert_eq!(report.input.format, "csv.zst");
    let (output, report) = run(&input, &Reading::default(), &policy(&RULES), Compress::Gzip).unwrap();
    assert_eq!((gunzip(&output), report.outputs[0].format.as_str()), (MASKED.to_vec(), "csv.gz"));
    let (output, report) = run(&input, &Reading::default(), &policy(&RULES), Compress::None).unwrap();
    assert_eq!((output, report.outputs[0].format.as_str()), (MASKED.to_vec(), "csv"));
}

#[test]
fn what_compresses_within_is_not_compressed_as_a_whole() {
    let batch = RecordBatch::try_from_iter([("id", Arc::new(StringArray::from(vec!["1"])) as ArrayRef)]).unwrap();
    let mut parquet = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    parquet.write(&batch).unwrap();
    let mut arrow = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.write(&batch).unwrap();
    let archives = Reading { members: vec![MemberRule::any()], ..Reading::default() };
    let rules = policy(&["id=keep"]);
    for (input, format) in [
        (parquet.into_inner().unwrap(), "parquet"),
        (arrow.into_inner().unwrap(), "arrow"),
        (super::archive::zip(&[("a.csv", b"id\n1\n")]), "zip"),
    ] {
        let (as_it_came, _) = run(&input, &archives, &rules, Compress::Same).unwrap();
        for compress in [Compress::Gzip, Compress::Zstd, Compress::None] {
            let (output, report) = run(&input, &archives, &rules, compress).unwrap();
            assert_eq!((report.outputs[0].format.as_str(), output == as_it_came), (format, true), "{compress:?}");
            assert!(run(&output, &archives, &rules, compress).is_ok(), "{format}: it can be read again");
        }
    }
}

#[test]
fn compressed_twice_is_told() {
    for input in [gzip(&gzip(PLAIN)), zstd(&gzip(PLAIN)), gzip(&zstd(PLAIN))] {
        let fault = fault(&input, &Reading::default(), &policy(&RULES));
        assert_eq!(
            (fault.code.as_str(), fault.sentence.as_str()),
            ("unrecognised_format", "the file was compressed twice")
        );
    }
}

#[test]
fn a_large_file_streams_through_threads() {
    use std::fmt::Write as _;
    let mut plain = "id,ssn\n".to_owned();
    (0..200_000).for_each(|n| writeln!(plain, "{n},123-45-{:04}", n % 10_000).unwrap());
    let (output, report) = run(&gzip(plain.as_bytes()), &Reading::default(), &policy(&RULES), Compress::Zstd).unwrap();
    let masked = zstd::decode_all(&output[..]).unwrap();
    assert_eq!((masked.len(), report.rows_in), (plain.len(), 200_000));
    assert!(masked.ends_with(b"\n199999,***-**-9999\n"));
}

#[test]
fn cut_off_and_damaged_streams_are_rejected_with_their_position() {
    for whole in [gzip(PLAIN), zstd(PLAIN)] {
        for length in 4..whole.len() {
            let fault = fault(&whole[..length], &Reading::default(), &policy(&RULES));
            assert!(["compression_cut_off", "compression_damaged"].contains(&fault.code.as_str()), "{fault:?}");
            assert_eq!(fault.byte_offset, Some(length as u64));
            assert!(!fault.sentence.contains("Alice"));
        }
        for trailer in [&b"trailing"[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\0x"] {
            let fault = fault(&[&whole, trailer].concat(), &Reading::default(), &policy(&RULES));
            assert!(fault.code.starts_with("compression_"), "{fault:?}");
        }
        let fault = fault(&[&whole, &b"more"[..]].concat(), &Reading::default(), &policy(&RULES));
        assert!(fault.sentence.contains("something else follows it"), "{fault:?}");
        for at in 3..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            match run(&flipped, &Reading::default(), &policy(&RULES), Compress::None) {
                Ok((output, _)) => assert_eq!(output, MASKED, "byte {at}"),
                Err(failure) => assert!(matches!(failure, Failure::Reject(_)), "byte {at}: {failure:?}"),
            }
        }
    }
    assert_eq!(fault(&gzip(b""), &Reading::default(), &policy(&RULES)).code, "empty_file");
}

#[test]
fn bombs_meet_their_named_limits() {
    let mut plain = b"id,ssn\n1,".to_vec();
    plain.resize(Limits::FREE_BYTES as usize + (4 << 20), b'\n');
    let limits = Limits { max_expansion: 20, ..Limits::default() };
    for bomb in [gzip(&plain), zstd(&plain)] {
        // The rows are at fault first: empty lines in a table of two columns.
        assert_eq!(fault(&bomb, &Reading::default(), &policy(&RULES)).code, "ragged_row");
        let reading = Reading { limits: Limits { max_expanded_bytes: 1000, ..limits }, ..Reading::default() };
        let fault = fault(&bomb, &reading, &policy(&RULES));
        assert_eq!(fault.code, "expansion_exceeded");
        assert!(fault.advice.contains("`max_expanded`"));
    }
    let mut plain = b"id\n".to_vec();
    while plain.len() < Limits::FREE_BYTES as usize + (4 << 20) {
        plain.extend_from_slice(&b"1234567\n".repeat(1 << 17));
    }
    let reading = Reading { limits, ..Reading::default() };
    for bomb in [gzip(&plain), zstd(&plain)] {
        let fault = fault(&bomb, &reading, &policy(&["id=keep"]));
        assert_eq!(fault.code, "expansion_exceeded");
        assert!(fault.advice.contains("`max_expansion`"), "{fault:?}");
    }
    // The window that a frame asks for is bounded too: this one asks for 3.75 TiB.
    let fault = fault(b"\x28\xb5\x2f\xfd\x00\xff\x01\0\0", &Reading::default(), &policy(&RULES));
    assert_eq!(fault.code, "compression_window", "{fault:?}");
}
