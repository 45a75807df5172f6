//! Places that are there no more, or cannot be written to.

use super::*;

/// A daemon that is stopped for a moment.
struct Stopped<'a>(&'a Daemon);

impl Daemon {
    fn paused(&self) -> Stopped<'_> {
        self.signal(rustix::process::Signal::STOP);
        Stopped(self)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal(rustix::process::Signal::CONT);
    }
}

#[test]
fn a_read_only_file_system_pauses_and_goes_on() {
    for place in ["vault", "landing"] {
        let sandbox = Sandbox::without_reserve();
        let Some(mount) = Mount::tmpfs(&sandbox.site(place), "size=1m") else { return };
        let daemon = sandbox.ready_daemon();
        fs::write(sandbox.site("landing/before.csv"), GOOD).unwrap();
        sandbox.wait_for("the first file", || sandbox.receipts().len() == 1 && sandbox.landing_is_empty());
        fs::write(sandbox.site("landing/people.part"), GOOD).unwrap();
        if place == "vault" {
            mount.remount("ro");
            fs::rename(sandbox.site("landing/people.part"), sandbox.site("landing/people.csv")).unwrap();
        } else {
            // Closed only now, so that it cannot be claimed before.
            let stopped = daemon.paused();
            fs::rename(sandbox.site("landing/people.part"), sandbox.site("landing/people.csv")).unwrap();
            mount.remount("ro");
            drop(stopped);
        }
        sandbox.wait_for("the pause", || sandbox.paused().is_some_and(|why| why.starts_with(place)));
        assert!(sandbox.log().contains("remount,rw"), "{}", sandbox.log());
        mount.remount("rw");
        sandbox.wait_for("the file", || sandbox.receipts().len() == 2 && sandbox.landing_is_empty());
        daemon.stop();
        sandbox.assert_sealed(2);
        assert_eq!(sandbox.log_lines("disk_readonly"), 1, "{}", sandbox.log());
    }
}

#[test]
fn a_source_that_cannot_be_removed_holds_up_no_other_landing() {
    let sandbox = Sandbox::without_reserve();
    sandbox.add_landing("other", "quiet = \"0s\"");
    let Some(mount) = Mount::tmpfs(&sandbox.site("landing"), "size=1m") else { return };
    let daemon = sandbox.daemon_held_at("published");
    fs::write(sandbox.site("landing/people.csv"), GOOD).unwrap();
    sandbox.wait_for("the object", || sandbox.receipts().len() == 1);
    mount.remount("ro");
    sandbox.let_go();
    sandbox.wait_for("the pause", || sandbox.paused().is_some_and(|why| why.starts_with("landing people")));
    fs::write(sandbox.site("other/people.csv"), GOOD).unwrap();
    sandbox.wait_for("the other landing", || sandbox.receipts().len() == 2);
    mount.remount("rw");
    sandbox.wait_for("the end of the pause", || sandbox.paused().is_none() && sandbox.landing_is_empty());
    daemon.stop();
    sandbox.assert_sealed(2);
}

#[test]
fn a_vault_that_is_not_mounted_is_not_written_to() {
    let sandbox = Sandbox::without_reserve();
    let Some(mut mount) = Mount::tmpfs(&sandbox.site("vault"), "size=1m") else { return };
    let daemon = sandbox.ready_daemon();
    let elsewhere = sandbox.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    mount.move_to(&elsewhere);
    sandbox.drop_file("people.csv", GOOD);
    sandbox.wait_for("the pause", || sandbox.paused().is_some_and(|why| why.starts_with("vault")));
    assert!(sandbox.log_lines("disk_gone") == 1 && sandbox.log().contains("mount it"), "{}", sandbox.log());
    assert_eq!(fs::read_dir(sandbox.site("vault")).unwrap().count(), 0);
    mount.move_to(&sandbox.site("vault"));
    sandbox.wait_for("the file", || sandbox.receipts().len() == 1 && sandbox.landing_is_empty());
    daemon.stop();
    sandbox.assert_sealed(1);
}

#[test]
fn a_landing_that_is_missing_at_the_start_holds_up_no_other() {
    let sandbox = Sandbox::without_reserve();
    sandbox.add_landing("other", "quiet = \"0s\"");
    // A file that was claimed before the landing went away.
    fs::write(sandbox.site("other/claimed.csv"), GOOD).unwrap();
    drop(sandbox.daemon_until_fault("claimed"));
    fs::rename(sandbox.site("other"), sandbox.path("away")).unwrap();
    let daemon = sandbox.ready_daemon();
    sandbox.drop_file("people.csv", GOOD);
    sandbox.wait_for("the landing that is there", || sandbox.receipts().len() == 1);
    assert!(sandbox.log_lines("landing_gone") == 1 && !sandbox.site("other").exists(), "{}", sandbox.log());
    fs::rename(sandbox.path("away"), sandbox.site("other")).unwrap();
    sandbox.wait_for("the claimed file", || sandbox.receipts().len() == 2);
    fs::write(sandbox.site("other/later.csv"), GOOD).unwrap();
    sandbox.wait_for("a file that came later", || sandbox.receipts().len() == 3);
    daemon.stop();
    sandbox.assert_sealed(3);
}

/// Somebody has put something else where the spool was: that landing waits, and nobody else.
#[test]
fn a_run_that_has_seen_nothing_of_a_landing_does_not_end_well() {
    let sandbox = Sandbox::without_reserve();
    sandbox.add_landing("other", "quiet = \"0s\"");
    fs::write(sandbox.site("other/.veild"), "").unwrap();
    fs::write(sandbox.site("other/late.csv"), GOOD).unwrap();
    sandbox.drop_file("good.csv", GOOD);
    let output = sandbox.veild(&["run", "--once"]);
    assert_eq!((output.status.success(), sandbox.receipts().len()), (false, 1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("known file(s) wait") && said.contains("it is not a directory"), "{said}");
}

#[test]
fn a_landing_without_a_spool_of_its_own_pauses_alone() {
    let sandbox = Sandbox::without_reserve();
    sandbox.add_landing("other", "quiet = \"0s\"");
    let spool = sandbox.site("other/.veild");
    let elsewhere = sandbox.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &spool).unwrap();
    fs::write(sandbox.site("other/late.csv"), GOOD).unwrap();
    sandbox.drop_file("good.csv", GOOD);
    let daemon = sandbox.ready_daemon();
    sandbox.wait_for_sealed(1);
    assert_eq!(sandbox.receipts()[0]["original_name"], "good.csv");
    let log = sandbox.log();
    let line = log.lines().find(|line| line.contains("disk_denied")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("landing other") && line.contains("it is not a directory; move it away"), "{line}");
    let checked = String::from_utf8(sandbox.veild(&["check"]).stdout).unwrap();
    assert!(checked.contains(&format!("mv {0} {0}.moved", spool.display())), "{checked}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing was put where the link leads");
    fs::rename(&spool, sandbox.site("other/.veild.moved")).unwrap();
    sandbox.wait_for_sealed(2);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    daemon.stop();
    sandbox.assert_audit_holds();
}
