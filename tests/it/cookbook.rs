//! The README's policies, each as it stands there.

use std::fs;

use crate::sandbox::Sandbox;

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
const MASKING_KEY: &str = "veild-masking-key 1\n1 2026-01-01T00:00:00Z BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";

/// A file for each policy; what holds `QzCanary` may not come out.
const FILES: [(&str, &str, &str); 6] = [
    (
        "Staff",
        "staff.csv",
        "employee_id,name,email,department,country,ssn,iban,salary,born\n\
         7,QzCanaryAnn Lee,QzCanaryAnn@example.com,sales,US,123-45-6789,DE89 3704 0044 0532 0130 00,48600,1987-04-12\n\
         8,QzCanaryBob,qzcanarybob@example.com,sales,DE,12 345678 Q 001,NL91ABNA0417164300,51000,1931-01-02\n",
    ),
    (
        "Patients",
        "patients.csv",
        "patient_id,first_name,dob,zip,phone,visit_1,visit_2,diagnosis,notes\n\
         QzCanary17,QzCanaryAnn,1987-04-12,02139,+1 415-555-0173,2024-05-01,2024-05-04,J45,call qzcanary.ann@example.com back\n",
    ),
    (
        "Payments",
        "payments.csv",
        "card_holder,card,cvv,iban,amount,currency,purpose\n\
         QzCanaryAnn Lee,4111 1111 1111 1111,123,DE89370400440532013000,12.50,EUR,from DE89370400440532013000 for rent\n",
    ),
    (
        "Web logs",
        "web.ndjson",
        "{\"time\": \"2026-01-01T00:00:00Z\", \"client\": {\"ip\": \"192.0.2.77\", \"agent\": \"QzCanaryBrowser\"}, \
         \"request\": {\"method\": \"GET\", \"path\": \"/users/qzcanary@example.com/orders/4711\"}, \"status\": 200, \
         \"session\": \"QzCanary-s-1\"}\n",
    ),
    (
        "Customers",
        "customers.csv",
        "customer_id,name,email,phone,address,revenue,hobby\n\
         QzCanary9,QzCanaryAnn Lee,qzcanaryann@example.com,+49 171 1234567,QzCanaryWeg 1,1200.00,QzCanaryChess\n",
    ),
    (
        "Surveys",
        "survey.csv",
        "respondent,age,zip,income,q1,q2,remarks\nQzCanary1,17,02139,48600,5,no,QzCanaryText\nQzCanary2,70,85004,9000,1,yes,\n",
    ),
];

fn policy(title: &str) -> &'static str {
    let (_, behind) = README.split_once("## Policy cookbook").expect("the README has a cookbook");
    let (_, recipe) = behind.split_once(&format!("### {title}\n")).unwrap_or_else(|| panic!("no recipe {title}"));
    recipe.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0
}

#[test]
fn the_example_of_anonymity_loads_and_holds() {
    let (_, behind) = README.split_once("## Anonymity\n").unwrap();
    let example = behind.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let sandbox = Sandbox::new();
    let config = sandbox.site("config.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    text.push_str(example);
    fs::write(&config, text).unwrap();
    let people = sandbox.path("people.csv");
    let rows: String = (0..6).map(|row| format!("4{row},8500{row},J4{}\n", row % 3)).collect();
    fs::write(&people, format!("age,zip,diagnosis\n{rows}")).unwrap();
    let output = sandbox.veild(&["policy", "test", people.to_str().unwrap(), "--policy", "research"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Without the rule it says so once, and where.
    let (_, without) = example.split_once("\n\n").unwrap();
    let policy = without.replace("policy.research.", "");
    let said = sandbox.masked(&policy, "people.csv", "age,zip,diagnosis\n").unwrap_err();
    let told = "no rule names the column \"diagnosis\"";
    assert!(said.matches(told).count() == 1 && !said.contains(":1:1:"), "{said}");
}

#[test]
fn every_recipe_masks_its_file() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.site("masking.key"), MASKING_KEY).unwrap();
    let mut all = String::new();
    // It is another one each time.
    let noise = regex::Regex::new(r",-?\d+\.\d\d,\[REDACTED\]\n").unwrap();
    for (title, name, content) in FILES {
        let text = sandbox.masked(policy(title), name, content).unwrap_or_else(|said| panic!("{title}: {said}"));
        assert!(!text.to_lowercase().contains("qzcanary"), "{title}: {text}");
        all.push_str(&format!("{title}\n{}\n", noise.replace(&text, ",[NOISE],[REDACTED]\n")));
    }
    insta::assert_snapshot!(all);
    let (_, behind) = README.split_once("## Policy cookbook").unwrap();
    let recipes = behind.split("\n## ").next().unwrap().matches("\n### ").count();
    assert_eq!(recipes, FILES.len(), "a recipe that no test runs");
}
