//! Conversions into a disk that is full: nothing is half-written, the file waits, and goes on when there is room.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use crate::disks;
use crate::formats::ods;
use crate::mounts::Mount;
use crate::sandbox::{Sandbox, files_below};

const HEADER: [&str; 7] = ["id", "name", "ssn", "email", "dob", "country", "notes"];
const PAGE: u64 = 4096;

/// Rows of which no compression makes less than 256 KiB.
fn rows() -> Vec<[String; 7]> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let row = |id: usize| {
        let notes = (0..3).fold(String::new(), |mut text, _| {
            let _ = write!(text, "{:016x}", next());
            text
        });
        let texts = ["Ann", "", "a@example.com", "1987-04-12", "US"].map(str::to_owned);
        let [name, ssn, email, dob, country] = texts;
        [id.to_string(), name, ssn, email, dob, country, notes]
    };
    (0..12_000).map(row).collect()
}

fn csv(rows: &[[String; 7]]) -> String {
    rows.iter().fold(format!("{}\n", HEADER.join(",")), |mut text, row| {
        let _ = writeln!(text, "{}", row.join(","));
        text
    })
}

fn zip(members: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn whatever_is_converted_waits_for_room_and_comes_out_whole() {
    let rows = rows();
    let text = csv(&rows);
    let sheet: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let sheet: Vec<&[&str]> = std::iter::once(&HEADER[..]).chain(sheet.iter().map(Vec::as_slice)).collect();
    let members = "output.format = \"ndjson\"\n\n[[landing.member]]\nmember = \"*\"";
    for (name, content, keys) in [
        ("people.csv", text.clone().into_bytes(), "output.format = \"parquet\""),
        ("people.ods", ods(&sheet), ""),
        ("people.zip", zip(&[("a.csv", &text), ("b.csv", &text)]), members),
        ("people.csv.gz", gzip(&text), "output.compress = \"none\""),
    ] {
        let sandbox = Sandbox::new();
        sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"0B\"");
        sandbox.edit_config("[policy.people]", &format!("{keys}\n\n[policy.people]\nverify = \"off\""));
        let Some(mount) = Mount::tmpfs(&sandbox.site("vault"), "size=256k") else { return };
        let daemon = sandbox.ready_daemon();
        sandbox.drop_file(name, content);
        sandbox.wait_for("the alert", || sandbox.log_lines("disk_full") > 0);
        sandbox.wait_for("the pieces to go", || files_below(&sandbox.site("vault/.incoming")).is_empty());
        assert_eq!((sandbox.receipts().len(), sandbox.quarantined().len()), (0, 0), "{name}");
        mount.remount("size=64m");
        sandbox.wait_for("the file", || sandbox.receipts().len() == 1 && sandbox.landing_is_empty());
        daemon.stop();
        let receipt = &sandbox.receipts()[0];
        let factor = if name == "people.zip" { 2 } else { 1 };
        assert_eq!((&receipt["rows_in"], &receipt["rows_out"]), (&(12_000 * factor).into(), &(12_000 * factor).into()));
        assert_eq!(sandbox.log_lines("worker_died"), 0, "{}", sandbox.log());
        assert!(sandbox.json(&["vault", "verify"])["problems"].as_array().unwrap().is_empty());
        assert_eq!(sandbox.quarantined(), Vec::<serde_json::Value>::new());
        sandbox.assert_audit_holds();
    }
}

#[test]
fn one_shot_leaves_nothing_half_written() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("policy = \"people\"", "policy = \"people\"\noutput.format = \"parquet\"");
    let out = sandbox.path("out");
    let Some(_mount) = Mount::tmpfs(&out, "size=256k") else { return };
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let (small, object) = (sandbox.path("small.csv"), out.join("small.parquet.age"));
    fs::write(&small, csv(&rows()[..100])).unwrap();
    let [small, to] = [&small, &object].map(|path| path.to_str().unwrap());
    let mask = ["mask", small, "--policy", "people", "--landing", "people", "-r", recipient, "-o", to];
    let filler = disks::fill(&out);
    let size = filler.metadata().unwrap().len();
    let mut failed = 0;
    loop {
        let masked = sandbox.veild(&mask);
        if masked.status.success() {
            break;
        }
        let said = String::from_utf8_lossy(&masked.stderr).into_owned();
        assert!(masked.status.code() == Some(1) && said.contains("No space left"), "{said}");
        assert_eq!(files_below(&out), std::slice::from_ref(&filler), "{said}");
        failed += 1;
        fs::File::options().write(true).open(&filler).unwrap().set_len(size - failed * PAGE).unwrap();
    }
    assert!(failed > 3, "object, receipt and signature were each short of room");
    assert_eq!(files_below(&out).len(), 4);
}
