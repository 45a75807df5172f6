//! Disks that are full, failing, read-only or gone: intake pauses, nothing is lost, work goes on by itself.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::mounts::Mount;
use crate::sandbox::{Daemon, Sandbox};

mod gone;

const GOOD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";
const BAD: &str = "id,name,ssn,email,dob,country,notes\n1,Ann\n";

/// Takes all room that is left in a directory's file system; gives it back when removed.
pub fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

impl Sandbox {
    /// With `min_free` out of the way.
    fn without_reserve() -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"0B\"");
        sandbox
    }

    fn paused(&self) -> Option<String> {
        self.json(&["status"])["landings"][0]["paused"].as_str().map(str::to_owned)
    }

    fn count(&self, action: &str) -> usize {
        self.audit().iter().filter(|it| it["event"]["action"] == action).count()
    }

    /// A daemon that ran until it reached this point.
    fn daemon_until_fault(&self, fault: &str) -> Daemon {
        let mut daemon = self.daemon_with_fault(Some(fault));
        self.wait_for("the fault", || daemon.has_ended());
        daemon
    }

    /// Everything was sealed once, and nothing is left behind.
    fn assert_sealed(&self, files: usize) {
        assert_eq!(self.receipts().len(), files);
        assert_eq!(self.count("file.sealed"), files, "each is audited once");
        assert_eq!(self.quarantined(), Vec::<Value>::new());
        assert!(self.landing_is_empty());
        self.assert_audit_holds();
        assert!(self.json(&["vault", "verify"])["problems"].as_array().unwrap().is_empty());
    }
}

/// Twenty files meet a full disk, wait, and go on when there is room.
fn a_full_disk_pauses_and_goes_on(place: &str, options: &str) {
    let sandbox = Sandbox::without_reserve();
    let Some(_mount) = Mount::tmpfs(&sandbox.site(place), options) else { return };
    let daemon = sandbox.ready_daemon();
    sandbox.drop_file("before.csv", GOOD);
    sandbox.wait_for("the first file", || sandbox.receipts().len() == 1);
    let filler = fill(&sandbox.site(place));
    for index in 0..20 {
        sandbox.drop_file(&format!("f{index}.csv"), GOOD);
    }
    sandbox.wait_for("the pause", || sandbox.paused().is_some_and(|why| why.starts_with(place)));
    assert!(sandbox.log().contains("make room"), "{}", sandbox.log());
    let sealed = sandbox.count("file.sealed");
    assert!(sealed == 1 || place == "audit" && sealed < 7, "a page of the trail takes {sealed} more at most");
    sandbox.drop_file("late.csv", GOOD);
    assert!(sandbox.site("landing/late.csv").exists());
    fs::remove_file(filler).unwrap();
    sandbox.wait_for("all files", || sandbox.receipts().len() == 22 && sandbox.landing_is_empty());
    sandbox.wait_for("the end of the pause", || sandbox.paused().is_none());
    daemon.stop();
    sandbox.assert_sealed(22);
    assert_eq!((sandbox.log_lines("disk_full"), sandbox.log_lines("disk_back")), (1, 1), "{}", sandbox.log());
    assert!(sandbox.log_lines("commit_failed") <= 1, "{}", sandbox.log());
    let actions = ["alert.raised", "landing.paused", "alert.cleared", "landing.resumed"];
    assert_eq!(actions.map(|action| sandbox.count(action)), [1; 4]);
}

#[test]
fn a_full_audit_disk_stops_the_intake() {
    a_full_disk_pauses_and_goes_on("audit", "size=256k");
}

#[test]
fn a_full_state_disk_stops_the_intake() {
    a_full_disk_pauses_and_goes_on("state", "size=1m");
}

#[test]
fn a_full_vault_stops_the_intake() {
    a_full_disk_pauses_and_goes_on("vault", "size=1m");
}

#[test]
fn min_free_is_kept_in_every_place() {
    for place in ["vault", "audit", "state", "landing"] {
        let sandbox = Sandbox::new();
        sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"4MiB\"");
        let Some(_mount) = Mount::tmpfs(&sandbox.site(place), "size=8m") else { return };
        fs::write(sandbox.site(place).join("filler.part"), vec![0; 5 << 20]).unwrap();
        let daemon = sandbox.ready_daemon();
        // Written, not renamed: the landing may be another file system.
        fs::write(sandbox.site("landing/people.csv"), GOOD).unwrap();
        sandbox.wait_for("the pause", || sandbox.paused().is_some());
        let why = sandbox.paused().unwrap();
        assert!(why.starts_with(place) && why.contains("less than min_free (4.0 MiB); make room"), "{why}");
        let places = sandbox.json(&["status"])["places"].as_array().unwrap().clone();
        let low: Vec<&Value> = places.iter().filter(|it| it["trouble"]["code"] == "disk_low").collect();
        assert_eq!(low.len(), 1, "{places:?}");
        assert!(low[0]["free_bytes"].as_u64().unwrap() < 4 << 20);
        assert_eq!(sandbox.receipts().len(), 0, "nothing was claimed before the first look");
        // More than min_free, but not an eighth more: nothing flaps.
        fs::File::options()
            .write(true)
            .open(sandbox.site(place).join("filler.part"))
            .unwrap()
            .set_len(15 << 18)
            .unwrap();
        sandbox.wait_for("another look", || {
            let places = sandbox.json(&["status"])["places"].as_array().unwrap().clone();
            places.iter().any(|it| !it["trouble"].is_null() && it["free_bytes"].as_u64().unwrap() > 4 << 20)
        });
        assert!(sandbox.paused().is_some());
        fs::remove_file(sandbox.site(place).join("filler.part")).unwrap();
        sandbox.wait_for("the file", || sandbox.receipts().len() == 1 && sandbox.landing_is_empty());
        daemon.stop();
        sandbox.assert_sealed(1);
        assert_eq!((sandbox.log_lines("disk_low"), sandbox.log_lines("landing_back")), (1, 1), "{}", sandbox.log());
    }
}

#[test]
fn a_landing_filled_by_its_own_files_is_drained() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"4MiB\"");
    let Some(_mount) = Mount::tmpfs(&sandbox.site("landing"), "size=8m") else { return };
    let rows = "1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n".repeat(7 << 20 >> 6);
    let header = GOOD.split_inclusive('\n').next().unwrap();
    fs::write(sandbox.site("landing/big.csv"), format!("{header}{rows}")).unwrap();
    let daemon = sandbox.ready_daemon();
    sandbox.wait_for("the file", || sandbox.receipts().len() == 1 && sandbox.landing_is_empty());
    daemon.stop();
    sandbox.assert_sealed(1);
    assert_eq!(sandbox.log_lines("landing_paused"), 0, "{}", sandbox.log());
}

#[test]
fn a_file_too_large_for_the_vault_is_retried_and_never_quarantined() {
    let sandbox = Sandbox::without_reserve();
    let Some(mount) = Mount::tmpfs(&sandbox.site("vault"), "size=1m") else { return };
    let daemon = sandbox.ready_daemon();
    let rows = "1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n".repeat(60_000);
    let header = GOOD.split_inclusive('\n').next().unwrap();
    sandbox.drop_file("big.csv", format!("{header}{rows}"));
    sandbox.wait_for("the alert", || sandbox.log_lines("disk_full") > 0);
    sandbox.drop_file("small.csv", GOOD);
    sandbox.wait_for("the small file, which fits", || sandbox.receipts().len() == 1);
    sandbox.wait_for("the pieces to go", || fs::read_dir(sandbox.site("vault/.incoming")).unwrap().count() == 0);
    mount.remount("size=16m");
    sandbox.wait_for("the large file", || sandbox.receipts().len() == 2 && sandbox.landing_is_empty());
    daemon.stop();
    sandbox.assert_sealed(2);
}

#[test]
fn a_rejected_file_waits_for_room_in_the_quarantine() {
    let sandbox = Sandbox::without_reserve();
    let Some(mount) = Mount::tmpfs(&sandbox.site("state"), "size=1m") else { return };
    let daemon = sandbox.ready_daemon();
    sandbox.drop_file("bad.csv", format!("{BAD}{}", "x".repeat(2 << 20)));
    sandbox.wait_for("the line", || sandbox.log().contains("no room to quarantine a file of"));
    sandbox.drop_file("good.csv", GOOD);
    sandbox.wait_for("another file, which goes on", || sandbox.receipts().len() == 1);
    mount.remount("size=8m");
    sandbox.wait_for("the rejected file", || sandbox.quarantined().len() == 1 && sandbox.landing_is_empty());
    daemon.stop();
    assert_eq!(sandbox.count("file.quarantined"), 1);
    sandbox.assert_audit_holds();
}

#[test]
fn room_that_turns_out_missing_at_the_fsync_loses_nothing() {
    for place in ["vault", "audit", "state"] {
        let sandbox = Sandbox::without_reserve();
        let below = sandbox.path("below");
        let Some(_room) = Mount::tmpfs(&below, "size=8m") else { return };
        let Some(_mount) = Mount::ext4_on(&below.join("image"), &sandbox.site(place)) else { return };
        let daemon = sandbox.ready_daemon();
        sandbox.drop_file("before.csv", GOOD);
        sandbox.wait_for("the first file", || sandbox.receipts().len() == 1 && sandbox.landing_is_empty());
        let filler = fill(&below);
        let mut dropped = 1;
        sandbox.wait_for("the pause", || {
            // Blocks that the image holds already can still be written.
            sandbox.drop_file(&format!("f{dropped}.csv"), GOOD);
            dropped += 1;
            sandbox.paused().is_some_and(|why| why.starts_with(place))
        });
        fs::remove_file(filler).unwrap();
        sandbox.wait_for("all files", || sandbox.receipts().len() == dropped && sandbox.landing_is_empty());
        daemon.stop();
        sandbox.assert_sealed(dropped);
    }
}

#[test]
fn io_errors_at_every_fsync_pause_and_the_work_goes_on_when_they_end() {
    let sandbox = Sandbox::without_reserve();
    let daemon = sandbox.ready_daemon();
    let strace = Command::new("strace")
        .args(["-f", "-p", &daemon.id().to_string(), "-e", "trace=fsync,fdatasync,syncfs", "-o"])
        .arg(sandbox.path("trace"))
        .args(["-e", "inject=fsync,fdatasync,syncfs:error=EIO"])
        .stderr(std::process::Stdio::piped())
        .spawn();
    let Ok(mut strace) = strace else { return eprintln!("SKIPPED: needs the Debian package strace") };
    let mut attached = std::io::BufReader::new(strace.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut attached, &mut line).unwrap();
    if !line.contains("attached") {
        let _ = strace.wait();
        return eprintln!("SKIPPED: needs root or another ptrace_scope: {line}");
    }
    for index in 0..5 {
        sandbox.drop_file(&format!("f{index}.csv"), GOOD);
    }
    sandbox.wait_for("the pause", || sandbox.paused().is_some());
    assert!(sandbox.log().contains("look at `dmesg`"), "{}", sandbox.log());
    let pid = rustix::process::Pid::from_child(&strace);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    strace.wait().unwrap();
    sandbox.wait_for("all files", || sandbox.receipts().len() == 5 && sandbox.landing_is_empty());
    sandbox.wait_for("the end of the pause", || sandbox.paused().is_none());
    daemon.stop();
    sandbox.assert_sealed(5);
}

#[test]
fn a_start_on_a_full_disk_waits_for_room() {
    for place in ["audit", "state"] {
        let sandbox = Sandbox::without_reserve();
        let Some(_mount) = Mount::tmpfs(&sandbox.site(place), "size=1m") else { return };
        sandbox.drop_file("people.csv", GOOD);
        let filler = fill(&sandbox.site(place));
        let mut daemon = sandbox.daemon();
        sandbox.wait_for("the line", || sandbox.log().contains("cannot start yet"));
        assert!(!daemon.has_ended());
        fs::remove_file(filler).unwrap();
        sandbox.wait_for("the file", || sandbox.receipts().len() == 1 && sandbox.landing_is_empty());
        daemon.stop();
        sandbox.assert_sealed(1);
        assert_eq!(sandbox.log_lines("disk_full"), 1, "{}", sandbox.log());
    }
}

#[test]
fn standard_error_on_a_full_disk_ends_nothing() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("people.csv", GOOD);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let config = sandbox.site("config.toml");
    let status = Command::new(env!("CARGO_BIN_EXE_veild"))
        .args(["--config", config.to_str().unwrap(), "run", "--once"])
        .stderr(full)
        .status();
    assert!(status.unwrap().success());
    sandbox.assert_sealed(1);
}

#[test]
fn once_says_that_it_could_not_do_everything() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"1000TiB\"\nshutdown_grace = \"1s\"");
    sandbox.drop_file("people.csv", GOOD);
    let output = sandbox.veild(&["run", "--once"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && log.contains("stopped while 1 known file(s) wait: audit:"), "{log}");
    assert!(log.contains("lower min_free"), "{log}");
    assert!(sandbox.site("landing/people.csv").exists());
}
