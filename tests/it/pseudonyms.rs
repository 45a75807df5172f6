//! Keys and their versions, the same pseudonym everywhere, and the way back.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::sandbox::{Sandbox, files_below};

const POLICY: &str = r#"
[policy.pseudonyms]
missing = "ignore"

[[policy.pseudonyms.column]]
names = ["id", "user.id"]
mask = "keep"

[[policy.pseudonyms.column]]
names = ["email", "user.email"]
mask = "token"
namespace = "person"
normalize = ["trim", "lowercase"]

[[policy.pseudonyms.column]]
name = "phone"
mask = "token"

[[policy.pseudonyms.column]]
name = "card"
mask = "fpe"
kind = "card"
keep_first = 6
"#;

fn site() -> Sandbox {
    let sandbox = Sandbox::new();
    let config = sandbox.site("config.toml");
    let text = fs::read_to_string(&config).unwrap().replace("policy = \"people\"", "policy = \"pseudonyms\"");
    fs::write(&config, text + POLICY).unwrap();
    sandbox
}

fn with_input(sandbox: &Sandbox, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_veild"))
        .arg("--config")
        .arg(sandbox.site("config.toml"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn one_person_has_one_token_in_every_format_and_spelling() {
    let sandbox = site();
    sandbox.drop_file("people.csv", "id,email,phone\n1,ann@example.com,5\n2,\" Ann@Example.com\",\n3,,5\n");
    let records = r#"{"user": {"id": 1, "email": "ANN@example.com "}, "phone": 5}"#;
    sandbox.drop_file("people.ndjson", format!("{records}\n{records}\n"));
    sandbox.run_until_idle();
    let table = text(sandbox.vault_plaintext("people.csv"));
    let mut tokens = table.split(['\n', ',', '"']).filter(|cell| cell.starts_with("tok1."));
    let (person, phone) = (tokens.next().unwrap(), tokens.next().unwrap());
    assert_eq!(
        table,
        format!("id,email,phone\n1,{person},{phone}\n2,\"{person}\",\n3,,{phone}\n"),
        "the quotes were there before"
    );
    let lines = text(sandbox.vault_plaintext("people.ndjson"));
    let expected = format!(r#"{{"user": {{"id": 1, "email": "{person}"}}, "phone": "{phone}"}}"#);
    assert_eq!(lines, format!("{expected}\n{expected}\n"));
    let columns = &sandbox.receipts()[0]["columns"];
    assert!(columns.as_array().unwrap().iter().any(|it| it["mask"] == "token" && it["key_version"] == 1), "{columns}");
}

#[test]
fn tokens_are_revealed_to_who_says_why_and_the_trail_has_it() {
    let sandbox = site();
    sandbox.drop_file("people.csv", "id,email,phone\n1,canary@example.com,5551234\n2,,\n");
    sandbox.run_until_idle();
    let masked = text(sandbox.vault_plaintext("people.csv"));
    fs::write(sandbox.path("masked.csv"), &masked).unwrap();
    let masked_path = sandbox.path("masked.csv");
    let masked_path = masked_path.to_str().unwrap();
    let phone = ["token", "reveal", "--reason", "ticket 4711", "--column", "phone"];
    let revealed = sandbox.veild(&[&phone[..], &[masked_path]].concat());
    assert!(revealed.status.success(), "{}", text(revealed.stderr));
    let token = masked.lines().nth(1).unwrap().split(',').nth(2).unwrap();
    assert_eq!(text(revealed.stdout), format!("pseudonym,value\n{token},5551234\n"));

    let email = masked.lines().nth(1).unwrap().split(',').nth(1).unwrap();
    let from_stdin = |arguments: &[&str]| with_input(&sandbox, arguments, &format!("{email}\n"));
    let reveal = ["token", "reveal", "--reason", "ticket 4712"];
    let revealed = from_stdin(&[&reveal[..], &["--namespace", "person"]].concat());
    assert_eq!(text(revealed.stdout), format!("pseudonym,value\n{email},canary@example.com\n"));
    let revealed = from_stdin(&[&reveal[..], &["--policy", "pseudonyms", "--column", "email"]].concat());
    assert_eq!(text(revealed.stdout), format!("pseudonym,value\n{email},canary@example.com\n"));
    let elsewhere = from_stdin(&[&reveal[..], &["--column", "email"]].concat());
    assert_eq!(elsewhere.status.code(), Some(3));
    assert_eq!(text(elsewhere.stdout), format!("pseudonym,value\n{email},\n"));
    assert!(text(elsewhere.stderr).contains("1 of 1 are no pseudonyms"));

    let of_action = |action: &str| -> Vec<_> {
        sandbox.audit().into_iter().filter(|line| line["event"]["action"] == action).collect()
    };
    let partly = ["--namespace", "person"];
    let partly = with_input(&sandbox, &[&reveal[..], &partly].concat(), &format!("none of ours\n{email}\n"));
    assert_eq!(partly.status.code(), Some(3));
    assert!(text(partly.stdout).contains("canary@example.com"));

    let records = of_action("token.revealed");
    assert_eq!(records.len(), 5);
    assert_eq!(records[4]["event"]["outcome"], "success", "a value was shown");
    assert_eq!((&records[4]["veild"]["asked"], &records[4]["veild"]["revealed"]), (&2.into(), &1.into()));
    assert_eq!(records[0]["veild"]["reason"], "ticket 4711");
    assert_eq!(records[0]["veild"]["revealed"], 1);
    assert_eq!(records[0]["veild"]["namespace"], "phone");
    assert!(records[0]["user"]["id"].is_string());
    assert_eq!(records[3]["event"]["outcome"], "failure");
    for path in files_below(&sandbox.site("")) {
        let bytes = fs::read(&path).unwrap();
        let found = [b"canary@example.com".as_slice(), b"5551234"]
            .iter()
            .any(|canary| bytes.windows(canary.len()).any(|window| window == *canary));
        assert!(!found, "a value in {}", path.display());
    }
    sandbox.assert_audit_holds();
}

#[test]
fn a_rotation_begins_a_new_version_and_a_map_joins_the_two() {
    let sandbox = site();
    sandbox.drop_file("old.csv", "id,email\n1,ann@example.com\n2,bob@example.com\n");
    sandbox.run_until_idle();
    let rotated = sandbox.veild(&["key", "rotate"]);
    assert!(text(rotated.stdout).contains("version 2 of "));
    sandbox.drop_file("new.csv", "id,email\n1,ann@example.com\n2,bob@example.com\n");
    sandbox.run_until_idle();
    let (old, new) = (text(sandbox.vault_plaintext("old.csv")), text(sandbox.vault_plaintext("new.csv")));
    assert!(old.contains("1,tok1.") && new.contains("1,tok2."));
    let listed = sandbox.json(&["key", "list"]);
    assert_eq!((&listed[0]["current"], &listed[1]["version"]), (&false.into(), &2.into()));
    assert_ne!(listed[0]["fingerprint"], listed[1]["fingerprint"]);

    let column = |table: &str| -> Vec<String> {
        table.lines().skip(1).map(|line| line.split_once(',').unwrap().1.to_owned()).collect()
    };
    let all = [column(&old), column(&new)].concat().join("\n");
    let reveal = ["token", "reveal", "--reason", "test", "--namespace", "person"];
    let revealed = text(with_input(&sandbox, &reveal, &all).stdout);
    assert_eq!(revealed.matches(",ann@example.com").count(), 2, "both versions are readable");

    fs::write(sandbox.path("masked.csv"), &old).unwrap();
    let (masked, map) = (sandbox.path("masked.csv"), sandbox.path("map.csv.age"));
    let identity = fs::read_to_string(sandbox.site("identity.txt")).unwrap();
    let identity: age::x25519::Identity = identity.lines().last().unwrap().parse().unwrap();
    let recipient = identity.to_public().to_string();
    let arguments = ["token", "map", "--policy", "pseudonyms", "--column", "email", "--from", "1", "--to", "2"];
    let to = ["-r", &recipient, "-o", map.to_str().unwrap(), masked.to_str().unwrap()];
    let made = sandbox.veild(&[&arguments[..], &to].concat());
    assert!(made.status.success(), "{}", text(made.stderr));
    let mut plain = String::new();
    let sealed = fs::File::open(&map).unwrap();
    let secret = fs::read(sandbox.site("identity.txt")).unwrap();
    std::io::Read::read_to_string(&mut veild::seal::open(sealed, &secret).unwrap(), &mut plain).unwrap();
    let pairs: Vec<String> = column(&old).iter().zip(column(&new)).map(|(old, new)| format!("{old},{new}")).collect();
    assert_eq!(plain, format!("old,new\n{}\n", pairs.join("\n")));

    fs::remove_file(&map).unwrap();
    fs::write(&masked, "email\nann@example.com\nbob@example.com\n").unwrap();
    let made = sandbox.veild(&[&arguments[..], &["--originals"], &to].concat());
    assert!(made.status.success(), "{}", text(made.stderr));
    let mut of_values = String::new();
    let sealed = fs::File::open(&map).unwrap();
    std::io::Read::read_to_string(&mut veild::seal::open(sealed, &secret).unwrap(), &mut of_values).unwrap();
    assert_eq!(of_values, plain, "the same map from the values");

    fs::write(&masked, &new).unwrap();
    fs::remove_file(&map).unwrap();
    let refused = sandbox.veild(&[&arguments[..], &to].concat());
    assert_eq!(refused.status.code(), Some(3), "tokens of version 2 are none of version 1");
    assert!(!map.exists());
    let actions: Vec<_> = sandbox.audit().iter().map(|line| line["event"]["action"].clone()).collect();
    assert!(actions.contains(&"key.rotated".into()), "{actions:?}");
}

#[test]
fn encrypted_card_numbers_are_numbers_in_every_format_and_come_back() {
    let sandbox = site();
    sandbox.drop_file("cards.csv", "id,card\n1,4111111111111111\n");
    sandbox.drop_file("cards.json", r#"[{"id": 1, "card": 4111111111111111}]"#);
    sandbox.drop_file("slip.csv", "id,card\n1,4111111111111111\n2,4111111111111112\n");
    sandbox.run_until_idle();
    let reason = &sandbox.quarantined()[0];
    assert_eq!((reason["code"].as_str(), reason["row"].as_u64()), (Some("mistyped_cell"), Some(2)), "{reason}");
    let table = text(sandbox.vault_plaintext("cards.csv"));
    let card = table.trim_end().rsplit(',').next().unwrap();
    assert!(card.starts_with("411111") && card.len() == 16 && card != "4111111111111111", "{card}");
    assert_eq!(text(sandbox.vault_plaintext("cards.json")), format!(r#"[{{"id": 1, "card": "{card}"}}]"#));
    sandbox.veild(&["key", "rotate"]);
    let reveal = ["token", "reveal", "--reason", "test", "--policy", "pseudonyms", "--column", "card"];
    let under = |version: &str| {
        let revealed = with_input(&sandbox, &[&reveal[..], &["--key-version", version]].concat(), card);
        text(revealed.stdout).lines().last().unwrap().to_owned()
    };
    assert_eq!(under("1"), format!("{card},4111111111111111"));
    assert_ne!(under("2"), format!("{card},4111111111111111"));
}

#[test]
fn rotations_at_once_lose_no_version() {
    let sandbox = Sandbox::new();
    let key = sandbox.site("masking.key");
    let rotate = || assert!(sandbox.veild(&["key", "rotate", "--masking-key", key.to_str().unwrap()]).status.success());
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(rotate))));
    let versions = sandbox.json(&["key", "list"]);
    let versions: Vec<_> = versions.as_array().unwrap().iter().map(|it| it["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_key_may_come_from_a_command_and_a_version_may_wait() {
    let sandbox = Sandbox::new();
    let key = sandbox.site("masking.key");
    let quoted = format!("masking = {:?}", key.to_str().unwrap());
    sandbox.edit_config(&quoted, &format!("masking = \"command:/bin/cat {}\"", key.display()));
    assert!(sandbox.veild(&["key", "check"]).status.success());
    let people = "id,name,ssn,email,country,dob,notes\n1,Ann,123-45-6789,a@b.example,DE,1980-01-02,x\n";
    sandbox.drop_file("people.csv", people);
    sandbox.run_until_idle();
    assert_eq!(sandbox.receipts().len(), 1);
    let refused = sandbox.veild(&["key", "rotate"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("rotate it there"));
    let rotated = ["key", "rotate", "--from", "2099-01-01T00:00:00Z", "--masking-key", key.to_str().unwrap()];
    assert!(sandbox.veild(&rotated).status.success());
    let listed = sandbox.json(&["key", "list"]);
    assert_eq!((&listed[0]["current"], &listed[1]["current"]), (&true.into(), &false.into()), "{listed}");
    assert_eq!(listed[1]["active_from"], "2099-01-01T00:00:00Z");
    sandbox.edit_config("/bin/cat ", "/bin/cat /nowhere/");
    let checked = sandbox.veild(&["key", "check"]);
    assert_eq!(checked.status.code(), Some(3));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("the command /bin/cat") && !said.contains("/nowhere"), "{said}");
}

#[test]
fn a_key_set_that_a_kill_cut_off_is_completed() {
    let sandbox = Sandbox::new();
    let key = sandbox.path("new.key");
    let names = ["new.key", "new.key.pub", "new.key.allowed_signers"];
    for kind in ["masking", "signing"] {
        let generate = ["key", "generate", kind, "--out", key.to_str().unwrap()];
        let faults: &[&str] = if kind == "signing" {
            &["signing_key_placed", "public_half_placed:1", "public_half_placed:2"]
        } else {
            &[]
        };
        for fault in faults {
            sandbox.veild_until(fault, &generate);
            let begun = fs::read(&key).unwrap();
            let output = sandbox.veild(&generate);
            // Nothing was missing after the last of them but the record.
            assert_eq!(output.status.success(), *fault != "public_half_placed:2", "{}", text(output.stderr));
            assert_eq!(fs::read(&key).unwrap(), begun);
            let public = veild::keys::VerifyingKey::load(&sandbox.path("new.key.pub")).unwrap();
            let signers = fs::read_to_string(sandbox.path("new.key.allowed_signers")).unwrap();
            assert_eq!(public.allowed_signers(), signers);
            assert_eq!(veild::keys::SigningKey::load(&key).unwrap().verifying().fingerprint(), public.fingerprint());
            names.iter().for_each(|name| fs::remove_file(sandbox.path(name)).unwrap());
        }
        assert!(sandbox.veild(&generate).status.success());
        assert!(!sandbox.veild(&generate).status.success(), "never overwritten");
        names.iter().for_each(|name| drop(fs::remove_file(sandbox.path(name))));
    }
}

#[test]
fn a_site_whose_configuration_is_broken_lets_no_key_change_unrecorded() {
    let sandbox = site();
    sandbox.run_until_idle();
    let (key, config) = (sandbox.site("masking.key"), sandbox.site("config.toml"));
    let rotate = ["key", "rotate", "--masking-key", key.to_str().unwrap()];
    let (before, good) = (fs::read(&key).unwrap(), fs::read(&config).unwrap());
    fs::write(&config, "[nonsense]\n").unwrap();
    let refused = sandbox.veild(&rotate);
    let said = text(refused.stderr);
    assert!(!refused.status.success() && said.contains("on record") && said.contains("nonsense"), "{said}");
    assert_eq!(fs::read(&key).unwrap(), before);
    let made = sandbox.veild(&["key", "generate", "masking", "--out", sandbox.path("other").to_str().unwrap()]);
    assert!(made.status.success() && text(made.stderr).contains("stands in no audit trail"));
    fs::write(&config, good).unwrap();
    assert!(sandbox.veild(&rotate).status.success());
    assert!(sandbox.audit().iter().any(|it| it["event"]["action"] == "key.rotated"));
    // Without a configuration there is no site.
    fs::remove_file(&config).unwrap();
    assert!(sandbox.veild(&rotate).status.success());
}
