//! Names that uploaders give to do harm to whoever reads of them: on terminals, in text logs, in line-based records.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::crash::GOOD;
use crate::sandbox::{Sandbox, files_below};

const BAD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann\n";
/// What each of these would do: begin a line of its own, clear the screen, end a string, be no text, reorder.
const HOSTILE: [&[u8]; 6] = [
    b"x\n2026-01-01T00:00:00Z  INFO forged code=\"file_sealed\".csv",
    b"\x1b[2J\x1b]0;owned\x07.csv",
    b"a\"b'c\\\" code=\"forged\".csv",
    b"\xff\xfe\x80.csv",
    "\u{202E}fdp\u{9b}31m.csv".as_bytes(),
    b"tab\tcr\rbs\x08.csv",
];

/// Text that a terminal shows as it is: no control characters but line ends, and nothing that reorders.
fn assert_harmless(what: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("{what} is no text"));
    let harmful = |it: char| (it.is_control() && it != '\n') || ('\u{202A}'..='\u{202E}').contains(&it);
    assert!(!text.contains(harmful), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("2026-01-01")), "{what}: a forged line in {text}");
}

#[test]
fn hostile_names_harm_no_reader() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("[[landing]]", "[[landing]]\nrecursive = true");
    fs::create_dir(sandbox.site("log")).unwrap();
    sandbox.edit_config("[log]", &format!("[log]\ndir = {:?}", sandbox.site("log")));
    for name in HOSTILE {
        let name = std::ffi::OsStr::from_bytes(name);
        let sub = sandbox.site("landing").join(name).join(name);
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join(name), GOOD).unwrap();
        fs::write(sandbox.site("landing").join(name).join("bad.csv"), BAD).unwrap();
        fs::hard_link(sub.join(name), sub.join("twin")).unwrap();
        symlink("/etc/passwd", sub.join("link")).unwrap();
    }
    let daemon = sandbox.ready_daemon();
    sandbox.wait_for("the rejected", || sandbox.counts("quarantined") == HOSTILE.len() as u64);
    for name in HOSTILE {
        let name = std::ffi::OsStr::from_bytes(name);
        fs::remove_file(sandbox.site("landing").join(name).join(name).join("twin")).unwrap();
    }
    sandbox.wait_for_sealed(HOSTILE.len());
    let ask = |arguments: &[&str]| {
        let output = sandbox.veild(arguments);
        assert_harmless(&arguments.join(" "), &[output.stdout.as_slice(), b"\n", &output.stderr].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    ask(&["status"]);
    daemon.stop();
    assert_eq!(ask(&["vault", "list"]).lines().count(), HOSTILE.len());
    assert_eq!(ask(&["quarantine", "list"]).lines().count(), HOSTILE.len());
    ask(&["audit", "tail", "-n", "1000"]);
    ask(&["vault", "verify"]);
    let path = sandbox.path("dir");
    for name in HOSTILE {
        let (good, name) = (GOOD, std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(name), good).unwrap();
        for (command, content) in [
            ("detect", GOOD),
            ("policy test --policy people", GOOD),
            ("policy test --policy people", BAD),
            ("mask --policy people -o - --plaintext", BAD),
        ] {
            fs::write(path.join(name), content).unwrap();
            let mut all = std::process::Command::new(env!("CARGO_BIN_EXE_veild"));
            all.arg("--config").arg(sandbox.site("config.toml")).args(command.split(' ')).arg(path.join(name));
            let output = all.output().unwrap();
            assert_harmless(command, &[output.stdout, output.stderr].concat());
        }
    }
    let log: Vec<u8> = files_below(&sandbox.site("log")).iter().flat_map(|log| fs::read(log).unwrap()).collect();
    assert_harmless("the log", &log);
    for trail in files_below(&sandbox.site("audit")) {
        assert_harmless("the audit trail", &fs::read(trail).unwrap());
    }
    let reasons = files_below(&sandbox.site("state/quarantine")).into_iter().filter(|it| it.ends_with("reason.json"));
    reasons.for_each(|reason| assert_harmless("a reason", &fs::read(reason).unwrap()));
    sandbox.assert_audit_holds();
}
