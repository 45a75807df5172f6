use crate::mask::OnMistyped;
use crate::pipeline::tests::{fault, policy, run};
use crate::pipeline::{Compress, Failure, Format, Limits, Reading};
use crate::policy::{OnMissing, OnUnlisted, Policy, Selector};

mod documents;

fn masked(input: &str, policy: &Policy) -> String {
    let (output, _) = run(input.as_bytes(), &Reading::default(), policy, Compress::Same).unwrap();
    String::from_utf8(output).unwrap()
}

fn code(input: &str, policy: &Policy) -> String {
    fault(input.as_bytes(), &json(), policy).code
}

/// What begins like JSON by its name only.
fn json() -> Reading {
    Reading { extension: Some("json".to_owned()), ..Reading::default() }
}

fn with(rules: &[&str], change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = policy(rules);
    change(&mut policy);
    policy
}

fn glob(mut policy: Policy, glob: &str) -> Policy {
    policy.columns[0].columns = Selector::Glob(glob.to_owned());
    policy
}

#[test]
fn masks_between_untouched_bytes() {
    let rules = policy(&["id=keep", "user.ssn=partial", "n=clamp", "tags[*]=redact", "ok=keep"]);
    let input = "\u{feff}{ \"n\" : 1.50 ,\"id\":1e+02,\t\"user\":{\"ssn\":\"123-45-6789\"},\"tags\":[\"a\" , \"b\"], \"ok\":true}\r\n\
                 \n {\"ok\":null,\"n\":99, \"id\":-0.0,\"user\":{ \"ssn\" : \"\" },\"tags\":[]}";
    let output = "\u{feff}{ \"n\" : 1.50 ,\"id\":1e+02,\t\"user\":{\"ssn\":\"***-**-6789\"},\"tags\":[\"[REDACTED]\" , \"[REDACTED]\"], \"ok\":true}\r\n\
                  \n {\"ok\":null,\"n\":50, \"id\":-0.0,\"user\":{ \"ssn\" : \"\" },\"tags\":[]}";
    assert_eq!(masked(input, &rules), output);
}

#[test]
fn an_array_of_objects_one_object_and_lines_are_told_apart() {
    let rules = policy(&["a=redact"]);
    for (input, output, format, rows) in [
        (" [ {\"a\":\"x\"} , {\"a\":\"y\"} ] \n", " [ {\"a\":\"[REDACTED]\"} , {\"a\":\"[REDACTED]\"} ] \n", "json", 2),
        ("[]", "[]", "json", 0),
        ("{\n \"a\": \"x\"\n}", "{\n \"a\": \"[REDACTED]\"\n}", "json", 1),
        ("{\"a\":1}\n{\"a\":2}\n", "{\"a\":\"[REDACTED]\"}\n{\"a\":\"[REDACTED]\"}\n", "ndjson", 2),
    ] {
        let (bytes, report) = run(input.as_bytes(), &Reading::default(), &rules, Compress::Same).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), output);
        assert_eq!((report.input.format.as_str(), report.rows_in, report.outputs[0].rows_out), (format, rows, rows));
    }
    let accept = |format| Reading { accept: vec![format], ..Reading::default() };
    assert_eq!(fault(b"[{\"a\":1}]", &accept(Format::Ndjson), &rules).code, "unrecognised_format");
    assert_eq!(fault(b"{\"a\":1}\n{\"a\":1}", &accept(Format::Json), &rules).code, "unrecognised_format");
    assert_eq!(fault(b"{\"a\":1}", &accept(Format::Csv), &rules).code, "unlisted_column", "pinned: one header cell");
    let both = Reading { accept: vec![Format::Csv, Format::Ndjson], ..Reading::default() };
    assert!(run(b"{\"a\":1}", &both, &rules, Compress::Same).is_ok());
}

#[test]
fn typed_values_become_text_unless_the_mask_gives_a_number() {
    let rules = policy(&["p=partial", "t=truncate", "r=round", "h=hash", "d=date", "z=null"]);
    let input = r#"{"p":1234567890,"t":12345,"r":-14.5,"h":true,"d":"1987-04-12","z":5}"#;
    let output = masked(input, &rules);
    let hash = serde_json::from_str::<serde_json::Value>(&output).unwrap()["h"].as_str().unwrap().to_owned();
    assert_eq!(output, format!(r#"{{"p":"******7890","t":"123","r":-10,"h":"{hash}","d":"1987","z":null}}"#));
    let rules = policy(&["r=round"]);
    assert_eq!(masked(r#"{"r":"14.5"}"#, &rules), r#"{"r":"10"}"#, "a number in quotes stays in them");
    assert_eq!(masked(r#"{"r":null}"#, &rules), r#"{"r":null}"#);
    assert_eq!(code(r#"{"r":"many"}"#, &rules), "mistyped_cell");
    let null = with(&["r=round"], |it| it.mistyped = OnMistyped::Null);
    assert_eq!(masked(r#"{"r":"many"}"#, &null), r#"{"r":null}"#);
}

#[test]
fn escapes_are_decoded_for_masks_and_kept_elsewhere() {
    let rules = policy(&["n\"ame=partial", "k=keep"]);
    let input = r#"{"n\u0022ame":"\u00e9t\u00e9-ab\ud83d\ude00cdef","k":"\u0041\ud800\/"}"#;
    assert_eq!(masked(input, &rules), r#"{"n\u0022ame":"***-***cdef","k":"\u0041\ud800\/"}"#);
    assert_eq!(masked("{\"a\":\"x\"}", &policy(&["a=keep"])), "{\"a\":\"x\"}");
    // An escaped text that a mask leaves as it is keeps its spelling.
    assert_eq!(masked(r#"{"r":"\u0031"}"#, &policy(&["r=clamp"])), r#"{"r":"\u0031"}"#);
    assert_eq!(code(r#"{"n\u0022ame":"\ud800","k":1}"#, &rules), "mistyped_cell");
    assert_eq!(code(r#"{"\ud800":1}"#, &rules), "json_syntax");
}

#[test]
fn unlisted_keys_are_refused_at_any_depth() {
    let rules = policy(&["user.id=keep", "tags[*]=keep"]);
    assert_eq!(
        masked(r#"{"user":{"id":{}},"tags":[]}"#, &with(&["user.id=drop", "tags[*]=keep"], |_| {})),
        r#"{"user":{},"tags":[]}"#
    );
    for (input, path) in [
        (r#"{"user":{"id":1,"mail":"x"},"tags":[]}"#, "user.mail"),
        (r#"{"user":{"id":1},"tags":[],"extra":{"a":[{"b":1}]}}"#, "extra"),
        (r#"{"user":{"id":1},"tags":[],"extra":null}"#, "extra"),
        (r#"{"user":{"id":1},"tags":[],"extra":[]}"#, "extra"),
        (r#"{"user":"x","tags":[]}"#, "user"),
        (r#"{"user":{"id":1},"tags":["a",["b"]]}"#, "tags[*]"),
        (r#"{"user":{"id":{"x":1}},"tags":[]}"#, "user.id"),
    ] {
        let fault = fault(input.as_bytes(), &Reading::default(), &rules);
        assert!(["unlisted_column", "mistyped_cell"].contains(&fault.code.as_str()), "{input}: {fault:?}");
        assert_eq!((fault.column.as_deref(), fault.row), (Some(path), Some(1)), "{fault:?}");
    }
}

#[test]
fn keys_that_may_be_values_are_not_given_out() {
    let rules = policy(&["id=keep", "by_mail.*.ssn=partial"]);
    for (input, path) in [
        (r#"{"id":1,"by_mail":{"Alice Liddell":{"ssn":"1","x":2}}}"#, "by_mail.?.x"),
        (r#"{"id":1,"by_mail":{"Alice Liddell":5}}"#, "by_mail.?"),
        (r#"{"id":1,"by_mail":{},"alice@example.com":5}"#, "?"),
    ] {
        let fault = fault(input.as_bytes(), &Reading::default(), &rules);
        assert_eq!(fault.column.as_deref(), Some(path), "{fault:?}");
        assert!(!format!("{fault:?}").to_lowercase().contains("alice"), "{fault:?}");
    }
    let input = r#"{"id":1,"by_mail":{"Alice Liddell":{"ssn":"1"},"Bob":{"ssn":"2"}}}"#;
    let (_, report) = run(input.as_bytes(), &Reading::default(), &rules, Compress::Same).unwrap();
    let names: Vec<&str> = report.outputs[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "by_mail.?.ssn"]);
    // Rules that take whatever key there is know none.
    let input = r#"{"id":1,"scores":{"Alice":"1","Bob":"2"}}"#;
    for rule in ["scores.*=null", "scores.**=null"] {
        let (_, report) =
            run(input.as_bytes(), &Reading::default(), &policy(&["id=keep", rule]), Compress::Same).unwrap();
        let names: Vec<&str> = report.outputs[0].columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "scores.?"], "{rule}");
    }
}

#[test]
fn unlisted_values_are_dropped_redacted_or_kept_on_purpose() {
    let input = r#"{"x":1, "id":2 ,"y":{"z":[1,{"ssn":"123-45-6789"}]}, "l":[3, 4]}"#;
    let rules = |unlisted| with(&["id=keep"], |it| it.unlisted = unlisted);
    assert_eq!(masked(input, &rules(OnUnlisted::Drop)), r#"{"id":2}"#);
    assert_eq!(
        masked(input, &rules(OnUnlisted::Redact)),
        r#"{"x":"[REDACTED]", "id":2 ,"y":"[REDACTED]", "l":"[REDACTED]"}"#
    );
    assert_eq!(masked(input, &rules(OnUnlisted::Keep)), input);
    // A rule that may match anywhere makes every value be looked at by itself.
    let deep = |unlisted| with(&["id=keep", "**.ssn=partial"], |it| it.unlisted = unlisted);
    assert_eq!(masked(input, &deep(OnUnlisted::Keep)), input.replace("123-45", "***-**"));
    assert_eq!(masked(input, &deep(OnUnlisted::Drop)), r#"{"id":2 ,"y":{"z":[{"ssn":"***-**-6789"}]}, "l":[]}"#);
}

#[test]
fn members_are_dropped_with_one_comma_each() {
    let rules = |drops: &str| {
        let all = ["a", "b", "c"].map(|key| format!("{key}={}", if drops.contains(key) { "drop" } else { "keep" }));
        policy(&all.each_ref().map(String::as_str))
    };
    let input = "{ \"a\" : 1 , \"b\" :[2], \"c\": {} }";
    for (drops, output) in [
        ("a", "{ \"b\" :[2], \"c\": {} }"),
        ("b", "{ \"a\" : 1, \"c\": {} }"),
        ("c", "{ \"a\" : 1 , \"b\" :[2] }"),
        ("ab", "{ \"c\": {} }"),
        ("bc", "{ \"a\" : 1 }"),
        ("ac", "{ \"b\" :[2] }"),
        ("abc", "{  }"),
    ] {
        let input = input.replace("[2]", "2").replace("{}", "3");
        let output = output.replace("[2]", "2").replace("{}", "3");
        assert_eq!(masked(&input, &rules(drops)), output, "{drops}");
    }
}

#[test]
fn wholes_are_dropped_or_handled_as_mistyped() {
    let input = r#"{"a":{"b":[1,2]},"c":1}"#;
    assert_eq!(masked(input, &policy(&["a=drop", "c=keep"])), r#"{"c":1}"#);
    for mask in ["keep", "null", "redact", "hash", "partial", "round"] {
        let rules = [format!("a={mask}"), "c=keep".to_owned()];
        let rules = rules.each_ref().map(String::as_str);
        assert_eq!(code(input, &policy(&rules)), "mistyped_cell", "{mask}");
        let null = with(&rules, |it| it.mistyped = OnMistyped::Null);
        assert_eq!(masked(input, &null), r#"{"a":null,"c":1}"#);
        let redact = with(&rules, |it| it.mistyped = OnMistyped::Redact);
        assert_eq!(masked(input, &redact), r#"{"a":"[REDACTED]","c":1}"#);
    }
    assert_eq!(masked(input, &policy(&["a.**=keep", "c=keep"])), input);
    assert_eq!(masked(input, &policy(&["a.**=clamp", "c=keep"])), input);
    assert_eq!(masked(input, &glob(policy(&["x=keep"]), "*")), input);
    // A mask by pattern does not let an object of that name slip by `unlisted = "keep"`.
    let loose = with(&["**.ssn=partial"], |it| it.unlisted = OnUnlisted::Keep);
    assert_eq!(code(r#"{"u":{"ssn":{"value":"123-45-6789"}}}"#, &loose), "mistyped_cell");
    let loose = glob(with(&["x=partial"], |it| it.unlisted = OnUnlisted::Keep), "*ssn");
    assert_eq!(code(r#"{"u":{"ssn":["123-45-6789"]}}"#, &loose), "mistyped_cell");
}

#[test]
fn literal_rules_are_wanted_in_every_record_and_patterns_somewhere() {
    let rules = policy(&["id=keep", "user.mail=redact", "p[*].n=redact"]);
    let good = r#"{"id":1,"user":{"mail":null},"p":[{"n":"x"},{"n":"y"}]}"#;
    assert!(masked(&format!("{good}\n{good}"), &rules).contains("REDACTED"));
    for (bad, missing) in [
        (r#"{"user":{"mail":1},"p":[]}"#, "id"),
        (r#"{"id":1,"user":{},"p":[]}"#, "user.mail"),
        (r#"{"id":1,"user":null,"p":[]}"#, "user.mail"),
        (r#"{"id":1,"p":[]}"#, "user.mail"),
        (r#"{"id":1,"user":{"mail":1},"p":[{"n":1},{}]}"#, "p[*].n"),
        (r#"{"id":1,"user":{"mail":1},"p":null}"#, "p[*].n"),
        (r#"{"id":1,"user":{"mail":1},"p":{"n":1}}"#, "p[*].n"),
        (r#"{"id":1,"user":[{"mail":1}],"p":[]}"#, "user.mail"),
        ("{}", "id"),
    ] {
        let fault = fault(format!("{good}\n{bad}").as_bytes(), &Reading::default(), &rules);
        assert_eq!((fault.code.as_str(), fault.row), ("missing_column", Some(2)), "{bad}: {fault:?}");
        assert!(fault.sentence.contains(&format!("{missing:?}")), "{bad}: {fault:?}");
        let lacks = if missing == "p[*].n" || bad.contains("\"user\":") && missing != "id" {
            "what stands at "
        } else {
            "the record "
        };
        assert!(fault.sentence.starts_with(lacks), "{bad}: {fault:?}");
        let ignore = with(&["id=keep", "user.mail=redact", "p[*].n=redact"], |it| {
            it.missing = OnMissing::Ignore;
            it.unlisted = OnUnlisted::Drop;
        });
        run(bad.as_bytes(), &Reading::default(), &ignore, Compress::Same).unwrap();
    }
    let loose = with(&["c[*].p=redact"], |it| it.unlisted = OnUnlisted::Keep);
    let lacking = fault(br#"{"c":[{"p":"A"},7]}"#, &Reading::default(), &loose).sentence;
    assert!(lacking.starts_with("what stands at c[*] has no value for the rule \"c[*].p\""), "{lacking}");
    let deep = policy(&["id=keep", "**.ssn=redact"]);
    assert!(masked("{\"id\":1}\n{\"id\":1,\"ssn\":2}", &deep).contains("REDACTED"));
    assert_eq!(code("{\"id\":1}\n{\"id\":1}", &deep), "missing_column");
    // One key twice does not stand for two.
    let both = policy(&["a=redact", "b=redact"]);
    assert_eq!(code(r#"{"a":"1","A":"2"}"#, &both), "missing_column");
    assert_eq!(code(r#"{"a":"1","A":"2","b":"3"}"#, &both), "duplicate_key");
}

#[test]
fn keys_that_stand_twice_are_refused_even_where_nothing_is_masked() {
    let keep = with(&["id=keep"], |it| it.unlisted = OnUnlisted::Keep);
    let many = (0..40).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",");
    for input in [
        r#"{"id":1,"id":2}"#.to_owned(),
        r#"{"id":1,"\u0069d":2}"#.to_owned(),
        r#"{"id":1,"x":{"a":1,"b":{},"a":2}}"#.to_owned(),
        r#"{"id":1,"x":[{"a":1,"\u0061":2}]}"#.to_owned(),
        format!("{{\"id\":1,\"x\":{{{many},\"k7\":1}}}}"),
        format!("{{\"id\":1,{many},\"k7\":1}}"),
        r#"{"id":1,"ID":2}"#.to_owned(),
    ] {
        assert_eq!(code(&input, &keep), "duplicate_key", "{input}");
    }
    assert_eq!(masked(&format!("{{\"id\":1,\"x\":{{{many}}}}}"), &keep), format!("{{\"id\":1,\"x\":{{{many}}}}}"));
}

#[test]
fn what_is_no_json_has_code_and_place() {
    let rules = with(&["a=redact"], |it| {
        it.unlisted = OnUnlisted::Keep;
        it.mistyped = OnMistyped::Null;
    });
    for (input, code, offset) in [
        (&b"{\"a\":1}{\"a\":tru}"[..], "json_syntax", 12),
        (b"{\"a\":1,}", "json_syntax", 7),
        (b"{\"a\":01}", "json_syntax", 6),
        (b"{\"a\":1.}", "json_syntax", 5),
        (b"{\"a\":+1}", "json_syntax", 5),
        (b"{\"a\":'x'}", "json_syntax", 5),
        (b"{a:1}", "json_syntax", 1),
        (b"{\"a\" 1}", "json_syntax", 5),
        (b"{\"a\":[1 2]}", "json_syntax", 8),
        (b"{\"a\":1]", "json_syntax", 6),
        (b"{\"a\":\"x\ny\"}", "json_syntax", 7),
        (b"{\"a\":\"\\q\"}", "json_syntax", 6),
        (b"{\"a\":NaN}", "json_syntax", 5),
        (b"{\"a\":1}, {\"a\":2}", "json_syntax", 7),
        (b"[{\"a\":1} {\"a\":2}]", "json_syntax", 9),
        (b"[{\"a\":1},]", "json_syntax", 9),
        (b"[{\"a\":1}] x", "json_syntax", 10),
        (b"{\"a\":1", "json_cut_off", 6),
        (b"{\"a\":\"x", "json_cut_off", 7),
        (b"[{\"a\":1}", "json_cut_off", 8),
        (b"[{\"a\":1}, ", "json_cut_off", 10),
        (b"[", "json_cut_off", 1),
        (b"{\"a\":1}\n5", "record_not_object", 8),
        (b"[{\"a\":1},[]]", "record_not_object", 9),
        (b"\"text\"", "record_not_object", 0),
        (b"{\"a\":1}\n{\"a\":\"\xff\"}", "invalid_utf8", 14),
        (b"{\"a\":1}\n{\"a\":\"\xe2\x82", "invalid_utf8", 14),
        (b"{\"a\":1}\0", "json_syntax", 7),
    ] {
        let fault = fault(input, &json(), &rules);
        assert_eq!(
            (fault.code.as_str(), fault.byte_offset),
            (code, Some(offset)),
            "{:?}: {fault:?}",
            String::from_utf8_lossy(input)
        );
    }
    assert_eq!(fault(b" \n", &json(), &rules).code, "empty_file");
    assert_eq!(fault(b"", &json(), &rules).code, "empty_file");
}

#[test]
fn nesting_records_and_paths_are_bounded() {
    let keep = |rules: &[&str]| with(rules, |it| it.unlisted = OnUnlisted::Keep);
    let limits = Limits { max_depth: 5, max_record_bytes: 400, max_paths: 20, ..Limits::default() };
    let reading = Reading { limits, ..json() };
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    for rules in [keep(&[]), keep(&["**.x=redact"])] {
        assert!(
            run(nested(4).as_bytes(), &reading, &with(&[], |it| it.unlisted = OnUnlisted::Keep), Compress::Same)
                .is_ok()
        );
        assert_eq!(fault(nested(5).as_bytes(), &reading, &rules).code, "nested_too_deep");
        // Far beyond what the stack could hold.
        assert_eq!(
            fault(
                nested(1_000_000).as_bytes(),
                &Reading { limits: Limits { max_record_bytes: 16 << 20, ..limits }, ..json() },
                &rules
            )
            .code,
            "nested_too_deep"
        );
    }
    assert_eq!(
        fault(format!("{{\"a\":\"{}\"}}", "x".repeat(400)).as_bytes(), &reading, &keep(&[])).code,
        "record_too_long"
    );
    assert_eq!(
        fault(format!("{{\"a\":\"{}", "x".repeat(4 << 20)).as_bytes(), &reading, &keep(&[])).code,
        "record_too_long"
    );
    let spaces = format!("{{\"a\":1}}{}{{\"a\":2}}", "\n".repeat(7 << 20));
    assert!(masked(&spaces, &keep(&[])) == spaces);
    let lines = |count: usize| (0..count).map(|n| format!("{{\"k{n}\":1}}\n")).collect::<String>();
    assert!(run(lines(20).as_bytes(), &reading, &keep(&[]), Compress::Same).is_ok());
    assert_eq!(fault(lines(21).as_bytes(), &reading, &keep(&[])).code, "too_many_paths");
    // Keys are bounded by their size, too: the paths of 4000 nested ones would take gigabytes.
    let long = format!("{{\"{}\":1}}\n", "k".repeat(9 << 20));
    assert_eq!(fault(long.as_bytes(), &json(), &keep(&[])).code, "too_many_paths");
}

#[test]
fn the_first_failure_by_position_wins_across_threads() {
    let good = "{\"a\":\"1\",\"b\":\"2\"}\n".repeat(200_000);
    let rules = policy(&["a=clamp", "b=clamp"]);
    assert_eq!(masked(&good, &rules), good);
    let bad = |tail: &str| fault(format!("{good}{tail}{good}{{").as_bytes(), &Reading::default(), &rules);
    assert_eq!(bad("{\"a\":\"1\",\"b\":\"x\"}").row, Some(200_001));
    assert_eq!(bad("{\"a\":\"1\",\"b\":2,}").row, Some(200_001));
    let two = bad("{\"b\":\"x\",\"a\":\"x\"}");
    assert_eq!(two.column.as_deref(), Some("b"), "the first in the record, not in the policy");
    let array = format!("[{}]", good.trim_end().replace('\n', ",\n"));
    assert_eq!(masked(&array, &rules), array);
}

#[test]
fn every_cut_and_every_flipped_byte_ends_well() {
    let rules = policy(&["id=keep", "user.ssn=partial", "l[*]=round", "**.x=hash"]);
    let input = "[{\"id\":\"\\u00e9\",\"user\":{\"ssn\":\"123-45-6789\",\"x\":[{}]},\"l\":[1.5,-2e0]},\n\
                 {\"l\":[],\"user\":{\"ssn\":null},\"id\":{\"x\":true}}]"
        .as_bytes();
    for length in 0..input.len() {
        fault(&input[..length], &json(), &rules);
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = input.to_vec();
            bytes[length] ^= flip;
            let result = run(&bytes, &json(), &rules, Compress::Same);
            assert!(!matches!(result, Err(Failure::Retry { .. })), "{length} {flip}: {result:?}");
        }
    }
}
