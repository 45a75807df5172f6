//! scp, sftp and rsync through a real sshd on loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::sandbox::Sandbox;

use super::{assert_all_sealed, faithful, has, table, upload};

/// An sshd of our own, for one test.
pub struct Sshd {
    child: Child,
    port: u16,
    dir: PathBuf,
    user: String,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// Starts it for `user`, with `extra` lines of configuration; `None` where it cannot be had.
    pub fn start(dir: &Path, user: &str, extra: &str) -> Option<Sshd> {
        let program = Path::new("/usr/sbin/sshd");
        if !program.exists() || !has("sftp") {
            eprintln!("SKIPPED: needs the Debian packages openssh-server and openssh-client");
            return None;
        }
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap(); // sshd insists on it as root
        }
        for key in ["host", "client"] {
            upload(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", ""]).arg("-f").arg(dir.join(key)));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\nMaxStartups 100\n\
             Subsystem sftp internal-sftp\n{extra}\n",
            file("host"),
            file("client.pub"),
        );
        fs::write(dir.join("sshd_config"), config).unwrap();
        let log = fs::File::create(dir.join("sshd.log")).unwrap();
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config")).stderr(log);
        let child = command.spawn().unwrap();
        Some(Sshd { child, port, dir: dir.to_owned(), user: user.to_owned() })
    }

    pub fn wait(&self, sandbox: &Sandbox) {
        sandbox.wait_for("sshd", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    fn options(&self, port_flag: &str) -> Vec<String> {
        let known = format!("UserKnownHostsFile={}", self.dir.join("known").display());
        let options =
            ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=accept-new", "LogLevel=ERROR", &known];
        let mut all =
            vec!["-F".to_owned(), "none".to_owned(), "-i".to_owned(), self.dir.join("client").display().to_string()];
        all.extend(options.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]));
        all.extend([port_flag.to_owned(), self.port.to_string()]);
        all
    }

    fn host(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    /// `sftp` with these commands.
    pub fn sftp(&self, extra: &[&str], commands: &[String]) -> Command {
        let batch = tempfile::NamedTempFile::new_in(&self.dir).unwrap().into_temp_path().keep().unwrap();
        fs::write(&batch, commands.join("\n") + "\n").unwrap();
        let mut command = Command::new("sftp");
        command.args(self.options("-P")).args(extra).arg("-b").arg(batch).arg(self.host());
        command.stdout(Stdio::null());
        command
    }

    pub fn scp(&self, extra: &[&str], from: &Path, to: &Path) -> Command {
        let mut command = Command::new("scp");
        command.args(self.options("-P")).args(extra).arg(from).arg(format!("{}:{}", self.host(), to.display()));
        command
    }

    pub fn rsync(&self, extra: &[&str], from: &Path, to: &Path) -> Command {
        let mut command = Command::new("rsync");
        command.arg("-e").arg(format!("ssh {}", self.options("-p").join(" "))).args(extra);
        command.arg(from).arg(format!("{}:{}", self.host(), to.display()));
        command
    }
}

fn own_name() -> String {
    String::from_utf8(upload(Command::new("id").arg("-un")).stdout).unwrap().trim().to_owned()
}

/// Starts an upload, and kills it with everything it started once the first bytes have arrived.
fn break_off(sandbox: &Sandbox, mut command: Command, arrives: impl Fn() -> bool) {
    let mut child = command.process_group(0).stderr(Stdio::null()).spawn().unwrap();
    sandbox.wait_for("the first bytes", arrives);
    let group = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn scp_sftp_and_rsync_through_sshd_leave_whole_files() {
    let sandbox = faithful("1s");
    sandbox.add_landing("renames", "complete = \"rename\"\nsweep = \"1h\"\nquiet = \"100ms\"");
    let Some(sshd) = Sshd::start(sandbox.dir.path(), &own_name(), "") else { return };
    sshd.wait(&sandbox);
    let daemon = sandbox.ready_daemon();
    let landing = sandbox.site("landing");
    let put = |name: &str, to: &str| {
        fs::write(sandbox.path(name), table(name)).unwrap();
        format!("put {} {to}", sandbox.path(name).display())
    };
    let at = |dir: &str, name: &str| sandbox.site(dir).join(name).display().to_string();
    let mut expected = Vec::new();
    for (name, flags) in [("scp.csv", &["-p"][..]), ("scp-old.csv", &["-O"])] {
        fs::write(sandbox.path(name), table(name)).unwrap();
        upload(&mut sshd.scp(flags, &sandbox.path(name), &landing));
        expected.push(name);
    }
    let commands = [
        put("sftp.csv", &at("landing", "sftp.csv")),
        put("posix.csv", &at("landing", "posix.csv.filepart")),
        format!("rename {} {}", at("landing", "posix.csv.filepart"), at("landing", "posix.csv")),
        // `rename -l` is what servers without the extension do: link, then unlink.
        put("linked.csv", &at("renames", "linked.csv.filepart")),
        format!("rename -l {} {}", at("renames", "linked.csv.filepart"), at("renames", "linked.csv")),
    ];
    upload(&mut sshd.sftp(&[], &commands));
    expected.extend(["sftp.csv", "posix.csv", "linked.csv"]);
    if has("rsync") {
        for (name, flags) in [("rsync.csv", &["-a"][..]), ("rsync-inplace.csv", &["-a", "--inplace"])] {
            fs::write(sandbox.path(name), table(name)).unwrap();
            upload(&mut sshd.rsync(flags, &sandbox.path(name), &landing.join(name)));
            expected.push(name);
        }
    } else {
        eprintln!("SKIPPED: needs the Debian package rsync");
    }
    sandbox.wait_for_sealed(expected.len());
    daemon.stop();
    assert_all_sealed(&sandbox, &expected.iter().map(|name| (*name, table(name))).collect::<Vec<_>>());
}

#[test]
fn a_broken_session_and_its_second_try_within_quiet_are_one_file() {
    let sandbox = faithful("4s");
    let Some(sshd) = Sshd::start(sandbox.dir.path(), &own_name(), "") else { return };
    sshd.wait(&sandbox);
    let daemon = sandbox.ready_daemon();
    let landing = sandbox.site("landing");
    let names = ["resumed.csv", "again.csv", "parted.csv", "synced.csv"];
    for name in names {
        fs::write(sandbox.path(name), table(name)).unwrap();
    }
    let put = |verb: &str, name: &str, as_name: &str| {
        [format!("{verb} {} {}", sandbox.path(name).display(), landing.join(as_name).display())]
    };
    let has_bytes = |name: &str| fs::metadata(landing.join(name)).is_ok_and(|it| it.len() > 0);
    // 400 kbit/s: far slower than the kill.
    let slow = &["-l", "400", "-B", "1024"];
    break_off(&sandbox, sshd.sftp(slow, &put("put", "resumed.csv", "resumed.csv")), || has_bytes("resumed.csv"));
    break_off(&sandbox, sshd.sftp(slow, &put("put", "again.csv", "again.csv")), || has_bytes("again.csv"));
    break_off(&sandbox, sshd.sftp(slow, &put("put", "parted.csv", "parted.csv.part")), || has_bytes("parted.csv.part"));
    upload(&mut sshd.sftp(&[], &put("reput", "resumed.csv", "resumed.csv")));
    upload(&mut sshd.sftp(&[], &put("put", "again.csv", "again.csv")));
    let mut expected = vec!["resumed.csv", "again.csv"];
    if has("rsync") {
        let hidden = || {
            fs::read_dir(&landing).unwrap().any(|it| it.unwrap().file_name().as_encoded_bytes().starts_with(b".synced"))
        };
        break_off(
            &sandbox,
            sshd.rsync(&["--bwlimit=50"], &sandbox.path("synced.csv"), &landing.join("synced.csv")),
            hidden,
        );
        upload(&mut sshd.rsync(&[], &sandbox.path("synced.csv"), &landing.join("synced.csv")));
        expected.push("synced.csv");
    }
    sandbox.wait_for_sealed(expected.len());
    assert!(landing.join("parted.csv.part").exists(), "half a file under its temporary name is left alone");
    fs::remove_file(landing.join("parted.csv.part")).unwrap();
    for entry in fs::read_dir(&landing).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != ".veild" {
            fs::remove_file(entry.path()).unwrap(); // what rsync could not clear away
        }
    }
    daemon.stop();
    assert_all_sealed(&sandbox, &expected.iter().map(|name| (*name, table(name))).collect::<Vec<_>>());
}
