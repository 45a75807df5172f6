//! Several outputs of one reading: all or none of them, through kills at every step.

use std::fs;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::sandbox::Sandbox;

const GOOD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

fn open(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = sandbox.veild(&[&["vault", "open"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn sha256_of(sandbox: &Sandbox, below_vault: &str) -> String {
    format!("{:x}", Sha256::digest(fs::read(sandbox.site("vault").join(below_vault)).unwrap()))
}

/// Every `file.sealed` record lists what the vault holds, each object once and nothing else.
fn assert_records_match_the_vault(sandbox: &Sandbox, after: &str) {
    let mut recorded = Vec::new();
    for line in sandbox.audit().iter().filter(|it| it["event"]["action"] == "file.sealed") {
        let main = &line["veild"];
        let beside = main["views"].as_array().into_iter().flatten().chain(main.get("archive"));
        for output in std::iter::once(main).chain(beside) {
            let object = output["object"].as_str().unwrap();
            assert_eq!(output["object_sha256"], sha256_of(sandbox, object), "after {after}");
            let receipt = object.strip_suffix(".age").unwrap().to_owned() + ".receipt.json";
            assert_eq!(output["receipt_sha256"], sha256_of(sandbox, &receipt), "after {after}");
            recorded.push(object.to_owned());
        }
    }
    let receipts = [sandbox.receipts(), archived(sandbox)].concat();
    let mut held: Vec<String> =
        receipts.iter().map(|it| it["output"]["path"].as_str().unwrap_or("no receipt").to_owned()).collect();
    recorded.sort();
    held.sort();
    assert_eq!(recorded, held, "after {after}");
    sandbox.assert_audit_holds();
}

fn archived(sandbox: &Sandbox) -> Vec<Value> {
    let list = sandbox.json(&["vault", "list", "--archive"]);
    list.as_array().unwrap().iter().map(|entry| entry["receipt"].clone()).collect()
}

fn problems(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json(&["vault", "verify"])["problems"].as_array().unwrap().clone()
}

#[test]
fn a_view_is_made_for_other_readers() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    assert!(sandbox.veild(&["check"]).status.success());
    sandbox.drop_file("people.csv", GOOD);
    sandbox.run_until_idle();
    let receipts = sandbox.receipts();
    assert_eq!(receipts.iter().map(|it| &it["view"]).collect::<Vec<_>>(), [&Value::Null, &Value::from("statistics")]);
    assert_eq!((&receipts[1]["policy"]["name"], &receipts[1]["rows_out"]), (&"coarse".into(), &1.into()));
    assert_eq!(receipts[0]["input"], receipts[1]["input"]);
    let job = receipts[0]["job"].as_str().unwrap();
    let path = receipts[1]["output"]["path"].as_str().unwrap();
    assert!(path.ends_with(&format!("/people.{job}.statistics.csv.age")), "{path}");
    let (own, theirs) = (sandbox.site("identity.txt"), sandbox.site("statistics.txt"));
    let (own, theirs) = (own.to_str().unwrap(), theirs.to_str().unwrap());
    assert_eq!(open(&sandbox, &[job, "--view", "statistics", "-i", theirs]), "dob,country\n1980s,US\n");
    assert!(open(&sandbox, &[job, "-i", own]).contains("***-**-6789"));
    assert!(!sandbox.veild(&["vault", "open", job, "-i", theirs]).status.success(), "the view's reader read it all");
    assert_records_match_the_vault(&sandbox, "one file");
    let verdict = sandbox.json(&["vault", "verify", "-i", theirs]);
    assert_eq!((&verdict["objects"], &verdict["sealed_to_others"]), (&2.into(), &1.into()));
    assert_eq!(verdict["problems"], Value::Array(vec![]));
}

#[test]
fn a_file_that_one_view_refuses_leaves_no_output() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.edit_config("unlisted = \"drop\"", "unlisted = \"reject\"");
    sandbox.drop_file("people.csv", GOOD);
    sandbox.run_until_idle();
    assert!(sandbox.receipts().is_empty());
    let reasons = sandbox.quarantined();
    assert_eq!(reasons[0]["code"], "unlisted_column");
    assert!(reasons[0]["sentence"].as_str().unwrap().contains("policy \"coarse\""), "{reasons:?}");
    assert_eq!(fs::read_dir(sandbox.site("vault/.incoming")).unwrap().count(), 0);
}

#[test]
fn opaque_names_hide_the_original_in_every_output() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.edit_config("[vault]", "[vault]\nnames = \"opaque\"");
    sandbox.drop_file("people.csv", GOOD);
    sandbox.run_until_idle();
    let names: Vec<String> = sandbox
        .receipts()
        .iter()
        .map(|it| it["output"]["path"].as_str().unwrap().replace(it["job"].as_str().unwrap(), "J"))
        .collect();
    assert!(names[0].ends_with("/J.age") && names[1].ends_with("/J.statistics.age"), "{names:?}");
}

#[test]
fn a_kill_at_any_step_shows_all_outputs_or_none() {
    let faults = [
        "staged:1",
        "staged_durable:1",
        "receipt_renamed:1",
        "receipt_renamed:5",
        "receipt_renamed:12",
        "object_renamed:1",
        "object_renamed:2",
        "object_renamed:3",
        "object_renamed:4",
        "object_renamed:6",
        "intent_removed:1",
        "intent_removed:2",
    ];
    for fault in faults {
        let sandbox = Sandbox::new();
        sandbox.add_view();
        sandbox.archive_originals();
        sandbox.drop_file("good0.csv", GOOD);
        sandbox.drop_file("good1.csv", GOOD);
        sandbox.veild_until(fault, &["run", "--once"]);
        // What can be seen was not recorded yet.
        let expected = ["receipt without an object", "stands in no audit record"];
        let bad = problems(&sandbox).into_iter().find(|it| !expected.iter().any(|what| it["what"] == *what));
        assert_eq!(bad, None, "something half was visible after {fault}");
        sandbox.run_until_idle();
        assert_eq!((sandbox.receipts().len(), archived(&sandbox).len()), (4, 2), "after {fault}");
        assert_eq!(problems(&sandbox), [] as [Value; 0], "after {fault}");
        assert_records_match_the_vault(&sandbox, fault);
        assert!(sandbox.landing_is_empty(), "after {fault}");
    }
}

#[test]
fn a_kill_during_the_recovery_of_a_kill() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.drop_file("good.csv", GOOD);
    sandbox.veild_until("object_renamed", &["run", "--once"]);
    // What the configuration says by now must not matter for what has been decided.
    sandbox.edit_config("name = \"statistics\"", "name = \"renamed\"");
    sandbox.veild_until("rolled_forward", &["run", "--once"]);
    sandbox.run_until_idle();
    let views: Vec<Value> = sandbox.receipts().iter().map(|it| it["view"].clone()).collect();
    assert_eq!(views, [Value::Null, Value::from("statistics")]);
    assert_records_match_the_vault(&sandbox, "two kills");
}

#[test]
fn the_original_is_archived_for_its_own_readers_only() {
    let sandbox = Sandbox::new();
    sandbox.archive_originals();
    sandbox.add_view();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gz, GOOD.as_bytes()).unwrap();
    let gz = gz.finish().unwrap();
    sandbox.drop_file("people.csv.gz", &gz);
    sandbox.run_until_idle();
    let receipt = &archived(&sandbox)[0];
    let job = receipt["job"].as_str().unwrap();
    let path = receipt["output"]["path"].as_str().unwrap();
    assert!(path.starts_with(".archive/people/") && path.ends_with(&format!("/people.{job}.csv.gz.age")), "{path}");
    assert_eq!((&receipt["policy"], &receipt["columns"]), (&Value::Null, &Value::Array(vec![])));
    assert_eq!(receipt["input"], sandbox.receipts()[0]["input"]);
    assert_eq!(sandbox.receipts().len(), 2, "the archive is no output");
    let reader = sandbox.site("archive.txt");
    let opened = sandbox.veild(&["vault", "open", job, "--archive", "-i", reader.to_str().unwrap()]);
    assert_eq!(opened.stdout, gz, "{}", String::from_utf8_lossy(&opened.stderr));
    let own = sandbox.site("identity.txt");
    assert!(!sandbox.veild(&["vault", "open", job, "--archive", "-i", own.to_str().unwrap()]).status.success());
    assert_records_match_the_vault(&sandbox, "one file");
    let verdict = sandbox.json(&["vault", "verify", "-i", reader.to_str().unwrap()]);
    assert_eq!((&verdict["objects"], &verdict["archived"]), (&2.into(), &1.into()));
    assert_eq!((&verdict["sealed_to_others"], verdict["problems"].as_array().unwrap().len()), (&2.into(), 0));
    // Its receipt is signed and its digest checked like any other's.
    let object = sandbox.site("vault").join(path);
    fs::remove_file(&object).unwrap();
    fs::write(&object, "something else").unwrap();
    assert_eq!(sandbox.veild(&["vault", "verify"]).status.code(), Some(3));
}

#[test]
fn a_rejected_original_goes_to_quarantine_and_not_into_the_archive() {
    let sandbox = Sandbox::new();
    sandbox.archive_originals();
    sandbox.drop_file("bad.csv", "id,name,ssn,email,dob,country,notes\n1,Ann\n");
    sandbox.run_until_idle();
    assert_eq!((archived(&sandbox).len(), sandbox.quarantined().len()), (0, 1));
    assert_eq!(fs::read_dir(sandbox.site("vault/.incoming")).unwrap().count(), 0);
}

#[test]
fn check_warns_of_readers_of_both_masked_and_unmasked() {
    let sandbox = Sandbox::new();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let own = config.lines().find(|line| line.starts_with("recipients = ")).unwrap();
    sandbox.edit_config("quiet = ", &format!("after = \"archive\"\narchive_{own}\nquiet = "));
    let said = sandbox.veild(&["check"]);
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("reads masked outputs and the unmasked originals in the archive"), "{said}");
}

#[test]
fn random_kills_with_views_archive_and_duplicates_lose_and_double_nothing() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.archive_originals();
    sandbox.edit_config("quiet = ", "duplicates = \"skip\"\nquiet = ");
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let (mut rounds, header) = (0, GOOD.lines().next().unwrap());
    while rounds < 60 {
        let good = |id: String| GOOD.replace("\n1,", &format!("\n{id},"));
        sandbox.drop_file(&format!("a{rounds}.csv"), good(format!("a{rounds}")));
        sandbox.drop_file(&format!("b{rounds}.csv"), good(format!("b{rounds}")));
        sandbox.drop_file(&format!("b{rounds}-again.csv"), good(format!("b{rounds}")));
        sandbox.drop_file(&format!("bad{rounds}.csv"), format!("{header}\n{rounds},Ann\n"));
        rounds += 1;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let daemon = sandbox.daemon();
        // The moment of the kill is the random input of this test.
        std::thread::sleep(std::time::Duration::from_millis(seed % 200));
        drop(daemon);
    }
    sandbox.run_until_idle();
    assert!(sandbox.landing_is_empty());
    let outputs = (sandbox.receipts().len(), archived(&sandbox).len(), sandbox.quarantined().len());
    assert_eq!(outputs, (4 * rounds, 2 * rounds, rounds));
    let audit = sandbox.audit();
    let count = |action: &str| audit.iter().filter(|it| it["event"]["action"] == action).count();
    let outcomes = (count("file.sealed"), count("file.skipped"), count("file.quarantined"));
    assert_eq!(outcomes, (2 * rounds, rounds, rounds));
    assert_eq!(problems(&sandbox), [] as [Value; 0]);
    assert_records_match_the_vault(&sandbox, "random kills");
}

#[test]
fn an_archive_that_cannot_be_written_holds_back_the_outputs_too() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.archive_originals();
    fs::write(sandbox.site("vault/.archive"), "in the way").unwrap();
    let daemon = sandbox.daemon();
    sandbox.drop_file("people.csv", GOOD);
    let log = || fs::read_to_string(sandbox.path("veild.log")).unwrap_or_default();
    sandbox.wait_for("the trouble", || log().contains(".archive"));
    assert!(sandbox.receipts().is_empty());
    assert_eq!(fs::read_dir(sandbox.site("landing/.veild")).unwrap().count(), 1, "the source is gone");
    fs::remove_file(sandbox.site("vault/.archive")).unwrap();
    sandbox.wait_for("the file", || sandbox.landing_is_empty());
    daemon.stop();
    assert_eq!((sandbox.receipts().len(), archived(&sandbox).len()), (2, 1));
    assert_records_match_the_vault(&sandbox, "the trouble");
}

#[test]
fn the_vaults_list_is_narrowed_by_what_the_receipts_say() {
    let sandbox = Sandbox::new();
    sandbox.add_landing("second", "quiet = \"0s\"");
    sandbox.drop_file("a.csv", crate::crash::GOOD);
    sandbox.drop_file("b.csv", crate::crash::GOOD);
    std::fs::write(sandbox.site("second").join("c.csv"), crate::crash::GOOD).unwrap();
    sandbox.run_until_idle();
    let count = |filter: &[&str]| {
        let list = sandbox.json(&[&["vault", "list"], filter].concat());
        list.as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--landing", "second"]), 1);
    assert_eq!(count(&["--name", "[ab].csv"]), 2);
    assert_eq!(count(&["--name", "[ab].csv", "--landing", "second"]), 0);
    assert_eq!((count(&["--column", "SSN"]), count(&["--column", "iban"])), (3, 0));
    assert_eq!((count(&["--policy", "people"]), count(&["--policy", "other"])), (3, 0));
    assert_eq!((count(&["--from", "2020-01-01"]), count(&["--to", "2020-01-01"])), (3, 0));
    assert_eq!(sandbox.veild(&["vault", "list", "--from", "soon"]).status.code(), Some(2));
}
