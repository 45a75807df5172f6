//! Spreadsheets that are cut off, say little and mean much, or say what would be read as something else.

use super::spreadsheet::{PACKAGE, RELATIONS, WORKBOOK, ods, packed, people, rules, sheet, text, xlsx};
use super::{fault, policy, run};
use crate::pipeline::{Compress, Limits, Reading};

fn cell(attributes: &str, value: &str) -> String {
    format!(r#"<table:table-cell office:value-type="string"{attributes}><text:p>{value}</text:p></table:table-cell>"#)
}

fn row(attributes: &str, cells: &str) -> String {
    format!("<table:table-row{attributes}>{cells}</table:table-row>")
}

fn rows(count: u64) -> String {
    format!(r#" table:number-rows-repeated="{count}""#)
}

fn columns(count: u64) -> String {
    format!(r#" table:number-columns-repeated="{count}""#)
}

fn read(input: &[u8], columns: &[&str]) -> String {
    let (output, _) = run(input, &Reading::default(), &policy(columns), Compress::Same).unwrap();
    String::from_utf8(output).unwrap()
}

/// An xlsx file with a part more.
fn with_part(cells: &str, name: &str, content: &str) -> Vec<u8> {
    let sheets = r#"<sheet name="People" sheetId="1" r:id="r1"/>"#;
    packed(&[
        ("_rels/.rels", PACKAGE),
        ("xl/workbook.xml", &WORKBOOK.replace("SHEETS", sheets)),
        ("xl/_rels/workbook.xml.rels", RELATIONS),
        ("xl/worksheets/sheet1.xml", &sheet(cells)),
        (name, content),
    ])
}

#[test]
fn repeats_that_stand_for_too_much_are_refused_before_they_are_written_out() {
    let header = row("", &cell("", "id"));
    let far = row("", &format!("<table:table-cell{}/>{}", columns(16_383), cell("", "x")));
    let spaces = |count: &str| cell("", &format!(r#"a<text:s text:c="{count}"/>"#));
    for (content, place) in [
        (row(&rows(1000), &cell(&columns(16_000), "x")), " in sheet 1, at row 2"),
        (row(&rows(1_000_000), &cell(&columns(20), "x")), " in sheet 1, at row 2"),
        (row(&rows(4000), &cell(&columns(16_000), "x")), " in sheet 1, at row 2"),
        (row("", &cell(&columns(16_000), &"x".repeat(100_000))), " in sheet 1, at row 2"),
        (
            format!("{}{}", row(&rows(1_000_000), "<table:table-cell/>"), row("", &cell(&columns(9), "x"))),
            " at row 1000002",
        ),
        (row("", &spaces("4000000000")), " in sheet 1, at row 2"),
        (row("", &spaces("99999999999999999999999")), " in sheet 1, at row 2"),
        (far.repeat(300), " in sheet 1, at row "),
    ] {
        let refused = fault(&ods(&format!("{header}{content}")), &Reading::default(), &policy(&["id=keep"]));
        assert_eq!(refused.code, "too_large_to_hold", "{refused:?}");
        assert!(refused.sentence.contains(place) && refused.advice.contains("`max_buffered`"), "{refused:?}");
        assert!(refused.sentence.contains("268435456 bytes"), "{refused:?}");
    }
    for content in [
        row(&rows(4_000_000_000), &cell("", "x")),
        row(&rows(1_048_576), &cell("", "x")),
        row("", &cell(&columns(16_385), "x")),
        row(&rows(0).replace('0', "many"), &cell("", "x")),
    ] {
        let refused = fault(&ods(&format!("{header}{content}")), &Reading::default(), &policy(&["id=keep"]));
        assert!(refused.code == "malformed_file" && refused.sentence.contains("sheet 1"), "{refused:?}");
    }
}

#[test]
fn repeats_of_ordinary_files_are_read() {
    let empty = format!(r#"<table:table-cell table:style-name="ce1"{}/>"#, columns(16_384));
    let ending = format!("{}{}", row("", &empty), row(&rows(1_048_000), &empty));
    let header = row("", &format!("{}{}{empty}", cell("", "id"), cell("", "name")));
    let twice = row(&rows(2), &cell(&columns(2), "7"));
    let input = ods(&format!("{header}{twice}{}{twice}{ending}", row(&rows(2), &empty)));
    assert_eq!(read(&input, &["id=keep", "name=keep"]), "id,name\n7,7\n7,7\n,\n,\n7,7\n7,7\n");
    let bytes = |max_buffered_bytes| Limits { max_buffered_bytes, ..Limits::default() };
    // Not the file, whose content is shorter, but what it stands for.
    let small = Reading { limits: bytes(4000), ..Reading::default() };
    let many = ods(&format!("{}{}", row("", &cell("", "id")), row(&rows(1000), &cell("", "7"))));
    let refused = fault(&many, &small, &policy(&["id=keep"]));
    assert!(refused.code == "too_large_to_hold" && refused.sentence.contains("at row 2"), "{refused:?}");
    assert_eq!(read(&many, &["id=keep"]), format!("id\n{}", "7\n".repeat(1000)));
}

#[test]
fn what_an_xlsx_file_keeps_is_bounded() {
    let cells = format!("<row>{}</row>", text("A1", "id"));
    let texts = |content: &str| with_part(&cells, "xl/SharedStrings.xml", content);
    let counted = texts(r#"<sst uniqueCount="99999999999999"><si><t>a</t></si></sst>"#);
    let styles = format!("<styleSheet><fonts><font><name val=\"{}\"/></font></fonts></styleSheet>", "f".repeat(90_000));
    let copied = styles.replace("</fonts>", &format!("</fonts><cellXfs>{}</cellXfs>", "<xf/>".repeat(5000)));
    for input in [counted, with_part(&cells, "xl/styles.xml", &copied)] {
        let refused = fault(&input, &Reading::default(), &policy(&["id=keep"]));
        assert_eq!(refused.code, "too_large_to_hold", "{refused:?}");
        assert!(refused.advice.contains("`max_buffered`"), "{refused:?}");
    }
    let limits = Limits { max_buffered_bytes: 100_000, ..Limits::default() };
    let small = Reading { limits, ..Reading::default() };
    let refused = fault(&texts(&format!("<sst>{}</sst>", "<si/>".repeat(9000))), &small, &policy(&["id=keep"]));
    assert_eq!(refused.code, "too_large_to_hold", "{refused:?}");
    let limits = Limits { max_record_bytes: 1000, ..Limits::default() };
    let short = Reading { limits, ..Reading::default() };
    let long = format!("<row>{}</row><row>{}</row>", text("A1", "id"), text("A2", &"a&amp;".repeat(300_000)));
    let refused = fault(&xlsx(&long, "hidden"), &short, &policy(&["id=keep"]));
    assert!(refused.code == "too_large_to_hold" && refused.advice.contains("`max_record`"), "{refused:?}");
    let elsewhere = RELATIONS.replace("sheet1.xml", "sheet1.bin");
    let hidden = with_part(&cells, "xl/_rels/workbook.xml.RELS", &elsewhere);
    assert_eq!(fault(&hidden, &Reading::default(), &policy(&["id=keep"])).code, "malformed_file");
}

#[test]
fn what_would_be_read_as_something_else_is_refused() {
    let header = format!("<row r=\"1\">{}{}</row>", text("A1", "id"), text("B1", "x"));
    let saved = |cell: &str| xlsx(&format!("{header}<row r=\"2\">{}{cell}</row>", text("A2", "7")), "hidden");
    for cell in [
        r#"<c r="B2" t="str"><v>x<![CDATA[<cd>]]>y</v></c>"#,
        r#"<c r="B2"><v><![CDATA[12]]></v></c>"#,
        r#"<c r="B2"><v>1<!-- -->2</v></c>"#,
        r#"<c r="B2"><v>1&#50;</v></c>"#,
        r#"<c r="B2" t="n"><v>&#49;2</v></c>"#,
        r#"<c r="B2"><v>12&c;</v></c>"#,
        r#"<c r="B2"><v>1<b>2</b></v></c>"#,
        r#"<c r="B2"><v>1</v><v>2</v></c>"#,
        r#"<c r="B2" t="inlineStr"><is><![CDATA[a]]></is></c>"#,
    ] {
        let refused = fault(&saved(cell), &Reading::default(), &policy(&["id=keep", "x=keep"]));
        assert_eq!(refused.code, "malformed_file", "{cell}");
        assert!(refused.sentence.contains("sheet1.xml, at row 2, column 2"), "{cell}: {refused:?}");
    }
    for (cell, expected) in [
        (r#"<c r="B2" t="str"><v>a&amp;<!-- -->b</v></c>"#, "a&b"),
        (r#"<c r="B2" t="inlineStr"><is><t>x<![CDATA[<cd>]]>y</t></is></c>"#, "x<cd>y"),
        (r#"<c r="B2"><f><![CDATA[1<2]]></f><v>12</v></c>"#, "12"),
    ] {
        assert_eq!(read(&saved(cell), &["id=keep", "x=keep"]), format!("id,x\n7,{expected}\n"));
    }
    let table = |content: &str| ods(&format!("{}{}", row("", &cell("", "id")), row("", content)));
    let refused = fault(&table(&cell("", "x<![CDATA[y]]>")), &Reading::default(), &policy(&["id=keep"]));
    assert!(refused.sentence.contains("in sheet 1, at row 2, column 1"), "{refused:?}");
    let refused = fault(&table(&format!(" {}", cell("", "x"))), &Reading::default(), &policy(&["id=keep"]));
    assert!(refused.sentence.contains("in sheet 1, at row 2"), "{refused:?}");
    let declared = r#"<!DOCTYPE l [<!ENTITY c "SECRET">]><sst/>"#;
    let refused = fault(&with_part(&header, "xl/sharedStrings.xml", declared), &Reading::default(), &rules());
    assert!(refused.code == "malformed_file" && refused.sentence.contains("document type"), "{refused:?}");
}

#[test]
fn a_file_or_a_part_that_is_cut_off_is_damaged() {
    let named = |extension: &str| Reading { extension: Some(extension.to_owned()), ..Reading::default() };
    for (input, extension) in [(xlsx(&people(), "hidden"), "xlsx"), (ods(&row("", &cell("", "id"))), "ods")] {
        for cut in (4..input.len()).step_by(41) {
            let refused = fault(&input[..cut], &named(extension), &rules());
            assert_eq!(refused.code, "malformed_file", "{extension} {cut}: {refused:?}");
            assert!(refused.sentence.contains("cut off or damaged"), "{extension} {cut}: {refused:?}");
        }
    }
    // Another archive under that name is no damaged spreadsheet.
    assert_eq!(fault(&packed(&[("a.txt", "a")]), &named("xlsx"), &rules()).code, "unrecognised_format");
    // The library would wait for the end of the table for ever.
    let content = r#"<office:document-content><table:table table:name="S"><table:table-row/>"#;
    let manifest = ("META-INF/manifest.xml", "<manifest/>");
    let kind = ("mimetype", "application/vnd.oasis.opendocument.spreadsheet");
    let refused = fault(&packed(&[kind, ("content.xml", content), manifest]), &Reading::default(), &rules());
    assert!(refused.code == "malformed_file" && refused.sentence.contains("cut off"), "{refused:?}");
    let deep = format!("<a>{}</a>", "<b>".repeat(1000) + &"</b>".repeat(1000));
    let refused = fault(&packed(&[kind, ("content.xml", &deep), manifest]), &Reading::default(), &rules());
    assert_eq!(refused.code, "malformed_file");
    // Known up to a cell, it is told behind which.
    let odd = format!("<row r=\"1\">{}<c r=\"B1\" t=\"b\"><v>maybe</v></c></row>", text("A1", "id"));
    let refused = fault(&xlsx(&odd, "hidden"), &Reading::default(), &rules());
    assert!(refused.sentence.contains("behind row 1, column 1"), "{refused:?}");
}
