//! What real uploaders do, against the running daemon: everything ends exactly once, whole, in vault or quarantine.
//!
//! - here: local tools, slow and changing writers, odd names.
//! - `openssh.rs`: scp, sftp and rsync through a real sshd.
//! - `owners.rs`: uploads by other users, the daemon without root.
//! - `burst.rs`: more than the kernel's queue of events holds.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::sandbox::{Sandbox, files_below};

mod burst;
mod openssh;
mod owners;

/// A table whose every row says which one it is, larger than any buffer on the way.
pub fn table(tag: &str) -> Vec<u8> {
    let rows = (0..6_000).map(|row| format!("{row},{tag},the quick brown fox jumps over the lazy dog\n"));
    std::iter::once("id,tag,text\n".to_owned()).chain(rows).collect::<String>().into_bytes()
}

/// A site that keeps every column: what is in the vault is what was uploaded, byte for byte.
pub fn faithful(quiet: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let policy = "[policy.people]\nunlisted = \"reject\"";
    sandbox.edit_config(policy, "[policy.people]\nunlisted = \"keep\"\nmissing = \"ignore\"");
    sandbox.edit_config("quiet = \"0s\"", &format!("quiet = \"{quiet}\""));
    sandbox
}

/// Runs an uploader to its end, which must be a good one.
pub fn upload(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub fn has(tool: &str) -> bool {
    let found = Command::new("which").arg(tool).output();
    found.is_ok_and(|it| it.status.success())
}

/// Every file of these is in the vault exactly once with this content, and nothing else is anywhere.
pub fn assert_all_sealed(sandbox: &Sandbox, expected: &[(&str, Vec<u8>)]) {
    let mut names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let receipts = sandbox.receipts();
    let mut sealed: Vec<&str> = receipts.iter().map(|it| it["original_name"].as_str().unwrap()).collect();
    sealed.sort_unstable();
    assert_eq!(sealed, names);
    for (name, content) in expected {
        assert!(sandbox.vault_plaintext(name) == *content, "{name} is not what was uploaded");
    }
    assert_eq!(sandbox.quarantined().len(), 0);
    assert!(sandbox.landing_is_empty());
    sandbox.assert_audit_holds();
    let audit = sandbox.audit();
    let outcomes = audit.iter().filter(|it| it["event"]["action"].as_str().unwrap().starts_with("file.")).count();
    assert_eq!(outcomes, expected.len(), "one outcome for each file");
}

#[test]
fn cp_mv_and_rsync_leave_whole_files() {
    let sandbox = faithful("500ms");
    let daemon = sandbox.ready_daemon();
    let tools: &[(&str, &[&str])] = &[
        ("cp.csv", &["cp"]),
        ("cp-p.csv", &["cp", "-p"]),
        ("mv.csv", &["mv"]),
        ("install.csv", &["install", "-m", "640"]),
        ("dd.csv", &["dd", "bs=777", "conv=fsync"]),
        ("rsync.csv", &["rsync", "-a"]),
        ("rsync-inplace.csv", &["rsync", "-a", "--inplace"]),
        ("rsync-delayed.csv", &["rsync", "-a", "--delay-updates"]),
    ];
    let mut expected = Vec::new();
    for (name, tool) in tools {
        if !has(tool[0]) {
            eprintln!("SKIPPED: {name} needs the Debian package {}", tool[0]);
            continue;
        }
        fs::write(sandbox.path(name), table(name)).unwrap();
        let (from, to) = (sandbox.path(name), sandbox.site("landing").join(name));
        let mut command = Command::new(tool[0]);
        command.args(&tool[1..]);
        match tool[0] {
            "dd" => command.arg(format!("if={}", from.display())).arg(format!("of={}", to.display())),
            _ => command.arg(from).arg(to),
        };
        upload(&mut command);
        expected.push((*name, table(name)));
    }
    // Another file system makes mv a copy and a removal.
    if let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") {
        fs::write(elsewhere.path().join("moved.csv"), table("moved")).unwrap();
        upload(Command::new("mv").arg(elsewhere.path().join("moved.csv")).arg(sandbox.site("landing")));
        expected.push(("moved.csv", table("moved")));
    }
    sandbox.wait_for_sealed(expected.len());
    daemon.stop();
    assert_all_sealed(&sandbox, &expected);
}

#[test]
fn rsync_updates_a_file_that_was_taken_by_a_new_one() {
    if !has("rsync") {
        return eprintln!("SKIPPED: needs the Debian package rsync");
    }
    let sandbox = faithful("0s");
    let daemon = sandbox.ready_daemon();
    for round in 1..=3 {
        fs::write(sandbox.path("daily.csv"), table(&round.to_string())).unwrap();
        upload(Command::new("rsync").arg("-t").arg(sandbox.path("daily.csv")).arg(sandbox.site("landing")));
        sandbox.wait_for_sealed(round);
    }
    daemon.stop();
    assert_eq!(sandbox.contents_of("daily.csv"), [table("1"), table("2"), table("3")]);
}

/// Writes in two parts with a pause between them, the file held open or closed and opened again meanwhile.
fn write_in_two(path: &Path, content: &[u8], pause: Duration, held_open: bool) {
    let (first, second) = content.split_at(content.len() / 2);
    let mut file = File::create(path).unwrap();
    file.write_all(first).unwrap();
    if held_open {
        std::thread::sleep(pause); // the pause is the input of the test
    } else {
        drop(file);
        std::thread::sleep(pause);
        file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    }
    file.write_all(second).unwrap();
}

#[test]
fn writers_that_pause_and_close_in_between() {
    let sandbox = faithful("1s");
    sandbox.add_landing("patient", "quiet = \"8s\"");
    let daemon = sandbox.ready_daemon();
    let (quick, patient) = (sandbox.site("landing"), sandbox.site("patient"));
    std::thread::scope(|scope| {
        scope.spawn(|| write_in_two(&quick.join("pauses.csv"), &table("pauses"), Duration::from_secs(5), true));
        scope.spawn(|| write_in_two(&patient.join("closes.csv"), &table("closes"), Duration::from_secs(6), false));
        scope.spawn(|| write_in_two(&quick.join("parts.csv"), &table("parts"), Duration::from_secs(6), false));
        scope.spawn(|| write_in_two(&quick.join("append.csv"), &table("append"), Duration::from_millis(300), false));
    });
    sandbox.wait_for_sealed(4);
    sandbox.wait_for("the second part", || sandbox.counts("quarantined") == 1);
    daemon.stop();
    assert!(sandbox.vault_plaintext("pauses.csv") == table("pauses"), "a writer that holds it open is waited for");
    assert!(sandbox.vault_plaintext("append.csv") == table("append"), "an append within `quiet` belongs to the file");
    assert!(sandbox.vault_plaintext("closes.csv") == table("closes"), "`quiet` above the pause gives one whole file");
    // `quiet` below the pause: the parts are two files. The second has no header: quarantine has it, nothing is lost.
    let second = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    let original = fs::read(sandbox.site("state/quarantine").join(second).join("original")).unwrap();
    assert!([sandbox.vault_plaintext("parts.csv"), original].concat() == table("parts"));
    assert!(sandbox.landing_is_empty());
}

/// It would be masked in vain at every try.
#[test]
fn a_writer_that_is_back_after_the_claim_is_waited_for() {
    let sandbox = faithful("0s");
    let daemon = sandbox.daemon_held_at("assigned");
    let whole = table("late");
    let (first, second) = whole.split_at(whole.len() / 2);
    sandbox.drop_file("late.csv", first);
    let in_spool = || files_below(&sandbox.site("landing/.veild")).into_iter().find(|path| path.ends_with("late.csv"));
    sandbox.wait_for("the claim", || sandbox.site("landing/.veild").exists() && in_spool().is_some());
    let mut writer = OpenOptions::new().append(true).open(in_spool().unwrap()).unwrap();
    sandbox.let_go();
    sandbox.wait_for("the first try", || sandbox.log_lines("file_changed") == 1);
    std::thread::sleep(Duration::from_secs(3)); // the writer's pause is the input of the test
    writer.write_all(second).unwrap();
    drop(writer);
    sandbox.wait_for_sealed(1);
    assert_eq!(sandbox.log_lines("file_changed"), 1, "it was masked while its writer had it open");
    daemon.stop();
    assert_all_sealed(&sandbox, &[("late.csv", whole)]);
}

#[test]
fn a_name_that_is_given_again_and_again_is_never_torn() {
    let sandbox = faithful("0s");
    let daemon = sandbox.ready_daemon();
    let name = "again.csv";
    for round in 0..60 {
        sandbox.drop_file(name, table(&format!("round {round}")));
        if round == 0 {
            // From here on names are given again while the one before is at work.
            sandbox.wait_for("the first claim", || sandbox.counts("claimed") > 0);
        }
    }
    sandbox.wait_for("the last", || sandbox.landing_is_empty());
    let claimed = sandbox.counts("claimed");
    daemon.stop();
    let contents = sandbox.contents_of(name);
    assert_eq!(contents.len() as u64, claimed);
    let rounds: Vec<usize> =
        contents.iter().map(|it| (0..60).find(|round| *it == table(&format!("round {round}"))).unwrap()).collect();
    assert!(rounds.is_sorted_by(|a, b| a < b), "each at most once and in order: {rounds:?}");
    assert_eq!((rounds[0], rounds.last()), (0, Some(&59)), "the last one is there");
    assert_eq!(sandbox.quarantined().len(), 0);
}

#[test]
fn any_legal_name_goes_through() {
    let sandbox = faithful("0s");
    sandbox.edit_config("[[landing]]", "[[landing]]\nrecursive = true");
    let daemon = sandbox.ready_daemon();
    let long = "n".repeat(251) + ".csv";
    let names: &[&[u8]] = &[
        b"\xff\xfe.csv",
        b"line\nfeed.csv",
        b"\x1b[31mred\x07.csv",
        b"-rf *.csv",
        b"%41.csv",
        "r\u{202E}vsc.csv".as_bytes(),
        "Łódź żółć.csv".as_bytes(),
        long.as_bytes(),
    ];
    let sub = sandbox.site("landing").join(std::ffi::OsStr::from_bytes(b"d\xff\nr"));
    fs::create_dir(&sub).unwrap();
    for name in names {
        let outside = sandbox.path("outside");
        fs::write(&outside, "id\n1\n").unwrap();
        fs::rename(&outside, sub.join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    sandbox.wait_for_sealed(names.len());
    daemon.stop();
    let log = fs::read(sandbox.path("veild.log")).unwrap();
    assert!(!log.contains(&0x1b) && !log.contains(&7), "a name reached the terminal");
    assert!(fs::read_dir(&sub).unwrap().next().is_none());
    let identity = sandbox.site("identity.txt");
    let verdict = sandbox.json(&["vault", "verify", "-i", identity.to_str().unwrap()]);
    assert_eq!(verdict["problems"].as_array().unwrap().len(), 0, "{verdict}");
    sandbox.assert_audit_holds();
}

#[test]
fn what_a_landing_calls_complete_is_waited_for() {
    let sandbox = faithful("200ms");
    sandbox.add_landing("renames", "complete = \"rename\"\nsweep = \"1h\"\nquiet = \"200ms\"");
    sandbox.add_landing("markers", "complete = \"marker\"\nmarker = \"{name}.ok\"\nsweep = \"1h\"\nquiet = \"200ms\"");
    sandbox.add_landing("stables", "complete = \"stable\"\nsweep = \"300ms\"\nquiet = \"200ms\"");
    let daemon = sandbox.ready_daemon();
    let (renames, markers, stables) = (sandbox.site("renames"), sandbox.site("markers"), sandbox.site("stables"));
    // OpenSSH's plain rename is link and unlink; the written file has no other sign of its end.
    fs::write(renames.join("written.csv"), table("written")).unwrap();
    fs::write(renames.join("linked.csv.part"), table("linked")).unwrap();
    fs::hard_link(renames.join("linked.csv.part"), renames.join("linked.csv")).unwrap();
    fs::remove_file(renames.join("linked.csv.part")).unwrap();
    fs::write(renames.join("renamed.csv.part"), table("renamed")).unwrap();
    fs::rename(renames.join("renamed.csv.part"), renames.join("renamed.csv")).unwrap();
    fs::write(markers.join("unmarked.csv"), table("unmarked")).unwrap();
    fs::write(markers.join("marked.csv"), table("marked")).unwrap();
    File::create(markers.join("marked.csv.ok")).unwrap();
    fs::write(stables.join("stable.csv"), table("stable")).unwrap();
    sandbox.wait_for_sealed(4);
    assert!(renames.join("written.csv").exists() && markers.join("unmarked.csv").exists());
    assert!(!markers.join("marked.csv.ok").exists(), "a marker goes with its file");
    fs::rename(renames.join("written.csv"), renames.join("renamed2.csv")).unwrap();
    File::create(markers.join("unmarked.csv.ok")).unwrap();
    sandbox.wait_for_sealed(6);
    daemon.stop();
    for name in ["linked", "renamed", "marked", "unmarked", "stable"] {
        assert!(sandbox.vault_plaintext(&format!("{name}.csv")) == table(name), "{name}");
    }
    assert!(sandbox.vault_plaintext("renamed2.csv") == table("written"));
}
