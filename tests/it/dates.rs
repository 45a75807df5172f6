//! Dates that are shifted by their subject, which stands in another column.

use std::fs;

use crate::sandbox::Sandbox;

const POLICY: &str = r#"
mistyped = "reject"
column = [
  { name = "patient", mask = "drop" },
  { names = ["born", "seen"], mask = "date_shift", subject = "patient" },
  { name = "note", mask = "keep" },
]
"#;
const NESTED: &str = r#"
missing = "ignore"
mistyped = "null"
column = [
  { name = "who.id", mask = "hash" },
  { names = ["born", "visits[*].seen"], mask = "date_shift", subject = "who.id", namespace = "patient" },
  { name = "visits[*].n", mask = "keep" },
]
"#;

/// The file's output under a policy, and what is said.
fn masked(sandbox: &Sandbox, policy: &str, name: &str, content: &str, arguments: &[&str]) -> (String, String) {
    let (policy_path, file) = (sandbox.path("policy.toml"), sandbox.path(name));
    fs::write(&policy_path, policy).unwrap();
    fs::write(&file, content).unwrap();
    let all = ["mask", file.to_str().unwrap(), "--policy", policy_path.to_str().unwrap(), "-o", "-", "--plaintext"];
    let output = sandbox.veild(&[&all[..], arguments].concat());
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn day(text: &str) -> jiff::civil::Date {
    text[..10].parse().unwrap()
}

#[test]
fn intervals_of_one_patient_stay_across_columns_files_and_formats() {
    let sandbox = Sandbox::new();
    let table = "seen,note,patient,born\n2024-05-01,a,p1,1980-01-01\n2024-05-01,\"b\n\",\"p2\",1980-01-01\n";
    let (csv, said) = masked(&sandbox, POLICY, "a.csv", table, &[]);
    assert!(csv.starts_with("seen,note,born\n"), "{said}");
    let cells: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
    let (seen, born) = (day(cells[0]), day(cells[2]));
    assert_ne!(seen, day("2024-05-01"));
    assert_eq!((seen - born).get_days(), (day("2024-05-01") - day("1980-01-01")).get_days());
    let other: Vec<&str> = csv.lines().nth(2).unwrap().split(',').collect();
    assert_ne!(day(other[0]), seen, "the subject is the one of the row");

    let record = concat!(
        r#"{"born": "1980-01-01T10:00", "visits": [{"seen": "2024-05-01", "n": 1}, {"seen": "2024-05-03"}], "#,
        r#""who": {"id": "p1"}}"#
    );
    let orphan = r#"{"born": "1980-01-01", "visits": []}"#;
    let nested = format!("{record}\n{orphan}\n{{\"who\": {{\"id\": null}}, \"born\": \"1980-01-01\"}}\n");
    let (json, said) = masked(&sandbox, NESTED, "a.ndjson", &nested, &[]);
    let records: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).expect(&said)).collect();
    assert_eq!(records[0]["born"], format!("{born}T10:00"));
    assert_eq!(records[0]["visits"][0]["seen"], seen.to_string());
    assert_eq!((day(records[0]["visits"][1]["seen"].as_str().unwrap()) - seen).get_days(), 2);
    assert!(records[1]["born"].is_null() && records[2]["born"].is_null(), "no subject, no date: {json}");

    let landing = format!("{}\n", ["2024-05-01", "x", "p1", "1980-01-01"].map(|cell| format!("{cell:<12}")).concat());
    let names = format!("{}\n", ["seen", "note", "patient", "born"].map(|name| format!("{name:<12}")).concat());
    sandbox.edit_config("policy = \"people\"", "policy = \"people\"\ndelimited = { widths = [12, 12, 12, 12] }");
    let (fixed, said) = masked(&sandbox, POLICY, "a.txt", &format!("{names}{landing}"), &["--landing", "people"]);
    let row = fixed.lines().nth(1).unwrap_or_else(|| panic!("{said}"));
    assert_eq!((row[..10].to_owned(), row[24..34].to_owned()), (seen.to_string(), born.to_string()));
}

#[test]
fn a_block_knows_the_subjects_of_its_own_rows() {
    let sandbox = Sandbox::new();
    // Many blocks, masked by several threads.
    let rows = 150_000;
    let table: String =
        (0..rows).map(|row| format!("p{},2024-05-01,1980-01-01,padding of a row\n", row % 1000)).collect();
    let policy = POLICY.replace("drop", "keep");
    let (csv, said) = masked(&sandbox, &policy, "a.csv", &format!("patient,seen,born,note\n{table}"), &[]);
    let mut of_patient = std::collections::HashMap::new();
    for line in csv.lines().skip(1) {
        let (patient, rest) = line.split_once(',').unwrap();
        assert_eq!(*of_patient.entry(patient).or_insert(rest), rest);
    }
    assert_eq!((csv.lines().count(), of_patient.len()), (rows + 1, 1000), "{said}");
    assert!(of_patient.values().collect::<std::collections::HashSet<_>>().len() > 300);
}

#[test]
fn a_date_without_its_subject_is_refused_by_its_place() {
    let sandbox = Sandbox::new();
    let refused = |policy: &str, table: &str| {
        let (out, said) = masked(&sandbox, policy, "a.csv", table, &[]);
        assert!(!out.contains("1980"), "{out}");
        said
    };
    let said = refused(POLICY, "patient,born,seen,note\np1,1980-01-01,,x\n,,,x\n,1980-01-01,,x\n");
    assert!(
        said.contains("a date as YYYY-MM-DD, with its subject beside it, expected in row 3, column \"born\""),
        "{said}"
    );
    let said = refused(&format!("missing = \"ignore\"\n{POLICY}"), "born,note\n1980-01-01,x\n");
    assert!(said.contains("the file has no column \"patient\", without which policy \"policy\" cannot mask"), "{said}");
    let unnamed = POLICY.replace("  { name = \"patient\", mask = \"drop\" },\n", "");
    assert!(refused(&unnamed, "born\n").contains("no rule names the column \"patient\" by its `name`"));
    let starred = POLICY.replace("subject = \"patient\"", "subject = \"visits[*].id\"");
    assert!(refused(&starred, "born\n").contains("without `*` and `[*]`"));
}
