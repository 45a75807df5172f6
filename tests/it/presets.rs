//! What policies extend, and columns that are told by their class.

use std::fs;

use crate::sandbox::Sandbox;

const TABLE: [(&str, &str); 25] = [
    ("id", "17"),
    ("first_name", "Ann"),
    ("Nachname", "Lee"),
    ("user_email", "ann@example.com"),
    ("Téléphone", "+33 6 39 98 12 34"),
    ("SSN", "219-09-9999"),
    ("passport_no", "C01X00T47"),
    ("date_of_birth", "1930-04-12"),
    ("Age", "93"),
    ("admission_date", "2024-05-01"),
    ("street_address", "1 Main St"),
    ("city", "Salem"),
    ("ZIP", "02139"),
    ("MRN", "0012345"),
    ("health_plan_no", "H-77"),
    ("iban", "DE89370400440532013000"),
    ("card_number", "4111111111111111"),
    ("card", "3782-822463-10005"),
    ("card_holder", "Ann Ethel Lee"),
    ("card_issuer", "First Bank of Salem"),
    ("cvv", "123"),
    ("client_ip", "192.0.2.77"),
    ("password", "hunter2"),
    ("photo_url", "https://example.com/a.jpg"),
    ("diagnosis", "J45"),
];
const MASKING_KEY: &str = "veild-masking-key 1\n1 2026-01-01T00:00:00Z BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";

fn line(cells: impl Iterator<Item = &'static str>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}

#[test]
fn presets_mask_what_their_paragraphs_say() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.site("masking.key"), MASKING_KEY).unwrap();
    let table = line(TABLE.iter().map(|it| it.0)) + &line(TABLE.iter().map(|it| it.1));
    let mut all = String::new();
    for preset in ["hipaa-safe-harbor", "gdpr-pseudonymised", "pci-dss"] {
        // What a preset has no rule for is to be seen here, too.
        let policy = format!("extends = {preset:?}\nunlisted = \"keep\"\nverify = \"off\"\n");
        let out = sandbox.masked(&policy, "table.csv", &table).unwrap();
        all.push_str(&format!("{preset}\n"));
        let rows: Vec<Vec<&str>> = out.lines().map(|row| row.split(',').collect()).collect();
        rows[0].iter().zip(&rows[1]).for_each(|(name, cell)| all.push_str(&format!("  {name}: {cell}\n")));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn rules_of_ones_own_go_before_and_nothing_passes_unnamed() {
    let sandbox = Sandbox::new();
    let policy = r#"
extends = "hipaa-safe-harbor"
column = [
  { name = "id", mask = "keep" },
  { name = "date_of_birth", mask = "date", to = "age_band", as_of = "2026-01-01" },
  { glob = "contact_*", mask = "keep" },
]
"#;
    let content = "id,date_of_birth,contact_name,email\n1,1930-04-12,Desk,a@example.com\n";
    let out = sandbox.masked(policy, "own.csv", content).unwrap();
    assert_eq!(out.lines().nth(1), Some("1,90+,Desk,[REDACTED]"));
    let said = sandbox.masked(policy, "unnamed.csv", &content.replace("email", "ailment")).unwrap_err();
    assert!(said.contains("no rule of policy \"policy\" names column \"ailment\""), "{said}");
    let said = sandbox.masked("extends = \"hipaa\"", "own.csv", content).unwrap_err();
    assert!(said.contains("a policy can extend \"hipaa-safe-harbor\""), "{said}");
}

#[test]
fn a_class_takes_values_by_their_names_at_any_depth() {
    let sandbox = Sandbox::new();
    let policy = "unlisted = \"keep\"\n\
        column = [{ class = [\"email\", \"national_id\"], mask = \"redact\" }, { class = \"phone\", mask = \"null\" }]";
    let records = concat!(
        r#"{"email": {"kind": "work", "userEmail": "a@b.de"}, "phones": [{"phone": "1"}], "ssn": 219099999, "n": 1}"#,
        "\n"
    );
    let expected = concat!(
        r#"{"email": {"kind": "work", "userEmail": "[REDACTED]"}, "phones": [{"phone": null}], "ssn": "[REDACTED]", "n": 1}"#,
        "\n"
    );
    assert_eq!(sandbox.masked(policy, "a.ndjson", records).unwrap(), expected);
    assert!(sandbox.masked(policy, "a.csv", "email,n\na@b.de,1\n").unwrap_err().contains("class phone"));
    // R and pandas write dots; a name of a table is no path.
    let dotted =
        "column = [{ class = [\"date_of_birth\", \"us_ssn\"], mask = \"redact\" }, { name = \"n\", mask = \"keep\" }]";
    let out = sandbox.masked(dotted, "a.csv", "Birth.Date,SSN.1,n\n1919-01-02,123-45-6789,1\n").unwrap();
    assert_eq!(out, "Birth.Date,SSN.1,n\n[REDACTED],[REDACTED],1\n");
    let slip =
        |class: &str| sandbox.masked(&format!("column = [{{ class = {class}, mask = \"null\" }}]"), "a.csv", "a\n");
    assert!(slip("\"e-mail\"").unwrap_err().contains("did you mean \"email\"?"));
    assert!(slip("[]").unwrap_err().contains("`class` is a class of personal data, or a list"));
}
