//! Canaries in every cell; afterwards none in any byte outside the plain quarantine, in no answer of a command, and no
//! core dump.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::crash::GOOD;
use crate::sandbox::{Sandbox, files_below, state_of};

/// Cells that no mask of the site's policy lets through, and no log may repeat.
const CANARY: &str = "QzCanary7";
const HEADER: &str = "id,name,ssn,email,dob,country,notes\n";

fn row() -> String {
    format!("{CANARY}1,{CANARY}2,{CANARY}3,{CANARY}4@example.com,1987-01-01,{CANARY}6,{CANARY}7\n")
}

/// Files of every kind, good and bad; the first is good.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let row = row();
    let record = |id: &str| {
        format!(
            r#"{{"id":{id},"name":"{CANARY}2","ssn":"{CANARY}3","email":"{CANARY}4@example.com","dob":"1987-01-01","country":"{CANARY}6","notes":"{CANARY}7"}}"#
        )
    };
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    vec![
        ("good.csv", format!("{HEADER}{row}").into_bytes()),
        ("ragged.csv", format!("{HEADER}{row}{CANARY},{CANARY}\n").into_bytes()),
        ("mistyped.csv", format!("{HEADER}{}", row.replace("1987-01-01", CANARY)).into_bytes()),
        ("headerless.csv", row.clone().into_bytes()),
        ("quote.csv", format!("{HEADER}\"{CANARY}\"{CANARY},{CANARY}\n").into_bytes()),
        ("binary.csv", [CANARY.as_bytes(), b"\0\xff\xfe", CANARY.as_bytes()].concat()),
        ("good.ndjson", format!("{}\n{}\n", record("1"), record(&format!("\"{CANARY}1\""))).into_bytes()),
        ("unlisted.ndjson", record("1").replace("\"notes\"", &format!("\"{CANARY}8\"")).into_bytes()),
        ("cut.json", record("1").as_bytes()[..90].to_vec()),
        ("wide.csv", [b"\xff\xfe".to_vec(), utf16(&format!("{HEADER}{row}{CANARY}\n"))].concat()),
    ]
}

fn holds_canary(bytes: &[u8]) -> bool {
    let wide: Vec<u8> = CANARY.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [CANARY.as_bytes(), &wide].into_iter().any(|wanted| bytes.windows(wanted.len()).any(|window| window == wanted))
}

fn assert_nowhere_below(dir: &Path, but: &str) {
    for path in files_below(dir) {
        let excepted = path.file_name().is_some_and(|name| name == but);
        assert!(excepted || !holds_canary(&fs::read(&path).unwrap()), "a cell value in {}", path.display());
    }
}

#[test]
fn no_cell_value_is_left_anywhere() {
    let sandbox = Sandbox::new();
    sandbox.add_view();
    sandbox.archive_originals();
    let files = files();
    for (name, content) in &files {
        sandbox.drop_file(name, content);
    }
    let daemon = sandbox.daemon();
    let handled = || sandbox.receipts().iter().filter(|it| it["view"].is_null()).count() + sandbox.quarantined().len();
    sandbox.wait_for("all files", || handled() == files.len());
    let in_memory = daemon.memory_holds(CANARY.as_bytes());
    assert!(!in_memory, "a cell value in the daemon's memory");
    assert!(daemon.memory_holds(b"config.toml"), "the search of the daemon's memory finds nothing at all");
    daemon.stop();
    assert_eq!(sandbox.receipts().len(), 4, "{:?}", sandbox.quarantined());
    assert_eq!(sandbox.json(&["vault", "list", "--archive"]).as_array().unwrap().len(), 2);
    assert_nowhere_below(sandbox.dir.path(), "original");
}

/// A command of this site with a directory for temporary files of its own, as a person runs it.
fn run(sandbox: &Sandbox, fault: &str, arguments: &[&str]) -> Output {
    let mut command = in_cage(sandbox, Path::new(env!("CARGO_BIN_EXE_veild")));
    command.arg("--config").arg(sandbox.site("config.toml")).args(arguments).env("VEILD_FAULT", fault);
    command.stdin(Stdio::null()).output().unwrap()
}

/// A program that may leave core dumps in its own directory, and temporary files in another.
fn in_cage(sandbox: &Sandbox, program: &Path) -> Command {
    let (here, tmp) = (sandbox.path("cage"), sandbox.path("tmp"));
    fs::create_dir_all(&here).unwrap();
    fs::create_dir_all(&tmp).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\""]).arg(program);
    command.current_dir(here).env("TMPDIR", tmp);
    command
}

#[test]
fn no_command_shows_a_cell_value() {
    let sandbox = Sandbox::new();
    let inputs = tempfile::tempdir().unwrap();
    for (name, content) in files() {
        fs::write(inputs.path().join(name), &content).unwrap();
        sandbox.drop_file(name, content);
    }
    sandbox.run_until_idle();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    let recipient = config.split("recipients = [\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let identity = sandbox.site("identity.txt").display().to_string();
    let mut commands: Vec<Vec<String>> = Vec::new();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (name, _) in files() {
        let file = inputs.path().join(name).display().to_string();
        let sealed = sandbox.path(&format!("{name}.age")).display().to_string();
        for line in ["mask --policy people -o - --plaintext", "policy test --policy people", "policy suggest", "detect"]
        {
            commands.push([words(line), vec![file.clone()]].concat());
        }
        commands.push(words(&format!("policy test --policy people --json {file}")));
        commands.push(words(&format!("detect --json --all-rows {file}")));
        commands.push(words(&format!("mask --policy people -r {recipient} -o {sealed} {file}")));
    }
    for entry in sandbox.quarantined() {
        commands.push(words(&format!("quarantine show {}", entry["job"].as_str().unwrap())));
    }
    let queries = ["quarantine list", "vault list", "audit tail -n 1000", "audit verify", "check", "status"];
    commands.extend(queries.iter().map(|line| words(line)));
    commands.push(words(&format!("vault verify -i {identity}")));
    for command in commands {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let output = run(&sandbox, "", &command);
        assert!(output.status.code().is_some(), "{command:?}: {:?}", output.status);
        // The policy keeps some columns, which is what this shows.
        let is_shown_on_purpose = command.contains(&"--plaintext");
        assert!(is_shown_on_purpose || !holds_canary(&output.stdout), "{command:?} shows a cell value");
        assert!(!holds_canary(&output.stderr), "{command:?} complains with a cell value");
    }
    assert_nowhere_below(sandbox.dir.path(), "original");
    assert_eq!(files_below(&sandbox.path("tmp")), Vec::<PathBuf>::new());
}

/// Whether the kernel writes core dumps of a crash here into the directory where it happens.
fn cores_are_written(sandbox: &Sandbox) -> bool {
    let crash = Sandbox { dir: tempfile::tempdir_in(sandbox.dir.path()).unwrap() };
    let script = crash.path("crash.sh");
    fs::write(&script, "#!/bin/sh\nkill -SEGV $$\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = in_cage(&crash, &script).status().unwrap();
    assert_eq!(ended.signal(), Some(libc::SIGSEGV));
    let written = !files_below(&crash.path("cage")).is_empty();
    if !written {
        eprintln!("SKIPPED: core dumps of other programs do not appear here either (kernel.core_pattern)");
    }
    written
}

#[test]
fn crashes_and_panics_leave_no_cell_value() {
    let sandbox = Sandbox::new();
    cores_are_written(&sandbox);
    sandbox.seal_quarantine();
    sandbox.edit_config("[log]", &format!("[log]\ndir = {:?}", sandbox.site("log")));
    fs::create_dir(sandbox.site("log")).unwrap();
    let inputs = tempfile::tempdir().unwrap();
    let input = inputs.path().join("good.csv");
    let (good, path) = (format!("{HEADER}{}", row()), input.display().to_string());
    fs::write(&input, &good).unwrap();
    for (count, fault) in
        ["block_masked=panic", "header_read=panic", "block_masked=segv", "block_masked=abort"].iter().enumerate()
    {
        sandbox.drop_file("good.csv", &good);
        let mut command = in_cage(&sandbox, Path::new(env!("CARGO_BIN_EXE_veild")));
        command.env("VEILD_WORKER_FAULT", fault);
        let daemon = sandbox.daemon_by(command);
        sandbox.wait_for("quarantine", || sandbox.quarantined().len() == count + 1);
        daemon.stop();
        assert_eq!(sandbox.quarantined()[count]["code"], "worker_died", "{fault}");
        for arguments in [
            ["mask", "--policy", "people", "-o", "-", "--plaintext", &path].as_slice(),
            &["policy", "test", "--policy", "people", &path],
        ] {
            let Output { status, stdout, stderr } = run(&sandbox, fault, arguments);
            assert!(!status.success(), "{fault} was not reached");
            assert!(!holds_canary(&stdout) && !holds_canary(&stderr), "{arguments:?} with {fault}");
            let said = String::from_utf8_lossy(&stderr);
            assert!(!said.contains("on purpose"), "a panic's message, which may quote a cell: {said}");
            // An abort may be an allocation that failed.
            let is_told = said.contains("defect") || said.contains("worker_memory");
            assert!(status.code().is_none() || is_told, "{fault}: {said}");
        }
    }
    // The daemon itself has the keys.
    let mut command = in_cage(&sandbox, Path::new(env!("CARGO_BIN_EXE_veild")));
    command.env("VEILD_FAULT", "recovered=abort");
    let mut daemon = sandbox.daemon_by(command);
    sandbox.wait_for("the daemon's crash", || daemon.has_ended());
    for dir in ["cage", "tmp"] {
        assert_eq!(files_below(&sandbox.path(dir)), Vec::<PathBuf>::new(), "left behind in {dir}");
    }
    assert!(
        files_below(&sandbox.site("log")).iter().any(|log| fs::read_to_string(log).unwrap().contains("worker_died"))
    );
    assert_nowhere_below(sandbox.dir.path(), "");
}

/// A piped core pattern ignores the size limit: what is dumpable is dumped. The kernel gives the files in /proc of an
/// undumpable process to root.
#[test]
fn what_reads_plaintext_cannot_be_dumped() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root");
    }
    const NOBODY: &str = "65534";
    let sandbox = Sandbox::new();
    fs::copy(env!("CARGO_BIN_EXE_veild"), sandbox.path("veild")).unwrap();
    fs::write(sandbox.path("good.csv"), GOOD).unwrap();
    let owned = Command::new("chown").args(["-R", NOBODY]).arg(sandbox.dir.path()).status().unwrap();
    assert!(owned.success());
    for arguments in
        [["mask", "--policy", "people", "-o", "-", "--plaintext"].as_slice(), &["policy", "test", "--policy", "people"]]
    {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--clear-groups"]).arg(sandbox.path("veild"));
        command.arg("--config").arg(sandbox.site("config.toml")).args(arguments).arg(sandbox.path("good.csv"));
        command.env("VEILD_FAULT", "header_read=stop").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let process = rustix::process::Pid::from_child(&child);
        sandbox.wait_for("the stop", || state_of(process) == Some('T'));
        let of = |name: &str| format!("/proc/{}/{name}", child.id());
        let limits = fs::read_to_string(of("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        let status = fs::read_to_string(of("status")).unwrap();
        assert!(status.contains(&format!("Uid:\t{NOBODY}")), "{status}");
        assert_eq!(fs::metadata(of("environ")).unwrap().uid(), 0, "{arguments:?} is dumpable");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn the_daemon_cannot_be_dumped_and_works_all_the_same() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root");
    }
    const NOBODY: &str = "65534";
    let sandbox = Sandbox::new();
    fs::copy(env!("CARGO_BIN_EXE_veild"), sandbox.path("veild")).unwrap();
    let owned = Command::new("chown").args(["-R", NOBODY]).arg(sandbox.dir.path()).status().unwrap();
    assert!(owned.success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--clear-groups"]).arg(sandbox.path("veild"));
    let daemon = sandbox.daemon_by(command);
    sandbox.wait_until_ready();
    assert_eq!(fs::metadata(format!("/proc/{}/environ", daemon.id())).unwrap().uid(), 0, "it is dumpable");
    // Its workers start from its own program in /proc, and report to it.
    fs::write(sandbox.path("outside"), GOOD).unwrap();
    assert!(Command::new("chown").arg(NOBODY).arg(sandbox.path("outside")).status().unwrap().success());
    fs::rename(sandbox.path("outside"), sandbox.site("landing/good.csv")).unwrap();
    sandbox.wait_for_sealed(1);
    daemon.stop();
}
