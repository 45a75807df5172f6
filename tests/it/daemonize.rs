//! `run --daemonize --pid-file F`, for hosts without systemd.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::Sandbox;

const PEOPLE: &str = "id,name,ssn,email,dob,country,notes\n1,Ann,123-45-6789,a@example.com,1987-04-12,US,x\n";

/// A daemon that has left its starter; killed when dropped.
struct Detached(Pid);

impl Detached {
    fn of(pid_file: &std::path::Path) -> Detached {
        let text = fs::read_to_string(pid_file).unwrap();
        assert!(text.ends_with('\n'));
        Detached(Pid::from_raw(text.trim().parse().unwrap()).unwrap())
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0.as_raw_nonzero()))
    }

    fn status(&self, key: &str) -> String {
        status_of(&self.0.as_raw_nonzero().to_string(), key)
    }
}

/// A line of `/proc/<process>/status`.
fn status_of(process: &str, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL); // it may have ended by itself
    }
}

impl Sandbox {
    fn pid_file(&self) -> PathBuf {
        self.path("veild.pid")
    }

    /// The command, in the site's directory and with relative paths.
    fn daemonize_command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command.args(["--config", "site/config.toml", "run", "--daemonize", "--pid-file", "veild.pid"]);
        command
    }

    fn daemonize(&self) -> Output {
        self.daemonize_command().output().unwrap()
    }

    fn wait_until_gone(&self, daemon: &Detached) {
        self.wait_for("the daemon's end", || !daemon.proc("exe").exists());
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_starter_returns_when_the_daemon_is_ready() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    sandbox.edit_config("[log]", &format!("[log]\ndir = {:?}", log.to_str().unwrap()));
    let started = sandbox.daemonize();
    assert!(started.status.success(), "{}", said(&started));
    assert_eq!(said(&started), "");
    // Nothing is waited for from here on: it is ready.
    let daemon = Detached::of(&sandbox.pid_file());
    let status = sandbox.json(&["status"]);
    assert_eq!(status["pid"], daemon.0.as_raw_nonzero().get());
    assert_eq!(fs::read_link(daemon.proc("cwd")).unwrap().to_str(), Some("/"));
    for stream in 0..3 {
        assert_eq!(fs::read_link(daemon.proc(&format!("fd/{stream}"))).unwrap().to_str(), Some("/dev/null"));
    }
    // As text: in a container this process's own session may lie outside the name space, and then has the number 0.
    assert_ne!(daemon.status("NSsid"), status_of("self", "NSsid"));
    sandbox.drop_file("people.csv", PEOPLE);
    sandbox.wait_for("the vault", || sandbox.receipts().len() == 1);
    // Its configuration was named by a relative path, and it stands in another directory now.
    sandbox.edit_config("\"***\"", "\"+++\"");
    let before = status["config_sha256"].clone();
    kill_process(daemon.0, Signal::HUP).unwrap();
    sandbox.wait_for("the reload", || sandbox.json(&["status"])["config_sha256"] != before);
    kill_process(daemon.0, Signal::TERM).unwrap();
    sandbox.wait_until_gone(&daemon);
    assert!(!sandbox.pid_file().exists());
    assert!(fs::read_dir(&log).unwrap().count() > 0);
    sandbox.assert_audit_holds();
}

#[test]
fn a_failed_start_is_the_starters_failure() {
    let sandbox = Sandbox::new();
    let config = fs::read_to_string(sandbox.site("config.toml")).unwrap();
    fs::rename(sandbox.site("masking.key"), sandbox.site("mislaid.key")).unwrap();
    let failed = sandbox.daemonize();
    assert_eq!(failed.status.code(), Some(1));
    assert!(said(&failed).contains("site/masking.key"), "{}", said(&failed));
    assert!(!sandbox.pid_file().exists());
    fs::rename(sandbox.site("mislaid.key"), sandbox.site("masking.key")).unwrap();
    sandbox.edit_config("policy = \"people\"", "policy = \"peple\"");
    let failed = sandbox.daemonize();
    assert_eq!(failed.status.code(), Some(78), "{}", said(&failed));
    // Into a file, where the daemon's own word would go as well.
    fs::write(sandbox.site("config.toml"), &config).unwrap();
    fs::rename(sandbox.site("masking.key"), sandbox.site("mislaid.key")).unwrap();
    let log = sandbox.path("stderr.log");
    let status = sandbox.daemonize_command().stderr(fs::File::create(&log).unwrap()).status().unwrap();
    let log = fs::read_to_string(&log).unwrap();
    assert_eq!((status.code(), log.matches("masking.key").count()), (Some(1), 1), "{log}");
    fs::rename(sandbox.site("mislaid.key"), sandbox.site("masking.key")).unwrap();
    fs::write(sandbox.site("config.toml"), config).unwrap();
    // It dies without a word.
    let failed = sandbox.daemonize_command().env("VEILD_FAULT", "starting").output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(said(&failed).contains("ended before it was ready"), "{}", said(&failed));
    // The pid file that it left is stale.
    let stale = fs::read_to_string(sandbox.pid_file()).unwrap();
    let started = sandbox.daemonize();
    assert!(started.status.success(), "{}", said(&started));
    let daemon = Detached::of(&sandbox.pid_file());
    assert_ne!(fs::read_to_string(sandbox.pid_file()).unwrap(), stale);
    // A second one, by its pid file and by its state directory.
    let second = sandbox.daemonize();
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("is held by a daemon that runs (process"), "{}", said(&second));
    let other = sandbox.veild(&["run", "--daemonize", "--pid-file", sandbox.path("other.pid").to_str().unwrap()]);
    assert_eq!(other.status.code(), Some(1));
    assert!(said(&other).contains("another veild runs on"), "{}", said(&other));
    assert!(!sandbox.path("other.pid").exists());
    assert_eq!(sandbox.json(&["status"])["pid"], daemon.0.as_raw_nonzero().get());
    // Killed, it leaves a pid file that the next one takes over.
    kill_process(daemon.0, Signal::KILL).unwrap();
    sandbox.wait_until_gone(&daemon);
    assert!(sandbox.pid_file().exists());
    assert!(sandbox.daemonize().status.success());
    drop(Detached::of(&sandbox.pid_file()));
}

#[test]
fn a_planted_pid_file_costs_nobody_a_file() {
    let sandbox = Sandbox::new();
    let precious = sandbox.path("precious");
    fs::write(&precious, "precious").unwrap();
    std::os::unix::fs::symlink(&precious, sandbox.pid_file()).unwrap();
    let refused = sandbox.daemonize();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("veild.pid is a symbolic link; remove it"), "{}", said(&refused));
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert!(sandbox.pid_file().is_symlink());
}

#[test]
fn a_terminal_daemon_without_a_log_directory_is_warned_of() {
    let sandbox = Sandbox::new();
    let started = sandbox.daemonize();
    assert!(started.status.success(), "{}", said(&started));
    assert!(said(&started).contains("[log] dir"), "{}", said(&started));
    drop(Detached::of(&sandbox.pid_file()));
    // Redirected to a file by the one who starts it, it stays there.
    let sandbox = Sandbox::new();
    let log = sandbox.path("veild.log");
    let status = sandbox.daemonize_command().stderr(fs::File::create(&log).unwrap()).status().unwrap();
    assert!(status.success());
    let daemon = Detached::of(&sandbox.pid_file());
    assert!(fs::read_to_string(&log).unwrap().contains("daemon_started"));
    drop(daemon);
}

#[test]
fn the_starters_groups_are_not_the_daemons() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root, who alone can drop groups");
    }
    let sandbox = Sandbox::new();
    let mut command = sandbox.daemonize_command();
    // SAFETY: one system call between fork and exec, on memory that lives.
    unsafe {
        command.pre_exec(|| {
            let groups: [libc::gid_t; 3] = [0, 4, 27];
            if libc::setgroups(groups.len(), groups.as_ptr()) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
    let started = command.output().unwrap();
    assert!(started.status.success(), "{}", said(&started));
    let daemon = Detached::of(&sandbox.pid_file());
    assert_eq!(daemon.status("Groups"), "");
    assert_eq!(daemon.status("Umask"), "0077");
}
