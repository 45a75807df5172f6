//! Encodings and dialects of delimited text, and columns of fixed width.

use proptest::prelude::*;

use super::{fault, policy, run};
use crate::pipeline::{Charset, Compress, Dialect, Failure, Format, Limits, Reading};
use crate::policy::{OnUnlisted, Policy};

fn reading(encoding: &str, dialect: Dialect) -> Reading {
    Reading { charset: Charset::for_label(encoding), dialect, ..Reading::default() }
}

fn dialect(change: impl FnOnce(&mut Dialect)) -> Reading {
    let mut dialect = Dialect::default();
    change(&mut dialect);
    Reading { dialect, ..Reading::default() }
}

fn masked(input: &[u8], reading: &Reading, policy: &Policy) -> Vec<u8> {
    run(input, reading, policy, Compress::Same).unwrap().0
}

fn text(input: &str, reading: &Reading, rules: &[&str]) -> String {
    String::from_utf8(masked(input.as_bytes(), reading, &policy(rules))).unwrap()
}

fn utf16(text: &str, little: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

#[test]
fn utf16_comes_out_as_it_came() {
    let rules = policy(&["id=keep", "naïve=partial"]);
    let plain = "\u{feff}id;naïve\r\n1😀;\"Łódź;漢字\"\r\n2;\r\n";
    let wanted = "\u{feff}id;naïve\r\n1😀;\"****;**\"\r\n2;\r\n";
    for little in [true, false] {
        let input = utf16(plain, little);
        assert_eq!(masked(&input, &Reading::default(), &rules), utf16(wanted, little), "told by its mark");
        // Without a mark it must be named, and a mark that contradicts it is text.
        let named = reading(if little { "utf-16le" } else { "utf-16be" }, Dialect::default());
        assert_eq!(masked(&input[2..], &named, &rules), &utf16(wanted, little)[2..]);
        let fault = fault(&input[2..], &Reading::default(), &rules);
        assert!(["unrecognised_format", "nul_byte"].contains(&fault.code.as_str()), "{fault:?}");
    }
    let json = utf16("\u{feff}{\"a\":\"é\"}", true);
    assert_eq!(
        masked(&json, &Reading::default(), &policy(&["a=redact"])),
        utf16("\u{feff}{\"a\":\"[REDACTED]\"}", true)
    );
}

/// Larger than what is read at first: a read into no room once passed for the end of the file.
#[test]
fn text_to_decode_is_read_to_its_end() {
    let rows: String = (0..20_000).map(|row| format!("{row};name {row}, the longer the better\n")).collect();
    let rules = policy(&["id=keep", "name=keep"]);
    let whole = |input: &[u8], reading: &Reading| {
        let (output, report) = run(input, reading, &rules, Compress::Same).unwrap();
        assert!(output == input, "{} of {} bytes", output.len(), input.len());
        assert_eq!((report.rows_in, report.input.bytes), (20_000, input.len() as u64));
    };
    let table = format!("\u{feff}id;name\n{rows}");
    whole(&utf16(&table, true), &Reading::default());
    whole(&table.as_bytes()[3..], &reading("windows-1252", Dialect::default()));
    let section = table[3..].replace(';', "§");
    let mut by_sections = Reading::default();
    by_sections.dialect.delimiter = by_sections.dialect.byte_for('§');
    whole(section.as_bytes(), &by_sections);
}

#[test]
fn legacy_encodings_come_out_byte_by_byte() {
    for (label, plain) in [
        ("windows-1252", &b"id,name\n\x80\x81\xff,M\xfcller 1234\n"[..]),
        ("windows-1251", b"id,name\n\xc0\xe0,\xc8\xe2\xe0\xed 1234\n"),
        ("iso-8859-2", b"id,name\n\xa3\xb1,\xa3\xf3d\xbc 1234\n"),
        // The name's first character in both of its spellings, and a second byte that is a bar.
        ("shift_jis", b"id,name\n\xfb\xfc\xee\xe0\x81\x7c,\x8e\x52\x93\x63 1234\n"),
        ("gb18030", b"id,name\n\x80\xa2\xe3\x81\x30\x81\x30,\xc0\xee 1234\n"),
    ] {
        let output = masked(plain, &reading(label, Dialect::default()), &policy(&["id=keep", "name=partial"]));
        let cell = plain.iter().rposition(|byte| *byte == b',').unwrap();
        assert_eq!(output[..=cell], plain[..=cell], "{label}");
        assert!(output[cell..].starts_with(b",*") && output[cell..].is_ascii(), "{label}");
        assert_eq!(masked(plain, &reading(label, Dialect::default()), &policy(&["id=keep", "name=keep"])), plain);
    }
}

#[test]
fn what_is_not_of_the_encoding_is_refused_with_its_row() {
    let rules = policy(&["id=keep", "name=keep"]);
    for (label, bad) in [
        ("windows-1253", &b"id,name\n1,a\n2,\xd2\n3,x\n"[..]),
        ("shift_jis", b"id,name\n1,a\n2,\x81\n3,x\n"),
        ("gb18030", b"id,name\n1,a\n2,\xff\n3,x\n"),
    ] {
        let fault = fault(bad, &reading(label, Dialect::default()), &rules);
        assert_eq!((fault.code.as_str(), fault.row), ("invalid_encoding", Some(2)), "{fault:?}");
        assert!(fault.sentence.to_lowercase().contains(label), "{fault:?}");
    }
    let half = [utf16("\u{feff}id,name\n1,a\n2,", true), vec![0x00, 0xd8], utf16("x\n", true)].concat();
    assert_eq!(fault(&half, &Reading::default(), &rules).row, Some(2));
    let odd = [&utf16("\u{feff}id,name\n1,a", true)[..], b"x"].concat();
    assert_eq!(fault(&odd, &Reading::default(), &rules).code, "invalid_encoding");
    // A dropped comment hides nothing that follows it.
    let with_comment = dialect(|it| it.comment = Some(b'#'));
    let latin = Reading { charset: Charset::for_label("windows-1253"), ..with_comment };
    assert_eq!(fault(b"id,name\n1,a\n#\xd2\n2,b\n", &latin, &rules).row, Some(2));
    assert_eq!(fault(b"#\xd2\nid,name\n1,a\n", &latin, &rules).code, "invalid_encoding");
    // A mask's own text that the encoding does not have.
    let mut rules = policy(&["id=keep", "name=redact"]);
    rules.columns[1].mask = crate::mask::Mask::Redact { text: "…漢".to_owned() };
    let fault = fault(b"id,name\n1,a\n", &reading("windows-1252", Dialect::default()), &rules);
    assert_eq!(fault.code, "unencodable_text");
    assert!(fault.sentence.contains("U+6F22") && fault.sentence.contains("windows-1252"), "{fault:?}");
}

#[test]
fn any_character_separates_and_quotes() {
    let mut concordance = reading("windows-1252", Dialect::default());
    concordance.dialect.delimiter = concordance.dialect.byte_for('\u{14}');
    concordance.dialect.quote = concordance.dialect.byte_for('þ');
    let input = b"\xfeid\xfe\x14\xfename\xfe\r\n\xfe1\xfe\x14\xfea\xfe\xfeb, \x14 1234\xfe\r\n";
    let output = b"\xfeid\xfe\x14\xfename\xfe\r\n\xfe1\xfe\x14\xfe*\xfe\xfe*, \x14 ****\xfe\r\n";
    let rules = policy(&["id=keep", "name=partial"]);
    let output_now = masked(input, &concordance, &rules);
    assert!(output_now.starts_with(&output[..28]), "{:?}", String::from_utf8_lossy(&output_now));
    let mut section = dialect(|_| {});
    section.dialect.delimiter = section.dialect.byte_for('§');
    assert_eq!(
        text("id§name\n1§\"a§bc 12345\"\n", &section, &["id=keep", "name=partial"]),
        "id§name\n1§\"*§** *2345\"\n"
    );
    let control = dialect(|it| it.delimiter = Some(1));
    assert_eq!(
        text("id\x01name\n1\x01wxyz2345\n", &control, &["id=keep", "name=partial"]),
        "id\x01name\n1\x01****2345\n"
    );
}

#[test]
fn escapes_hide_delimiters_quotes_and_line_ends() {
    let rules = ["id=keep", "name=partial", "note=keep"];
    let hive = dialect(|it| {
        it.delimiter = Some(b',');
        it.quote = None;
        it.escape = Some(b'\\');
    });
    let input = "id,name,note\n1,a\\,bc\\\\ 12345,x\\\ny\n2,\\N,\\N\n3,,\\,\n";
    let output = "id,name,note\n1,*\\,**\\\\ *2345,x\\\ny\n2,\\N,\\N\n3,,\\,\n";
    assert_eq!(text(input, &hive, &rules), output);
    let mysql = dialect(|it| it.escape = Some(b'\\'));
    let input = "\"id\",\"na\\\"me\",\"note\"\n\"1\",\"a\\\"bc 12345\",\"x\\\"\"\n";
    let output = "\"id\",\"na\\\"me\",\"note\"\n\"1\",\"*\\\"** *2345\",\"x\\\"\"\n";
    assert_eq!(text(input, &mysql, &["id=keep", "na\"me=partial", "note=keep"]), output);
    // What a mask puts in is escaped, too.
    let mut comma = policy(&["id=keep", "name=redact", "note=drop"]);
    comma.columns[1].mask = crate::mask::Mask::Redact { text: "a,\\\n\"".to_owned() };
    let output = masked(b"id,name,note\n1,x,y\\\n\n2,\"x\",\"\"\n", &mysql, &comma);
    assert_eq!(String::from_utf8(output).unwrap(), "id,name\n1,a\\,\\\\\\\n\\\"\n2,\"a,\\\\\n\\\"\"\n");
    assert_eq!(fault(b"id,name,note\n1,a\\,b\n", &hive, &policy(&rules)).code, "ragged_row");
    assert_eq!(fault(b"id,name,note\n1,a\\\0,b\n", &hive, &policy(&rules)).code, "nul_byte");
    assert_eq!(text("id,name,note\n1,abcd12345,b\\", &hive, &rules), "id,name,note\n1,*****2345,b\\");
}

#[test]
fn lines_that_end_with_a_carriage_return_alone_are_no_header() {
    let keep = Policy { unlisted: OnUnlisted::Keep, ..policy(&[]) };
    for (input, column) in [("id,name\r1,Alice\r2,Bob\r", 2), ("name\rAlice\rBob", 1), ("a\rb,c\n1,2\n", 1)] {
        let fault = fault(input.as_bytes(), &Reading::default(), &keep);
        assert_eq!(fault.code, "bare_carriage_return", "{fault:?}");
        assert!(
            fault.sentence.contains(&format!("column {column} ")) && !fault.sentence.contains("Alice"),
            "{fault:?}"
        );
    }
    for input in ["id,name\r\n1,Alice\r\n", "\"a\rb\",c\n1,2\n", "id,name\r\n"] {
        assert_eq!(run(input.as_bytes(), &Reading::default(), &keep, Compress::Same).unwrap().0, input.as_bytes());
    }
}

#[test]
fn names_come_from_the_configuration_where_there_is_no_header() {
    let headless = dialect(|it| it.columns = vec!["id".to_owned(), "name".to_owned()]);
    let rules = ["id=keep", "name=redact"];
    for (input, output) in [("\u{feff}1;ab\n2;,\n", "\u{feff}1;[REDACTED]\n2;[REDACTED]\n"), ("1\ta", "1\t[REDACTED]")]
    {
        assert_eq!(text(input, &headless, &rules), output);
    }
    assert_eq!(text("1,a\n2,b", &headless, &["id=drop", "name=redact"]), "[REDACTED]\n[REDACTED]");
    assert_eq!(fault(b"1,a,b\n", &headless, &policy(&rules)).code, "ragged_row");
    assert_eq!(fault(b"1,a\n1,a,b\n", &headless, &policy(&rules)).row, Some(2));
    assert_eq!(fault(b"", &headless, &policy(&rules)).code, "empty_file");
    let one = dialect(|it| it.columns = vec!["id".to_owned()]);
    assert_eq!(
        text(
            "a,b\nc\n",
            &Reading { dialect: Dialect { delimiter: Some(b';'), ..one.dialect.clone() }, ..one },
            &["id=keep"]
        ),
        "a,b\nc\n"
    );
}

#[test]
fn preamble_and_comments_are_dropped_unless_kept_on_purpose() {
    let input = "\u{feff}Report of Alice, \"1\nDate:,,,\n# c\nid,name\n#\"Alice\n# x\r\n1,a\n2,b#\n#\n3,\"#\n\"\n# end";
    let rules = ["id=keep", "name=redact"];
    let dropping = dialect(|it| {
        it.preamble = 2;
        it.comment = Some(b'#');
    });
    assert_eq!(text(input, &dropping, &rules), "\u{feff}id,name\n1,[REDACTED]\n2,[REDACTED]\n3,\"[REDACTED]\"\n");
    let keeping = Reading { dialect: Dialect { keep_comments: true, ..dropping.dialect.clone() }, ..dropping.clone() };
    let kept = input.replace(",a", ",[REDACTED]").replace(",b#", ",[REDACTED]").replace("\"#\n\"", "\"[REDACTED]\"");
    assert_eq!(text(input, &keeping, &rules), kept);
    let report = run(input.as_bytes(), &dropping, &policy(&rules), Compress::Same).unwrap().1;
    assert_eq!(report.rows_in, 3);
    assert_eq!(fault(b"a\nb\n", &dropping, &policy(&rules)).code, "empty_file");
    assert_eq!(fault(b"a\nb\n#\n#", &dropping, &policy(&rules)).code, "empty_file");
    let place = fault(b"a\nb\nid,name\n#\n1,a\n# x\n2\n", &dropping, &policy(&rules));
    assert_eq!((place.row, place.byte_offset), (Some(2), Some(22)), "comments count as bytes, not as rows");
    let many = format!("x\ny\nid,name\n{}1,a\n", "# comment\n".repeat(800_000));
    assert_eq!(text(&many, &dropping, &rules), "id,name\n1,[REDACTED]\n");
    // A row that begins like a comment, by a mask or because another column has gone, would be none to its readers.
    for (rules, input) in
        [(["id=hashes", "name=keep"], "x\ny\nid,name\n1,a\n"), (["id=drop", "name=keep"], "x\ny\nid,name\n1,#a\n")]
    {
        let fault = fault(input.as_bytes(), &dropping, &policy(&rules));
        assert_eq!((fault.code.as_str(), fault.row), ("unreadable_row", Some(1)), "{rules:?}");
    }
    let long = format!("x\ny\nid,name\n1,a\n#{}\n", "x".repeat(5 << 20));
    let limits = Limits { max_record_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(fault(long.as_bytes(), &Reading { limits, ..dropping }, &policy(&rules)).code, "record_too_long");
}

#[test]
fn a_survey_sees_what_the_masks_would() {
    let escapes = dialect(|it| (it.quote, it.escape) = (None, Some(b'\\')));
    let legacy = reading("windows-1252", dialect(|it| it.comment = Some(b'#')).dialect);
    for (input, reading) in [
        (utf16("\u{feff}id,mail\n1,\"ann@example.com\"\n2,\n", true), Reading::default()),
        (b"id,mail\n1,ann\\@example.com\n2,\\N\n".to_vec(), escapes),
        (b"id,mail\n#\xe9\n1,ann@example.com\n2,\n".to_vec(), legacy),
        (b"id mail           \n1  ann@example.com\n2  \n".to_vec(), fixed(&[3, 15], &[])),
    ] {
        let mut surveyed = crate::pipeline::survey(super::file(&input), &reading, true).unwrap();
        assert_eq!((surveyed.rows, surveyed.columns.len()), (2, 2));
        let mail = &mut surveyed.columns[1];
        assert_eq!((mail.name.as_str(), mail.survey.cells()), ("mail", (2, 1)));
        assert_eq!(mail.survey.findings()[0].class.name(), "email");
    }
}

fn fixed(widths: &[u32], columns: &[&str]) -> Reading {
    dialect(|it| {
        it.widths = widths.to_vec();
        it.columns = columns.iter().map(|name| (*name).to_owned()).collect();
    })
}

#[test]
fn columns_of_fixed_width_keep_their_places() {
    let input = "id  name      sum\r\n1   Łódź 1234   9\r\n  2            99\r\n3   Zoë abcdef 99";
    let output = "id  name      sum\r\n1   **** 1234   9\r\n  2            50\r\n3   *** **cdef 50";
    let rules = ["id=keep", "name=partial", "sum=clamp"];
    assert_eq!(text(input, &fixed(&[4, 10, 3], &[]), &rules), output);
}

#[test]
fn fixed_width_pads_drops_and_refuses() {
    let layout = fixed(&[3, 8, 4], &["id", "name", "sum"]);
    let rules = ["id=keep", "name=redact", "sum=clamp"];
    let mut short = policy(&rules);
    short.columns[1].mask = crate::mask::Mask::Redact { text: "né".to_owned() };
    let output = masked(b"1  Alice     99\n 2      Bob7  \n3          \n", &layout, &short);
    assert_eq!(String::from_utf8(output).unwrap(), "1  né        50\n 2       né7  \n3          \n");
    assert_eq!(
        text("1  Alice     99\n2  Bob        7", &layout, &["id=keep", "name=drop", "sum=keep"]),
        "1    99\n2     7"
    );
    assert_eq!(
        text("id nm         s\n1  Alice      9\n", &fixed(&[3, 8, 4], &[]), &["id=drop", "nm=drop", "s=keep"]),
        "   s\n   9\n"
    );
    let wide = fault(b"1  Alice     99\n", &layout, &policy(&rules));
    assert_eq!((wide.code.as_str(), wide.row, wide.column.as_deref()), ("cell_too_wide", Some(1), Some("name")));
    let mistyped = fault(b"1              \n2             x\n", &layout, &short);
    assert_eq!((mistyped.code.as_str(), mistyped.row, mistyped.byte_offset), ("mistyped_cell", Some(2), Some(27)));
    for (bad, code, row) in [
        (&b"1  Alice     99\n1  Alice     999\n"[..], "ragged_row", 2),
        (b"1  Alice     99\n1  Alice\n", "ragged_row", 2),
        (b"1  Alice     99\n\n", "ragged_row", 2),
        (b"1  Alice     99\n1  Al\0ce     9\n", "nul_byte", 2),
        (b"1  Alice     99\n1  Al\xffce     9\n", "invalid_utf8", 2),
    ] {
        let fault = fault(bad, &layout, &short);
        assert_eq!((fault.code.as_str(), fault.row), (code, Some(row)), "{fault:?}");
    }
    assert_eq!(fault(b"", &layout, &short).code, "empty_file");
    let sjis = Reading { charset: Charset::for_label("shift_jis"), ..fixed(&[2, 4], &["id", "name"]) };
    let output = masked(b"1 \x8e\x52\x93\x63  \n2 \xee\xe0\xfb\xfcab\n", &sjis, &policy(&["id=keep", "name=partial"]));
    assert_eq!(output, b"1 **  \n2 ****\n");
    let comments = Reading { dialect: Dialect { comment: Some(b'#'), ..layout.dialect.clone() }, ..layout.clone() };
    assert_eq!(
        text("# x\n1  Alice     99\n#\n2  Bob        7\n#", &comments, &["id=keep", "name=keep", "sum=clamp"]),
        "1  Alice     50\n2  Bob        7\n"
    );
    let fault = fault(b"1  Alice     99\n", &comments, &policy(&["id=hashes", "name=keep", "sum=keep"]));
    assert_eq!((fault.code.as_str(), fault.row), ("unreadable_row", Some(1)));
    let big: String = (0..300_000).map(|n| format!("{n:>7}{:<5}\n", n % 60)).collect();
    let output = text(&big, &fixed(&[7, 5], &["id", "n"]), &["id=keep", "n=clamp"]);
    assert_eq!(output, (0..300_000).map(|n| format!("{n:>7}{:<5}\n", (n % 60).min(50))).collect::<String>());
}

#[test]
fn dialects_that_cannot_be_are_refused() {
    for bad in [
        dialect(|it| it.escape = Some(b'"')),
        dialect(|it| it.comment = Some(b'\n')),
        dialect(|it| it.widths = vec![3, 0]),
        dialect(|it| it.columns = vec!["a".to_owned(), " A".to_owned()]),
        dialect(|it| it.columns = vec!["a".to_owned(), String::new()]),
        Reading {
            dialect: Dialect { widths: vec![1], columns: vec!["a".to_owned(), "b".to_owned()], ..Dialect::default() },
            ..Reading::default()
        },
    ] {
        assert_eq!(fault(b"a\n1\n", &bad, &policy(&["a=keep"])).code, "bad_dialect");
    }
}

/// A slow reader of escaped text, for comparison.
fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => cell.extend([Some(character), characters.next()].into_iter().flatten()),
            ',' => row.push(std::mem::take(&mut cell)),
            '\n' => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn escaped_cells_stand_where_a_slow_reader_finds_them(rows in prop::collection::vec(("([a-z]|\\\\[,n\n\\\\]){0,8}", "([a-zé]|\\\\[,\n]){1,8}"), 1..20)) {
        let hive = dialect(|it| { it.delimiter = Some(b','); it.quote = None; it.escape = Some(b'\\'); });
        let input = rows.iter().fold("a,b\n".to_owned(), |all, (a, b)| all + a + "," + b + "\n");
        prop_assert_eq!(text(&input, &hive, &["a=keep", "b=keep"]), input.clone());
        let output = text(&input, &hive, &["a=keep", "b=redact"]);
        let expected: Vec<Vec<String>> = cells(&input).into_iter().skip(1).map(|row| vec![row[0].clone(), "[REDACTED]".to_owned()]).collect();
        prop_assert_eq!(&cells(&output)[1..], &expected);
    }

    #[test]
    fn any_bytes_in_any_encoding_end_well(bytes in prop::collection::vec(any::<u8>(), 0..80), which in 0usize..6) {
        let label = ["utf-16le", "utf-16be", "shift_jis", "gb18030", "windows-1252", "big5"][which];
        for reading in [reading(label, Dialect::default()), Reading { charset: Charset::for_label(label), ..fixed(&[3, 5], &[]) }] {
            let reading = Reading { accept: vec![Format::Csv], ..reading };
            let result = run(&[b"a\n", &bytes[..]].concat(), &reading, &policy(&["a=keep"]), Compress::Same);
            let retried = matches!(result, Err(Failure::Retry { .. }));
            prop_assert!(!retried, "{:?}", result);
        }
    }
}

#[test]
fn a_first_row_that_is_no_header_tells_what_names_the_columns() {
    for input in ["1,Ann\n", "Report of May\nid,name\n1,Ann\n", "'id','name'\n'1','Ann'\n"] {
        let fault = fault(input.as_bytes(), &Reading::default(), &policy(&["id=keep", "name=keep"]));
        assert_eq!((fault.code.as_str(), fault.column.as_deref()), ("unlisted_column", Some("column 1")), "{input}");
        for key in ["`delimited.columns`", "`delimited.preamble`", "`delimited.quote`"] {
            assert!(fault.advice.contains(key), "{fault:?}");
        }
    }
    let named = fault(b"id,name\n1,Ann\n", &Reading::default(), &policy(&["id=keep"]));
    assert!(named.column.as_deref() == Some("name") && !named.advice.contains("delimited"), "{named:?}");
}
