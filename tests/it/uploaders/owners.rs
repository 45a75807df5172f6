//! Uploads by other users, and the daemon without root: as at a site, where it runs as its own user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{Daemon, Sandbox, files_below};

use super::openssh::Sshd;
use super::{assert_all_sealed, faithful, has, table, upload};

/// Users that need no entry in /etc/passwd.
const VEILD: u32 = 61_001;
const PARTNER: u32 = 61_002;
const UPLOADERS: u32 = 61_003;

/// A site that belongs to `VEILD`, reachable for others; `None` without root.
fn site_of_veild(quiet: &str) -> Option<Sandbox> {
    if !rustix::process::geteuid().is_root() || !has("setpriv") {
        eprintln!("SKIPPED: needs root and the Debian package util-linux");
        return None;
    }
    let sandbox = faithful(quiet);
    give_to_veild(&sandbox);
    Some(sandbox)
}

fn give_to_veild(sandbox: &Sandbox) {
    let binary = sandbox.path("veild");
    if !binary.exists() {
        // The build may lie where only we get to.
        fs::copy(env!("CARGO_BIN_EXE_veild"), &binary).unwrap();
    }
    set_mode(sandbox.dir.path(), 0o711);
    upload(Command::new("chown").arg("-R").arg(format!("{VEILD}:{VEILD}")).arg(sandbox.dir.path()));
    set_mode(&sandbox.path("site"), 0o751);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Who may write where.
fn open_landing(dir: &Path, owner: u32, mode: u32) {
    chown(dir, Some(owner), Some(UPLOADERS)).unwrap();
    set_mode(dir, mode);
}

/// The daemon as `VEILD`, with the capabilities of the unit file where they can be given.
fn daemon_of_veild(sandbox: &Sandbox, capabilities: bool) -> Daemon {
    let user = [format!("--reuid={VEILD}"), format!("--regid={VEILD}"), format!("--groups={UPLOADERS}")];
    let mut command = Command::new("setpriv");
    command.args(user);
    if capabilities {
        command.args(["--inh-caps=-all,+lease,+dac_read_search", "--ambient-caps=-all,+lease,+dac_read_search"]);
    }
    command.arg(sandbox.path("veild"));
    let daemon = sandbox.daemon_by(command);
    sandbox.wait_until_ready();
    daemon
}

/// Whether the capabilities can be given here at all.
fn can_give_capabilities() -> bool {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={VEILD}"), "--clear-groups", "--inh-caps=-all,+lease,+dac_read_search"]);
    let given = command.args(["--ambient-caps=-all,+lease,+dac_read_search", "true"]).output();
    given.is_ok_and(|it| it.status.success())
}

/// Copies as the partner, a member of the uploaders' group.
fn upload_as_partner(from: &Path, to: &Path, umask: u32) {
    let script = format!("umask {umask:o}; exec cp \"$0\" \"$1\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(from).arg(to).uid(PARTNER).gid(UPLOADERS);
    upload(&mut command);
}

fn prepare_upload(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path(name);
    fs::write(&path, table(name)).unwrap();
    set_mode(&path, 0o644);
    path
}

#[test]
fn another_users_files_in_a_setgid_and_in_a_sticky_directory() {
    let Some(sandbox) = site_of_veild("200ms") else { return };
    sandbox.add_landing("sticky", "quiet = \"200ms\"");
    sandbox.add_landing("private", "quiet = \"200ms\"");
    give_to_veild(&sandbox);
    open_landing(&sandbox.site("landing"), 0, 0o2770);
    open_landing(&sandbox.site("sticky"), VEILD, 0o3777);
    open_landing(&sandbox.site("private"), VEILD, 0o2770);
    let capabilities = can_give_capabilities();
    let daemon = daemon_of_veild(&sandbox, capabilities);
    upload_as_partner(&prepare_upload(&sandbox, "setgid.csv"), &sandbox.site("landing"), 0o002);
    upload_as_partner(&prepare_upload(&sandbox, "sticky.csv"), &sandbox.site("sticky"), 0o022);
    let mut expected = vec!["setgid.csv", "sticky.csv"];
    if capabilities {
        // Readable for its owner alone: CAP_DAC_READ_SEARCH.
        upload_as_partner(&prepare_upload(&sandbox, "private.csv"), &sandbox.site("private"), 0o077);
        expected.push("private.csv");
    } else {
        eprintln!("SKIPPED: a file that only its owner reads needs CAP_LEASE and CAP_DAC_READ_SEARCH");
    }
    sandbox.wait_for_sealed(expected.len());
    daemon.stop();
    assert_all_sealed(&sandbox, &expected.iter().map(|name| (*name, table(name))).collect::<Vec<_>>());
}

#[test]
fn a_file_that_cannot_be_taken_is_said_once_and_taken_when_it_can() {
    let Some(sandbox) = site_of_veild("100ms") else { return };
    sandbox.edit_config("[[landing]]", "[[landing]]\nsweep = \"500ms\"");
    // Sticky and not its own: veild may not rename what others own there.
    open_landing(&sandbox.site("landing"), 0, 0o3777);
    let daemon = daemon_of_veild(&sandbox, false);
    upload_as_partner(&prepare_upload(&sandbox, "stuck.csv"), &sandbox.site("landing"), 0o022);
    sandbox.wait_for("the alert", || sandbox.log_lines("claim_failed") > 0);
    assert!(sandbox.log().contains("sticky"), "{}", sandbox.log());
    set_mode(&sandbox.site("landing"), 0o2777);
    sandbox.wait_for_sealed(1);
    daemon.stop();
    assert_all_sealed(&sandbox, &[("stuck.csv", table("stuck.csv"))]);
}

/// A file of root's in the trail, the ledger or a spool would keep the service from starting.
#[test]
fn commands_of_root_leave_the_service_what_is_its_own() {
    let Some(sandbox) = site_of_veild("100ms") else { return };
    open_landing(&sandbox.site("landing"), VEILD, 0o2770);
    let root = |arguments: &[&str]| {
        let output = sandbox.veild(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let own = files_below(&sandbox.path("site")).into_iter().chain([sandbox.site("state"), sandbox.site("audit")]);
        let others: Vec<PathBuf> = own.filter(|path| fs::symlink_metadata(path).unwrap().uid() != VEILD).collect();
        assert_eq!(others, Vec::<PathBuf>::new(), "not the service's any more after {arguments:?}");
    };
    // Before the service has ever run: ledger and trail are made by it.
    root(&["vault", "verify"]);
    let daemon = daemon_of_veild(&sandbox, false);
    upload_as_partner(&prepare_upload(&sandbox, "good.csv"), &sandbox.site("landing"), 0o002);
    fs::write(sandbox.path("bad.csv"), "id,ssn\n1\n").unwrap();
    upload_as_partner(&sandbox.path("bad.csv"), &sandbox.site("landing"), 0o002);
    sandbox.wait_for_sealed(1);
    sandbox.wait_for("quarantine", || sandbox.counts("quarantined") == 1);
    daemon.stop();
    let job = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    root(&["vault", "verify"]);
    root(&["quarantine", "retry", &job, "--reason", "a test"]);
    let daemon = daemon_of_veild(&sandbox, false);
    sandbox.wait_for("the retry", || sandbox.counts("quarantined") == 1);
    let again = sandbox.quarantined()[0]["job"].as_str().unwrap().to_owned();
    assert_ne!(again, job);
    root(&["quarantine", "retry", &again, "--reason", "while it runs"]);
    sandbox.wait_for("another", || sandbox.counts("quarantined") == 2);
    daemon.stop();
    sandbox.assert_audit_holds();
}

/// A directory that no one but root can write on its whole way, as ChrootDirectory wants it.
fn cage() -> Option<tempfile::TempDir> {
    let is_safe = |dir: &Path| {
        dir.ancestors().all(|dir| fs::metadata(dir).is_ok_and(|it| it.uid() == 0 && it.mode() & 0o022 == 0))
    };
    let found = ["/run", "/srv", "/opt"].iter().map(Path::new).find(|dir| is_safe(dir));
    let cage = found.and_then(|dir| tempfile::tempdir_in(dir).ok());
    if cage.is_none() {
        eprintln!("SKIPPED: needs a directory that only root can write");
    }
    cage.inspect(|cage| set_mode(cage.path(), 0o755))
}

#[test]
fn a_chrooted_sftp_user_uploads() {
    let Some(sandbox) = site_of_veild("500ms") else { return };
    let Some(cage) = cage() else { return };
    let landing = cage.path().join("upload");
    fs::create_dir(&landing).unwrap();
    let first = sandbox.site("landing").display().to_string();
    sandbox.edit_config(&format!("dir = \"{first}\""), &format!("dir = {landing:?}"));
    // nobody's group owns the landing, veild the directory.
    chown(&landing, Some(VEILD), Some(65_534)).unwrap();
    set_mode(&landing, 0o2770);
    let jail = format!("ForceCommand internal-sftp -u 0027\nChrootDirectory {}", cage.path().display());
    let keys = tempfile::tempdir().unwrap();
    let Some(sshd) = Sshd::start(keys.path(), "nobody", &jail) else { return };
    set_mode(keys.path(), 0o755);
    sshd.wait(&sandbox);
    let daemon = daemon_of_veild(&sandbox, can_give_capabilities());
    let from = prepare_upload(&sandbox, "caged.csv");
    let commands = [
        format!("put {} /upload/caged.csv.part", from.display()),
        "rename /upload/caged.csv.part /upload/caged.csv".to_owned(),
        format!("-put {} /outside.csv", from.display()),
    ];
    upload(&mut sshd.sftp(&[], &commands));
    sandbox.wait_for_sealed(1);
    daemon.stop();
    assert_eq!(files_below(cage.path()).len(), 0, "nothing is left, nothing was written beside the landing");
    assert!(sandbox.vault_plaintext("caged.csv") == table("caged.csv"));
}
