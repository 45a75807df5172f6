//! The vault in its users' hands: opening under a passphrase, checks beside other work, and exports for an auditor.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::crash::GOOD;
use crate::objects::{days, fill, keep, records};
use crate::peers::{PASSPHRASE, site_with_passphrase};
use crate::sandbox::{Sandbox, files_below};

fn veild_with(sandbox: &Sandbox, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
    command.arg("--config").arg(sandbox.site("config.toml")).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // it may have ended without reading
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The site's identity as `age -p` keeps it, with little work.
fn under_passphrase(sandbox: &Sandbox, passphrase: &str) -> String {
    let mut recipient = age::scrypt::Recipient::new(passphrase.to_owned().into());
    recipient.set_work_factor(4);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let armour = age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor).unwrap();
    let mut stream = encryptor.wrap_output(armour).unwrap();
    stream.write_all(&fs::read(sandbox.site("identity.txt")).unwrap()).unwrap();
    let path = sandbox.path("identity.age");
    fs::write(&path, stream.finish().unwrap().finish().unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_identity_under_a_passphrase_opens_verifies_and_rewraps() {
    let sandbox = Sandbox::new();
    let objects = fill(&sandbox, "people", 2, days(1));
    let identity = under_passphrase(&sandbox, "correct horse");
    let open = ["vault", "open", &objects[0].job, "-i", &identity];
    assert_eq!(veild_with(&sandbox, &open, "correct horse\n").stdout, objects[0].plain);
    let wrong = veild_with(&sandbox, &open, "battery staple\n");
    assert!(!wrong.status.success() && text(&wrong).contains("the passphrase is wrong"), "{}", text(&wrong));
    let none = veild_with(&sandbox, &open, "");
    assert!(!none.status.success() && text(&none).contains("give it on standard input"), "{}", text(&none));
    let outcomes: Vec<_> = sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "vault.opened").collect();
    assert_eq!(outcomes.iter().filter(|it| it["event"]["outcome"] == "failure").count(), 2, "in vain, and recorded");
    let verified = veild_with(&sandbox, &["vault", "verify", "-i", &identity], "correct horse\n");
    assert!(verified.status.success() && text(&verified).contains("2 object(s) checked"), "{}", text(&verified));
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let rewrap = ["vault", "rewrap", "--all", "-i", &identity, "-r", recipient, "--reason", "x"];
    let rewrapped = veild_with(&sandbox, &rewrap, "correct horse\n");
    assert!(text(&rewrapped).contains("2 objects rewrapped"), "{}", text(&rewrapped));
}

#[test]
fn a_passphrase_opens_and_rewraps_what_is_sealed_to_it() {
    let sandbox = site_with_passphrase();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let own = config.lines().find(|line| line.starts_with("recipients = ")).unwrap().to_owned();
    sandbox.edit_config(&own, "recipients = \"group:shared\"");
    sandbox.drop_file("people.csv", GOOD);
    sandbox.run_until_idle();
    let job = sandbox.receipts()[0]["job"].as_str().unwrap().to_owned();
    let given = format!("{PASSPHRASE}\n");
    let run = |arguments: &[&str], input: &str| {
        let output = veild_with(&sandbox, arguments, input);
        (output.status.code(), text(&output))
    };
    let (code, plain) = run(&["vault", "open", &job, "--passphrase"], &given);
    assert!(code == Some(0) && plain.contains("***-**-6789"), "{plain}");
    let (code, said) = run(&["vault", "open", &job, "--passphrase"], "battery staple\n");
    assert!(code == Some(1) && said.contains("the passphrase or key is wrong"), "{said}");
    let (code, said) = run(&["vault", "open", &job], "");
    assert!(code == Some(2) && said.contains("what opens it?"), "{said}");
    let (code, said) = run(&["vault", "verify", "--passphrase"], &given);
    assert!(code == Some(0) && !said.contains("sealed to others"), "{said}");
    let identity = sandbox.site("identity.txt");
    let (code, said) = run(&["vault", "verify", "-i", identity.to_str().unwrap()], "");
    assert!(code == Some(0) && said.contains("1 of them sealed to others"), "{said}");
    let own = own.split('"').nth(1).unwrap();
    let (code, said) = run(&["vault", "rewrap", "--all", "--passphrase", "-r", own, "--reason", "x"], &given);
    assert!(code == Some(0) && said.contains("1 object rewrapped"), "{said}");
    assert!(run(&["vault", "open", &job, "-i", identity.to_str().unwrap()], "").1.contains("***-**-6789"));
    let back = ["vault", "rewrap", "--all", "-i", identity.to_str().unwrap(), "--to", "shared", "--reason", "x"];
    assert_eq!(run(&back, "").0, Some(0));
    assert_eq!(sandbox.receipts()[0]["recipients"], serde_json::json!(["passphrase:shared"]));
    assert!(run(&["vault", "open", &job, "--passphrase"], &given).1.contains("***-**-6789"));
    assert_eq!(run(&["vault", "verify", "--passphrase"], &given).0, Some(0));
}

#[test]
fn a_passphrase_is_asked_for_on_a_terminal_and_not_shown() {
    let sandbox = Sandbox::new();
    let objects = fill(&sandbox, "people", 1, days(1));
    let identity = under_passphrase(&sandbox, "correct horse");
    let plain = sandbox.path("plain");
    let command = format!(
        "{} --config {} vault open {} -i {identity} -o {}",
        env!("CARGO_BIN_EXE_veild"),
        sandbox.site("config.toml").display(),
        objects[0].job,
        plain.display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = script.spawn() else { return eprintln!("SKIPPED: needs the Debian package bsdutils") };
    let mut input = child.stdin.take().unwrap();
    let mut seen = String::new();
    let mut screen = child.stdout.take().unwrap();
    while !seen.contains("passphrase of the identity: ") {
        let mut byte = [0];
        if std::io::Read::read(&mut screen, &mut byte).unwrap() == 0 {
            break;
        }
        seen.push(char::from(byte[0]));
    }
    // The echo goes off behind the prompt; people take longer.
    std::thread::sleep(std::time::Duration::from_secs(1));
    input.write_all(b"correct horse\n").unwrap();
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut screen, &mut rest).unwrap();
    let status = child.wait().unwrap();
    seen.push_str(&String::from_utf8_lossy(&rest));
    assert!(status.success() && seen.contains("identity.age: passphrase"), "{seen}");
    assert!(!seen.contains("horse"), "{seen}");
    assert_eq!(fs::read(plain).unwrap(), objects[0].plain);
}

#[test]
fn a_check_beside_other_work_keeps_to_its_rate() {
    let sandbox = Sandbox::new();
    fill(&sandbox, "people", 20, days(1));
    let bytes: u64 = files_below(&sandbox.site("vault"))
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "age"))
        .map(|path| path.metadata().unwrap().len())
        .sum();
    let rate = format!("{}B", bytes * 2);
    let began = Instant::now();
    let output = sandbox.veild(&["vault", "verify", "--rate", &rate, "--reason", "scrubbing"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(began.elapsed() > Duration::from_millis(400), "half a second's worth of bytes");
    assert_eq!(records(&sandbox, "vault.verified")[0]["veild"]["reason"], "scrubbing");
    let slip = sandbox.veild(&["vault", "verify", "--rate", "50"]);
    assert!(slip.status.code() == Some(2) && text(&slip).contains("expected a size like"), "{}", text(&slip));
}

fn unpacked(sandbox: &Sandbox, tar: &Path) -> std::path::PathBuf {
    let dir = sandbox.path("unpacked");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    tar::Archive::new(fs::File::open(tar).unwrap()).unpack(&dir).unwrap();
    dir.join("veild-export")
}

#[test]
fn an_auditor_verifies_an_export_as_it_says() {
    let sandbox = Sandbox::new();
    keep(&sandbox, "5d");
    let (old, young) = (fill(&sandbox, "people", 2, days(10)), fill(&sandbox, "people", 3, days(1)));
    assert!(sandbox.veild(&["vault", "prune", "--reason", "retention"]).status.success());
    let rewrap = ["vault", "rewrap", &young[1].job, "-i", sandbox.site("identity.txt").to_str().unwrap(), "-r"]
        .map(str::to_owned);
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let rewrap: Vec<&str> = rewrap.iter().map(String::as_str).chain([recipient, "--reason", "x"]).collect();
    assert!(sandbox.veild(&rewrap).status.success());
    let out = sandbox.path("for-the-auditor.tar");
    let export = |out: &Path| {
        let of = ["vault", "export", &old[0].job, &young[0].job, &young[1].job, "--reason", "audit", "--out"];
        sandbox.veild(&[&of, [out.to_str().unwrap()].as_slice()].concat())
    };
    let done = export(&out);
    assert!(text(&done).contains("wrote 2 objects and 1 tombstone to"), "{}", text(&done));
    assert!(!export(&out).status.success(), "an export overwrites nothing");
    let dir = unpacked(&sandbox, &out);
    let records_there = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
    assert_eq!(records_there.lines().filter(|line| line.contains("file.sealed")).count(), 3);
    assert_eq!(records_there.lines().filter(|line| line.contains("vault.pruned")).count(), 1);
    assert!(!records_there.contains(&young[2].job));
    // What the auditor is told to do, done.
    let told = fs::read_to_string(dir.join("VERIFY.txt")).unwrap();
    let mut commands: Vec<String> =
        told.lines().filter_map(|line| line.strip_prefix("     ")).map(str::to_owned).collect();
    commands.retain(|line| !line.starts_with("age "));
    let script = format!("set -eu\ncd \"$1\"\n{}\n", commands.join("\n"));
    let run = |dir: &Path| Command::new("sh").args(["-c", &script, "sh"]).arg(dir).output().unwrap();
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return eprintln!("SKIPPED: needs the Debian package openssh-client");
    }
    let checked = run(&dir);
    assert!(checked.status.success() && !text(&checked).contains("BAD"), "{}", text(&checked));
    let good = text(&checked).matches("Good \"veild-receipt\" signature").count();
    assert_eq!(good, 3, "{}", text(&checked));
    let digests: Vec<String> = text(&checked)
        .lines()
        .filter(|line| line.ends_with(".receipt.json") && line.len() > 66)
        .map(|line| line[..64].to_owned())
        .collect();
    assert_eq!(digests.len(), 2, "{}", text(&checked));
    assert!(digests.iter().all(|digest| records_there.contains(digest)));
    // And it finds what was changed on the way.
    let receipt = files_below(&dir).into_iter().find(|path| path.to_str().unwrap().ends_with(".receipt.json")).unwrap();
    let changed = fs::read_to_string(&receipt).unwrap().replace("\"rows_in\": 1", "\"rows_in\": 2");
    fs::remove_file(&receipt).unwrap();
    fs::write(&receipt, changed).unwrap();
    assert!(!run(&dir).status.success());
}

#[test]
fn the_same_objects_and_records_make_the_same_export() {
    let sandbox = Sandbox::new();
    let objects = fill(&sandbox, "people", 3, days(1));
    let export = |name: &str| {
        let out = sandbox.path(name);
        let arguments = ["vault", "export", "--all", "--reason", "audit", "--out", out.to_str().unwrap()];
        let done = sandbox.veild(&arguments);
        assert!(done.status.success(), "{}", text(&done));
        let dir = unpacked(&sandbox, &out);
        let lines = fs::read_to_string(dir.join("audit.jsonl")).unwrap();
        let mut archive = tar::Archive::new(fs::File::open(&out).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap()), (0, 0, 0o444), "{path}");
            (path, header.mtime().unwrap(), header.size().unwrap())
        });
        (entries.collect::<Vec<_>>(), lines)
    };
    let (first, second) = (export("first.tar"), export("second.tar"));
    // The second has the records of the first export besides.
    assert!(second.1.starts_with(&first.1) && second.1.matches("vault.exported").count() == 3);
    let differs: Vec<_> =
        first.0.iter().zip(&second.0).filter(|(one, other)| one != other).map(|(one, _)| &one.0).collect();
    assert_eq!(differs, ["veild-export/audit.jsonl"]);
    let exported = records(&sandbox, "vault.exported");
    assert_eq!(exported.len(), 6);
    assert!(objects.iter().all(|object| exported.iter().any(|it| it["veild"]["job"] == object.job.as_str())));
    assert!(exported[0]["veild"]["export_sha256"].is_string() && exported[0]["user"]["name"].is_string());
}

#[test]
fn a_damaged_object_is_exported_as_it_is_and_said_to_be() {
    let sandbox = Sandbox::new();
    let objects = fill(&sandbox, "people", 1, days(1));
    let path = sandbox.site("vault").join(&objects[0].path);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "damaged").unwrap();
    let out = sandbox.path("evidence.tar");
    let done = sandbox.veild(&["vault", "export", "--all", "--reason", "audit", "--out", out.to_str().unwrap()]);
    assert!(done.status.code() == Some(3) && text(&done).contains("digest differs"), "{}", text(&done));
    assert_eq!(fs::read(unpacked(&sandbox, &out).join("vault").join(&objects[0].path)).unwrap(), b"damaged");
}

/// Nobody gets what is not recorded.
#[test]
fn an_export_that_cannot_be_recorded_leaves_nothing() {
    let sandbox = Sandbox::new();
    fill(&sandbox, "people", 1, days(1));
    let dir = fs::File::open(sandbox.site("audit")).unwrap();
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let out = sandbox.path("export.tar");
    let done = sandbox.veild(&["vault", "export", "--all", "--reason", "audit", "--out", out.to_str().unwrap()]);
    assert!(!done.status.success());
    drop(dir);
    let left: Vec<_> = fs::read_dir(sandbox.dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().contains("export")), "{left:?}");
}

#[test]
fn what_stands_in_the_way_of_an_output_is_named_with_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("good.csv", crate::crash::GOOD);
    sandbox.drop_file("bad.csv", crate::crash::BAD);
    sandbox.run_until_idle();
    let (sealed, rejected) = (sandbox.receipts()[0]["job"].clone(), sandbox.quarantined()[0]["job"].clone());
    let (sealed, rejected) = (sealed.as_str().unwrap(), rejected.as_str().unwrap());
    let (identity, file, taken) = (sandbox.site("identity.txt"), sandbox.path("good.csv"), sandbox.path("taken"));
    fs::write(&file, crate::crash::GOOD).unwrap();
    let (identity, file, to) = (identity.to_str().unwrap(), file.to_str().unwrap(), taken.to_str().unwrap());
    let commands: [&[&str]; 3] = [
        &["quarantine", "release", rejected, "--to", to, "--reason", "r"],
        &["vault", "open", sealed, "-i", identity, "-o", to],
        &["policy", "risk", file, "--column", "country", "--html", to],
    ];
    for (index, arguments) in commands.into_iter().enumerate() {
        fs::write(&taken, "somebody's").unwrap();
        let said = text(&sandbox.veild(arguments));
        assert!(said.contains("is already there") && said.contains("name another file"), "{arguments:?}: {said}");
        assert_eq!(fs::read_to_string(&taken).unwrap(), "somebody's");
        fs::remove_file(&taken).unwrap();
        if index < 2 {
            let left = sandbox.path("taken.incoming");
            fs::write(&left, "").unwrap();
            let said = text(&sandbox.veild(arguments));
            assert!(said.contains("taken.incoming is what another command writes"), "{arguments:?}: {said}");
            fs::remove_file(left).unwrap();
        }
    }
}

#[test]
fn an_opening_to_standard_output_is_recorded_once_however_far_it_comes() {
    let sandbox = Sandbox::new();
    let object = fill(&sandbox, "people", 1, days(1)).remove(0);
    let identity = sandbox.site("identity.txt");
    let open = |to: OwnedFd| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
        command.arg("--config").arg(sandbox.site("config.toml")).args(["vault", "open", &object.job, "-i"]);
        command.arg(&identity).stdout(to).output().unwrap()
    };
    let full = open(fs::File::options().write(true).open("/dev/full").unwrap().into());
    assert!(full.status.code() == Some(1) && text(&full).contains("No space left on device"), "{}", text(&full));
    // A pipe's reader that hangs up ends the command, a socket's does not.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(!open(writer.into()).status.success());
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let hung_up = open(writer.into());
    assert!(hung_up.status.code() == Some(1) && text(&hung_up).contains("standard output"), "{}", text(&hung_up));
    let opened = sandbox.audit().into_iter().filter(|it| it["event"]["action"] == "vault.opened");
    let outcomes: Vec<_> = opened.map(|it| it["event"]["outcome"].clone()).collect();
    assert_eq!(outcomes, ["success", "success", "success"]);
}

/// Whoever may write in the vault must not fill the disk of whoever exports it.
#[test]
fn a_signature_of_no_honest_size_is_left_out_of_an_export() {
    let sandbox = Sandbox::new();
    let object = fill(&sandbox, "people", 1, days(1)).remove(0);
    let signature = sandbox.site("vault").join(object.path.replace(".age", ".receipt.json.sig"));
    fs::set_permissions(&signature, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::File::options().write(true).open(&signature).unwrap().set_len(1 << 40).unwrap();
    let out = sandbox.path("export.tar");
    let exported = sandbox.veild(&["vault", "export", "--all", "--reason", "audit", "--out", out.to_str().unwrap()]);
    assert!(text(&exported).contains("no regular file or too large, and left out"), "{}", text(&exported));
    assert!(out.metadata().unwrap().len() < 1 << 20);
}
