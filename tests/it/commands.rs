//! The command line as a user meets it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

#[test]
fn check_passes_on_a_fresh_site_and_names_what_is_missing() {
    let sandbox = Sandbox::new();
    assert!(sandbox.veild(&["check"]).status.success());
    fs::remove_file(sandbox.site("masking.key")).unwrap();
    let output = sandbox.veild(&["check"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("veild key generate masking"));
}

#[test]
fn check_refuses_keys_that_are_none() {
    let sandbox = Sandbox::new();
    sandbox.run_until_idle();
    let key = sandbox.site("state/audit-epoch.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
    let checked = sandbox.veild(&["check"]);
    assert_eq!(checked.status.code(), Some(3));
    assert!(text(&checked.stdout).contains(&format!("mend it: chmod 0600 {}", key.display())), "{checked:?}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let zeros = format!("veild-masking-key 1\n1 2026-01-01T00:00:00Z {}=\n", "A".repeat(43));
    fs::write(sandbox.site("masking.key"), zeros).unwrap();
    let checked = sandbox.veild(&["check"]);
    assert_eq!(checked.status.code(), Some(3));
    assert!(text(&checked.stdout).contains("line 2: the key is all zeros"), "{checked:?}");
}

/// Each says what is wrong, with which file, and what to do.
#[test]
fn mistakes_on_the_command_line_are_told_from_defects() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("[policy.people]", "[policy.f]\nunlisted = \"keep\"\n\n[[policy.f.column]]\nname = \"id\"\nmask = \"fpe\"\nalphabet = \"digits\"\n\n[policy.people]");
    sandbox.drop_file("bad.csv", format!("{PEOPLE}2,Bob\n"));
    sandbox.run_until_idle();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    fs::write(sandbox.path("ids.csv"), "id\n123456789\n").unwrap();
    fs::write(sandbox.path("a.csv"), PEOPLE).unwrap();
    std::os::unix::fs::symlink("/nowhere/x", sandbox.path("link")).unwrap();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let reader = config.split('"').find(|it| it.starts_with("age1")).unwrap();
    let at = |name: &str| sandbox.path(name).display().to_string();
    let (dir, ids, file, link, identity) = (at(""), at("ids.csv"), at("a.csv"), at("link"), at("site/identity.txt"));
    for (arguments, expected) in [
        (
            &["token", "reveal", "--column", "id", "--reason", "x", &ids][..],
            "mask \"token\" under this key and namespace \"id\"",
        ),
        (&["token", "reveal", "--column", "id", "--reason", "x", &ids], "say `--policy` where its rule"),
        (
            &["token", "reveal", "--column", "name", "--policy", "people", "--reason", "x", &file],
            "column \"name\" in policy \"people\"",
        ),
        (
            &["vault", "rewrap", "--to", reader, "-i", &identity, "--all", "--reason", "x"],
            "a recipient itself goes with `-r`",
        ),
        (&["quarantine", "release", &job, "--to", &dir, "--reason", "x"], "names a directory: name a file in it"),
        (
            &["quarantine", "release", &job, "--to", "/nowhere/x", "--reason", "x"],
            "there is no directory /nowhere: make it",
        ),
        (&["key", "rotate", "--from", "9999-12-31T23:59:59Z"], "expected an instant like"),
        (&["mask", &file, "--policy", "people", "-r", reader, "-o", &link], "is already there; remove it"),
        (&["mask", &file, "--policy", "people", "-r", reader, "-o", &dir], "names a directory: name a file in it"),
        (&["mask", &file, "--policy", "people", "-r", reader, "-o", "/nowhere/x"], "there is no directory /nowhere"),
    ] {
        let output = sandbox.veild(arguments);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("os error"), "{arguments:?}: {said}");
    }
}

#[test]
fn an_object_whose_receipt_is_unreadable_is_not_said_to_be_missing() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", PEOPLE);
    sandbox.run_until_idle();
    let receipt = &sandbox.receipts()[0];
    let (job, object) = (receipt["job"].as_str().unwrap(), receipt["output"]["path"].as_str().unwrap());
    let path = sandbox.site("vault").join(object.strip_suffix(".age").unwrap().to_owned() + ".receipt.json");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "{").unwrap();
    let identity = sandbox.site("identity.txt").display().to_string();
    let refused = text(&sandbox.veild(&["vault", "open", job, "-i", &identity]).stderr);
    assert!(refused.contains(&format!("the receipt of {object}, of job {job}, cannot be read")), "{refused}");
    let opened = sandbox.veild(&["vault", "open", object, "-i", &identity]);
    assert!(opened.status.success() && text(&opened.stdout).contains("***-**-6789"), "{opened:?}");
}

#[test]
fn init_takes_a_relative_folder() {
    let sandbox = Sandbox::new();
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_veild"))
        .args(["init", "another"])
        .current_dir(sandbox.dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(sandbox.path("another/config.toml").exists());
}

#[test]
fn a_configuration_error_exits_78_with_its_place() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("recipients =", "recipent =");
    let output = sandbox.veild(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("did you mean `recipients`?") && message.contains("config.toml:"), "{message}");
}

#[test]
fn mask_writes_object_receipt_and_signature() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("people.csv");
    fs::write(&file, PEOPLE).unwrap();
    let plain = sandbox.veild(&["mask", file.to_str().unwrap(), "--policy", "people", "-o", "-", "--plaintext"]);
    assert!(String::from_utf8_lossy(&plain.stdout).contains("***-**-6789"));
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let sealed = sandbox.veild(&["mask", file.to_str().unwrap(), "--policy", "people", "-r", recipient]);
    assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    for name in ["people.csv.age", "people.csv.receipt.json", "people.csv.receipt.json.sig"] {
        assert!(sandbox.path(name).exists(), "{name}");
    }
    assert!(file.exists(), "one-shot use leaves its input");
}

#[test]
fn a_file_that_fails_does_not_keep_mask_from_the_others() {
    let sandbox = Sandbox::new();
    let files = ["gone.csv", "bad.csv", "people.csv"].map(|name| sandbox.path(name).to_str().unwrap().to_owned());
    fs::write(&files[1], "x,y\n1\n").unwrap();
    fs::write(&files[2], PEOPLE).unwrap();
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let mask = ["mask", &files[0], &files[1], &files[2], "--policy", "people", "-r", recipient];
    let output = sandbox.veild(&mask);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("gone.csv") && said.contains("bad.csv: "), "{said}");
    assert!(sandbox.path("people.csv.age").exists() && !sandbox.path("bad.csv.age").exists(), "{said}");
}

#[test]
fn what_a_killed_run_has_left_is_in_nobodys_way() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("people.csv");
    fs::write(&file, PEOPLE).unwrap();
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let object = sandbox.path("out.age");
    let mask = ["mask", file.to_str().unwrap(), "--policy", "people", "-r", recipient, "-o", object.to_str().unwrap()];
    let beside = || {
        let mut names: Vec<String> = fs::read_dir(sandbox.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("out."))
            .collect();
        names.sort();
        names
    };
    for fault in ["before_finish", "receipt_placed"] {
        sandbox.veild_until(fault, &mask);
        assert!(beside().contains(&"out.age.incoming".to_owned()) && !object.exists());
        let again = sandbox.veild(&mask);
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        assert_eq!(beside(), ["out.age", "out.receipt.json", "out.receipt.json.sig"]);
        beside().iter().for_each(|name| fs::remove_file(sandbox.path(name)).unwrap());
    }
    // One that is at work is left alone, and so is a receipt of something else.
    let incoming = fs::File::create(sandbox.path("out.age.incoming")).unwrap();
    rustix::fs::flock(&incoming, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = sandbox.veild(&mask);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("by another veild"), "{said}");
    assert_eq!(beside(), ["out.age.incoming"]);
    drop(incoming);
    fs::write(sandbox.path("out.receipt.json"), "{}").unwrap();
    let refused = sandbox.veild(&mask);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("out.receipt.json is already there"));
    assert_eq!(fs::read(sandbox.path("out.receipt.json")).unwrap(), b"{}");
}

#[test]
fn policy_test_shows_columns_and_no_values() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("people.csv");
    fs::write(&file, PEOPLE).unwrap();
    let output = sandbox.veild(&["policy", "test", file.to_str().unwrap(), "--policy", "people"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("ssn") && text.contains("partial") && !text.contains("Ann"), "{text}");
    fs::write(&file, PEOPLE.replace("country", "iban")).unwrap();
    assert_eq!(sandbox.veild(&["policy", "test", file.to_str().unwrap(), "--policy", "people"]).status.code(), Some(3));
}

#[test]
fn a_rejected_file_is_retried_released_or_discarded() {
    let sandbox = Sandbox::new();
    let reject = |name: &str| {
        sandbox.drop_file(name, PEOPLE.replace("country", "iban"));
        sandbox.run_until_idle();
        sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned()
    };
    let job = reject("a.csv");
    let out = sandbox.path("released.csv");
    let done = sandbox.veild(&["quarantine", "release", &job, "--to", out.to_str().unwrap(), "--reason", "asked"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(out.exists() && sandbox.quarantined().is_empty());
    let job = reject("b.csv");
    assert!(sandbox.veild(&["quarantine", "discard", &job, "--reason", "test data"]).status.success());
    assert!(sandbox.quarantined().is_empty());
    let job = reject("c.csv");
    sandbox.edit_config("\"country\"", "\"iban\"");
    assert!(sandbox.veild(&["quarantine", "retry", &job, "--reason", "policy mended"]).status.success());
    sandbox.run_until_idle();
    assert!(sandbox.quarantined().is_empty());
    assert!(!sandbox.vault_plaintext("c.csv").is_empty());
    sandbox.assert_audit_holds();
}

#[test]
fn a_flipped_byte_in_the_audit_trail_exits_3() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.run_until_idle();
    let segment = crate::sandbox::files_below(&sandbox.site("audit")).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert_eq!(sandbox.veild(&["audit", "verify"]).status.code(), Some(3));
}

/// What a command writes when its standard error is a terminal.
fn on_a_terminal(sandbox: &Sandbox, arguments: &str) -> Option<String> {
    let command =
        format!("'{}' --config '{}' {arguments}", env!("CARGO_BIN_EXE_veild"), sandbox.site("config.toml").display());
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").stdin(std::process::Stdio::null());
    let Ok(output) = script.output() else {
        eprintln!("SKIPPED: needs the Debian package bsdutils");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn long_work_shows_a_bar_on_a_terminal_and_nothing_elsewhere() {
    let sandbox = Sandbox::new();
    let big = sandbox.path("big.csv");
    let row = PEOPLE.lines().nth(1).unwrap();
    fs::write(&big, format!("{}{}", PEOPLE, format!("{row}\n").repeat(100_000))).unwrap();
    let mask = format!("mask '{}' --policy people -o - --plaintext > /dev/null", big.display());
    let Some(shown) = on_a_terminal(&sandbox, &mask) else { return };
    assert!(shown.contains("masking big.csv [") && shown.contains("MiB"), "{shown:?}");
    assert!(!shown.contains("\u{1b}[3"), "a colour in {shown:?}");
    let quiet = sandbox.veild(&["mask", big.to_str().unwrap(), "--policy", "people", "-o", "-", "--plaintext"]);
    assert!(quiet.status.success() && quiet.stderr.is_empty());
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.run_until_idle();
    for (arguments, what) in [("vault verify", "the vault"), ("audit verify", "the audit trail")] {
        let shown = on_a_terminal(&sandbox, arguments).unwrap();
        assert!(shown.contains(&format!("verifying {what} [")), "{shown:?}");
        let quiet = sandbox.veild(&arguments.split(' ').collect::<Vec<_>>());
        assert!(quiet.status.success() && quiet.stderr.is_empty());
    }
}

#[test]
fn an_unreadable_quarantine_entry_hides_no_other() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("a.csv", format!("{PEOPLE}2,Bob\n"));
    sandbox.run_until_idle();
    sandbox.drop_file("b.csv", format!("{PEOPLE}2,Bob\n"));
    sandbox.run_until_idle();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    let reason = sandbox.site("state/quarantine").join(&job).join("reason.json");
    fs::remove_file(&reason).unwrap();
    fs::write(&reason, "{").unwrap();
    let output = sandbox.veild(&["quarantine", "list"]);
    assert_eq!(output.status.code(), Some(3));
    let (listed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(listed.contains("  b.csv  ") && said.contains("1 entry cannot be read"), "{listed}{said}");
    assert!(listed.contains(&format!("{job}  (damaged: ")), "{listed}");
    assert!(sandbox.quarantined()[0]["damaged"].as_str().unwrap().contains("reason.json"));
    for deed in [&["show"][..], &["retry", "--reason", "x"], &["release", "--reason", "x", "--to", "/nowhere/x"]] {
        let output = sandbox.veild(&[&["quarantine", deed[0], &job], &deed[1..]].concat());
        let said = text(&output.stderr);
        assert!(said.contains("is damaged; `veild quarantine discard"), "{deed:?}: {said}");
    }
    let discarded = sandbox.veild(&["quarantine", "discard", &job, "--reason", "a bad disk"]);
    assert!(discarded.status.success(), "{}", text(&discarded.stderr));
    assert!(!reason.parent().unwrap().exists());
    let records = sandbox.audit();
    let record = records.iter().find(|it| it["event"]["action"] == "file.discarded").unwrap();
    assert_eq!((&record["veild"]["job"], &record["veild"]["reason"]), (&job.into(), &"a bad disk".into()));
    assert!(sandbox.veild(&["quarantine", "list"]).status.success());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_entry_that_was_tampered_with_steers_no_terminal() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("a.csv", format!("{PEOPLE}2,Bob\n"));
    sandbox.run_until_idle();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    let path = sandbox.site("state/quarantine").join(&job).join("reason.json");
    let escaped = fs::read_to_string(&path).unwrap().replace("a.csv", "100 %\\u001b[2J\\u202e.csv");
    fs::remove_file(&path).unwrap();
    fs::write(&path, escaped).unwrap();
    for deed in [&["quarantine", "list"][..], &["quarantine", "show", &job]] {
        let shown = text(&sandbox.veild(deed).stdout);
        assert!(shown.contains("100 %%1B[2J%E2%80%AE.csv"), "{shown:?}");
    }
}

/// A path that somebody mistyped must not fill the memory, nor a full disk pass for a defect.
#[test]
fn endless_files_and_full_outputs_are_told_as_such() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", PEOPLE);
    sandbox.run_until_idle();
    let job = sandbox.receipts()[0]["job"].as_str().unwrap().to_owned();
    fs::write(sandbox.path("a.csv"), PEOPLE).unwrap();
    let file = sandbox.path("a.csv").display().to_string();
    for arguments in [
        &["--config", "/dev/zero", "check"][..],
        &["policy", "test", &file, "--policy", "/dev/zero"],
        &["vault", "open", &job, "-i", "/dev/zero"],
        &["vault", "verify", "--public-key", "/dev/zero"],
    ] {
        let output = match arguments[0] {
            "--config" => Command::new(env!("CARGO_BIN_EXE_veild")).args(arguments).output().unwrap(),
            _ => sandbox.veild(arguments),
        };
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains("/dev/zero"), "{arguments:?}: {said}");
        assert!(said.contains("it is longer than 16 MiB"), "{arguments:?}: {said}");
    }
    for words in [
        "vault list",
        "audit export",
        "quarantine list --json",
        "audit tail",
        "check",
        "man",
        "schema",
        "audit verify",
        "status --json",
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
        command.arg("--config").arg(sandbox.site("config.toml")).args(words.split(' '));
        let output = command.stdout(full).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && !said.contains("defect"), "{words}: {said}");
        let is_told = said.contains("cannot write to standard output: No space left on device");
        assert!(is_told || words.starts_with("status"), "{words}: {said}");
    }
}

#[test]
fn hierarchies_that_fit_no_message_are_refused() {
    let sandbox = Sandbox::new();
    let lines: String = (0..160_000).map(|index| format!("number {index:09};x\n")).collect();
    fs::write(sandbox.path("numbers.csv"), lines).unwrap();
    let column = |name: &str| {
        let path = sandbox.path("numbers.csv").display().to_string();
        format!("[[policy.people.column]]\nname = \"{name}\"\nmask = \"generalize\"\nhierarchy = \"{path}\"\n")
    };
    let columns: String = ["a", "b", "c", "d"].into_iter().map(column).collect();
    sandbox.edit_config("[[policy.people.column]]", &format!("{columns}\n[[policy.people.column]]"));
    let output = sandbox.veild(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("larger than 12 MiB"), "{said}");
}
