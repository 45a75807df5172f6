//! A machine for tests: systemd booted in a container whose disk is forgotten at its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for anything; generous, because nothing is timed.
const PATIENCE: Duration = Duration::from_secs(90);

/// One at a time: they share a root file system.
static ROOT: Mutex<()> = Mutex::new(());

pub struct Machine {
    nspawn: Child,
    /// Process 1 of the machine.
    leader: u32,
    log: tempfile::TempDir,
    /// Let go when the machine has shut down.
    _root: MutexGuard<'static, ()>,
}

impl Machine {
    /// Boots one, or says what it lacks.
    pub fn boot() -> Option<Machine> {
        let root = std::env::var_os("VEILD_TEST_MACHINE").unwrap_or_else(|| "/var/cache/veild-test-machine".into());
        let lacking = |what: &str| eprintln!("SKIPPED: needs {what}");
        if !rustix::process::geteuid().is_root() {
            lacking("root");
            return None;
        }
        if !Path::new("/usr/bin/systemd-nspawn").exists() {
            lacking("the Debian package systemd-container");
            return None;
        }
        if !Path::new(&root).join(".made-for").exists() {
            lacking("a root file system; as root, tests/systemd/prepare makes it once");
            return None;
        }
        let held = ROOT.lock().unwrap_or_else(PoisonError::into_inner); // a test that failed has shut its machine down, too
        let log = tempfile::tempdir().unwrap();
        let console = fs::File::create(log.path().join("console")).unwrap();
        // It goes with this thread, should that be killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "systemd-nspawn", "--boot", "--volatile=overlay", "--keep-unit"]);
        command.args(["--register=no", "--private-network", "--console=pipe", "--link-journal=no"]);
        command.arg(format!("--machine=veild-test-{}", std::process::id())).arg("--directory").arg(&root);
        command.args(["--capability=CAP_BPF,CAP_PERFMON,CAP_SYS_RESOURCE", "--system-call-filter=bpf perf_event_open"]);
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").stdin(Stdio::null());
        command.stdout(console.try_clone().unwrap()).stderr(console);
        let mut machine = Machine { nspawn: command.spawn().unwrap(), leader: 0, log, _root: held };
        // The first child of nspawn only makes the second, which becomes process 1. Degraded will do: what failed is not ours.
        machine.wait_for("the end of the boot", |machine| {
            machine.leader = machine.child().unwrap_or(0);
            let state = machine.output("systemctl is-system-running --wait").stdout;
            state.starts_with(b"running") || state.starts_with(b"degraded")
        });
        Some(machine)
    }

    fn child(&self) -> Option<u32> {
        let id = self.nspawn.id();
        fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// A path of the machine as seen from here.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.leader))
    }

    pub fn write(&self, inside: &str, content: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Does something with the machine's network around it, such as opening a socket.
    pub fn in_its_network<T: Send>(&self, deed: impl FnOnce() -> T + Send) -> T {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.leader)).unwrap();
        let enter = || {
            use rustix::thread::LinkNameSpaceType;
            use std::os::fd::AsFd;
            rustix::thread::move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            deed()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }

    fn output(&self, script: &str) -> Output {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--all", "--target", &self.leader.to_string(), "env", "-i", "LC_ALL=C"]);
        nsenter.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", script]).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a shell command in the machine as root.
    pub fn run(&self, script: &str) -> String {
        let output = self.output(script);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} failed:\n{said}{errors}\n{}", self.journal());
        said
    }

    /// A property of the service.
    pub fn property(&self, name: &str) -> String {
        self.run(&format!("systemctl show --value --property {name} veild")).trim_end().to_owned()
    }

    pub fn journal(&self) -> String {
        String::from_utf8_lossy(&self.output("journalctl --no-pager --unit=veild").stdout).into_owned()
    }

    pub fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&mut Machine) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            if began.elapsed() > PATIENCE || self.nspawn.try_wait().unwrap().is_some() {
                let console = fs::read_to_string(self.log.path().join("console")).unwrap_or_default();
                panic!("waited in vain for {what};\n{console}\n{}", self.journal());
            }
            std::thread::sleep(Duration::from_millis(20)); // between two looks, not for luck
        }
    }
}

impl Drop for Machine {
    /// Shuts down; with nspawn killed, its first process would stay behind.
    fn drop(&mut self) {
        let send = |id: u32, signal| {
            let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
            let _ = id.map(|id| rustix::process::kill_process(id, signal)); // it may have ended by itself
        };
        send(self.nspawn.id(), rustix::process::Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.nspawn.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        send(self.leader, rustix::process::Signal::KILL);
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}
