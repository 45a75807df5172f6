//! Receipts as people and programs read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::crash::GOOD;
use crate::sandbox::{Sandbox, files_below};

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/receipt.schema.json");

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A site with a main output, a view and an archived original of one file.
fn sealed() -> (Sandbox, Vec<PathBuf>) {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.archive_originals();
    sandbox.drop_file("people.csv", GOOD);
    sandbox.run_until_idle();
    let mut receipts = files_below(&sandbox.site("vault"));
    receipts.retain(|path| path.to_str().unwrap().ends_with(".receipt.json"));
    (sandbox, receipts)
}

fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_veild")).args(["schema", "--receipt"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// After a wanted change: `veild schema --receipt > packaging/receipt.schema.json`.
#[test]
fn the_published_schema_is_the_one_that_receipts_have() {
    let published: Value = serde_json::from_str(&fs::read_to_string(PUBLISHED).unwrap()).unwrap();
    assert_eq!(published, schema());
    let validator = jsonschema::validator_for(&published).unwrap();
    let (sandbox, mut receipts) = sealed();
    assert_eq!(receipts.len(), 3);
    let by_hand = sandbox.path("people.csv");
    fs::write(&by_hand, GOOD).unwrap();
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    sandbox.veild(&["mask", by_hand.to_str().unwrap(), "--policy", "people", "-r", recipient]);
    receipts.push(sandbox.path("people.csv.receipt.json"));
    for path in receipts {
        let receipt: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if let Err(error) = validator.validate(&receipt) {
            panic!("{}: {error}", path.display());
        }
        for slip in [
            json!({"receipt_version": 99}),
            json!({"job": "7"}),
            json!({"rows_in": -1}),
            json!({"colour": "red"}),
            json!({"sealed_at": 3}),
        ] {
            let mut wrong = receipt.clone();
            wrong.as_object_mut().unwrap().extend(slip.as_object().unwrap().clone());
            assert!(!validator.is_valid(&wrong), "{slip} passes");
        }
        let mut short = receipt.clone();
        short.as_object_mut().unwrap().remove("recipients");
        assert!(!validator.is_valid(&short));
    }
}

#[test]
fn every_key_of_the_schema_says_what_it_is() {
    fn walk(value: &Value, path: &str) {
        for (key, property) in value["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{path}.{key} needs a `///` line");
        }
        for (name, definition) in value["$defs"].as_object().into_iter().flatten() {
            walk(definition, name);
        }
    }
    walk(&schema(), "");
}

#[test]
fn all_outputs_of_a_job_are_shown_each_in_its_words() {
    let (sandbox, receipts) = sealed();
    let job = sandbox.receipts()[0]["job"].as_str().unwrap().to_owned();
    let show = |more: &[&str]| {
        let output = sandbox.veild(&[&["receipt", "show"], more].concat());
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let main = show(&[&job]);
    assert!(main.contains("email    one-way pseudonyms, key version 1") && main.contains("signature  holds"), "{main}");
    assert!(main.contains("the file beside this receipt is that object"), "{main}");
    assert!(main.contains("1 in, 1 out, 0 suppressed") && !main.contains("\nview "), "{main}");
    let view = show(&[&job, "--view", "statistics"]);
    assert!(view.contains("view       statistics") && view.contains("policy     coarse"), "{view}");
    let original = show(&[&job, "--archive"]);
    assert!(original.contains("not at all: it is the original") && !original.contains("policy"), "{original}");
    for receipt in receipts {
        let object = receipt.to_str().unwrap().replace(".receipt.json", ".age");
        assert_eq!(show(&[receipt.to_str().unwrap()]), show(&[&object]));
    }
    let answer = sandbox.json(&["receipt", "show", &job]);
    assert_eq!((&answer["signature"]["holds"], &answer["receipt"]["job"]), (&json!(true), &json!(job)));
    let listed = sandbox.json(&["vault", "list", "--job", &job]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let others = sandbox.json(&["vault", "list", "--job", "01JQ8Z6V9M3T5K7N2P4R6S8W0X"]);
    assert_eq!(others, json!([]));
}

#[test]
fn a_receipt_tells_its_object_from_another() {
    let (sandbox, receipts) = sealed();
    let object = PathBuf::from(receipts[0].to_str().unwrap().replace(".receipt.json", ".age"));
    let whole = fs::read(&object).unwrap();
    let show = |more: &[&str]| sandbox.veild(&[&["receipt", "show", receipts[0].to_str().unwrap()], more].concat());
    let matches = || serde_json::from_slice::<Value>(&show(&["--json"]).stdout).unwrap()["object"]["matches"].clone();
    assert_eq!(matches(), true);
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (other, said) in [(changed, "digest differs"), (whole[1..].to_vec(), "size is")] {
        fs::remove_file(&object).unwrap();
        fs::write(&object, other).unwrap();
        let output = show(&[]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).contains("ANOTHER lies beside") && text(&output).contains(said), "{}", text(&output));
        assert_eq!(matches(), false);
    }
    fs::remove_file(&object).unwrap();
    let output = show(&[]);
    assert!(output.status.success() && text(&output).contains("does not lie beside this receipt"), "{}", text(&output));
    assert_eq!(matches(), Value::Null);
}

#[test]
fn a_receipt_that_was_changed_proves_nothing() {
    let (sandbox, receipts) = sealed();
    let receipt = &receipts[0];
    let changed = fs::read_to_string(receipt).unwrap().replace("\"rows_out\": 1", "\"rows_out\": 2");
    fs::remove_file(receipt).unwrap();
    fs::write(receipt, changed).unwrap();
    let output = sandbox.veild(&["receipt", "show", receipt.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("signature  WRONG: the signature does not hold"), "{}", text(&output));
    fs::remove_file(receipt.with_extension("json.sig")).unwrap();
    let output = sandbox.veild(&["receipt", "show", receipt.to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &answer["signature"]["holds"]), (Some(3), &json!(false)));
}

/// Whoever gets an object with its receipt has neither the vault nor the configuration.
#[test]
fn a_receipt_is_shown_where_there_is_no_configuration() {
    let (sandbox, receipts) = sealed();
    let show = |arguments: &[&Path]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
        command.args(["--config", "/nowhere/config.toml", "receipt", "show"]).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), text(&output))
    };
    let (code, said) = show(&[&receipts[0]]);
    assert!(code == Some(0) && said.contains("not checked: without a configuration"), "{said}");
    let key = sandbox.site("signing.key.allowed_signers");
    let (code, said) = show(&[&receipts[0], Path::new("--public-key"), &key]);
    assert!(code == Some(0) && said.contains("signature  holds"), "{said}");
}

#[test]
fn who_opened_which_job_stands_in_the_audit_trail() {
    let (sandbox, _) = sealed();
    let job = sandbox.receipts()[0]["job"].as_str().unwrap().to_owned();
    let identity = sandbox.site("statistics.txt");
    let open =
        ["vault", "open", &job, "--view", "statistics", "-i", identity.to_str().unwrap(), "--reason", "ticket 7"];
    assert!(sandbox.veild(&open).status.success());
    let audit = sandbox.audit();
    let opened = audit.iter().find(|it| it["event"]["action"] == "vault.opened").unwrap();
    let veild = &opened["veild"];
    assert_eq!(
        (&veild["job"], &veild["view"], &veild["landing"]),
        (&json!(job), &json!("statistics"), &json!("people"))
    );
    assert_eq!(veild["reason"], "ticket 7");
    assert!(opened["file"]["path"].as_str().unwrap().ends_with(veild["object"].as_str().unwrap()));
}

#[test]
fn what_was_signed_before_the_signing_key_was_replaced_still_verifies() {
    let sandbox = Sandbox::new();
    let seal = |name: &str| {
        sandbox.drop_file(name, crate::crash::GOOD);
        sandbox.run_until_idle();
    };
    seal("before.csv");
    let new = sandbox.path("new.key");
    assert!(sandbox.veild(&["key", "generate", "signing", "--out", new.to_str().unwrap()]).status.success());
    let (old_signers, new_signers) =
        (sandbox.site("signing.key.allowed_signers"), sandbox.path("new.key.allowed_signers"));
    let both = [fs::read_to_string(&new_signers).unwrap(), fs::read_to_string(&old_signers).unwrap()].concat();
    fs::write(&old_signers, &both).unwrap();
    for suffix in ["", ".pub"] {
        let from = format!("{}{suffix}", new.display());
        fs::rename(from, sandbox.site(&format!("signing.key{suffix}"))).unwrap();
    }
    seal("after.csv");
    let problems = |deed: &[&str]| sandbox.json(deed)["problems"].as_array().unwrap().len();
    assert_eq!((problems(&["vault", "verify"]), problems(&["audit", "verify"])), (0, 0));
    let elsewhere = ["audit", "verify", "--public-key", old_signers.to_str().unwrap()];
    assert_eq!(problems(&elsewhere), 0);
    // The new one alone vouches for nothing that was before it.
    fs::write(&old_signers, fs::read_to_string(&new_signers).unwrap()).unwrap();
    assert!(problems(&["vault", "verify"]) > 0 && problems(&["audit", "verify"]) > 0);
    // Nobody else may add to those that are believed.
    fs::set_permissions(&old_signers, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let refused = sandbox.veild(&["run", "--once"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("chmod 0644"));
    fs::set_permissions(&old_signers, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
}
