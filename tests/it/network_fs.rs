//! Landings where events do not tell everything: FUSE for all network file systems, mounts and directories that go and
//! come back, and watches that run out.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::crash::GOOD;
use crate::mounts::{Mount, run};
use crate::sandbox::Sandbox;
use crate::uploaders::{assert_all_sealed, faithful, table};

/// Replaces the first landing's `quiet` by these keys.
fn set_landing(sandbox: &Sandbox, keys: &str) {
    sandbox.edit_config("quiet = \"0s\"", keys);
}

/// A site with its landing on FUSE; what `behind` gets comes as from another host.
fn fuse_site(keys: &str) -> Option<(Sandbox, Mount, PathBuf)> {
    let sandbox = faithful("0s");
    set_landing(&sandbox, keys);
    let behind = sandbox.path("behind");
    let mount = Mount::bindfs(&behind, &sandbox.site("landing"))?;
    Some((sandbox, mount, behind))
}

/// Writes a file under a hidden name and renames it within its landing.
fn deliver(dir: &Path, name: &str) {
    let (hidden, path) = (dir.join(format!(".{name}.csv")), dir.join(format!("{name}.csv")));
    fs::write(&hidden, table(name)).unwrap();
    fs::rename(hidden, path).unwrap();
}

fn noticed_by(sandbox: &Sandbox, landing: usize) -> String {
    sandbox.status()["landings"][landing]["noticed_by"].as_str().unwrap().to_owned()
}

#[test]
fn a_landing_on_fuse_is_polled_and_unfinished_files_are_waited_for() {
    let keys = "complete = \"stable\"\nsweep = \"400ms\"\nquiet = \"100ms\"\nrecursive = true";
    let Some((sandbox, _mount, behind)) = fuse_site(keys) else { return };
    let daemon = sandbox.ready_daemon();
    fs::create_dir(behind.join("sub")).unwrap();
    fs::write(behind.join("sub/there.csv"), table("there")).unwrap();
    fs::write(sandbox.site("landing/here.csv"), table("here")).unwrap();
    // Another host writes in pieces; the mount's attributes are cached for a minute.
    let content = table("growing");
    let mut file = File::create(behind.join("growing.csv")).unwrap();
    for piece in content.chunks(content.len() / 12 + 1) {
        file.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(150)); // its pace is the input of this test
    }
    drop(file);
    sandbox.wait_for_sealed(3);
    assert_eq!(noticed_by(&sandbox, 0), "sweeps (fuse)");
    assert_eq!(sandbox.log_lines("landing_polled"), 1);
    daemon.stop();
    fs::remove_dir(behind.join("sub")).unwrap();
    let expected = ["there", "here", "growing"].map(|name| (format!("{name}.csv"), table(name)));
    assert_all_sealed(&sandbox, &expected.each_ref().map(|(name, content)| (name.as_str(), content.clone())));
}

#[test]
fn close_on_fuse_is_refused_by_check_and_not_believed_by_the_daemon() {
    let Some((sandbox, _mount, behind)) = fuse_site("sweep = \"300ms\"\nquiet = \"0s\"") else { return };
    let check = sandbox.veild(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(3), "{said}");
    assert!(said.to_lowercase().contains("fuse") && said.contains("set complete ="), "{said}");
    let daemon = sandbox.ready_daemon();
    fs::write(behind.join("closed.csv"), table("closed")).unwrap();
    sandbox.wait_for_sealed(1);
    assert!(sandbox.log().contains("two sweeps"), "{}", sandbox.log());
    daemon.stop();
    assert_all_sealed(&sandbox, &[("closed.csv", table("closed"))]);
}

#[test]
fn markers_and_renames_on_fuse() {
    let keys = "complete = \"marker\"\nsweep = \"300ms\"\nquiet = \"0s\"";
    let Some((sandbox, _mount, behind)) = fuse_site(keys) else { return };
    sandbox.add_landing("renames", "complete = \"rename\"\nsweep = \"300ms\"\nquiet = \"0s\"");
    let there = sandbox.path("renames-behind");
    let Some(_renames) = Mount::bindfs(&there, &sandbox.site("renames")) else { return };
    let daemon = sandbox.ready_daemon();
    fs::write(behind.join("marked.csv"), table("marked")).unwrap();
    fs::write(there.join("renamed.csv.part"), table("renamed")).unwrap();
    fs::rename(there.join("renamed.csv.part"), there.join("renamed.csv")).unwrap();
    sandbox.wait_for_sealed(1);
    assert!(behind.join("marked.csv").exists());
    File::create(behind.join("marked.csv.done")).unwrap();
    sandbox.wait_for_sealed(2);
    daemon.stop();
    assert_all_sealed(&sandbox, &[("marked.csv", table("marked")), ("renamed.csv", table("renamed"))]);
}

#[test]
fn a_server_that_hangs_holds_up_its_own_landing_alone() {
    let keys = "complete = \"stable\"\nsweep = \"300ms\"\nquiet = \"0s\"";
    let Some((sandbox, mount, behind)) = fuse_site(keys) else { return };
    sandbox.add_landing("local", "quiet = \"0s\"");
    let local = sandbox.site("local");
    mount.signal(Signal::STOP);
    let daemon = sandbox.ready_daemon();
    deliver(&local, "local1");
    sandbox.wait_for_sealed(1);
    assert_eq!(sandbox.log_lines("landing_silent"), 1, "{}", sandbox.log());
    mount.signal(Signal::CONT);
    fs::write(behind.join("remote1.csv"), table("remote1")).unwrap();
    sandbox.wait_for_sealed(2);
    mount.signal(Signal::STOP);
    deliver(&local, "local2");
    sandbox.wait_for_sealed(3);
    sandbox.wait_for("the alert", || sandbox.log_lines("landing_silent") == 2);
    mount.signal(Signal::CONT);
    fs::write(behind.join("remote2.csv"), table("remote2")).unwrap();
    sandbox.wait_for_sealed(4);
    daemon.stop();
    let expected = ["local1", "remote1", "local2", "remote2"].map(|name| (format!("{name}.csv"), table(name)));
    assert_all_sealed(&sandbox, &expected.each_ref().map(|(name, content)| (name.as_str(), content.clone())));
}

#[test]
fn a_landing_is_unmounted_and_mounted_again() {
    let sandbox = faithful("0s");
    set_landing(&sandbox, "quiet = \"0s\"\nsweep = \"1h\"");
    let behind = sandbox.path("behind");
    fs::create_dir(&behind).unwrap();
    let landing = sandbox.site("landing");
    let Some(mount) = Mount::bind(&behind, &landing) else { return };
    let daemon = sandbox.ready_daemon();
    deliver(&landing, "before");
    sandbox.wait_for_sealed(1);
    run("umount", &[landing.to_str().unwrap()]).unwrap();
    sandbox.wait_for("the alert", || sandbox.log_lines("landing_gone") == 1);
    fs::write(landing.join("astray.csv"), table("astray")).unwrap();
    fs::write(behind.join("meanwhile.csv"), table("meanwhile")).unwrap();
    let again = Mount::bind(&behind, &landing).unwrap();
    sandbox.wait_for_sealed(2);
    assert_eq!(sandbox.log_lines("landing_back"), 1);
    // Its events come again: no sweep is due for an hour.
    deliver(&landing, "after");
    sandbox.wait_for_sealed(3);
    daemon.stop();
    drop((again, mount));
    assert_eq!(fs::read(landing.join("astray.csv")).unwrap(), table("astray"), "left where the mount hides it");
    for name in ["before", "meanwhile", "after"] {
        assert!(sandbox.vault_plaintext(&format!("{name}.csv")) == table(name));
    }
    assert_eq!(fs::read_dir(behind.join(".veild")).unwrap().count(), 0);
}

#[test]
fn what_a_spool_holds_is_taken_up_when_its_file_system_is_mounted_late() {
    let sandbox = faithful("0s");
    set_landing(&sandbox, "quiet = \"0s\"\nsweep = \"300ms\"");
    let behind = sandbox.path("behind");
    fs::create_dir(&behind).unwrap();
    let landing = sandbox.site("landing");
    let Some(mount) = Mount::bind(&behind, &landing) else { return };
    deliver(&landing, "claimed");
    let mut daemon = sandbox.daemon_with_fault(Some("begun"));
    sandbox.wait_for("the fault", || daemon.has_ended());
    drop(mount);
    let daemon = sandbox.ready_daemon();
    deliver(&landing, "local");
    sandbox.wait_for_sealed(1);
    let _mount = Mount::bind(&behind, &landing).unwrap();
    sandbox.wait_for_sealed(2);
    daemon.stop();
    assert_all_sealed(&sandbox, &[("claimed.csv", table("claimed")), ("local.csv", table("local"))]);
}

#[test]
fn a_landing_that_is_moved_away_or_removed_comes_back() {
    let sandbox = faithful("0s");
    set_landing(&sandbox, "quiet = \"0s\"\nsweep = \"1h\"\nrecursive = true");
    let landing = sandbox.site("landing");
    let daemon = sandbox.ready_daemon();
    fs::rename(&landing, sandbox.path("aside")).unwrap();
    sandbox.wait_for("the alert", || sandbox.log_lines("landing_gone") == 1);
    fs::write(sandbox.path("aside/moved.csv"), table("moved")).unwrap();
    fs::rename(sandbox.path("aside"), &landing).unwrap();
    sandbox.wait_for_sealed(1);
    sandbox.drop_file("after.csv", table("after"));
    sandbox.wait_for_sealed(2);
    fs::remove_dir_all(&landing).unwrap();
    sandbox.wait_for("the second alert", || sandbox.log_lines("landing_gone") == 2);
    fs::create_dir(&landing).unwrap();
    sandbox.wait_for("the end of the alert", || sandbox.log_lines("landing_back") == 2);
    fs::create_dir_all(landing.join("new/deep")).unwrap();
    fs::write(landing.join("new/deep/anew.csv"), table("anew")).unwrap();
    sandbox.wait_for_sealed(3);
    daemon.stop();
    fs::remove_dir_all(landing.join("new")).unwrap();
    let expected = ["moved", "after", "anew"].map(|name| (format!("{name}.csv"), table(name)));
    assert_all_sealed(&sandbox, &expected.each_ref().map(|(name, content)| (name.as_str(), content.clone())));
}

/// Sets a limit of the user name space that a daemon runs in.
fn set_limit(pid: u32, name: &str, limit: u32) {
    let script = format!("echo {limit} > /proc/sys/user/{name}");
    run("nsenter", &["--user", "--preserve-credentials", "-t", &pid.to_string(), "sh", "-c", &script]).unwrap();
}

#[test]
fn watches_that_run_out_leave_the_sweeps_until_there_are_more() {
    for (limit, named) in [("max_inotify_watches", "max_user_watches"), ("max_inotify_instances", "max_user_instances")]
    {
        let sandbox = faithful("0s");
        set_landing(&sandbox, "quiet = \"0s\"\nsweep = \"500ms\"");
        // The limits of a name space of its own concern nobody else.
        let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
        if let Err(why) = run("unshare", &["-Ur", "sh", "-c", &script, "true"]) {
            return eprintln!("SKIPPED: needs user name spaces: {why}");
        }
        let mut command = Command::new("unshare");
        command.args(["-Ur", "sh", "-c", &script]).arg(env!("CARGO_BIN_EXE_veild"));
        let daemon = sandbox.daemon_by(command);
        sandbox.wait_until_ready();
        sandbox.drop_file("swept.csv", table("swept"));
        sandbox.wait_for_sealed(1);
        assert!(noticed_by(&sandbox, 0).contains(named), "{}", noticed_by(&sandbox, 0));
        assert_eq!(sandbox.log_lines("watch_failed"), 1, "said once: {}", sandbox.log());
        assert_eq!(sandbox.log_lines("events_lost"), 0, "none were to be had: {}", sandbox.log());
        set_limit(daemon.id(), limit, 100);
        sandbox.wait_for("events", || sandbox.log_lines("watch_back") == 1);
        assert_eq!(noticed_by(&sandbox, 0), "events and sweeps");
        daemon.stop();
        assert_all_sealed(&sandbox, &[("swept.csv", table("swept"))]);
    }
}

/// notify's thread says nothing when it ends.
#[test]
fn a_watcher_that_panics_is_replaced_and_nothing_is_missed() {
    let sandbox = Sandbox::new();
    sandbox.edit_config("quiet = ", "sweep = \"1h\"\nquiet = ");
    let daemon = sandbox.daemon_with(&[("VEILD_FAULT", "noticed=panic")]);
    sandbox.wait_until_ready();
    sandbox.drop_file("first.csv", GOOD);
    sandbox.wait_for_sealed(1);
    sandbox.wait_for("what happened", || sandbox.log().contains("the watcher ended and was started again"));
    // A sweep may have met the dead watcher first; the next one, at once, finds the new.
    let noticed_by = || sandbox.status()["landings"][0]["noticed_by"].clone();
    sandbox.wait_for("events", || noticed_by() == "events and sweeps");
    for count in 2..5 {
        // The next sweep is an hour away.
        sandbox.drop_file(&format!("{count}.csv"), GOOD);
        sandbox.wait_for_sealed(count);
    }
    daemon.stop();
    assert_eq!(sandbox.log_lines("events_lost"), 1);
}
