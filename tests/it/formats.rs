//! Files of every format from landing to vault or quarantine, made and read by the stock tools.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::sandbox::{Sandbox, files_below};

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n\
    007,Alice Liddell,123-45-6789,alice@example.com,1987-04-12,US,\"said \"\"hi\"\", left\"\n";

fn gzip(sandbox: &Sandbox, name: &str, content: &str) -> Vec<u8> {
    let path = sandbox.path(name);
    fs::write(&path, content).unwrap();
    assert!(Command::new("gzip").arg("-f").arg(&path).status().unwrap().success());
    fs::read(path.with_extension("csv.gz")).unwrap()
}

#[test]
fn a_gzip_file_comes_out_as_one_and_as_the_landing_says() {
    let sandbox = Sandbox::new();
    let packed = gzip(&sandbox, "Alice-salaries.csv", PEOPLE);
    assert!(packed.windows(5).any(|it| it == b"Alice"), "gzip kept the name");
    sandbox.drop_file("people.csv.gz", &packed);
    sandbox.run_until_idle();
    let masked = sandbox.vault_plaintext("people.csv.gz");
    assert!(!masked.windows(5).any(|it| it == b"Alice"), "veild did not");
    fs::write(sandbox.path("out.gz"), masked).unwrap();
    let unpacked = Command::new("gzip").arg("-dc").arg(sandbox.path("out.gz")).output().unwrap();
    assert!(String::from_utf8(unpacked.stdout).unwrap().contains("\n007,***,***-**-6789,"));
    let receipt = &sandbox.receipts()[0];
    assert_eq!((&receipt["input"]["format"], &receipt["output"]["format"]), (&"csv.gz".into(), &"csv.gz".into()));
    assert!(receipt["output"]["path"].as_str().unwrap().ends_with(".csv.gz.age"));

    sandbox.edit_config("policy = \"people\"", "policy = \"people\"\noutput.compress = \"none\"");
    sandbox.drop_file("second.csv.gz", &packed);
    sandbox.run_until_idle();
    assert!(sandbox.vault_plaintext("second.csv.gz").starts_with(b"id,name,"));
    let receipts = sandbox.receipts();
    let second = receipts.iter().find(|it| it["original_name"] == "second.csv.gz").unwrap();
    assert_eq!((&second["input"]["format"], &second["output"]["format"]), (&"csv.gz".into(), &"csv".into()));
    assert!(second["output"]["path"].as_str().unwrap().ends_with(".csv.age"), "{second}");
    sandbox.assert_audit_holds();
}

#[test]
fn what_is_not_read_is_quarantined_by_its_name() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("scan.csv", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n");
    sandbox.drop_file("photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0");
    sandbox.drop_file("tool", fs::read(env!("CARGO_BIN_EXE_veild")).unwrap().get(..4096).unwrap());
    sandbox.drop_file("half.csv.gz", &gzip(&sandbox, "half.csv", PEOPLE)[..60]);
    sandbox.run_until_idle();
    let reasons = sandbox.quarantined();
    let of = |name: &str| reasons.iter().find(|it| it["original_name"] == name).unwrap().clone();
    for (name, what) in [("scan.csv", "a PDF document"), ("photo.jpg", "an image (image/jpeg)"), ("tool", "a program")]
    {
        let reason = of(name);
        assert_eq!(reason["code"], "unrecognised_format", "{reason}");
        assert!(reason["sentence"].as_str().unwrap().contains(what), "{reason}");
    }
    assert_eq!(
        (&of("half.csv.gz")["code"], &of("half.csv.gz")["byte_offset"]),
        (&"compression_cut_off".into(), &60.into())
    );
    assert!(sandbox.receipts().is_empty());
}

#[test]
fn one_shot_reads_a_file_as_a_landing_does() {
    let sandbox = Sandbox::new();
    sandbox.edit_config(
        "policy = \"people\"",
        "policy = \"people\"\ndelimited.delimiter = \"#\"\noutput.compress = \"gzip\"",
    );
    let file = sandbox.path("people.txt");
    fs::write(&file, PEOPLE.replace(',', "#")).unwrap();
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let masked =
        sandbox.veild(&["mask", file.to_str().unwrap(), "--policy", "people", "--landing", "people", "-r", recipient]);
    assert!(masked.status.success(), "{}", String::from_utf8_lossy(&masked.stderr));
    assert!(sandbox.path("people.txt.gz.age").exists());
    let receipt = fs::read_to_string(sandbox.path("people.txt.gz.receipt.json")).unwrap();
    assert!(receipt.contains("\"csv.gz\""), "{receipt}");
}

#[test]
fn encodings_and_dialects_come_out_as_they_came() {
    let sandbox = Sandbox::new();
    let utf16: Vec<u8> = format!("\u{feff}{PEOPLE}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    sandbox.drop_file("excel.csv", &utf16);
    sandbox.run_until_idle();
    let masked = sandbox.vault_plaintext("excel.csv");
    let units: Vec<u16> = masked.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    assert!(String::from_utf16(&units).unwrap().starts_with("\u{feff}id,name,ssn"));
    assert!(String::from_utf16(&units).unwrap().contains("\n007,***,***-**-6789,"));

    let keys = "encoding = \"shift_jis\"\ndelimited.delimiter = \"|\"\ndelimited.columns = [\"id\", \"name\", \"ssn\", \
                \"email\", \"dob\", \"country\", \"notes\"]\ndelimited.escape = \"\\\\\"\ndelimited.preamble = 1";
    sandbox.edit_config("policy = \"people\"", &format!("policy = \"people\"\n{keys}"));
    let head = b"preamble with Alice\n".to_vec();
    let row = b"\xee\xe0|\x8e\x52\x93\x63|123-45-6789||1987-04-12|J\\|P|\x83\x7c\n";
    sandbox.drop_file("japan.dat", [&head[..], row].concat());
    sandbox.run_until_idle();
    let masked = sandbox.vault_plaintext("japan.dat");
    let wanted = b"\xee\xe0|***|***-**-6789||1987|J\\|P|\x83\x7c\n";
    assert_eq!(masked, wanted, "{}", String::from_utf8_lossy(&masked));
    sandbox.drop_file("broken.dat", [&head[..], b"1|\x81 x|123-45-6789||1987-04-12|JP|\n"].concat());
    sandbox.run_until_idle();
    let reason = &sandbox.quarantined()[0];
    assert_eq!((&reason["code"], &reason["row"]), (&"invalid_encoding".into(), &1.into()), "{reason}");
}

fn parquet(cells: &[[&str; 7]]) -> Vec<u8> {
    let names = ["id", "name", "ssn", "email", "dob", "country", "notes"];
    let column =
        |index: usize| -> ArrayRef { Arc::new(cells.iter().map(|row| Some(row[index])).collect::<StringArray>()) };
    let columns = names.iter().enumerate().map(|(index, name)| (*name, column(index)));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn strings(parquet: Vec<u8>, column: &str) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet)).unwrap().build().unwrap();
    let texts = |batch: RecordBatch| -> Vec<String> {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>().clone();
        column.iter().map(|text| text.unwrap_or_default().to_owned()).collect()
    };
    reader.map(Result::unwrap).flat_map(texts).collect()
}

#[test]
fn parquet_comes_out_masked_or_ends_in_quarantine() {
    const CANARY: &str = "QzCanary7";
    let sandbox = Sandbox::new();
    let row = ["007", CANARY, "123-45-6789", CANARY, "1987-04-12", "US", "plain"];
    let good = parquet(&[row, ["8", "", "", "", "", "", ""]]);
    sandbox.drop_file("people.parquet", &good);
    sandbox.drop_file("cut.parquet", &good[..good.len() / 2]);
    sandbox.drop_file("mistyped.parquet", parquet(&[row, ["8", "", "", "", CANARY, "", ""]]));
    sandbox.run_until_idle();
    let masked = sandbox.vault_plaintext("people.parquet");
    assert!(good.windows(9).any(|it| it == CANARY.as_bytes()) && !masked.windows(9).any(|it| it == CANARY.as_bytes()));
    assert_eq!(strings(masked.clone(), "ssn"), ["***-**-6789", ""]);
    assert_eq!(strings(masked, "id"), ["007", "8"]);
    let receipt = &sandbox.receipts()[0];
    assert_eq!((&receipt["output"]["format"], &receipt["rows_out"]), (&"parquet".into(), &2.into()));
    let reasons = sandbox.quarantined();
    let of = |name: &str| reasons.iter().find(|it| it["original_name"] == name).unwrap();
    assert_eq!(of("cut.parquet")["code"], "malformed_file");
    assert_eq!((&of("mistyped.parquet")["row"], &of("mistyped.parquet")["column"]), (&2.into(), &"dob".into()));
    for path in files_below(sandbox.dir.path()) {
        if path.file_name().is_some_and(|name| name != "original") {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(9).any(|it| it == CANARY.as_bytes()), "a value in {}", path.display());
        }
    }
    sandbox.assert_audit_holds();
}

#[test]
fn archives_go_member_by_member() {
    let sandbox = Sandbox::new();
    let rules = "[[landing.member]]\nmember = \"*.csv\"\n\n[[landing.member]]\nmember = \"*.txt\"\ndrop = true\n\n[policy.people]";
    sandbox.edit_config("[policy.people]", rules);
    let pack = |name: &str, arguments: &[&str], files: &[(&str, &str)]| {
        let dir = sandbox.path(&format!("{name}.d"));
        fs::create_dir_all(dir.join("sub")).unwrap();
        files.iter().for_each(|(name, content)| fs::write(dir.join(name), content).unwrap());
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&dir).args(arguments).arg("-cf").arg(sandbox.path(name)).arg(".");
        assert!(tar.status().unwrap().success());
        fs::read(sandbox.path(name)).unwrap()
    };
    let files = [("sub/people.csv", PEOPLE), ("note.txt", "for Alice"), ("more.csv", PEOPLE)];
    sandbox.drop_file("good.tar.gz", pack("good.tar.gz", &["-z"], &files));
    sandbox.drop_file("bad.tar", pack("bad.tar", &[], &[files[0], ("b.csv", "id,name\n1\n")]));
    sandbox.run_until_idle();
    fs::write(sandbox.path("out.tar.gz"), sandbox.vault_plaintext("good.tar.gz")).unwrap();
    let listed = Command::new("tar").arg("-tzf").arg(sandbox.path("out.tar.gz")).output().unwrap();
    let mut names: Vec<String> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["more.csv", "sub/people.csv"]);
    let unpacked = Command::new("tar").arg("-xzOf").arg(sandbox.path("out.tar.gz")).output().unwrap();
    let unpacked = String::from_utf8(unpacked.stdout).unwrap();
    assert!(unpacked.matches("\n007,***,***-**-6789,").count() == 2 && !unpacked.contains("Alice"));
    let receipt = &sandbox.receipts()[0];
    assert_eq!((&receipt["output"]["format"], &receipt["rows_in"]), (&"tar.gz".into(), &2.into()));
    let reason = &sandbox.quarantined()[0];
    assert!(reason["sentence"].as_str().unwrap().starts_with("member "), "{reason}");
    sandbox.assert_audit_holds();
}

#[test]
fn a_file_under_a_spreadsheets_name_must_be_one() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("people.xlsx", PEOPLE);
    sandbox.run_until_idle();
    assert_eq!(sandbox.quarantined()[0]["code"], "unrecognised_format");
}

/// The smallest workbook that has a sheet.
pub fn ods(rows: &[&[&str]]) -> Vec<u8> {
    let cell = |text: &&str| {
        format!("<table:table-cell office:value-type=\"string\"><text:p>{text}</text:p></table:table-cell>")
    };
    let row =
        |row: &&[&str]| format!("<table:table-row>{}</table:table-row>", row.iter().map(cell).collect::<String>());
    let urn = "urn:oasis:names:tc:opendocument:xmlns";
    let content = format!(
        "<?xml version=\"1.0\"?><office:document-content xmlns:office=\"{urn}:office:1.0\" xmlns:table=\"{urn}:table:1.0\" \
         xmlns:text=\"{urn}:text:1.0\"><office:body><office:spreadsheet><table:table table:name=\"S\">{}</table:table>\
         </office:spreadsheet></office:body></office:document-content>",
        rows.iter().map(row).collect::<String>()
    );
    packed_ods(&content)
}

/// An ods file as spreadsheet programs pack it.
pub fn packed_ods(content: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", content),
        ("META-INF/manifest.xml", "<?xml version=\"1.0\"?><manifest/>"),
    ] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn spreadsheets_come_out_as_delimited_text() {
    let sandbox = Sandbox::new();
    let header: Vec<&str> = PEOPLE.lines().next().unwrap().split(',').collect();
    let row = ["007", "Alice", "123-45-6789", "a@example.com", "1987-04-12", "US", "x"];
    sandbox.drop_file("people.ods", ods(&[&header, &row]));
    sandbox.drop_file("ragged.ods", ods(&[&header, &row, &["8", "", "", "", "QzCanary7", "", ""]]));
    sandbox.run_until_idle();
    let masked = String::from_utf8(sandbox.vault_plaintext("people.ods")).unwrap();
    assert!(masked.starts_with("id,name,ssn,email,dob,country,notes\n007,***"), "{masked}");
    let receipt = &sandbox.receipts()[0];
    assert_eq!((&receipt["input"]["format"], &receipt["output"]["format"]), (&"ods".into(), &"csv".into()));
    assert!(receipt["output"]["path"].as_str().unwrap().ends_with(".csv.age"), "{receipt}");
    let reason = &sandbox.quarantined()[0];
    assert_eq!(
        (&reason["code"], &reason["row"], &reason["column"]),
        (&"mistyped_cell".into(), &2.into(), &"dob".into())
    );
    assert!(!reason.to_string().contains("QzCanary7"));
    sandbox.assert_audit_holds();
}

const JSON_POLICY: &str = r#"
unlisted = "reject"

[[column]]
names = ["id", "contacts[*].kind"]
mask = "keep"

[[column]]
names = ["user.name", "contacts[*].phone"]
mask = "redact"

[[column]]
name = "**.ssn"
mask = "partial"
keep_last = 4

[[column]]
name = "salary"
mask = "round"
to = 1000
"#;

/// Puts a policy of its own in the place of the site's.
fn use_policy(sandbox: &Sandbox, text: &str) {
    let path = sandbox.site("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let before = config.split("[policy.people]").next().unwrap();
    let policy = text.replace("[[column]]", "[[policy.people.column]]");
    fs::write(&path, format!("{before}[policy.people]\n{policy}")).unwrap();
}

const RECORD: &str = r#"{"id":7, "user":{"name":"Alice","ssn":"123-45-6789"},"contacts":[{"kind":"home","phone":"555 1234"}],"salary":81499.50}"#;

#[test]
fn json_lines_and_arrays_are_masked_by_path() {
    let sandbox = Sandbox::new();
    use_policy(&sandbox, JSON_POLICY);
    sandbox.drop_file("people.ndjson", format!("{RECORD}\n{RECORD}\n"));
    sandbox.drop_file("people.json", format!("[{RECORD}]"));
    sandbox.drop_file("packed.jsonl.gz", gzip(&sandbox, "p.csv", RECORD));
    sandbox.run_until_idle();
    let masked = r#"{"id":7, "user":{"name":"[REDACTED]","ssn":"***-**-6789"},"contacts":[{"kind":"home","phone":"[REDACTED]"}],"salary":81000}"#;
    assert_eq!(String::from_utf8(sandbox.vault_plaintext("people.ndjson")).unwrap(), format!("{masked}\n{masked}\n"));
    assert_eq!(String::from_utf8(sandbox.vault_plaintext("people.json")).unwrap(), format!("[{masked}]"));
    let receipts = sandbox.receipts();
    let format = |name: &str| {
        let receipt = receipts.iter().find(|it| it["original_name"] == name).unwrap();
        (receipt["output"]["format"].as_str().unwrap().to_owned(), receipt["rows_in"].as_u64().unwrap())
    };
    assert_eq!(format("people.ndjson"), ("ndjson".to_owned(), 2));
    assert_eq!(format("people.json"), ("json".to_owned(), 1));
    assert_eq!(format("packed.jsonl.gz"), ("ndjson.gz".to_owned(), 1));
    let columns = receipts[0]["columns"].to_string();
    assert!(columns.contains(r#"{"name":"contacts[*].phone","mask":"redact","key_version":null}"#), "{columns}");
    sandbox.assert_audit_holds();
}

#[test]
fn no_value_of_a_rejected_json_file_is_left_anywhere() {
    const CANARY: &str = "QzCanary7";
    let sandbox = Sandbox::new();
    use_policy(&sandbox, JSON_POLICY);
    let bad = [
        RECORD.replace("\"home\"", &format!("\"home\",\"{CANARY}@x\":\"{CANARY}\"")),
        RECORD.replace("81499.50", &format!("\"{CANARY}\"")),
        RECORD.replace("\"Alice\"", &format!("{{\"{CANARY}\":1}}")),
        RECORD.replace("7,", &format!("\"{CANARY}")),
        RECORD.replace("\"id\":7", &format!("\"id\":7,\"id\":\"{CANARY}\"")),
        format!("{RECORD}\n{CANARY}"),
        format!("{RECORD}\n{{\"{CANARY}\\ud800\":1}}"),
    ];
    for (number, content) in bad.iter().enumerate() {
        sandbox.drop_file(&format!("bad{number}.json"), content);
    }
    sandbox.run_until_idle();
    assert_eq!(sandbox.quarantined().len(), bad.len(), "{:?}", sandbox.receipts());
    for reason in sandbox.quarantined() {
        assert!(reason["row"].is_u64() && reason["byte_offset"].is_u64(), "{reason}");
    }
    for path in files_below(sandbox.dir.path()) {
        if path.file_name().is_some_and(|name| name != "original" && name != "outside") {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found, "a value in {}", path.display());
        }
    }
}
