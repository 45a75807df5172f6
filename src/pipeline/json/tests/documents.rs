//! Whatever a document looks like, it comes out as one that was masked as a tree.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::policy::Verify;

/// A document as text, with white space of all kinds.
fn document() -> impl Strategy<Value = String> {
    let space = "[ \n\t\r]{0,2}";
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        "\"([a-zé ]|\\\\n|\\\\u00e9|\\\\\"){0,12}\"",
        Just("true".to_owned()),
        Just("null".to_owned()),
    ];
    let keys = ["a", "b", "ssn", "\\u0062c", "d.e", ""];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            (prop::collection::vec((inner.clone(), space, space), 0..4)).prop_map(|items| {
                let items: Vec<String> = items.into_iter().map(|(item, a, b)| format!("{a}{item}{b}")).collect();
                format!("[{}]", items.join(","))
            }),
            (prop::collection::vec((inner, space, space), 0..=keys.len())).prop_map(move |items| {
                let members = items.into_iter().zip(keys);
                let members: Vec<String> =
                    members.map(|((item, a, b), key)| format!("{a}\"{key}\"{b}:{a}{item}{b}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
    .prop_filter("a record is an object", |text| text.starts_with('{'))
}

/// The reference: what a rule for `**.ssn` that redacts and one for `**.a` that drops make of a document.
fn reference(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| *key != "a")
            .map(|(key, value)| match value {
                Value::Null => (key.clone(), Value::Null),
                Value::String(text) if text.is_empty() => (key.clone(), value.clone()),
                _ if key == "ssn" => (key.clone(), Value::from("[REDACTED]")),
                value => (key.clone(), reference(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(reference).collect(),
        value => value.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masked_documents_equal_the_reference(documents in prop::collection::vec(document(), 1..4)) {
        let rules = with(&["**.ssn=redact", "**.a=drop"], |it| {
            it.unlisted = OnUnlisted::Keep;
            it.missing = OnMissing::Ignore;
            it.mistyped = OnMistyped::Redact;
        });
        let input = documents.join("\n");
        let output = masked(&input, &rules);
        let expected: Vec<Value> = parsed(&input).iter().map(reference).collect();
        prop_assert_eq!(parsed(&output), expected);
    }

    #[test]
    fn nothing_changed_is_byte_identical(documents in prop::collection::vec(document(), 1..4)) {
        let rules = with(&["**.zz=redact"], |it| {
            it.unlisted = OnUnlisted::Keep;
            it.missing = OnMissing::Ignore;
        });
        let input = format!("[{}]", documents.join(" ,\n"));
        prop_assert_eq!(masked(&input, &rules), input);
    }

    #[test]
    fn any_bytes_end_well(bytes in "[\\[\\]{}:,\"\\\\a0-9.eE+\\- tru\u{0}é]{0,60}") {
        let rules = policy(&["**.a=redact"]);
        let result = run(bytes.as_bytes(), &json(), &rules, Compress::Same);
        let retried = matches!(result, Err(Failure::Retry { .. }));
        prop_assert!(!retried);
        if let Ok((output, _)) = result {
            let whole = serde_json::Deserializer::from_slice(&output).into_iter::<Value>().all(|it| it.is_ok());
            prop_assert!(whole, "{:?} became {:?}", bytes, output);
        }
    }

    #[test]
    fn keys_are_told_apart_in_any_order(
        records in prop::collection::vec(prop::sample::subsequence(KEYS, 0..=KEYS.len()).prop_shuffle(), 1..5),
        scanned in any::<bool>(),
    ) {
        let rules = with(&["ssn=redact", "fifteen_bytes_k=redact", "sixteen_bytes_ke=redact", "abc=drop"], |it| {
            it.unlisted = OnUnlisted::Keep;
            it.missing = OnMissing::Ignore;
            it.verify = if scanned { Verify::Warn } else { Verify::Off };
        });
        let value = |key: &str| ["\"x\"", "1", "null", "true", "\"\""][key.len() % 5];
        let line = |keys: &Vec<&str>| keys.iter().map(|key| format!("\"{key}\":{}", value(key))).collect::<Vec<_>>().join(",");
        let input: Vec<String> = records.iter().map(|keys| format!("{{{}}}", line(keys))).collect();
        let mask = |line: &String| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let record = record.as_object_mut().unwrap();
            record.remove("abc");
            for (key, value) in record.iter_mut() {
                let is_masked = ["ssn", "fifteen_bytes_k", "sixteen_bytes_ke"].contains(&key.as_str());
                if is_masked && !value.is_null() && value != "" {
                    *value = Value::from("[REDACTED]");
                }
            }
            Value::from(record.clone())
        };
        let expected: Vec<Value> = input.iter().map(mask).collect();
        prop_assert_eq!(parsed(&masked(&input.join("\n"), &rules)), expected);
    }

    #[test]
    fn a_key_that_comes_again_is_refused(keys in prop::sample::subsequence(KEYS, 1..=KEYS.len()).prop_shuffle(), again in any::<prop::sample::Index>()) {
        let rules = with(&["ssn=redact"], |it| {
            it.unlisted = OnUnlisted::Keep;
            it.missing = OnMissing::Ignore;
        });
        let first: Vec<String> = keys.iter().map(|key| format!("\"{key}\":1")).collect();
        let again = again.get(&first);
        let first = first.join(",");
        prop_assert_eq!(code(&format!("{{{first}}}\n{{{first},{again}}}"), &rules), "duplicate_key");
    }
}

/// As they stand in the file: some with escapes, of the lengths around a machine word, and more than are looked through.
const KEYS: &[&str] = &[
    "",
    "a",
    "ab",
    "abc",
    "ssn",
    r"\u0073sm",
    r#"q\"uote"#,
    r"back\\slash",
    "fourteen_bytes",
    "fifteen_bytes_k",
    "sixteen_bytes_ke",
    "seventeen_bytes_k",
    "fifteen_bytes_é",
    "é",
    "k0",
    "k1",
    "k2",
    "k3",
    "k4",
    "k5",
    "k6",
];

fn parsed(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter::<Value>().map(Result::unwrap).collect()
}
