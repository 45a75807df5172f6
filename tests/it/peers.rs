//! The other age implementations: what veild seals they open, and what they seal veild opens.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::recipients::{age_key, ssh_key};
use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";
pub const PASSPHRASE: &str = "correct horse battery staple";

/// Where `tests/peers/prepare` has put what it installs.
fn peers() -> Option<PathBuf> {
    let dir = std::env::var("VEILD_TEST_PEERS").unwrap_or_else(|_| "/var/cache/veild-test-peers".to_owned());
    let dir = PathBuf::from(dir);
    let is_there = dir.join(".made-for").exists() && dir.join("typage.mjs").exists();
    if !is_there {
        eprintln!("SKIPPED: needs what tests/peers/prepare installs");
    }
    is_there.then_some(dir)
}

fn has(tool: &str) -> bool {
    let is_there = Command::new("which").arg(tool).output().is_ok_and(|it| it.status.success());
    if !is_there {
        eprintln!("SKIPPED: needs {tool}");
    }
    is_there
}

/// What a program makes of its standard input, or what it says.
fn piped(mut command: Command, input: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|it| it.to_string())?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input)); // it may end without reading on
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn rage(peers: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut command = Command::new(peers.join("venv/bin/python"));
    command.arg(peers.join("rage.py")).args(arguments);
    piped(command, input)
}

fn typage(peers: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("node");
    command.arg(peers.join("typage.mjs")).args(arguments);
    piped(command, input)
}

fn tag(peers: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("node");
    command.arg(peers.join("tag.mjs")).args(arguments);
    piped(command, input)
}

fn age(identity: &Path, sealed: &[u8]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("age");
    command.arg("-d").arg("-i").arg(identity);
    piped(command, sealed)
}

/// Masks a file for these recipients, and gives what was sealed, with the masked text.
fn sealed_to(sandbox: &Sandbox, recipients: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let (input, output) = (sandbox.path("in.csv"), sandbox.path("out.csv.age"));
    fs::write(&input, PEOPLE).unwrap();
    let mut arguments = vec!["mask", input.to_str().unwrap(), "--policy", "people", "-o", output.to_str().unwrap()];
    recipients.iter().for_each(|recipient| arguments.extend(["-r", recipient]));
    let made = sandbox.veild(&arguments);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let sealed = fs::read(&output).unwrap();
    for file in ["out.csv.age", "out.csv.receipt.json", "out.csv.receipt.json.sig"] {
        fs::remove_file(sandbox.path(file)).unwrap();
    }
    let plain = sandbox.veild(&["mask", input.to_str().unwrap(), "--policy", "people", "-o", "-", "--plaintext"]);
    (sealed, plain.stdout)
}

/// A site with `[recipients.shared]`, a passphrase.
pub fn site_with_passphrase() -> Sandbox {
    let sandbox = Sandbox::new();
    let file = sandbox.path("passphrase");
    fs::write(&file, format!("{PASSPHRASE}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.edit_config("[[landing]]", &format!("[recipients.shared]\npassphrase = {file:?}\n\n[[landing]]"));
    sandbox
}

#[test]
fn what_veild_seals_the_others_open() {
    let Some(peers) = peers() else { return };
    if !has("age") || !has("ssh-keygen") {
        return;
    }
    let sandbox = site_with_passphrase();
    let (x25519, public) = age_key(&sandbox, "x25519");
    let secret = fs::read_to_string(&x25519).unwrap();
    let keys = ["ed25519", "rsa"].map(|kind| ssh_key(&sandbox, kind));
    let all: Vec<&str> = keys.iter().map(|(_, public)| public.as_str()).chain([public.as_str()]).collect();
    let (sealed, plain) = sealed_to(&sandbox, &all);
    assert_eq!(age(&x25519, &sealed).as_ref(), Ok(&plain));
    assert_eq!(rage(&peers, &["open", "x25519", &secret], &sealed).as_ref(), Ok(&plain));
    assert_eq!(typage(&peers, &["open", "x25519", &secret], &sealed).as_ref(), Ok(&plain));
    for (identity, _) in &keys {
        assert_eq!(age(identity, &sealed).as_ref(), Ok(&plain));
        let private = fs::read_to_string(identity).unwrap();
        assert_eq!(rage(&peers, &["open", "ssh", &private], &sealed).as_ref(), Ok(&plain));
    }
    let (sealed, plain) = sealed_to(&sandbox, &["group:shared"]);
    assert_eq!(rage(&peers, &["open", "passphrase", PASSPHRASE], &sealed).as_ref(), Ok(&plain));
    assert_eq!(typage(&peers, &["open", "passphrase", PASSPHRASE], &sealed).as_ref(), Ok(&plain));
    for kind in ["tag", "tagpq"] {
        let made = String::from_utf8(tag(&peers, &["generate", kind], b"").unwrap()).unwrap();
        let (recipient, secret) = made.trim().split_once('\n').unwrap();
        let (sealed, plain) = sealed_to(&sandbox, &[recipient]);
        if kind == "tagpq" {
            let input = sandbox.path("in.csv");
            let mixed = ["mask", input.to_str().unwrap(), "--policy", "people", "-r", recipient, "-r", &public];
            let said = String::from_utf8_lossy(&sandbox.veild(&mixed).stderr).into_owned();
            assert!(said.contains("are not mixed"), "{said}");
        }
        assert_eq!(tag(&peers, &["open", kind, secret], &sealed).as_ref(), Ok(&plain), "{kind}");
        // What the others seal to it the test's reader opens too, so that it is no friend of ours alone.
        for seal in [rage, typage] {
            let theirs = seal(&peers, &["seal", kind, recipient], b"theirs").unwrap();
            assert_eq!(tag(&peers, &["open", kind, secret], &theirs).as_deref(), Ok(&b"theirs"[..]));
        }
    }
}

#[test]
fn what_the_others_seal_veild_opens() {
    let Some(peers) = peers() else { return };
    if !has("age") || !has("ssh-keygen") {
        return;
    }
    let sandbox = Sandbox::new();
    let opened = |identity: &Path, sealed: &[u8]| {
        let object = sandbox.path("theirs.age");
        fs::write(&object, sealed).unwrap();
        let output = sandbox.veild(&["vault", "open", object.to_str().unwrap(), "-i", identity.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let plain = vec![b'x'; 200_000];
    let (x25519, public) = age_key(&sandbox, "x25519");
    let mut keys = vec![("x25519", x25519, public)];
    for kind in ["ed25519", "rsa"] {
        let (identity, public) = ssh_key(&sandbox, kind);
        keys.push(("ssh", identity, public));
    }
    for (kind, identity, public) in &keys {
        let mut command = Command::new("age");
        command.args(["-r", public]);
        assert_eq!(opened(identity, &piped(command, &plain).unwrap()), plain, "age {kind}");
        assert_eq!(opened(identity, &rage(&peers, &["seal", kind, public], &plain).unwrap()), plain, "rage {kind}");
        if *kind == "x25519" {
            assert_eq!(opened(identity, &typage(&peers, &["seal", kind, public], &plain).unwrap()), plain);
        }
    }
}

/// `rage` itself; what it asks for is answered with the passphrase.
fn rage_itself(sandbox: &Sandbox, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let pinentry = sandbox.path("pinentry");
    if !pinentry.exists() {
        let script = format!(
            "#!/bin/sh\necho OK\nwhile read -r command rest; do\n  [ \"$command\" = GETPIN ] && echo 'D {PASSPHRASE}'\n  \
             echo OK\n  [ \"$command\" = BYE ] && exit\ndone\n"
        );
        fs::write(&pinentry, script).unwrap();
        fs::set_permissions(&pinentry, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("rage");
    command.env("PINENTRY_PROGRAM", pinentry).args(arguments);
    piped(command, input)
}

#[test]
fn rage_and_veild_open_each_others_objects() {
    if !has("rage") || !has("age-keygen") || !has("ssh-keygen") {
        return;
    }
    let sandbox = site_with_passphrase();
    let keys = [age_key(&sandbox, "x25519"), ssh_key(&sandbox, "ed25519"), ssh_key(&sandbox, "rsa")];
    let (sealed, plain) = sealed_to(&sandbox, &keys.each_ref().map(|(_, public)| public.as_str()));
    let theirs = vec![b'x'; 200_000];
    let opened = |sealed: &[u8], with: &[&str]| {
        let object = sandbox.path("theirs.age");
        fs::write(&object, sealed).unwrap();
        let output = sandbox.veild(&[&["vault", "open", object.to_str().unwrap()], with].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for (identity, public) in &keys {
        let identity = identity.to_str().unwrap();
        assert_eq!(rage_itself(&sandbox, &["-d", "-i", identity], &sealed).as_ref(), Ok(&plain), "{public}");
        let sealed = rage_itself(&sandbox, &["-r", public], &theirs).unwrap();
        assert_eq!(opened(&sealed, &["-i", identity]), theirs, "{public}");
    }
    let (sealed, plain) = sealed_to(&sandbox, &["group:shared"]);
    assert_eq!(rage_itself(&sandbox, &["-d"], &sealed).as_ref(), Ok(&plain), "passphrase");
    let sealed = rage_itself(&sandbox, &["-p"], &theirs).unwrap();
    let asked = sandbox.path("asked");
    fs::write(&asked, &sealed).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
    command.arg("--config").arg(sandbox.site("config.toml")).args(["vault", "open", "--passphrase"]).arg(&asked);
    assert_eq!(piped(command, format!("{PASSPHRASE}\n").as_bytes()).as_ref(), Ok(&theirs), "passphrase");
}
