//! Rows that are left out, format by format, compared with what is left when they are taken away by hand.

use proptest::prelude::*;
use serde_json::Value;

use super::{fault, policy, run};
use crate::mask::{OnMistyped, Test};
use crate::pipeline::{Compress, Dialect, Reading, Report};
use crate::policy::{OnMissing, Policy, RowRule, Verify};

/// Leaves out every row whose `column` is `gone`.
fn without_gone(rules: &[&str], column: &str) -> Policy {
    let test = Test::In(vec!["gone".to_owned()]);
    let rule = RowRule { column: column.to_owned(), test, max_rows: Some(u64::MAX), max_share: None };
    Policy { suppress_rows: vec![rule], ..policy(rules) }
}

fn sifted(input: &str, reading: &Reading, policy: &Policy) -> (String, Report) {
    let (output, report) = run(input.as_bytes(), reading, policy, Compress::Same).unwrap();
    (String::from_utf8(output).unwrap(), report)
}

#[test]
fn delimited_rows_go_with_their_line_ends_and_nothing_else_changes() {
    let rules = without_gone(&["id=keep", "why=drop", "note=redact"], "why");
    let input =
        "\u{feff}why,id,note\r\ngone,1,a\r\n\"x\n\",2,\"b \"\"c\"\"\"\n\"gone\",3,\"d\n\"\r\n,\" 4\",\ngone,5,e\nz,6,f";
    let (output, report) = sifted(input, &Reading::default(), &rules);
    assert_eq!(output, "\u{feff}id,note\r\n2,\"[REDACTED]\"\n\" 4\",\n6,[REDACTED]");
    let made = &report.outputs[0];
    assert_eq!((report.rows_in, made.rows_out, made.rows_suppressed), (6, 3, 3));
    let (output, _) = sifted("why,id,note\nx,1,a\ngone,2,b", &Reading::default(), &rules);
    assert_eq!(output, "id,note\n1,[REDACTED]\n");
    let (output, report) = sifted("why,id,note\ngone,1,a\ngone,2,b\n", &Reading::default(), &rules);
    assert_eq!((output.as_str(), report.outputs[0].rows_out), ("id,note\n", 0));
}

#[test]
fn what_is_wrong_in_a_row_that_goes_is_no_fault_and_others_keep_their_numbers() {
    let rules = without_gone(&["why=keep", "n=round"], "why");
    let (output, _) = sifted("why,n\ngone,much\nx,12\n", &Reading::default(), &rules);
    assert_eq!(output, "why,n\nx,10\n");
    let found = fault(b"why,n\ngone,1\ngone,2\nx,3\ny,much\n", &Reading::default(), &rules);
    assert_eq!((found.code.as_str(), found.row, found.byte_offset), ("mistyped_cell", Some(4), Some(26)), "{found}");
    let ragged = fault(b"why,n\ngone,1\ngone,2,3\n", &Reading::default(), &rules);
    assert_eq!((ragged.code.as_str(), ragged.row), ("ragged_row", Some(2)), "the structure holds for all rows");
    let records = b"{\"why\":\"gone\",\"n\":\"much\"}\n{\"why\":\"x\",\"n\":12}\n{\"why\":null,\"n\":\"much\"}\n";
    let found = fault(records, &Reading::default(), &rules);
    assert_eq!((found.code.as_str(), found.row), ("mistyped_cell", Some(3)), "{found}");
}

#[test]
fn comments_preambles_and_columns_of_fixed_width() {
    let rules = without_gone(&["why=keep", "n=clamp"], "why");
    let dialect = Dialect { comment: Some(b'#'), keep_comments: true, ..Dialect::default() };
    let reading = Reading { dialect, ..Reading::default() };
    let (output, _) = sifted("#a\nwhy,n\n#b\ngone,1\n#c\nx,77\ngone,2\n#d\n", &reading, &rules);
    assert_eq!(output, "#a\nwhy,n\n#b\n#c\nx,50\n#d\n");
    for keep_comments in [false, true] {
        let dialect = Dialect { widths: vec![5, 4], comment: Some(b'#'), keep_comments, ..Dialect::default() };
        let reading = Reading { dialect, ..Reading::default() };
        let (output, report) =
            sifted("why  n   \n# b\ngone    1\r\nx      77\n# d\ngoneé   2\n gone   3", &reading, &rules);
        let expected = "why  n   \n# b\nx      50\n# d\ngoneé   2\n";
        assert_eq!(
            output,
            if keep_comments { expected.to_owned() } else { expected.replace("# b\n", "").replace("# d\n", "") }
        );
        assert_eq!(report.outputs[0].rows_suppressed, 2);
    }
}

#[test]
fn arrays_stay_arrays_and_lines_stay_lines() {
    let rules = without_gone(&["a.b=keep", "n=redact"], "a.b");
    let gone = |n: u32| format!("{{\"n\":{n},\"a\":{{\"b\":\"g\\u006fne\"}}}}");
    let stays = |n: u32| format!("{{\"n\": {n}, \"a\": {{\"b\": null}}}}");
    let masked = |n: u32| stays(n).replace(&format!(": {n},"), ": \"[REDACTED]\",");
    let (g1, g2, s1, s2) = (gone(1), gone(2), stays(3), stays(4));
    let (m1, m2) = (masked(3), masked(4));
    for (input, output) in [
        (format!(" [ {g1} , {s1}\n, {g2},{s2} ] \n"), format!(" [ {m1},{m2} ] \n")),
        (format!("[{s1},{g1},{g2}]"), format!("[{m1}]")),
        (format!("[\n {g1},\n {g2}\n]\n"), "[\n \n]\n".to_owned()),
        (format!("\u{feff}{g1}\n{s1}\r\n\n{g2}\n{s2}\n"), format!("\u{feff}{m1}\n{m2}\n")),
        (format!("{s1}\n{g1}\n"), format!("{m1}\n")),
        (format!("{g1}\n{g2}\n"), String::new()),
        (g1.clone(), String::new()),
    ] {
        let (found, _) = sifted(&input, &Reading::default(), &rules);
        assert_eq!(found, output, "{input}");
    }
}

#[test]
fn a_record_that_cannot_be_told_refuses_the_file_or_goes() {
    let mut rules = without_gone(&["a.b=keep", "n=keep"], "a.b");
    rules.missing = OnMissing::Ignore;
    for record in ["{\"n\":1}", "{\"n\":1,\"a\":[{\"b\":\"x\"}]}", "{\"n\":1,\"A\":{\"b\":\"x\"},\"a\":{\"b\":\"y\"}}"]
    {
        let input = format!("{{\"n\":0,\"a\":{{\"b\":\"x\"}}}}\n{record}\n");
        rules.unlisted = crate::policy::OnUnlisted::Keep;
        rules.mistyped = OnMistyped::Reject;
        let found = fault(input.as_bytes(), &Reading::default(), &rules);
        assert_eq!((found.code.as_str(), found.row), ("undecided_row", Some(2)), "{record}: {found}");
        rules.mistyped = OnMistyped::Null;
        let (output, report) = sifted(&input, &Reading::default(), &rules);
        assert_eq!((output.lines().count(), report.outputs[0].rows_suppressed), (1, 1), "{record}");
    }
    let found = fault(b"n\n1\n", &Reading::default(), &rules);
    assert_eq!(found.code, "missing_column");
}

#[test]
fn records_across_blocks_and_longer_than_one() {
    let long = "x".repeat(1_500_000);
    let record = |n: usize| {
        let why = if n.is_multiple_of(3) { "gone" } else { "x" };
        let text = if n.is_multiple_of(1000) { long.as_str() } else { "y" };
        format!("{{\"why\":\"{why}\",\"n\":{n},\"text\":\"{text}\"}}")
    };
    let rules = without_gone(&["why=keep", "n=keep", "text=keep"], "why");
    let left: Vec<Value> =
        (0..4001_usize).filter(|n| n % 3 != 0).map(|n| serde_json::from_str(&record(n)).unwrap()).collect();
    let array = format!("[{}]", (0..4001).map(record).collect::<Vec<_>>().join(" ,\n"));
    let (output, _) = sifted(&array, &Reading::default(), &rules);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&output).unwrap(), left);
    let lines = (0..4001).map(|n| record(n) + "\n").collect::<String>();
    let (output, _) = sifted(&lines, &Reading::default(), &rules);
    assert_eq!(output.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>(), left);
    let table: String = (0..200_000).map(|n| format!("{},{n}\n", if n % 7 == 0 { "gone" } else { "x" })).collect();
    let left: String = (0..200_000).filter(|n| n % 7 != 0).map(|n| format!("x,{n}\n")).collect();
    let (output, _) =
        sifted(&format!("why,n\n{table}"), &Reading::default(), &without_gone(&["why=keep", "n=keep"], "why"));
    assert!(output == format!("why,n\n{left}"));
}

fn cell() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["gone", "\"gone\"", "", "x", "\"\"", "\"a,\n\"\"b\"", "go", " gone"])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_left_of_a_table_is_its_other_lines(
        rows in prop::collection::vec((cell(), cell(), any::<bool>()), 0..30), last in any::<bool>(),
    ) {
        let mut lines: Vec<(bool, String)> = Vec::new();
        for (first, second, crlf) in &rows {
            let gone = matches!(*second, "gone" | "\"gone\"");
            lines.push((gone, format!("{first},{second}{}", if *crlf { "\r\n" } else { "\n" })));
        }
        if !last && let Some((_, line)) = lines.last_mut() {
            line.truncate(line.trim_end_matches(['\r', '\n']).len());
        }
        let text = |all: &[(bool, String)]| format!("a,b\n{}", all.iter().map(|(_, line)| line.as_str()).collect::<String>());
        let left: Vec<_> = lines.iter().filter(|(gone, _)| !gone).cloned().collect();
        let (output, report) = sifted(&text(&lines), &Reading::default(), &without_gone(&["a=keep", "b=keep"], "b"));
        prop_assert_eq!(output, text(&left));
        prop_assert_eq!(report.outputs[0].rows_suppressed, (lines.len() - left.len()) as u64);
    }

    #[test]
    fn what_is_left_of_records_is_the_others_byte_for_byte(
        gone in prop::collection::vec(any::<bool>(), 1..12), spaces in prop::collection::vec(0_usize..4, 30),
        is_array in any::<bool>(),
    ) {
        let space = |place: usize| [" ", "", "\n", "\r\n\t"][spaces[place % spaces.len()]];
        let record = |index: usize| format!("{{\"a\":{space}\"{}\"{space},\"n\":{index}e0}}",
            if gone[index] { "gone" } else { "x" }, space = if is_array { space(index * 3) } else { "" });
        let all: Vec<String> = (0..gone.len()).map(record).collect();
        let input = if is_array {
            let parts = all.iter().enumerate().map(|(index, it)| format!("{}{it}{}", space(index), space(index + 7)));
            format!("[{}]", parts.collect::<Vec<_>>().join(","))
        } else {
            all.iter().map(|it| format!("{it}\n")).collect()
        };
        let (output, _) = sifted(&input, &Reading::default(), &without_gone(&["a=keep", "n=keep"], "a"));
        let left: Vec<&String> = all.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(it, _)| it).collect();
        if is_array {
            let values: Vec<Value> = serde_json::from_str(&output).unwrap();
            prop_assert_eq!(values.len(), left.len());
            prop_assert!(left.iter().all(|record| output.contains(record.as_str())));
        } else {
            prop_assert_eq!(output, left.iter().map(|it| format!("{it}\n")).collect::<String>());
        }
    }
}

/// A mail address in a row that goes is no leak; one in a row that stays is told by its row in the file.
#[test]
fn the_leak_scan_sees_the_rows_that_go_out() {
    let rules = Policy { verify: Verify::Block, ..without_gone(&["why=keep", "note=keep"], "why") };
    fn rows(last: &str) -> impl Iterator<Item = (&str, &str)> {
        ["gone", "x", "gone", "x"].into_iter().zip(["a@example.com", "b", "c@example.com", last])
    }
    let csv = |last: &str| {
        let lines = rows(last).map(|(why, note)| format!("{why},{note}\n"));
        format!("why,note\n{}", lines.collect::<String>())
    };
    let ndjson = |last: &str| {
        let lines = rows(last).map(|(why, note)| format!("{{\"why\":\"{why}\",\"note\":\"{note}\"}}\n"));
        lines.collect::<String>()
    };
    let fixed = |last: &str| {
        let lines = rows(last).map(|(why, note)| format!("{why:<5}{note:<20}\n"));
        format!("{:<5}{:<20}\n{}", "why", "note", lines.collect::<String>())
    };
    let dialect = Dialect { widths: vec![5, 20], ..Dialect::default() };
    let of_fixed = Reading { dialect, ..Reading::default() };
    let plain = Reading::default();
    for (reading, clean, leaking) in [
        (&plain, csv("d"), csv("d@example.com")),
        (&plain, ndjson("d"), ndjson("d@example.com")),
        (&of_fixed, fixed("d"), fixed("d@example.com")),
    ] {
        let (output, _) = sifted(&clean, reading, &rules);
        assert!(!output.contains("example.com"), "{output}");
        let found = fault(leaking.as_bytes(), reading, &rules);
        assert_eq!((found.code.as_str(), found.row), ("leak", Some(4)), "{found}");
    }
}
