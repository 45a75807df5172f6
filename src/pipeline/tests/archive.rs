//! Archives.

use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{fault, policy, run};
use crate::mask::{Mask, MaskParams};
use crate::pipeline::{Compress, Failure, Limits, MemberRule, Reading, Report};
use crate::policy::Policy;

const PEOPLE: &str = "id,name\n1,Alice\n2,Bob\n";
const MASKED: &str = "id,name\n1,[REDACTED]\n2,[REDACTED]\n";
const ORDERS: &str = "{\"name\":\"Alice\",\"sum\":7}\n";

fn rule(pattern: &str, policy: Option<Policy>, drops: bool) -> MemberRule {
    MemberRule { pattern: pattern.to_owned(), policy, drops }
}

fn reading() -> Reading {
    let orders = Some(policy(&["name=redact", "sum=keep"]));
    let members = vec![rule("*.csv", None, false), rule("orders/*", orders, false), rule("*.txt", None, true)];
    Reading { members, ..Reading::default() }
}

fn people() -> Policy {
    policy(&["id=keep", "name=redact"])
}

pub(super) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in members {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.set_comment("packed by Alice").unwrap();
    writer.finish().unwrap().into_inner()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        header.set_username("alice").unwrap();
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A member under a name that the builders would refuse.
fn tar_of(name: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_cksum();
    [&header.as_bytes()[..], &[0; 1024]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unpacked(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    let count = archive.len();
    let one = |index: usize| {
        let mut member = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        (member.name().unwrap().into_owned(), bytes)
    };
    (0..count).map(one).collect()
}

fn as_text((name, bytes): (String, Vec<u8>)) -> (String, String) {
    (name, String::from_utf8(bytes).unwrap())
}

pub(super) fn unzipped(archive: &[u8]) -> Vec<(String, String)> {
    unpacked(archive).into_iter().map(as_text).collect()
}

fn untarred_bytes(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let archive: Box<dyn Read> = match archive {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::GzDecoder::new(archive)),
        _ => Box::new(archive),
    };
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), 1_700_000_000);
        assert_eq!(entry.header().username().unwrap(), Some(""));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), bytes)
    });
    entries.collect()
}

fn untarred(archive: &[u8]) -> Vec<(String, String)> {
    untarred_bytes(archive).into_iter().map(as_text).collect()
}

fn masked(input: &[u8], reading: &Reading) -> (Vec<u8>, Report) {
    run(input, reading, &people(), Compress::Same).unwrap()
}

fn code(input: &[u8]) -> String {
    fault(input, &reading(), &people()).code
}

fn bundle() -> Vec<(&'static str, &'static [u8])> {
    vec![
        ("people.csv", PEOPLE.as_bytes()),
        ("README.txt", b"for Alice only"),
        ("orders/2024/long name.ndjson", ORDERS.as_bytes()),
        ("sub/PEOPLE.CSV", PEOPLE.as_bytes()),
    ]
}

fn expected() -> Vec<(String, String)> {
    let orders = ORDERS.replace("Alice", "[REDACTED]");
    [("people.csv", MASKED), ("orders/2024/long name.ndjson", &orders), ("sub/PEOPLE.CSV", MASKED)]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .to_vec()
}

#[test]
fn every_member_goes_by_its_rule() {
    let (output, report) = masked(&zip(&bundle()), &reading());
    assert_eq!(unzipped(&output), expected());
    assert!(!output.windows(5).any(|window| window == b"Alice"), "the comment is left");
    assert_eq!((report.rows_in, report.input.format.as_str()), (5, "zip"));
    let columns: Vec<&str> = report.outputs[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["*.csv: id", "*.csv: name", "orders/*: name", "orders/*: sum"]);
    let (output, report) = masked(&tar(&bundle()), &reading());
    assert_eq!((untarred(&output), report.outputs[0].format.as_str()), (expected(), "tar"));
    let (output, report) = masked(&gzip(&tar(&bundle())), &reading());
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&output[..]).read_to_end(&mut plain).unwrap();
    assert_eq!((untarred(&plain), report.outputs[0].format.as_str()), (expected(), "tar.gz"));
    let packed = zstd::encode_all(&tar(&bundle())[..], 1).unwrap();
    let (output, report) = run(&packed, &reading(), &people(), Compress::None).unwrap();
    assert_eq!((untarred(&output), report.input.format.as_str()), (expected(), "tar.zst"));
    // Long names and large members, of which tar must know the length.
    let rows: String = (0..200_000).map(|row| format!("{row},Alice\n")).collect();
    let name = format!("{}/people.csv", "d".repeat(150));
    let (output, _) = masked(&tar(&[(&name, format!("id,name\n{rows}").as_bytes())]), &reading());
    let members = untarred(&output);
    assert_eq!((members[0].0.as_str(), members[0].1.len()), (name.as_str(), 8 + rows.len() + 200_000 * 5));
}

#[test]
fn archives_are_read_only_where_rules_say_so() {
    let none = Reading { members: Vec::new(), ..reading() };
    for archive in [zip(&bundle()), tar(&bundle()), gzip(&tar(&bundle()))] {
        assert_eq!(fault(&archive, &none, &people()).code, "unrecognised_format");
    }
    assert_eq!(code(&zip(&[("people.csv", PEOPLE.as_bytes()), ("other.bin", b"x")])), "unlisted_member");
    assert_eq!(code(&zip(&[("README.txt", b"x"), ("in.csv", &zip(&bundle()))])), "unrecognised_member");
    assert_eq!(code(&zip(&[("in.csv", &gzip(&tar(&bundle())))])), "unrecognised_member");
    assert_eq!(code(&zip(&[])), "empty_file");
    let bad = fault(&tar(&[("a.csv", PEOPLE.as_bytes()), ("b.csv", b"id,name\n1\n")]), &reading(), &people());
    assert_eq!((bad.code.as_str(), bad.row), ("ragged_row", Some(1)));
    assert!(bad.sentence.starts_with("member 2: "), "{bad:?}");
    assert_eq!(code(&zip(&[("a.csv", b"id,name,ssn\n")])), "unlisted_column");
}

/// A table as Parquet and as Arrow IPC.
fn columnar() -> (Vec<u8>, Vec<u8>) {
    let column = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("id", column(["1", "2"])), ("name", column(["Alice", "Bob"]))]).unwrap();
    let mut parquet = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    parquet.write(&batch).unwrap();
    let mut arrow = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    arrow.write(&batch).unwrap();
    (parquet.into_inner().unwrap(), arrow.into_inner().unwrap())
}

#[test]
fn members_that_are_no_text_go_the_same_way() {
    let rows = ["1,Alice".to_owned(), "2,Bob".to_owned()];
    let rows = rows.iter().map(|row| row.split(',').map(str::to_owned).collect()).collect::<Vec<_>>();
    let sheet = super::table(&["id", "name"], &rows);
    let (parquet, arrow) = columnar();
    let members: [(&str, &[u8]); 4] =
        [("d/a.parquet", &parquet), ("b.arrow", &arrow), ("d/c.xlsx", &sheet), ("z.csv", PEOPLE.as_bytes())];
    let all = Reading { members: vec![rule("*", None, false)], ..Reading::default() };
    for archive in [zip(&members), tar(&members), gzip(&tar(&members))] {
        let (output, report) = masked(&archive, &all);
        let made = run(&parquet, &Reading::default(), &people(), Compress::Same).unwrap().0;
        let unpacked: Vec<(String, Vec<u8>)> = match &output[..2] {
            b"PK" => unpacked(&output),
            _ => untarred_bytes(&output),
        };
        let names: Vec<&str> = unpacked.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["d/a.parquet", "b.arrow", "d/c.csv", "z.csv"]);
        assert!(unpacked[0].1 == made && unpacked[1].1.starts_with(b"\xff\xff\xff\xff"));
        assert!(unpacked.iter().all(|(_, bytes)| !bytes.windows(5).any(|it| it == b"Alice")));
        assert_eq!(unpacked[2].1, b"id,name\n1,[REDACTED]\n2,[REDACTED]\n");
        assert_eq!(report.rows_in, 8);
    }
    let limits = Limits { max_buffered_bytes: 100, ..Limits::default() };
    let small = Reading { limits, ..all.clone() };
    for (name, bytes, what) in [("a", &parquet, "a Parquet file"), ("a", &sheet, "a spreadsheet")] {
        let fault = fault(&zip(&[(name, bytes)]), &small, &people());
        assert_eq!(fault.code, "too_large_to_hold");
        assert!(fault.sentence.starts_with("member 1: ") && fault.sentence.contains(what), "{fault:?}");
    }
    assert!(run(&zip(&[("z.csv", PEOPLE.as_bytes())]), &small, &people(), Compress::Same).is_ok());
    let twice = zip(&[("c.xlsx", &sheet), ("c.csv", PEOPLE.as_bytes())]);
    assert_eq!(fault(&twice, &all, &people()).code, "duplicate_member");
    // One of them refuses them all, and the leak scan looks into each.
    let cut = zip(&[("z.csv", PEOPLE.as_bytes()), ("a.parquet", &parquet[..parquet.len() - 9])]);
    assert_eq!(fault(&cut, &all, &people()).code, "malformed_file");
    let leaky = Policy { verify: crate::policy::Verify::Block, ..policy(&["id=keep", "name=keep"]) };
    let leak = run(&zip(&[("d/c.xlsx", &leaking())]), &all, &leaky, Compress::Same);
    let Err(Failure::Reject(leak)) = leak else { panic!("{leak:?}") };
    assert!(leak.code == "leak" && leak.sentence.starts_with("member 1: "), "{leak:?}");
    let nested = zip(&[("inner.zip", &zip(&[("a.csv", PEOPLE.as_bytes())]))]);
    assert_eq!(fault(&nested, &all, &people()).code, "unrecognised_member");
}

fn leaking() -> Vec<u8> {
    super::table(&["id", "name"], &[vec!["1".to_owned(), "alice@example.com".to_owned()]])
}

#[test]
fn noise_needs_an_archive_that_tells_lengths_last() {
    let params = MaskParams { scale: Some(toml::Value::Float(1e6)), ..MaskParams::default() };
    let mut noisy = policy(&["id=keep", "name=keep"]);
    noisy.columns[0].mask = Mask::from_params("noise", &params).unwrap();
    let (packed, members) = (zip(&[("a.csv", PEOPLE.as_bytes())]), tar(&[("a.csv", PEOPLE.as_bytes())]));
    assert!(run(&packed, &reading(), &noisy, Compress::Same).is_ok());
    assert_eq!(fault(&members, &reading(), &noisy).code, "unsupported_member");
}

#[test]
fn what_leads_elsewhere_is_refused() {
    for name in ["../a.csv", "/a.csv", "a/../../b.csv", "a\\b.csv"] {
        assert_eq!(code(&zip(&[(name, PEOPLE.as_bytes())])), "unsafe_member", "{name}");
        assert_eq!(code(&tar_of(name, tar::EntryType::Regular)), "unsafe_member", "{name}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        assert_eq!(code(&tar_of("a.csv", kind)), "unsafe_member", "{kind:?}");
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("a.csv", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    assert_eq!(code(&writer.finish().unwrap().into_inner()), "unsafe_member");
    assert_eq!(code(&tar(&[("a.csv", PEOPLE.as_bytes()), ("a.csv", PEOPLE.as_bytes())])), "duplicate_member");
    // Two members of one name, of which a reader of the directory sees one.
    let mut twice = zip(&[("a.csv", PEOPLE.as_bytes()), ("b.csv", PEOPLE.as_bytes())]);
    while let Some(at) = twice.windows(5).position(|window| window == b"b.csv") {
        twice[at] = b'a';
    }
    assert_eq!(code(&twice), "duplicate_member");
    // What stands before a directory, or behind an end, is in no output either.
    let one = zip(&[("a.csv", PEOPLE.as_bytes())]);
    assert_eq!(code(&[one.clone(), one].concat()), "malformed_file");
    let one = tar(&[("a.csv", PEOPLE.as_bytes())]);
    assert_eq!(code(&[one.clone(), one].concat()), "malformed_file");
    // The flag of an encrypted member, in both of its headers.
    let mut encrypted = zip(&[("a.csv", PEOPLE.as_bytes())]);
    encrypted[6] |= 1;
    let central = encrypted.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    encrypted[central + 8] |= 1;
    assert_eq!(code(&encrypted), "encrypted_member");
}

#[test]
fn no_content_vanishes_behind_a_directory_s_name() {
    let mut hidden = zip(&[("a.csv", PEOPLE.as_bytes()), ("b.csvx", PEOPLE.as_bytes())]);
    while let Some(at) = hidden.windows(6).position(|window| window == b"b.csvx") {
        hidden[at + 5] = b'/';
    }
    assert!(run(&hidden, &reading(), &people(), Compress::Same).is_err());
    let mut header = tar::Header::new_gnu();
    header.set_path("d").unwrap();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(PEOPLE.len() as u64);
    header.set_cksum();
    let hidden = [&header.as_bytes()[..], PEOPLE.as_bytes(), &vec![0; 512 - PEOPLE.len() % 512 + 1024]].concat();
    assert_eq!(code(&hidden), "unsafe_member");
}

#[test]
fn bombs_and_damage_are_refused() {
    let mut long = tar::Header::new_gnu();
    long.set_entry_type(tar::EntryType::GNULongName);
    long.set_size(64 << 20);
    long.set_cksum();
    let name = vec![b'n'; 64 << 20];
    let bomb = [&long.as_bytes()[..], &name, &tar(&[("a.csv", PEOPLE.as_bytes())])].concat();
    assert_eq!(code(&gzip(&bomb)), "malformed_file");
    let zeros = vec![b'0'; 17 << 20];
    let bomb = [&b"id,name\n1,"[..], &zeros].concat();
    let limits = Limits { max_record_bytes: 1 << 30, ..Limits::default() };
    let wide = Reading { limits, ..reading() };
    for archive in [
        zip(&[("a.csv", &bomb)]),
        zip(&[("a.txt", &bomb)]),
        zstd::encode_all(&tar(&[("a.csv", &bomb)])[..], 1).unwrap(),
    ] {
        assert_eq!(fault(&archive, &wide, &people()).code, "expansion_exceeded");
    }
    let few = Reading { limits: Limits { max_members: 1, ..Limits::default() }, ..wide };
    assert_eq!(fault(&zip(&bundle()), &few, &people()).code, "too_many_members");
    let whole = tar(&bundle());
    for cut in [whole.len() - 1024, 1024, 1536, 700] {
        assert_eq!(code(&whole[..cut]), "malformed_file", "{cut}");
    }
    let packed = gzip(&whole);
    assert_eq!(code(&packed[..packed.len() - 4]), "malformed_file");
    let packed = zip(&bundle());
    assert_eq!(code(&packed[..packed.len() / 2]), "malformed_file");
    for archive in [packed, gzip(&whole), whole] {
        for at in (0..archive.len()).step_by(13) {
            let mut damaged = archive.clone();
            damaged[at] ^= 0x11;
            let result = run(&damaged, &reading(), &people(), Compress::Same);
            assert!(!matches!(result, Err(Failure::Retry { .. })), "byte {at}: {result:?}");
        }
    }
}

#[test]
fn every_flavour_of_tar_is_known() {
    let old = |kind: tar::EntryType, name: &str, content: &[u8]| {
        let mut header = tar::Header::new_old();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        header.set_mode(0o644);
        if kind == tar::EntryType::new(b'V') {
            header.as_old_mut().size = [0; 12];
        }
        header.set_cksum();
        let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
        [&header.as_bytes()[..], content, &padding].concat()
    };
    let label = old(tar::EntryType::new(b'V'), "backup", b"");
    let member = old(tar::EntryType::Regular, "a.csv", PEOPLE.as_bytes());
    let output = masked(&[&label[..], &member, &[0; 1024]].concat(), &reading()).0;
    assert_eq!(untarred(&output), [("a.csv".to_owned(), MASKED.to_owned())]);
    let mut damaged = [&member[..], &[0; 1024]].concat();
    damaged[0] = b'b';
    assert_eq!(code(&damaged), "unrecognised_format");

    // What such a member holds is a map of its holes before its content.
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(PEOPLE.len() as u64);
    builder.append_data(&mut header, "a.csv", PEOPLE.as_bytes()).unwrap();
    let refused = fault(&builder.into_inner().unwrap(), &reading(), &people());
    assert!(refused.code == "unsafe_member" && refused.sentence.contains("sparse"), "{refused:?}");
}

#[test]
fn what_a_zip_archive_hides_is_refused() {
    let plain = zip(&[("a.csv", PEOPLE.as_bytes())]);
    let (padded, trailing) = ([&plain[..], &[0; 700]].concat(), [&plain[..], b"Alice"].concat());
    assert_eq!(unzipped(&masked(&padded, &reading()).0), [("a.csv".to_owned(), MASKED.to_owned())]);
    let refused = fault(&trailing, &reading(), &people());
    assert!(refused.code == "malformed_file" && refused.sentence.contains("behind the end"), "{refused:?}");
    // bzip2, as both headers of the member tell.
    let mut packed = plain.clone();
    let central = packed.windows(4).rposition(|it| it == b"PK\x01\x02").unwrap();
    packed[8] = 12;
    packed[central + 10] = 12;
    assert_eq!(code(&packed), "unsupported_member");
}
