//! Whole files through the scan: canaries of each kind, in each format, and what must raise no alarm.

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use polars::prelude::{NewChunkedArray, StringChunked};

use super::*;
use crate::pipeline::tests::{file, keys, packed, policy, run, table};
use crate::pipeline::{Compress, Dialect, Failure, Fault, MemberRule, Reading};
use crate::policy::{Acceptance, Policy};

mod names;
mod ordinary;

use ordinary::ordinary;

fn with(rules: &[&str], verify: Verify) -> Policy {
    Policy { verify, ..policy(rules) }
}

fn accepting(rules: &[&str], accepted: &[(&str, &str)]) -> Policy {
    let accept =
        |(column, class): &(&str, &str)| Acceptance { column: (*column).to_owned(), class: (*class).to_owned() };
    Policy { accept: accepted.iter().map(accept).collect(), ..with(rules, Verify::Block) }
}

/// The same table in a format, and how it is read.
type Written = (&'static str, Vec<u8>, Reading);

fn csv(header: &[&str], rows: &[Vec<String>]) -> String {
    let rows: String = rows.iter().map(|row| row.join(",") + "\n").collect();
    header.join(",") + "\n" + &rows
}

/// A table as Parquet with small row groups, as an Arrow file of two batches, and as a stream.
fn columnar(header: &[&str], rows: &[Vec<String>]) -> [Vec<u8>; 3] {
    let column = |index: usize| -> (String, ArrayRef) {
        let cells: StringArray = rows.iter().map(|row| Some(row[index].as_str())).collect();
        (header[index].to_owned(), Arc::new(cells))
    };
    let batch = RecordBatch::try_from_iter((0..header.len()).map(column)).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(7)).build();
    let mut parquet = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    parquet.write(&batch).unwrap();
    let half = rows.len() / 2;
    let batches = [batch.slice(0, half), batch.slice(half, rows.len() - half)];
    let mut file = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    batches.iter().for_each(|batch| file.write(batch).unwrap());
    let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    batches.iter().for_each(|batch| stream.write(batch).unwrap());
    [parquet.into_inner().unwrap(), file.into_inner().unwrap(), stream.into_inner().unwrap()]
}

/// A table in every format; columns are wide enough for all cells.
fn written(header: &[&str], rows: &[Vec<String>]) -> Vec<Written> {
    let object = |row: &Vec<String>| {
        let members = header.iter().zip(row).map(|(key, cell)| ((*key).to_owned(), serde_json::json!(cell)));
        serde_json::Value::Object(members.collect())
    };
    let lines: String = rows.iter().map(|row| object(row).to_string() + "\n").collect();
    let array = serde_json::Value::Array(rows.iter().map(object).collect()).to_string();
    let padded = |cells: Vec<&str>| cells.iter().map(|cell| format!("{cell:<60}")).collect::<String>() + "\n";
    let fixed = padded(header.to_vec())
        + &rows.iter().map(|row| padded(row.iter().map(String::as_str).collect())).collect::<String>();
    let dialect = Dialect { widths: vec![60; header.len()], ..Dialect::default() };
    let wide: Vec<u8> = csv(header, rows).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let [parquet, arrow, stream] = columnar(header, rows);
    vec![
        ("csv", csv(header, rows).into_bytes(), Reading::default()),
        ("utf-16", [b"\xff\xfe".to_vec(), wide].concat(), Reading::default()),
        ("fixed", fixed.into_bytes(), Reading { dialect, ..Reading::default() }),
        ("ndjson", lines.into_bytes(), Reading::default()),
        ("json", array.into_bytes(), Reading::default()),
        ("parquet", parquet, Reading::default()),
        ("arrow", arrow, Reading::default()),
        ("arrow stream", stream, Reading::default()),
        ("xlsx", table(header, rows), Reading::default()),
    ]
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn verified(input: &[u8], reading: &Reading, policy: &Policy) -> Result<Verified, Fault> {
    match run(input, reading, policy, Compress::Same) {
        Ok((_, mut report)) => Ok(report.outputs.remove(0).verify),
        Err(Failure::Reject(fault)) => Err(fault),
        Err(failure) => panic!("not the file's fault: {failure:?}"),
    }
}

/// Column, class, masked column, row and cells of every leak, the same in every format.
fn leaks(
    rules: &[&str],
    header: &[&str],
    rows: &[Vec<String>],
) -> Vec<(String, &'static str, Option<String>, u64, u64)> {
    let mut all = Vec::new();
    for (format, input, reading) in written(header, rows) {
        let warned = verified(&input, &reading, &with(rules, Verify::Warn));
        let warned = warned.unwrap_or_else(|fault| panic!("{format}: {fault}"));
        let found = warned
            .leaks
            .iter()
            .map(|leak| (leak.column.clone(), leak.class.name(), leak.of.clone(), leak.row, leak.cells));
        all.push((format, found.collect::<Vec<_>>()));
        let blocked = verified(&input, &reading, &with(rules, Verify::Block));
        match warned.leaks.first() {
            None => assert!(blocked.is_ok(), "{format}"),
            Some(leak) => {
                let fault = blocked.expect_err(format);
                assert_eq!((fault.code.as_str(), fault.row), ("leak", Some(leak.row)), "{format}");
                assert_eq!(fault.column.as_deref(), Some(leak.column.as_str()), "{format}");
                let cells = rows.iter().flatten().filter(|cell| cell.len() > 4);
                cells.for_each(|cell| assert!(!format!("{fault:?}").contains(cell.as_str()), "{format}: {cell}"));
            }
        }
        assert_eq!(verified(&input, &reading, &with(rules, Verify::Off)), Ok(Verified::default()), "{format}");
    }
    let (_, first) = &all[0];
    all.iter().for_each(|(format, found)| assert_eq!(found, first, "{format}"));
    first.clone()
}

#[test]
fn personal_data_that_is_passed_on() {
    let mut rows: Vec<Vec<String>> = (0..20).map(|n| row(&[&n.to_string(), "Ann", "all well"])).collect();
    rows[6][2] = "write to ann.lee@example.com".to_owned();
    rows[9][2] = "bob@example.com".to_owned();
    let found = leaks(&["id=keep", "name=redact", "notes=keep"], &["id", "name", "notes"], &rows);
    assert_eq!(found, [("notes".to_owned(), "email", None, 7, 2)]);
    let found = leaks(&["id=keep", "name=redact", "notes=scrub"], &["id", "name", "notes"], &rows);
    assert_eq!(found, []);
    let rows = [row(&["1", "123-45-6789"]), row(&["2", "078-05-1121"])];
    let found = leaks(&["id=keep", "ssn=keep"], &["id", "ssn"], &rows);
    assert_eq!(found, [("ssn".to_owned(), "us_ssn", None, 1, 2)]);
    let found = leaks(&["id=keep", "ssn=partial"], &["id", "ssn"], &rows);
    assert_eq!(found, []);
}

#[test]
fn a_masked_value_elsewhere() {
    let mut rows: Vec<Vec<String>> =
        (0..20).map(|n| row(&[&format!("CUST-77{n:04}"), &format!("ORD-{n:06}-X"), "shipped"])).collect();
    let header = ["customer", "order", "notes"];
    let rules = ["customer=hash", "order=keep", "notes=keep"];
    assert_eq!(leaks(&rules, &header, &rows), []);
    rows[4][1] = rows[4][0].clone();
    let of = |column: &str, row| (column.to_owned(), "repeated_value", Some("customer".to_owned()), row, 1);
    assert_eq!(leaks(&rules, &header, &rows), [of("order", 5)]);
    // In another record, before and behind its own.
    rows[4][1] = rows[9][0].clone();
    assert_eq!(leaks(&rules, &header, &rows), [of("order", 5)]);
    rows[4][1] = rows[1][0].clone();
    assert_eq!(leaks(&rules, &header, &rows), [of("order", 5)]);
    assert_eq!(leaks(&["customer=drop", "order=keep", "notes=keep"], &header, &rows), [of("order", 5)]);
    rows[4][1] = String::new();
    rows[7][2] = format!("sent again to {} at last", rows[7][0]);
    assert_eq!(leaks(&rules, &header, &rows), [of("notes", 8)]);
}

#[test]
fn names_in_the_notes_of_their_own_record() {
    let names = ["Miller", "Nguyen", "Kowalski", "Ferreira", "Olsen", "Yilmaz"];
    let said = |n: usize| row(&[names[n % 6], &format!("{} called and was told to wait", names[n % 6].to_lowercase())]);
    let mut rows: Vec<Vec<String>> = (0..12).map(said).collect();
    let of = Some("name".to_owned());
    let rules = ["name=redact", "notes=keep"];
    assert_eq!(leaks(&rules, &["name", "notes"], &rows), [("notes".to_owned(), "repeated_value", of, 1, 12)]);
    // Words of one kind are no names, and two are chance.
    rows.iter_mut().for_each(|row| row[0] = "wait".repeat(2));
    assert_eq!(leaks(&rules, &["name", "notes"], &rows), []);
}

#[test]
fn a_copy_of_a_masked_column() {
    let days: Vec<Vec<String>> =
        (0..40).map(|n| row(&[&format!("19{:02}-03-{:02}", n + 40, n % 28 + 1), "US"])).collect();
    let copied = |row_: &Vec<String>| row(&[&row_[0], &row_[1], &row_[0]]);
    let copies: Vec<Vec<String>> = days.iter().map(copied).collect();
    let found = leaks(&["born=date", "country=redact", "seen=keep"], &["born", "country", "seen"], &copies);
    assert_eq!(found, [("seen".to_owned(), "repeated_value", Some("born".to_owned()), 1, 40)]);
    // One day in ten is a coincidence, and so are values of which there are few.
    let rare = |(n, row_): (usize, &Vec<String>)| {
        row(&[&row_[0], "Germany", if n % 10 == 0 { &row_[0] } else { "2024-01-01" }])
    };
    let rare: Vec<Vec<String>> = days.iter().enumerate().map(rare).collect();
    assert_eq!(leaks(&["born=date", "country=keep", "seen=keep"], &["born", "country", "seen"], &rare), []);
    let same: Vec<Vec<String>> = (0..60).map(|n| row(&[["Germany", "France", "Poland"][n % 3]; 2])).collect();
    assert_eq!(leaks(&["birth=redact", "lives=keep"], &["birth", "lives"], &same), []);
}

#[test]
fn common_and_short_values_are_no_leaks() {
    let rows: Vec<Vec<String>> = (0..50)
        .map(|n| row(&["US", "yes", "US", "yes", "CUST-000000-A", "CUST-000000-A", &n.to_string(), &n.to_string()]))
        .collect();
    let header = ["country", "agreed", "origin", "active", "tenant", "org", "a", "b"];
    let rules = [
        "country=redact",
        "agreed=redact",
        "origin=keep",
        "active=keep",
        "tenant=hash",
        "org=keep",
        "a=hash",
        "b=keep",
    ];
    assert_eq!(leaks(&rules, &header, &rows), []);
}

#[test]
fn a_false_alarm_is_accepted_by_column_and_class() {
    let rows: Vec<Vec<String>> =
        (0..5).map(|n| row(&[&format!("CUST-77{n:04}"), &format!("CUST-77{n:04}"), "desk@example.com"])).collect();
    let header = ["customer", "copy", "contact"];
    let rules = ["customer=hash", "copy=keep", "contact=keep"];
    for (format, input, reading) in written(&header, &rows) {
        let read = |accepted: &[(&str, &str)]| verified(&input, &reading, &accepting(&rules, accepted));
        assert_eq!(read(&[("Copy", "repeated_value")]).unwrap_err().column.as_deref(), Some("contact"), "{format}");
        assert_eq!(read(&[("contact", "email"), ("copy", "email")]).unwrap_err().column.as_deref(), Some("copy"));
        let all = read(&[("copy", "repeated_value"), ("contact", "email"), ("contact", "national_id")]).unwrap();
        let counts: Vec<(&str, u64)> = all.accepted.iter().map(|it| (it.class.as_str(), it.cells)).collect();
        assert_eq!(counts, [("repeated_value", 5), ("email", 5), ("national_id", 0)], "{format}");
        assert_eq!(all.leaks, []);
    }
}

/// A column before and after a mask that should have changed it.
fn unchanged_cells(mask: &str, before: &[&str], after: &[&str]) -> u64 {
    let array = |cells: &[&str]| {
        let column = StringChunked::from_iter_values("".into(), cells.iter().copied());
        column.downcast_iter().next().unwrap().clone()
    };
    let mask = &policy(&[&format!("c={mask}")]).columns[0].mask;
    let watched = Watched::new(0, "c", mask);
    let (cells, masked) = (array(before), array(after));
    let column = Column { watched: &watched, name: "c", cells: &cells, masked: Some(&masked), rows: None };
    let mut sum = Sum::new(&with(&["c=keep"], Verify::Warn));
    let seen = sum.digests().unwrap().look(&[column], before.len(), 1);
    sum.add(seen);
    let verified = sum.finish().unwrap();
    verified.leaks.iter().filter(|leak| leak.class == LeakClass::Unchanged).map(|leak| leak.cells).sum()
}

#[test]
fn masked_cells_that_are_what_they_were() {
    assert_eq!(unchanged_cells("hash", &["Ann", "", "Bob"], &["1f3a", "", "Bob"]), 1);
    assert_eq!(
        unchanged_cells(
            "partial",
            &["123-45-6789", "a longer one that lies elsewhere"],
            &["***-**-6789", "a longer one that lies elsewhere"]
        ),
        1
    );
    assert_eq!(unchanged_cells("partial", &["***-**-6789", "--"], &["***-**-6789", "--"]), 0);
    assert_eq!(unchanged_cells("hash", &[REDACTED], &[REDACTED]), 0);
    assert_eq!(unchanged_cells("round", &["10"], &["10"]), 0);
    assert_eq!(unchanged_cells("redact", &["***"], &["***"]), 0);
    assert_eq!(unchanged_cells("fpe", &["123456789"; 3], &["123456789"; 3]), 0);
    assert_eq!(unchanged_cells("fpe", &["123456789"; 4], &["123456789"; 4]), 4);
}

#[test]
fn members_of_an_archive_are_looked_at_one_by_one() {
    let (leaking, other) = ("id,notes\n1,ann@example.com\n2,x\n", "{\"id\": 1, \"notes\": \"x\"}\n");
    let zip = packed(&[("a.csv", leaking), ("b.csv", leaking), ("c.ndjson", other)]);
    let members = vec![MemberRule::any()];
    let reading = Reading { members, ..Reading::default() };
    let rules = ["id=keep", "notes=keep"];
    let blocked = verified(&zip, &reading, &with(&rules, Verify::Block)).unwrap_err();
    assert_eq!((blocked.code.as_str(), blocked.row), ("leak", Some(1)));
    assert!(blocked.sentence.starts_with("member 1: row 1, notes: e-mail address"), "{}", blocked.sentence);
    let warned = verified(&zip, &reading, &with(&rules, Verify::Warn)).unwrap();
    let class = LeakClass::Held(Class::Email);
    assert_eq!(warned.leaks, [Leak { column: "*: notes".to_owned(), class, of: None, row: 1, cells: 2 }]);
    let accepted = verified(&zip, &reading, &accepting(&rules, &[("notes", "email")])).unwrap();
    let counted = Accepted { column: "notes".to_owned(), class: "email".to_owned(), cells: 2 };
    assert_eq!((accepted.mode, accepted.accepted), (Verify::Block, vec![counted]));
}

/// What only nested formats have: values in lists, and wholes that are kept, dropped or replaced as such.
#[test]
fn nested_values_are_those_of_their_record() {
    let record = |n: usize, mail: &str| {
        format!(
            r#"{{"who": {{"no": "CUST-77{n:04}", "mails": ["x", "{mail}"]}}, "extra": {{"a": [1, {{"b": "{mail}"}}]}}, "gone": {{"id": "GONE-88{n:04}"}}, "last": "GONE-88{:04}"}}"#,
            n + 5
        ) + "\n"
    };
    let lines: String = (0..20).map(|n| record(n, "-")).collect();
    let rules = ["who.no=hash", "who.mails[*]=keep", "last=keep", "gone=drop"];
    let keeping = Policy { unlisted: crate::policy::OnUnlisted::Keep, ..with(&rules, Verify::Warn) };
    let found = |lines: &str| verified(lines.as_bytes(), &Reading::default(), &keeping).unwrap().leaks;
    let leak = |column: &str, class, of: Option<&str>, row, cells| Leak {
        column: column.to_owned(),
        class,
        of: of.map(str::to_owned),
        row,
        cells,
    };
    let gone = leak("last", LeakClass::Repeated, Some("gone"), 1, 15);
    assert_eq!(found(&lines), std::slice::from_ref(&gone));
    let own = lines.replacen("\"x\", \"-\"", "\"x\", \"CUST-770000\"", 1);
    assert_eq!(found(&own), [leak("who.mails[*]", LeakClass::Repeated, Some("who.no"), 1, 1), gone.clone()]);
    let email = LeakClass::Held(Class::Email);
    let mailing = lines.clone() + &record(20, "ann@example.com");
    let extra = |cells| leak("extra", email, None, 21, cells);
    assert_eq!(found(&mailing), [leak("who.mails[*]", email, None, 21, 1), extra(1), Leak { cells: 16, ..gone }]);
}

#[test]
fn half_a_character_where_no_mask_looks_is_passed_on() {
    let lines = "{\"a\": \"\\ud800\", \"b\": \"x\"}\n";
    let policy = with(&["a=keep", "b=redact"], Verify::Block);
    assert!(verified(lines.as_bytes(), &Reading::default(), &policy).is_ok());
}

#[test]
fn each_output_has_a_verdict_of_its_own() {
    use crate::pipeline::{DigestKind, Input, Output, Sink, process};
    let csv = "id,mail\n1,ann@example.com\n";
    let output = |rules: &[&str], verify| Output {
        policy: with(rules, verify),
        writing: Compress::Same.into(),
        sink: Sink::Discard,
    };
    let masked = process_all(
        csv,
        vec![output(&["id=keep", "mail=hash"], Verify::Block), output(&["id=keep", "mail=keep"], Verify::Warn)],
    );
    let verdicts: Vec<(Verify, usize)> =
        masked.unwrap().outputs.iter().map(|it| (it.verify.mode, it.verify.leaks.len())).collect();
    assert_eq!(verdicts, [(Verify::Block, 0), (Verify::Warn, 1)]);
    let blocked = process_all(
        csv,
        vec![output(&["id=keep", "mail=hash"], Verify::Off), output(&["id=keep", "mail=keep"], Verify::Block)],
    );
    assert!(matches!(blocked, Err(Failure::Reject(fault)) if fault.code == "leak"));

    fn process_all(csv: &str, outputs: Vec<Output>) -> Result<crate::pipeline::Report, Failure> {
        let input = Input { file: file(csv.as_bytes()), reading: Reading::default(), digest: DigestKind::None };
        process(input, outputs, &keys(), 2, &|_| {})
    }
}

#[test]
fn memory_is_bounded_and_what_is_compared_is_said() {
    let rows: Vec<Vec<String>> = (0..400_000)
        .map(|n| row(&[&format!("CUST-77{n:06}"), &format!("CUST-77{:06}", (n + 200_000) % 400_000)]))
        .collect();
    let csv = csv(&["a", "b"], &rows);
    let verified = verified(csv.as_bytes(), &Reading::default(), &with(&["a=hash", "b=keep"], Verify::Warn)).unwrap();
    assert!(matches!(verified.sampled_one_in, Some(4 | 8)), "{:?}", verified.sampled_one_in);
    assert_eq!(verified.leaks.len(), 1);
    let cells = verified.leaks[0].cells;
    assert!((20_000..200_000).contains(&cells), "{cells}");
}
