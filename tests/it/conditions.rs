//! Rules that count for some rows only.

use crate::sandbox::Sandbox;

const POLICY: &str = r#"
column = [
  { name = "who.country", mask = "keep" },
  { name = "tax_id", when = { column = "who.country", in = ["US", "CA"] }, mask = "partial", keep_last = 4 },
  { name = "tax_id", when = { column = "who.country", in = ["FR"] }, mask = "keep" },
  { name = "tax_id", mask = "null" },
  { name = "income", when = { column = "who.country", not_in = ["US"] }, mask = "round", to = 1000, otherwise = "keep" },
  { name = "note", when = { column = "who.country", in = ["US"] }, mask = "keep" },
]
"#;

#[test]
fn rows_get_the_masks_of_their_own_condition() {
    let sandbox = Sandbox::new();
    let table = "tax_id,who.country,income,note\n\
        123-45-6789,US,1234,a\n\
        \"987-65-4321\",CA,1501,b\n\
        \"17 \"\"x\"\"\",FR,1499,c\n\
        55,DE,2600,d\n\
        ,US,,\n\
        55,,2600,e\n";
    let expected = "tax_id,who.country,income,note\n\
        ***-**-6789,US,1234,a\n\
        \"***-**-4321\",CA,2000,[REDACTED]\n\
        \"17 \"\"x\"\"\",FR,1000,[REDACTED]\n\
        ,DE,3000,[REDACTED]\n\
        ,US,,\n\
        ,,3000,[REDACTED]\n";
    assert_eq!(sandbox.masked(POLICY, "a.csv", table).unwrap(), expected);
    let records = concat!(
        r#"{"tax_id": 123456789, "income": 1234, "note": "a", "who": {"country": "US"}}"#,
        "\n",
        r#"{"who": {"country": "FR"}, "tax_id": 1.50, "income": 1499, "note": "b"}"#,
        "\n",
        r#"{"who": {"country": null}, "tax_id": 7, "income": 1501, "note": "c"}"#,
        "\n"
    );
    let expected = concat!(
        r#"{"tax_id": "*****6789", "income": 1234, "note": "a", "who": {"country": "US"}}"#,
        "\n",
        r#"{"who": {"country": "FR"}, "tax_id": 1.50, "income": 1000, "note": "[REDACTED]"}"#,
        "\n",
        r#"{"who": {"country": null}, "tax_id": null, "income": 2000, "note": "[REDACTED]"}"#,
        "\n"
    );
    assert_eq!(sandbox.masked(POLICY, "a.ndjson", records).unwrap(), expected);
    let said = sandbox.masked(POLICY, "b.csv", "tax_id,who.country,income,note\n1,DE,1,\n1,DE,much,\n").unwrap_err();
    assert!(said.contains("a decimal number expected in row 2, column \"income\""), "{said}");
}

#[test]
fn conditions_that_cannot_be_are_refused() {
    let sandbox = Sandbox::new();
    let refusal = |from: &str, to: &str| {
        assert!(POLICY.contains(from), "{from}");
        sandbox.masked(&POLICY.replacen(from, to, 1), "a.csv", "a\n").unwrap_err()
    };
    for (from, to, what) in [
        ("column = [", "suppress_rows = 0.01\ncolumn = [", "expected a sequence"),
        (
            "column = [",
            "suppress_rows = [{ when = { column = \"note\", in = [1] } }]\ncolumn = [",
            "`max_rows`, `max_share`",
        ),
        (
            "column = [",
            "suppress_rows = [{ when = { column = \"x\", in = [1] }, max_rows = 1 }]\ncolumn = [",
            "no rule names the column \"x\"",
        ),
        (
            "column = [",
            "suppress_rows = [{ when = { column = \"note\" }, max_share = 1.5 }]\ncolumn = [",
            "is a share of the rows",
        ),
        ("in = [\"US\", \"CA\"]", "in = []", "at least one value"),
        ("in = [\"US\", \"CA\"]", "is = \"US\"", "unknown key `is`"),
        ("in = [\"US\", \"CA\"]", "in = [\"US\"], not_in = [\"CA\"]", "one of `in` and `not_in`"),
        ("mask = \"partial\", keep_last = 4", "mask = \"drop\"", "dropped whole or not at all"),
        ("mask = \"partial\", keep_last = 4", "mask = \"date_shift\", subject = \"note\"", "takes no `when`"),
        ("otherwise = \"keep\"", "otherwise = \"hash\"", "write a second rule"),
        ("mask = \"null\"", "mask = \"null\", otherwise = \"keep\"", "goes with `when`"),
        ("mask = \"null\"", "mask = \"null\", mistyped = \"null\"", "the same `mistyped`"),
        ("column = \"who.country\", in = [\"FR\"]", "column = \"note\", in = [\"FR\"]", "looks at one column"),
        ("name = \"who.country\"", "name = \"country\"", "no rule names the column \"who.country\""),
        ("keep_last = 4 },", "keep_last = 4, otherwise = \"null\" },", "column \"tax_id\" has two rules"),
    ] {
        let said = refusal(from, to);
        assert!(said.contains(what), "{to}: {said}");
    }
}

#[test]
fn a_condition_that_cannot_be_told_lets_nothing_pass() {
    let sandbox = Sandbox::new();
    let policy = |country: &str, rest: &str| {
        format!(
            "missing = \"ignore\"\ncolumn = [{country} {{ name = \"ssn\", when = {{ column = \"who.country\", {rest} }}, \
             mask = \"redact\", otherwise = \"keep\" }}]"
        )
    };
    let plain = "{ name = \"who.country\", mask = \"drop\" },";
    let whole = "{ name = \"who\", mask = \"drop\" }, { name = \"who.country\", mask = \"drop\" },";
    for (country, who) in [
        (plain, r#"{"country": ["DE"]}"#),
        (plain, r#"{"country": {"code": "DE"}}"#),
        (plain, "{}"),
        (whole, r#"{"country": "DE"}"#),
    ] {
        let record = format!("{{\"who\": {who}, \"ssn\": \"123-45-6789\"}}\n");
        for test in ["in = [\"DE\"]", "not_in = [\"DE\"]"] {
            let said = sandbox.masked(&policy(country, test), "a.ndjson", &record);
            assert!(said.as_ref().is_err_and(|said| !said.contains("6789")), "{who}: {said:?}");
        }
    }
}

#[test]
fn rows_that_are_left_out_are_counted_and_too_many_refuse_the_file() {
    let sandbox = Sandbox::new();
    let rules = "[[policy.people.suppress_rows]]\nwhen = { column = \"country\", in = [\"DE\"] }\nmax_share = 0.4\n\n";
    sandbox.add_view();
    sandbox.edit_config("[[policy.people.column]]", &format!("{rules}[[policy.people.column]]"));
    let header = "id,name,ssn,email,dob,country,notes\n";
    let row = |id: u32, country: &str| format!("{id},Ann,123-45-6789,a@example.com,1987-04-12,{country},hi\n");
    sandbox.drop_file("good.csv", format!("{header}{}{}{}", row(1, "US"), row(2, "DE"), row(3, "FR")));
    sandbox.run_until_idle();
    let text = String::from_utf8(sandbox.vault_plaintext("good.csv")).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    let receipts = sandbox.receipts();
    let rows = |view: bool| {
        let receipt = receipts.iter().find(|it| it["view"].is_string() == view).unwrap();
        ["rows_in", "rows_out", "rows_suppressed", "receipt_version"].map(|key| receipt[key].as_u64().unwrap())
    };
    assert_eq!((rows(false), rows(true)), ([3, 2, 1, 2], [3, 3, 0, 2]), "each output by its own policy");
    let audit = sandbox.audit();
    let sealed = audit.iter().find(|it| it["event"]["action"] == "file.sealed").unwrap();
    assert_eq!(
        (&sealed["veild"]["rows_suppressed"], &sealed["veild"]["views"][0]["rows_suppressed"]),
        (&1.into(), &0.into())
    );
    sandbox.drop_file("bad.csv", format!("{header}{}{}", row(1, "US"), row(2, "DE")));
    sandbox.run_until_idle();
    let reason = sandbox.quarantined().remove(0);
    assert_eq!(reason["code"], "too_many_rows_suppressed");
    let sentence = reason["sentence"].as_str().unwrap();
    assert!(sentence.contains("1 of 2 rows by \"country\", more than max_share = 0.4 allows"), "{sentence}");
}
