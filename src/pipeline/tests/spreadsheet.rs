//! Spreadsheets.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::archive::{unzipped, zip};
use super::{fault, policy, run};
use crate::pipeline::{Compress, Dialect, Failure, Limits, MemberRule, OutputFormat, Reading, Writing};
use crate::policy::Policy;

pub(super) const WORKBOOK: &str = r#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>SHEETS</sheets></workbook>"#;
pub(super) const RELATIONS: &str = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet2.xml"/><Relationship Id="r3" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>"#;
pub(super) const PACKAGE: &str = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
const STYLES: &str = r#"<?xml version="1.0"?><styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#;

pub(super) fn sheet(cells: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{cells}</sheetData></worksheet>"#
    )
}

pub(super) fn text(at: &str, text: &str) -> String {
    format!(r#"<c r="{at}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>"#)
}

/// A zip file, as workbooks are.
pub(in crate::pipeline) fn packed(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A workbook of two sheets; `second` says how the other one is seen.
pub(super) fn xlsx(cells: &str, second: &str) -> Vec<u8> {
    xlsx_of(cells, second, &format!("<row r=\"1\">{}</row>", text("A1", "id")))
}

fn xlsx_of(cells: &str, second: &str, cells_of_second: &str) -> Vec<u8> {
    xlsx_named(cells, ("Old", second), cells_of_second)
}

fn xlsx_named(cells: &str, (name, seen): (&str, &str), cells_of_second: &str) -> Vec<u8> {
    let sheets = format!(
        r#"<sheet name="People" sheetId="1" r:id="r1"/><sheet name="{name}" sheetId="2" r:id="r2" state="{seen}"/>"#
    );
    packed(&[
        ("_rels/.rels", PACKAGE),
        ("xl/workbook.xml", &WORKBOOK.replace("SHEETS", &sheets)),
        ("xl/_rels/workbook.xml.rels", RELATIONS),
        ("xl/styles.xml", STYLES),
        ("xl/worksheets/sheet1.xml", &sheet(cells)),
        ("xl/worksheets/sheet2.xml", &sheet(cells_of_second)),
    ])
}

/// A workbook whose sheet has these rows, from A1 on.
pub(super) fn table_as_xlsx<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Vec<u8> {
    let cell = |(column, row, value): (usize, usize, &String)| {
        text(&format!("{}{row}", char::from(b'A' + column as u8)), value)
    };
    let line = |(row, cells): (usize, [String; N])| {
        let cells: String = cells.iter().enumerate().map(|(column, value)| cell((column, row + 1, value))).collect();
        format!("<row r=\"{}\">{cells}</row>", row + 1)
    };
    xlsx(&rows.enumerate().map(line).collect::<String>(), "hidden")
}

/// A sheet that begins in B2, with an empty row and cells that are not there.
pub(super) fn people() -> String {
    let header = [text("B2", "id"), text("C2", "name"), text("D2", "born"), text("E2", "sum")].concat();
    let first = [
        text("B3", "007"),
        text("C3", "Alice, \"A\""),
        r#"<c r="D3" s="1"><v>31879</v></c><c r="E3"><f>1+1</f><v>2</v></c>"#.to_owned(),
    ];
    let last = format!(r#"{}<c r="E5"><v>0.5</v></c>"#, text("B5", "8"));
    format!(r#"<row r="2">{header}</row><row r="3">{}</row><row r="4"/><row r="5">{last}</row>"#, first.concat())
}

pub(super) fn rules() -> Policy {
    policy(&["id=keep", "name=redact", "born=date", "sum=keep"])
}

/// A workbook of texts.
pub(in crate::pipeline) fn table(header: &[&str], rows: &[Vec<String>]) -> Vec<u8> {
    let header = header.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let row = |(number, cells): (usize, &Vec<String>)| {
        let cell = |(column, cell): (usize, &String)| {
            text(&format!("{}{}", char::from(b'A' + column as u8), number + 1), cell)
        };
        format!(r#"<row r="{}">{}</row>"#, number + 1, cells.iter().enumerate().map(cell).collect::<String>())
    };
    let rows: String = [header].iter().chain(rows).enumerate().map(row).collect();
    xlsx(&rows, "hidden")
}

#[test]
fn a_sheet_comes_out_as_delimited_text() {
    let input = xlsx(&people(), "hidden");
    let (output, report) = run(&input, &Reading::default(), &rules(), Compress::Same).unwrap();
    let expected = "id,name,born,sum\n007,\"[REDACTED]\",1987,2\n,,,\n8,,,0.5\n";
    assert_eq!(String::from_utf8(output).unwrap(), expected);
    assert_eq!((report.rows_in, report.input.format.as_str()), (3, "xlsx"));
    assert_eq!((report.outputs[0].format.as_str(), report.input.bytes), ("csv", input.len() as u64));
    let kept = policy(&["id=keep", "name=keep", "born=keep", "sum=keep"]);
    let (output, _) = run(&input, &Reading::default(), &kept, Compress::Same).unwrap();
    assert!(String::from_utf8(output).unwrap().contains("\n007,\"Alice, \"\"A\"\"\",1987-04-12,2\n"));
    let surveyed = crate::pipeline::survey(super::file(&input), &Reading::default(), true).unwrap();
    assert_eq!((surveyed.rows, surveyed.columns[2].survey.cells()), (3, (3, 1)));
    let rows: String =
        (3..30_000).map(|row| format!("<row r=\"{row}\">{}</row>", text(&format!("A{row}"), "Alice"))).collect();
    let large = xlsx(&format!("<row r=\"2\">{}</row>{rows}", text("A2", "name")), "hidden");
    let (output, _) = run(&large, &Reading::default(), &policy(&["name=redact"]), Compress::Same).unwrap();
    assert_eq!(output.len(), 5 + 29_997 * 11);
}

#[test]
fn one_sheet_is_read() {
    let input = xlsx(&people(), "visible");
    assert_eq!(fault(&input, &Reading::default(), &rules()).code, "many_sheets");
    // Rules for sheets count in no archive: it is told what does.
    let members = vec![MemberRule::any()];
    let of_archive = Reading { members, sheets: vec![MemberRule::any()], ..Reading::default() };
    let archive = zip(&[("people.xlsx", &input)]);
    let refused = fault(&archive, &of_archive, &rules());
    assert_eq!(refused.code, "unsupported_member");
    assert!(refused.sentence.starts_with("member 1: the spreadsheet has 2 sheets"), "{}", refused.sentence);
    assert!(refused.advice.contains("sent by itself") && !refused.advice.contains("each"), "{}", refused.advice);
    let of_archive = Reading { sheet: Some("People".to_owned()), sheets: Vec::new(), ..of_archive };
    assert!(run(&archive, &of_archive, &rules(), Compress::Same).is_ok());
    let named = |name: &str| Reading { sheet: Some(name.to_owned()), ..Reading::default() };
    assert!(run(&input, &named("People"), &rules(), Compress::Same).is_ok());
    assert_eq!(fault(&input, &named("None"), &rules()).code, "missing_sheet");
    assert_eq!(run(&input, &named("Old"), &policy(&["id=keep"]), Compress::Same).unwrap().0, b"id\n");
    let dialect = Dialect { columns: vec!["a".to_owned()], ..Dialect::default() };
    let headless = Reading { dialect, ..named("Old") };
    assert_eq!(run(&input, &headless, &policy(&["a=redact"]), Compress::Same).unwrap().0, b"[REDACTED]\n");
}

#[test]
fn each_sheet_goes_by_its_rule() {
    let rule = |pattern: &str, policy: Option<Policy>, drops| MemberRule { pattern: pattern.to_owned(), policy, drops };
    let each = |sheets: Vec<MemberRule>| Reading { sheets, ..Reading::default() };
    let input = xlsx(&people(), "visible");
    let both = each(vec![rule("OLD", Some(policy(&["id=keep"])), false), rule("*", None, false)]);
    let (output, report) = run(&input, &both, &rules(), Compress::Same).unwrap();
    let first = "id,name,born,sum\n007,\"[REDACTED]\",1987,2\n,,,\n8,,,0.5\n";
    let of = |files: &[(&str, &str)]| -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    assert_eq!(unzipped(&output), of(&[("People.csv", first), ("Old.csv", "id\n")]));
    assert_eq!((report.input.format.as_str(), report.outputs[0].format.as_str(), report.rows_in), ("xlsx", "zip", 3));
    let columns: Vec<&str> = report.outputs[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["*: id", "*: name", "*: born", "*: sum", "OLD: id"]);
    let lines = Writing { format: OutputFormat::Ndjson, ..Writing::default() };
    let (output, _) = run(&input, &both, &rules(), lines).unwrap();
    assert_eq!(unzipped(&output)[1], ("Old.ndjson".to_owned(), String::new()));

    let dropping = each(vec![rule("old", None, true), rule("*", None, false)]);
    for (input, reading) in [
        (&input, &dropping),
        (&xlsx(&people(), "hidden"), &both),
        (&xlsx_of(&people(), "visible", ""), &each(vec![rule("*", None, false)])),
    ] {
        let (output, _) = run(input, reading, &rules(), Compress::Same).unwrap();
        assert_eq!(unzipped(&output), of(&[("People.csv", first)]));
    }
    // All or nothing, told by the sheet's number.
    let refused = fault(&input, &each(vec![rule("People", None, false)]), &rules());
    assert_eq!((refused.code.as_str(), &refused.sentence[..9]), ("unlisted_sheet", "sheet 2: "));
    let refused = fault(&input, &each(vec![rule("*", None, false)]), &rules());
    assert_eq!((refused.code.as_str(), &refused.sentence[..9]), ("missing_column", "sheet 2: "), "{refused:?}");
    let leaky = Policy { verify: crate::policy::Verify::Block, ..policy(&["id=keep"]) };
    let mail = format!("<row r=\"1\">{}</row><row r=\"2\">{}</row>", text("A1", "id"), text("A2", "alice@example.com"));
    let refused = fault(
        &xlsx_of(&people(), "visible", &mail),
        &each(vec![rule("Old", Some(leaky), false), rule("*", None, false)]),
        &rules(),
    );
    assert_eq!((refused.code.as_str(), &refused.sentence[..9]), ("leak", "sheet 2: "));
    let alike = xlsx_named(&people(), ("pEOPLE", "visible"), &people());
    let refused = fault(&alike, &each(vec![rule("*", None, false)]), &rules());
    assert_eq!((refused.code.as_str(), &refused.sentence[..9]), ("duplicate_member", "sheet 2: "), "{refused:?}");
    let empty = xlsx_of("", "visible", "");
    assert_eq!(fault(&empty, &both, &rules()).code, "empty_file");
    for at in (0..input.len()).step_by(29) {
        let mut damaged = input.clone();
        damaged[at] ^= 0x21;
        let result = run(&damaged, &both, &rules(), Compress::Same);
        assert!(!matches!(result, Err(Failure::Retry { .. } | Failure::Defect { .. })), "byte {at}: {result:?}");
    }
}

#[test]
fn a_formula_without_its_value_is_refused() {
    let header = format!("<row r=\"1\">{}{}</row>", text("A1", "id"), text("B1", "sum"));
    let saved = |cell: &str| xlsx(&format!("{header}<row r=\"2\">{}{cell}</row>", text("A2", "7")), "hidden");
    for cell in ["<c r=\"B2\"><f>1+1</f><v></v></c>", "<c r=\"B2\"><f>1+1</f></c>"] {
        let refused = fault(&saved(cell), &Reading::default(), &policy(&["id=keep", "sum=keep"]));
        assert_eq!(refused.code, "formula_without_value");
        assert!(refused.sentence.contains("row 2, column 2 of the sheet"), "{refused:?}");
    }
    let whole = "<c r=\"B2\" t=\"str\"><f>\"\"</f><v></v></c>";
    let output = run(&saved(whole), &Reading::default(), &policy(&["id=keep", "sum=keep"]), Compress::Same);
    assert_eq!(String::from_utf8(output.unwrap().0).unwrap(), "id,sum\n7,\n");

    let cell = |value: &str| format!("<table:table-cell table:formula=\"of:=1+1\"{value}/>");
    let book = |value: &str| {
        let named = "<table:table-cell office:value-type=\"string\"><text:p>n</text:p></table:table-cell>";
        let rows =
            format!("<table:table-row>{named}</table:table-row><table:table-row>{}</table:table-row>", cell(value));
        ods(&rows)
    };
    let output = run(
        &book(" office:value-type=\"float\" office:value=\"2\""),
        &Reading::default(),
        &policy(&["n=keep"]),
        Compress::Same,
    );
    assert_eq!(output.unwrap().0, b"n\n2\n");
    let refused = fault(&book(""), &Reading::default(), &policy(&["n=keep"]));
    assert!(refused.code == "formula_without_value" && refused.sentence.contains("row 2, column 1"), "{refused:?}");
}

/// A workbook with one table of these rows.
pub(super) fn ods(rows: &str) -> Vec<u8> {
    let content = format!(
        r#"<?xml version="1.0"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet><table:table table:name="S">{rows}</table:table></office:spreadsheet></office:body></office:document-content>"#
    );
    packed(&[
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", &content),
        ("META-INF/manifest.xml", r#"<?xml version="1.0"?><manifest/>"#),
    ])
}

#[test]
fn ods_is_read_too() {
    let rows = r#"<table:table-row><table:table-cell office:value-type="string"><text:p>id</text:p></table:table-cell><table:table-cell office:value-type="string"><text:p>born</text:p></table:table-cell></table:table-row><table:table-row><table:table-cell office:value-type="string"><text:p>007</text:p></table:table-cell><table:table-cell office:value-type="date" office:date-value="1987-04-12"><text:p>12.04.87</text:p></table:table-cell></table:table-row>"#;
    let input = ods(rows);
    let (output, report) =
        run(&input, &Reading::default(), &policy(&["id=keep", "born=date"]), Compress::Same).unwrap();
    assert_eq!(
        (String::from_utf8(output).unwrap().as_str(), report.input.format.as_str()),
        ("id,born\n007,1987\n", "ods")
    );
    let limits = Limits { max_buffered_bytes: 500, ..Limits::default() };
    let small = Reading { limits, ..Reading::default() };
    assert_eq!(fault(&input, &small, &policy(&["id=keep", "born=date"])).code, "too_large_to_hold");
}

#[test]
fn damage_and_bombs_are_refused() {
    let input = xlsx(&people(), "hidden");
    let far = format!("<row r=\"1\">{}</row><row r=\"1048576\">{}</row>", text("A1", "a"), text("XFD1048576", "b"));
    assert_eq!(fault(&xlsx(&far, "hidden"), &Reading::default(), &policy(&["a=keep"])).code, "expansion_exceeded");
    let beyond = format!("<row r=\"1\">{}{}</row>", text("A1", "a"), text("AAAAAAA1", "b"));
    assert_eq!(fault(&xlsx(&beyond, "hidden"), &Reading::default(), &policy(&["a=keep"])).code, "malformed_file");
    let bomb = xlsx(&text("A1", &"x".repeat(20 << 20)), "hidden");
    assert_eq!(fault(&bomb, &Reading::default(), &policy(&["a=keep"])).code, "expansion_exceeded");
    let ragged = fault(&input, &Reading::default(), &policy(&["id=keep", "name=date", "born=date", "sum=keep"]));
    assert_eq!((ragged.code.as_str(), ragged.row), ("mistyped_cell", Some(1)));
    assert!(ragged.sentence.ends_with("(counted in the sheet as CSV)") && !format!("{ragged:?}").contains("Alice"));
    let backwards = people().replace("<row r=\"5\">", "<row r=\"3\">").replace("r=\"B5\"", "r=\"B3\"");
    assert_eq!(fault(&xlsx(&backwards, "hidden"), &Reading::default(), &rules()).code, "malformed_file");
    let misnamed = Reading { extension: Some("xlsx".to_owned()), ..Reading::default() };
    assert_eq!(fault(b"id,name\n", &misnamed, &rules()).code, "unrecognised_format");
    for at in (0..input.len()).step_by(11) {
        let mut damaged = input.clone();
        damaged[at] ^= 0x21;
        let result = run(&damaged, &Reading::default(), &rules(), Compress::Same);
        assert!(!matches!(result, Err(Failure::Retry { .. } | Failure::Defect { .. })), "byte {at}: {result:?}");
    }
}
