//! Outputs in another format than what landed, from landing to vault, read by programs that are not veild.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, DurationMillisecondArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;

use crate::sandbox::{Sandbox, files_below};

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n\
    007,Alice Liddell,123-45-6789,,1987-04-12,US,\"said \"\"hi\"\", left\"\n1.50,Bob,987-65-4321,,2001-01-31,DE,\n";

/// A Python with pyarrow in it: `VEILD_PYARROW`, else the system's.
fn pyarrow() -> Option<PathBuf> {
    let python = std::env::var_os("VEILD_PYARROW").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let found = Command::new(&python).args(["-c", "import pyarrow"]).output();
    if found.is_ok_and(|it| it.status.success()) {
        return Some(python);
    }
    println!("SKIPPED: needs pyarrow of PyPI (set VEILD_PYARROW to a Python that has it)");
    None
}

/// What a program says of the only object whose name ends so, decrypted with the stock `age`.
fn read_by(sandbox: &Sandbox, ending: &str, program: &str) -> Option<String> {
    let vault = files_below(&sandbox.site("vault"));
    let mut objects = vault.iter().filter(|path| path.to_str().is_some_and(|path| path.ends_with(ending)));
    let object = objects.next().unwrap_or_else(|| panic!("no object is named …{ending}: {vault:?}"));
    assert!(objects.next().is_none());
    let plain = sandbox.path("plain");
    let mut opening = Command::new("age");
    opening.args(["-d", "-i"]).arg(sandbox.site("identity.txt")).arg("-o").args([&plain, object]);
    match opening.status() {
        Ok(status) => assert!(status.success(), "age cannot open {}", object.display()),
        Err(_) => {
            println!("SKIPPED: needs the Debian package age");
            return None;
        }
    }
    let read = Command::new(pyarrow()?).args(["-c", program]).arg(&plain).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    fs::remove_file(plain).unwrap();
    Some(String::from_utf8(read.stdout).unwrap())
}

#[test]
fn delimited_text_becomes_parquet_that_others_read() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("policy = \"people\"", "policy = \"people\"\noutput.format = \"parquet\"");
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.drop_file(
        "nested.ndjson",
        "{\"id\":1,\"name\":\"A\",\"ssn\":\"1\",\"email\":\"\",\"dob\":\"1987-04-12\",\"country\":{},\"notes\":\"\"}\n",
    );
    let tested = sandbox.path("people.csv");
    fs::write(&tested, PEOPLE).unwrap();
    let tested =
        sandbox.veild(&["policy", "test", tested.to_str().unwrap(), "--policy", "people", "--landing", "people"]);
    let said = String::from_utf8(tested.stdout).unwrap();
    assert!(said.contains("comes out as parquet"), "{said}");
    sandbox.run_until_idle();
    let receipt = &sandbox.receipts()[0];
    assert_eq!((&receipt["input"]["format"], &receipt["output"]["format"]), (&"csv".into(), &"parquet".into()));
    assert_eq!(
        (&receipt["rows_in"], &receipt["rows_out"], &receipt["verify"]["mode"]),
        (&2.into(), &2.into(), &"block".into())
    );
    let reason = &sandbox.quarantined()[0];
    assert_eq!((&reason["original_name"], &reason["row"]), (&"nested.ndjson".into(), &1.into()), "{reason}");
    let table = "import sys, pyarrow.parquet as p\nt = p.read_table(sys.argv[1])\nprint(t.schema.types, t.to_pylist())";
    if let Some(read) = read_by(&sandbox, ".parquet.age", table) {
        assert!(read.starts_with("[DataType(string)") && !read.contains("int"), "{read}");
        assert!(read.contains("{'id': '007', 'name': '***', 'ssn': '***-**-6789'"), "{read}");
        assert!(read.contains("'notes': 'said \"hi\", left'") && read.contains("{'id': '1.50'"), "{read}");
    }
    sandbox.assert_audit_holds();
}

fn typed() -> Vec<u8> {
    let text = |cells: [&str; 2]| Arc::new(StringArray::from(cells.to_vec())) as ArrayRef;
    let decimals = Decimal128Array::from(vec![Some(12_345_678_901_234_567_890), None]);
    let stamps = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC");
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(decimals.with_precision_and_scale(30, 3).unwrap()) as ArrayRef),
        ("name", text(["Alice", "Bob"])),
        ("ssn", text(["123-45-6789", ""])),
        ("email", text(["", ""])),
        ("dob", text(["1987-04-12", ""])),
        ("country", Arc::new(stamps)),
        ("notes", text(["a,b", "c"])),
    ]);
    let batch = batch.unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn parquet_becomes_lines_of_json_that_others_read() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    let rules =
        "[[landing.member]]\nmember = \"*.csv\"\n\n[[landing.member]]\nmember = \"*.parquet\"\n\n[policy.people]";
    sandbox.edit_config("[policy.people]", rules);
    sandbox.edit_config(
        "policy = \"people\"",
        "policy = \"people\"\noutput.format = \"ndjson\"\noutput.compress = \"gzip\"",
    );
    sandbox.drop_file("typed.parquet", typed());
    let members = sandbox.path("members");
    fs::create_dir(&members).unwrap();
    fs::write(members.join("a.csv"), PEOPLE).unwrap();
    fs::write(members.join("b.parquet"), typed()).unwrap();
    let archive = sandbox.path("both.tar");
    assert!(Command::new("tar").arg("-C").arg(&members).arg("-cf").arg(&archive).arg(".").status().unwrap().success());
    sandbox.drop_file("both.tar", fs::read(&archive).unwrap());
    sandbox.run_until_idle();
    assert!(sandbox.quarantined().is_empty(), "{:?}", sandbox.quarantined());
    let receipts = sandbox.receipts();
    let of = |name: &str, view: bool| {
        let wanted = |it: &&serde_json::Value| it["original_name"] == name && it["view"].is_string() == view;
        receipts.iter().find(wanted).unwrap().clone()
    };
    for view in [false, true] {
        assert_eq!(of("typed.parquet", view)["output"]["format"], "ndjson.gz");
        assert!(of("typed.parquet", view)["output"]["path"].as_str().unwrap().ends_with(".ndjson.gz.age"));
        assert_eq!(
            (&of("both.tar", view)["output"]["format"], &of("both.tar", view)["rows_out"]),
            (&"tar.gz".into(), &4.into())
        );
    }
    fs::write(sandbox.path("out.tar.gz"), sandbox.vault_plaintext("both.tar")).unwrap();
    let unpacked = Command::new("tar").arg("-xzOf").arg(sandbox.path("out.tar.gz")).output().unwrap();
    let unpacked = String::from_utf8(unpacked.stdout).unwrap();
    assert!(unpacked.contains("{\"id\":12345678901234567.890,\"name\":\"***\","), "{unpacked}");
    assert!(unpacked.contains("{\"id\":\"007\",\"name\":\"***\",\"ssn\":\"***-**-6789\","), "{unpacked}");
    let rows = "import sys, gzip, json, decimal\n\
                for line in gzip.open(sys.argv[1], 'rt'): print(json.loads(line, parse_float=decimal.Decimal))";
    let main = of("typed.parquet", false)["output"]["path"].as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
    if let Some(read) = read_by(&sandbox, &main, rows) {
        assert!(
            read.contains("{'id': Decimal('12345678901234567.890'), 'name': '***', 'ssn': '***-**-6789'"),
            "{read}"
        );
        assert!(read.contains("'country': '1970-01-01T00:00:01.500000Z'") && read.contains("{'id': None,"), "{read}");
    }
    sandbox.assert_audit_holds();
}

#[test]
fn few_bytes_that_would_become_many_are_quarantined_within_the_memory_of_a_worker() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("min_free = ", "worker_memory = \"256MiB\"\nmin_free = ");
    let keys = "policy = \"people\"\noutput.format = \"csv\"\nlimits.max_expansion = 30";
    sandbox.edit_config("policy = \"people\"", keys);
    sandbox.edit_config("[policy.people]", "[policy.people]\nmissing = \"ignore\"");
    sandbox.edit_config("unlisted = \"reject\"", "unlisted = \"keep\"");
    let members: Vec<String> = (0..4000).map(|key| format!("\"k{key}\":1")).collect();
    sandbox.drop_file("wide.ndjson", format!("{{{}}}\n{}", members.join(","), "{}\n".repeat(200_000)));
    sandbox.run_until_idle();
    let reason = &sandbox.quarantined()[0];
    assert_eq!((&reason["code"], &reason["attempts"]), (&"expansion_exceeded".into(), &0.into()), "{reason}");
    assert!(reason["row"].as_u64().unwrap() > 4000, "{reason}");
    sandbox.assert_audit_holds();
}

/// As many columns as fit into a record: refused for Parquet before its worker meets its limits, and done in time where
/// columns cost nothing.
#[test]
fn the_widest_files_neither_exhaust_nor_hang_a_worker() {
    let sandbox = Sandbox::new();
    sandbox.add_landing("wide", "quiet = \"0s\"\noutput.format = \"parquet\"");
    sandbox.edit_config("min_free = ", "worker_timeout = \"20s\"\nmin_free = ");
    sandbox.edit_config("policy = \"people\"", "policy = \"people\"\noutput.format = \"ndjson\"");
    let policy = "[policy.people]\nmissing = \"ignore\"\nverify = \"off\"";
    sandbox.edit_config("[policy.people]", policy);
    sandbox.edit_config("unlisted = \"reject\"", "unlisted = \"keep\"");
    let wide = |columns: usize, rows: usize| {
        let names: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
        format!("{}\n{}", names.join(","), format!("{}\n", vec!["x"; columns].join(",")).repeat(rows))
    };
    sandbox.drop_file("lines.csv", wide(200_000, 1));
    sandbox.drop_file("more.csv", wide(5_000, 300));
    fs::write(sandbox.site("wide/refused.csv"), wide(200_000, 1)).unwrap();
    fs::write(sandbox.site("wide/table.csv"), wide(4096, 1)).unwrap();
    sandbox.run_until_idle();
    let reason = &sandbox.quarantined()[0];
    assert_eq!((&reason["original_name"], &reason["code"]), (&"refused.csv".into(), &"too_many_paths".into()));
    let sentence = reason["sentence"].as_str().unwrap();
    assert!(sentence.contains("200000 columns") && sentence.contains("`max_paths` lets 4096"), "{reason}");
    let receipts = sandbox.receipts();
    let mut sealed: Vec<&str> = receipts.iter().map(|it| it["original_name"].as_str().unwrap()).collect();
    sealed.sort_unstable();
    assert_eq!(sealed, ["lines.csv", "more.csv", "table.csv"]);
    let log = sandbox.log();
    assert!(!log.contains("worker_died") && !log.contains("worker_hung"), "{log}");
    sandbox.assert_audit_holds();
}

#[test]
fn lengths_of_time_stay_such_in_parquet() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("policy = \"people\"", "policy = \"people\"\noutput.format = \"parquet\"");
    sandbox.edit_config("unlisted = \"reject\"", "unlisted = \"keep\"\nmissing = \"ignore\"");
    let lengths: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![Some(-1500), None]));
    let batch = RecordBatch::try_from_iter([("for", lengths)]).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    sandbox.drop_file("lengths.arrows", writer.into_inner().unwrap());
    sandbox.run_until_idle();
    let table = "import sys, pyarrow.parquet as p\nt = p.read_table(sys.argv[1])\nprint(t.schema.types, t['for'].cast('int64').to_pylist())";
    if let Some(read) = read_by(&sandbox, ".parquet.age", table) {
        assert_eq!(read, "[DurationType(duration[ms])] [-1500, None]\n");
    }
    assert_eq!(sandbox.receipts()[0]["output"]["format"], "parquet");
}

#[test]
fn what_no_file_could_become_is_refused_with_the_configuration() {
    let sandbox = Sandbox::new();
    let given = "policy = \"people\"\noutput.format = \"parquet\"\ndelimited.widths = [3, 9]";
    sandbox.edit_config("policy = \"people\"", given);
    let checked = sandbox.veild(&["check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success() && said.contains("text of fixed width is not converted"), "{said}");
}

/// A workbook of two sheets, `People` and `Notes`, the second of one column.
pub fn workbook() -> Vec<u8> {
    const SPACE: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006/relationships";
    let relation =
        |id: u8, kind: &str, to: &str| format!(r#"<Relationship Id="r{id}" Type="{OFFICE}/{kind}" Target="{to}"/>"#);
    let relations = |all: &str| format!(r#"<Relationships xmlns="{PACKAGE}">{all}</Relationships>"#);
    let sheet = |rows: &[&[&str]]| {
        let cell = |text: &&str| format!(r#"<c t="inlineStr"><is><t>{text}</t></is></c>"#);
        let row = |cells: &&[&str]| format!("<row>{}</row>", cells.iter().map(cell).collect::<String>());
        let rows: String = rows.iter().map(row).collect();
        format!(r#"<worksheet xmlns="{SPACE}"><sheetData>{rows}</sheetData></worksheet>"#)
    };
    let people: [&[&str]; 2] = [
        &["id", "name", "ssn", "email", "dob", "country", "notes"],
        &["007", "Alice Liddell", "123-45-6789", "", "1987-04-12", "US", "hello"],
    ];
    let sheets = r#"<sheet name="People" sheetId="1" r:id="r1"/><sheet name="Notes" sheetId="2" r:id="r2"/>"#;
    let parts = [
        ("_rels/.rels", relations(&relation(1, "officeDocument", "xl/workbook.xml"))),
        (
            "xl/workbook.xml",
            format!(r#"<workbook xmlns="{SPACE}" xmlns:r="{OFFICE}"><sheets>{sheets}</sheets></workbook>"#),
        ),
        (
            "xl/_rels/workbook.xml.rels",
            relations(&(relation(1, "worksheet", "worksheets/a.xml") + &relation(2, "worksheet", "worksheets/b.xml"))),
        ),
        ("xl/worksheets/a.xml", sheet(&people)),
        ("xl/worksheets/b.xml", sheet(&[&["country"], &["US"]])),
    ];
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in parts {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn each_sheet_comes_out_in_one_archive() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    let rules = "[[landing.sheet]]\nsheet = \"notes\"\npolicy = \"coarse\"\n\n[[landing.sheet]]\nsheet = \"*\"\n\n[policy.people]";
    sandbox.edit_config("[policy.people]", rules);
    sandbox.edit_config("[policy.coarse]", "[policy.coarse]\nmissing = \"ignore\"");
    sandbox.drop_file("team.xlsx", workbook());
    sandbox.run_until_idle();
    assert!(sandbox.quarantined().is_empty(), "{:?}", sandbox.quarantined());
    let receipts = sandbox.receipts();
    let main = receipts.iter().find(|it| it["view"].is_null()).unwrap();
    assert_eq!(
        (&main["input"]["format"], &main["output"]["format"], &main["rows_out"]),
        (&"xlsx".into(), &"zip".into(), &2.into())
    );
    assert!(main["output"]["path"].as_str().unwrap().ends_with(".zip.age"), "{main}");
    let read = |bytes: Vec<u8>| -> Vec<(String, String)> {
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let one = |index: usize| {
            let mut member = archive.by_index(index).unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut member, &mut text).unwrap();
            (member.name().unwrap().into_owned(), text)
        };
        (0..2).map(one).collect()
    };
    let files = read(sandbox.vault_plaintext("team.xlsx"));
    assert_eq!((files[0].0.as_str(), files[1].0.as_str()), ("People.csv", "Notes.csv"));
    assert!(files[0].1.ends_with("\n007,***,***-**-6789,,1987,US,hello\n"), "{files:?}");
    assert_eq!(files[1].1, "country\nUS\n");
    sandbox.assert_audit_holds();

    sandbox.edit_config("policy = \"coarse\"\n\n[[landing.sheet]]\nsheet = \"*\"", "policy = \"coarse\"");
    sandbox.drop_file("other.xlsx", workbook());
    sandbox.run_until_idle();
    assert_eq!(sandbox.quarantined()[0]["code"], "unlisted_sheet");
}

#[test]
fn a_reader_within_that_ends_early_is_told_of() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("[policy.people]", "[[landing.member]]\nmember = \"*\"\n\n[policy.people]");
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("twice.csv", zip::write::SimpleFileOptions::default()).unwrap();
    let content = "id,id\n".to_owned() + &"1,2\n".repeat(1 << 19);
    std::io::Write::write_all(&mut writer, content.as_bytes()).unwrap();
    let archive = sandbox.path("twice.zip");
    fs::write(&archive, writer.finish().unwrap().into_inner()).unwrap();
    let archive = archive.to_str().unwrap();
    for arguments in [&["policy", "test"][..], &["mask", "-o", "-", "--plaintext"]] {
        let refused = sandbox.veild(&[arguments, &[archive, "--policy", "people", "--landing", "people"]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code().is_some() && said.contains("the same name"), "{:?} {said}", refused.status);
    }
}

#[test]
fn a_command_ends_when_nobody_reads_on() {
    use std::os::unix::process::ExitStatusExt;
    let sandbox = Sandbox::new();
    let content = PEOPLE.to_owned() + &PEOPLE.split_once('\n').unwrap().1.repeat(1 << 12);
    fs::write(sandbox.path("many.csv"), content).unwrap();
    let mut masking = Command::new(env!("CARGO_BIN_EXE_veild"));
    masking.arg("--config").arg(sandbox.site("config.toml")).args(["mask", "--policy", "people", "-o", "-"]);
    masking.arg("--plaintext").arg(sandbox.path("many.csv"));
    let mut child = masking.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.signal(), ended.stderr), (Some(13), Vec::new()));
}
