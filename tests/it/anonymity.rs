//! Files in which nobody stands out: through the daemon, on the census table, and confirmed by others.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::sandbox::Sandbox;

const PEOPLE: &str = "[policy.people]\nunlisted = \"drop\"\n\n\
    [[policy.people.column]]\nnames = [\"id\", \"salary\"]\nmask = \"keep\"\n\n\
    [policy.people.anonymity]\nk = 3\nmax_suppressed = 0.2\nFREEZE\n\
    [[policy.people.anonymity.quasi_identifier]]\ncolumn = \"age\"\nwidths = [5, 10, 20]\n\n\
    [[policy.people.anonymity.quasi_identifier]]\ncolumn = \"zip\"\nprefixes = [4, 3, 1]\n\n\
    [[policy.people.anonymity.sensitive]]\ncolumn = \"salary\"\nl = 2\n";

/// Puts another policy in the place of the site's own.
fn use_policy(sandbox: &Sandbox, freeze: &str) {
    let path = sandbox.site("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let before = text.split("[policy.people]").next().unwrap();
    fs::write(path, format!("{before}{}", PEOPLE.replace("FREEZE", freeze))).unwrap();
}

/// A table whose ages lie `step` apart.
fn table(rows: usize, step: usize) -> String {
    let row =
        |n: usize| format!("{n},{},{},{}\n", 20 + n * step % 50, ["10115", "10117", "20095"][n % 3], n % 4 * 1000);
    format!("id,age,zip,salary\n{}", (0..rows).map(row).collect::<String>())
}

fn levels(receipt: &Value) -> Vec<u64> {
    let of = receipt["anonymity"]["quasi_identifiers"].as_array().unwrap();
    of.iter().map(|it| it["level"].as_u64().unwrap()).collect()
}

fn least_class(text: &str, columns: std::ops::Range<usize>) -> usize {
    let mut classes: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for record in csv::Reader::from_reader(text.as_bytes()).records() {
        let record = record.unwrap();
        *classes.entry(columns.clone().map(|column| record[column].to_owned()).collect()).or_default() += 1;
    }
    classes.into_values().min().unwrap()
}

#[test]
fn a_file_goes_out_anonymous_or_to_quarantine() {
    let sandbox = Sandbox::new();
    use_policy(&sandbox, "");
    sandbox.drop_file("many.csv", table(300, 7));
    sandbox.drop_file("few.csv", table(2, 7));
    sandbox.run_until_idle();
    let text = String::from_utf8(sandbox.vault_plaintext("many.csv")).unwrap();
    let receipt = sandbox.receipts().remove(0);
    let found = &receipt["anonymity"];
    assert_eq!(found["k"], least_class(&text, 1..3));
    assert!(found["k"].as_u64().unwrap() >= 3 && found["sensitive"][0]["l_distinct"].as_u64().unwrap() >= 2, "{found}");
    assert_eq!((&found["mode"], &found["frozen"]), (&"enforce".into(), &false.into()));
    assert_eq!(receipt["rows_out"].as_u64().unwrap() + receipt["rows_suppressed"].as_u64().unwrap(), 300);
    let audit = sandbox.audit();
    let sealed = audit.iter().find(|it| it["event"]["action"] == "file.sealed").unwrap();
    assert_eq!(sealed["veild"]["k"], found["k"]);
    assert_eq!(sandbox.quarantined()[0]["code"], "not_anonymous");
    sandbox.assert_audit_holds();
}

#[test]
fn levels_stay_frozen_through_kills_until_their_text_changes() {
    let sandbox = Sandbox::new();
    use_policy(&sandbox, "freeze = \"2026\"");
    // Without rows nothing is chosen.
    sandbox.drop_file("empty.csv", "id,age,zip,salary\n");
    sandbox.run_until_idle();
    sandbox.drop_file("first.csv", table(120, 20));
    let mut daemon = sandbox.daemon_with_fault(Some("levels_frozen"));
    sandbox.wait_for("the daemon's end", || daemon.has_ended());
    sandbox.run_until_idle();
    sandbox.drop_file("second.csv", table(120, 1));
    sandbox.drop_file("third.csv", table(300, 20));
    sandbox.run_until_idle();
    let of = |name: &str| sandbox.receipts().into_iter().find(|it| it["original_name"] == name).unwrap();
    let (first, third) = (of("first.csv"), of("third.csv"));
    assert_eq!(first["anonymity"]["frozen"], true, "the attempt that was killed had chosen");
    assert_eq!((levels(&third), &third["anonymity"]["frozen"]), (levels(&first), &true.into()));
    let refused = sandbox.quarantined().remove(0);
    assert_eq!((&refused["original_name"], &refused["code"]), (&"second.csv".into(), &"not_anonymous".into()));
    assert!(refused["sentence"].as_str().unwrap().contains("at the levels of the landing's first file"), "{refused}");
    use_policy(&sandbox, "freeze = \"2027\"");
    sandbox.drop_file("fourth.csv", table(120, 1));
    sandbox.run_until_idle();
    let fourth = of("fourth.csv");
    assert_eq!(fourth["anonymity"]["frozen"], false);
    assert_ne!(levels(&fourth), levels(&first));
    sandbox.assert_audit_holds();
}

#[test]
fn files_that_come_together_get_the_same_frozen_levels() {
    let sandbox = Sandbox::new();
    use_policy(&sandbox, "freeze = \"x\"");
    (0..6).for_each(|n| sandbox.drop_file(&format!("{n}.csv"), table(150 + n * 50, if n % 2 == 0 { 7 } else { 9 })));
    sandbox.run_until_idle();
    let receipts = sandbox.receipts();
    assert!(receipts.len() > 1, "{:?}", sandbox.quarantined());
    assert!(receipts.iter().all(|receipt| levels(receipt) == levels(&receipts[0])));
    assert_eq!(receipts.len() + sandbox.quarantined().len(), 6);
}

#[test]
fn risks_are_told_as_text_json_and_a_page() {
    let sandbox = Sandbox::new();
    use_policy(&sandbox, "");
    let (file, page) = (sandbox.path("people.csv"), sandbox.path("risk.html"));
    fs::write(&file, table(300, 7)).unwrap();
    let (file, page) = (file.to_str().unwrap(), page.to_str().unwrap());
    let answer = sandbox.json(&["policy", "risk", file, "--policy", "people", "--html", page]);
    let (before, after) = (&answer["as_it_comes"], &answer["as_it_goes_out"]["risk"]);
    assert_eq!(before["rows"], 300);
    let highest = after["prosecutor"]["highest"].as_f64().unwrap();
    assert!(highest <= 1.0 / 3.0 && highest < before["prosecutor"]["highest"].as_f64().unwrap(), "{answer}");
    let html = fs::read_to_string(page).unwrap();
    assert!(
        html.contains("<svg") && html.contains("as it goes out") && !html.contains("http://") || !html.contains("src=")
    );
    assert!(!html.contains("10115"), "a value of the file is in the page");
    let text = sandbox.veild(&["policy", "risk", file, "--column", "age", "--column", "zip"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("rows like no other") && text.contains("quasi-identifiers: age, zip"), "{text}");
    let neither = sandbox.veild(&["policy", "risk", file]);
    assert_eq!(neither.status.code(), Some(2));
    let missing = sandbox.veild(&["policy", "risk", file, "--column", "height"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("people.csv has no column \"height\"; it has: "), "{said}");
    assert!(said.contains("age") && !said.contains("leaves out"), "{said}");
}

#[test]
fn what_cannot_be_asked_for_is_refused_with_its_place() {
    let sandbox = Sandbox::new();
    let hierarchy = |content: &str| {
        let path = sandbox.path("jobs.csv");
        fs::write(&path, content).unwrap();
        format!("hierarchy = {path:?}")
    };
    let policy = PEOPLE.replace("policy.people.", "").replace("[policy.people]\n", "").replace("FREEZE", "");
    for (from, to, what) in [
        ("k = 3", "k = 1", "`k` must be at least 2"),
        ("max_suppressed = 0.2", "max_suppressed = 2.0", "a share of the rows"),
        ("k = 3", "k = 3\nmode = \"check\"", "goes with `mode = \"enforce\"`"),
        ("widths = [5, 10, 20]", "widths = [5, 8]", "each a multiple of the one before"),
        ("widths = [5, 10, 20]", "widths = [0, 0]", "each a multiple of the one before"),
        ("widths = [5, 10, 20]", "dates = [\"year\", \"month\"]", "in this order"),
        ("prefixes = [4, 3, 1]", "prefixes = [3, 4]", "`prefixes` become shorter"),
        ("prefixes = [4, 3, 1]", "prefixes = [4]\nwidths = [5]", "levels are given by one of"),
        ("prefixes = [4, 3, 1]", "prefixes = [4]\nmin_level = 3", "are 0 to 2"),
        ("column = \"zip\"", "column = \"AGE\"", "is named twice"),
        ("column = \"zip\"", "column = \"id\"", "has two rules"),
        ("l = 2", "t = 2.0", "a distance of 0 to 1"),
        ("l = 2", "", "`l`, `t`, or both"),
        ("l = 2", "l = 1.5", "a number of values"),
        (
            "[[anonymity.sensitive]]\ncolumn = \"salary\"",
            "[[anonymity.sensitive]]\ncolumn = \"wage\"",
            "no rule names the column \"wage\"",
        ),
        (
            "names = [\"id\", \"salary\"]\nmask = \"keep\"",
            "name = \"salary\"\nmask = \"noise\"\nscale = 1",
            "random values",
        ),
        // Hierarchies that are none: a value twice, a value without levels, branches that part again, a cycle.
        ("prefixes = [4, 3, 1]", &hierarchy("1;a\n1;b\n"), "lines 1 and 2 give levels for the same value"),
    ] {
        assert!(policy.contains(from), "{from}");
        let said = sandbox.masked(&policy.replacen(from, to, 1), "a.csv", "a\n").unwrap_err();
        assert!(said.contains(what) && said.contains("policy.toml:"), "{to}: {said}");
    }
    for (content, what) in [
        ("1;a;x\n2;a\n", "line 2 has 2 columns, the lines before it have 3"),
        ("1;a;x\n2;a;y\n", "lines 1 and 2 are the same at level 1, but not at level 2"),
        ("1;2;1\n2;1;2\n3;2;3\n", "lines 1 and 3 are the same at level 1, but not at level 2"),
    ] {
        let text = policy.replacen("prefixes = [4, 3, 1]", &hierarchy(content), 1);
        let said = sandbox.masked(&text, "a.csv", "a\n").unwrap_err();
        assert!(said.contains(what), "{said}");
    }
    // A value that the hierarchy lacks is told by its row.
    let text = policy.replacen("prefixes = [4, 3, 1]", &hierarchy("10115;1*\n10117;1*\n"), 1);
    let said = sandbox.masked(&text, "a.csv", &table(40, 7)).unwrap_err();
    assert!(said.contains("a value that the hierarchy lists expected in row 3, column \"zip\""), "{said}");
}

/// The census table: beside the checkout, or where `VEILD_ADULT` says.
fn adult() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared/data/adult");
    let dir = std::env::var_os("VEILD_ADULT").map_or(beside, PathBuf::from);
    if dir.join("adult.csv").is_file() {
        return Some(dir);
    }
    println!("SKIPPED: the census table is not in {} (set VEILD_ADULT)", dir.display());
    None
}

const ADULT: [&str; 9] =
    ["sex", "age", "race", "marital-status", "education", "native-country", "workclass", "occupation", "salary-class"];

fn adult_policy(dir: &Path, columns: &[&str], head: &str) -> String {
    let mut text = format!("{head}\n");
    for column in columns {
        let hierarchy = dir.join(format!("adult_hierarchy_{column}.csv"));
        text += &format!("[[anonymity.quasi_identifier]]\ncolumn = {column:?}\nhierarchy = {hierarchy:?}\n");
    }
    text
}

/// Full-domain generalization of all nine attributes, k = 5, at most 4 % of the records left out, monotonic non-uniform
/// entropy: the published optimum.
#[test]
fn the_published_optimum_of_the_census_table_is_found() {
    let Some(dir) = adult() else { return };
    let sandbox = Sandbox::new();
    let head = "[anonymity]\nk = 5\nmax_suppressed = 0.04\nutility = \"entropy\"";
    fs::write(sandbox.path("adult.toml"), adult_policy(&dir, &ADULT, head)).unwrap();
    let (file, policy) = (dir.join("adult.csv"), sandbox.path("adult.toml"));
    let answer = sandbox.json(&["policy", "test", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()]);
    let found = &answer["outputs"][0];
    let loss = found["anonymity"]["utility"]["loss"].as_f64().unwrap();
    assert!((loss - 255_559.854_557).abs() < 1e-5, "{loss}");
    let quasi_identifiers = found["anonymity"]["quasi_identifiers"].as_array().unwrap();
    let levels: Vec<u64> = quasi_identifiers.iter().map(|it| it["level"].as_u64().unwrap()).collect();
    assert_eq!(levels, [1, 0, 1, 1, 3, 2, 2, 0, 1]);
    assert_eq!((&found["rows_suppressed"], &found["rows_out"]), (&906.into(), &29_256.into()));
    assert!(found["anonymity"]["k"].as_u64().unwrap() >= 5);
}

/// A Python with pycanon in it: `VEILD_PYCANON`, else the system's.
fn pycanon() -> Option<PathBuf> {
    let python = std::env::var_os("VEILD_PYCANON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let found = Command::new(&python).args(["-c", "import pycanon"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("SKIPPED: needs pycanon of PyPI (set VEILD_PYCANON to a Python that has it)");
    None
}

const CONFIRM: &str = r#"
import json, sys
import pandas as pd
from pycanon import anonymity
data = pd.read_csv(sys.argv[1], sep=sys.argv[2], keep_default_na=False)
quasi, sensitive = sys.argv[3].split(","), sys.argv[4].split(",")
print(json.dumps({
    "k": int(anonymity.k_anonymity(data, quasi)),
    "l": [int(anonymity.l_diversity(data, quasi, [it])) for it in sensitive],
    "entropy": [int(anonymity.entropy_l_diversity(data, quasi, [it])) for it in sensitive],
    "t": [float(anonymity.t_closeness(data, quasi, [it])) for it in sensitive],
}))
"#;

/// Masks a file, and compares what the receipt says with what pycanon finds in the output.
fn confirm(
    python: &Path,
    policy: &str,
    (name, content): (&str, &str),
    separator: &str,
    quasi: &[&str],
    sensitive: &[&str],
) {
    let sandbox = Sandbox::new();
    let output = sandbox.masked(policy, name, content).unwrap();
    let masked = sandbox.path("masked.csv");
    fs::write(&masked, &output).unwrap();
    let file = sandbox.path(name);
    let policy = sandbox.path("policy.toml");
    let answer = sandbox.json(&["policy", "test", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()]);
    let said = &answer["outputs"][0]["anonymity"];
    let arguments = [masked.to_str().unwrap(), separator, &quasi.join(","), &sensitive.join(",")];
    let found = Command::new(python).args(["-c", CONFIRM]).args(arguments).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let found: Value =
        serde_json::from_slice(found.stdout.split(|byte| *byte == b'\n').rfind(|it| !it.is_empty()).unwrap()).unwrap();
    assert_eq!(said["k"], found["k"], "{said} {found}");
    for (place, column) in said["sensitive"].as_array().unwrap().iter().enumerate() {
        assert_eq!(column["l_distinct"], found["l"][place], "{said} {found}");
        let entropy = column["l_entropy"].as_f64().unwrap();
        let floor = found["entropy"][place].as_f64().unwrap();
        assert!(floor - 1e-6 <= entropy && entropy < floor + 1.0 + 1e-6, "{said} {found}");
        let (t, of_pycanon) = (column["t"].as_f64().unwrap(), found["t"][place].as_f64().unwrap());
        assert!((t - of_pycanon).abs() < 1e-9, "{said} {found}");
    }
}

#[test]
fn pycanon_finds_the_same_k_l_and_t() {
    let Some(python) = pycanon() else { return };
    let policy = r#"
        column = [{ names = ["id", "salary", "job"], mask = "keep" }]
        [anonymity]
        k = 4
        max_suppressed = 0.3
        [[anonymity.quasi_identifier]]
        column = "age"
        widths = [5, 10, 20]
        [[anonymity.quasi_identifier]]
        column = "zip"
        prefixes = [4, 2]
        [[anonymity.sensitive]]
        column = "salary"
        l = 3
        t = 0.25
        distance = "ordered"
        [[anonymity.sensitive]]
        column = "job"
        l = 1.8
        diversity = "entropy"
        t = 0.35
    "#;
    let row = |n: usize| {
        let age = 20 + (n * n + 3 * n) % 41;
        let salary = 1000 * (1 + (n * 5 + age) % 7);
        format!("{n},{age},{},{salary},{}\n", 10_000 + n * 37 % 300, ["cook", "clerk", "nurse"][(n * 7 + n / 5) % 3])
    };
    let table = format!("id,age,zip,salary,job\n{}", (0..400).map(row).collect::<String>());
    confirm(&python, policy, ("people.csv", &table), ",", &["age", "zip"], &["salary", "job"]);
    let Some(dir) = adult() else { return };
    let head = "column = [{ names = [\"occupation\", \"salary-class\"], mask = \"keep\" }]\n[anonymity]\nk = 20\nmax_suppressed = 0.05\n\
                [[anonymity.sensitive]]\ncolumn = \"occupation\"\nl = 4\nt = 0.5\n";
    let columns = &ADULT[..7];
    let content = fs::read_to_string(dir.join("adult.csv")).unwrap();
    // The first thousands are enough for a slow reader.
    let content: String = content.lines().take(6001).map(|line| format!("{line}\n")).collect();
    confirm(&python, &adult_policy(&dir, columns, head), ("adult.csv", &content), ";", columns, &["occupation"]);
}
