//! A site in a temporary folder, driven through the real binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use age::secrecy::ExposeSecret;
use serde_json::Value;

/// Longest wait for anything; generous, because nothing is timed.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Sandbox {
    pub dir: tempfile::TempDir,
}

impl Sandbox {
    /// A site as `veild init` makes it, with `quiet` short.
    pub fn new() -> Sandbox {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox { dir };
        let made = sandbox.bare(&["init", sandbox.path("site").to_str().unwrap(), "--store-identity"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        sandbox.edit_config("quiet = \"1s\"", "quiet = \"0s\"");
        sandbox
    }

    /// A site that an earlier version left behind, as `tests/fixtures/<name>/README.md` describes it.
    pub fn from_fixture(name: &str) -> Sandbox {
        let sandbox = Sandbox { dir: tempfile::tempdir().unwrap() };
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("site");
        for from in files_below(&fixture) {
            let to = sandbox.site("").join(from.strip_prefix(&fixture).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let config = sandbox.site("config.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("@SITE@", sandbox.path("site").to_str().unwrap())).unwrap();
        sandbox
    }

    /// Adds a view `statistics` with readers of its own, who see `country` and the decade of `dob`.
    pub fn add_view(&self) {
        let identity = age::x25519::Identity::generate();
        fs::write(self.site("statistics.txt"), identity.to_string().expose_secret()).unwrap();
        let view = format!(
            "[[landing.view]]\nname = \"statistics\"\npolicy = \"coarse\"\nrecipients = [\"{}\"]\n\n\
             [policy.coarse]\nunlisted = \"drop\"\n\n[[policy.coarse.column]]\nname = \"country\"\nmask = \"keep\"\n\n\
             [[policy.coarse.column]]\nname = \"dob\"\nmask = \"date\"\nto = \"decade\"\n\n",
            identity.to_public()
        );
        self.edit_config("[policy.people]", &format!("{view}[policy.people]"));
    }

    /// Archives the originals for a reader of their own, whose identity is in `archive.txt`.
    pub fn archive_originals(&self) {
        let identity = age::x25519::Identity::generate();
        fs::write(self.site("archive.txt"), identity.to_string().expose_secret()).unwrap();
        let keys = format!("after = \"archive\"\narchive_recipients = [\"{}\"]\nquiet = ", identity.to_public());
        self.edit_config("quiet = ", &keys);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn site(&self, name: &str) -> PathBuf {
        self.path("site").join(name)
    }

    pub fn edit_config(&self, from: &str, to: &str) {
        let path = self.site("config.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "the configuration holds no {from:?}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }

    /// A further landing with its own directory, and the policy and recipients of the first.
    pub fn add_landing(&self, name: &str, keys: &str) {
        let path = self.site("config.toml");
        let text = fs::read_to_string(&path).unwrap();
        let recipients = text.lines().find(|line| line.starts_with("recipients = ")).unwrap();
        let dir = self.site(name);
        fs::create_dir(&dir).unwrap();
        let landing = format!("name = {name:?}\ndir = {dir:?}\npolicy = \"people\"\n{recipients}\n{keys}\n");
        fs::write(&path, format!("{text}\n[[landing]]\n{landing}")).unwrap();
    }

    fn bare(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_veild")).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command of this site to its end.
    pub fn veild(&self, arguments: &[&str]) -> Output {
        let config = self.site("config.toml");
        let mut all = vec!["--config", config.to_str().unwrap()];
        all.extend(arguments);
        self.bare(&all)
    }

    /// The output of `veild mask` for a file under a policy of its own, or what it says.
    pub fn masked(&self, policy: &str, name: &str, content: &str) -> Result<String, String> {
        fs::write(self.path("policy.toml"), policy).unwrap();
        fs::write(self.path(name), content).unwrap();
        let (file, policy) = (self.path(name), self.path("policy.toml"));
        let arguments =
            ["mask", file.to_str().unwrap(), "--policy", policy.to_str().unwrap(), "-o", "-", "--plaintext"];
        let output = self.veild(&arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Runs a command that a named fault ends.
    pub fn veild_until(&self, fault: &str, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
        command.env("VEILD_FAULT", fault).arg("--config").arg(self.site("config.toml")).args(arguments);
        let ended = command.stdin(Stdio::null()).output().unwrap().status;
        assert_eq!(ended.signal(), Some(9), "{fault} was never reached");
    }

    /// A query's answer.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.veild(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{arguments:?} said: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Drops a finished file, as `mv` on the same file system does.
    pub fn drop_file(&self, name: &str, content: impl AsRef<[u8]>) {
        let outside = self.path("outside");
        fs::write(&outside, content).unwrap();
        fs::rename(&outside, self.site("landing").join(name)).unwrap();
    }

    /// Handles all that is there with `run --once`.
    pub fn run_until_idle(&self) {
        let output = self.veild(&["run", "--once"]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "the daemon failed:\n{log}");
    }

    pub fn daemon(&self) -> Daemon {
        self.daemon_with(&[])
    }

    /// The daemon in the background, watching.
    pub fn ready_daemon(&self) -> Daemon {
        let daemon = self.daemon();
        self.wait_until_ready();
        daemon
    }

    pub fn wait_until_ready(&self) {
        // It answers only once its loop runs, and the loop runs only once everything is watched.
        let ask = || veild::daemon::control::ask(&self.site("state"), &veild::daemon::event::Request::Status);
        self.wait_for("the daemon", || ask().is_ok_and(|answer| answer.is_some()));
    }

    /// The daemon in the background, which a named fault may end.
    pub fn daemon_with_fault(&self, fault: Option<&str>) -> Daemon {
        let environment: Vec<_> = fault.map(|fault| ("VEILD_FAULT", fault)).into_iter().collect();
        self.daemon_with(&environment)
    }

    /// The daemon in the background, with something in its environment (`src/faults.rs` says what there is).
    pub fn daemon_with(&self, environment: &[(&str, &str)]) -> Daemon {
        let mut command = self.run_command();
        command.envs(environment.iter().copied());
        Daemon { child: command.spawn().unwrap() }
    }

    /// The daemon in the background, kept at a named point for as long as this site's file `hold` exists.
    pub fn daemon_held_at(&self, point: &str) -> Daemon {
        let hold = self.path("hold");
        fs::write(&hold, "").unwrap();
        let mut command = self.run_command();
        command.env("VEILD_HOLD", format!("{point}={}", hold.display()));
        Daemon { child: command.spawn().unwrap() }
    }

    /// Lets a daemon that is held go on.
    pub fn let_go(&self) {
        fs::remove_file(self.path("hold")).unwrap();
    }

    /// The daemon as a program of ours starts it, which is given veild's arguments at its end.
    pub fn daemon_by(&self, program: Command) -> Daemon {
        Daemon { child: self.with_run(program).spawn().unwrap() }
    }

    fn run_command(&self) -> Command {
        self.with_run(Command::new(env!("CARGO_BIN_EXE_veild")))
    }

    fn with_run(&self, mut command: Command) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.path("veild.log")).unwrap();
        command.arg("--config").arg(self.site("config.toml")).arg("run").stdin(Stdio::null()).stderr(log);
        command
    }

    /// Lets rejected originals be sealed to the site's own identity.
    pub fn seal_quarantine(&self) {
        let config = fs::read_to_string(self.site("config.toml")).unwrap();
        let recipients = config.lines().find(|line| line.starts_with("recipients = ")).unwrap().to_owned();
        self.edit_config("[[landing]]", &format!("[quarantine]\n{recipients}\n\n[[landing]]"));
    }

    /// The ledger's rows, oldest job first; a running daemon has it for itself.
    pub fn ledger(&self) -> Vec<LedgerRow> {
        let db = rusqlite::Connection::open(self.site("state/ledger.sqlite")).unwrap();
        let mut select = db.prepare("SELECT state, died, interrupted FROM jobs ORDER BY job").unwrap();
        let rows = select
            .query_map([], |row| Ok(LedgerRow { state: row.get(0)?, died: row.get(1)?, interrupted: row.get(2)? }));
        rows.unwrap().map(Result::unwrap).collect()
    }

    pub fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10)); // between two looks, not for luck
        }
    }

    /// What the daemons of this site have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("veild.log")).unwrap_or_default()
    }

    /// Number of log lines with this code.
    pub fn log_lines(&self, code: &str) -> usize {
        self.log().lines().filter(|line| line.contains(&format!("code=\"{code}\""))).count()
    }

    /// Waits until the running daemon has sealed this many files.
    pub fn wait_for_sealed(&self, count: usize) {
        self.wait_for(&format!("{count} sealed files"), || self.counts("sealed") >= count as u64);
    }

    /// What the running daemon has counted.
    pub fn counts(&self, what: &str) -> u64 {
        self.status()["counts"][what].as_u64().unwrap_or(0)
    }

    /// As `veild status --json`, without starting a process.
    pub fn status(&self) -> Value {
        let answer = veild::daemon::control::ask(&self.site("state"), &veild::daemon::event::Request::Status);
        answer.unwrap().expect("the daemon runs")
    }

    /// Masked contents of all objects whose originals had this name, oldest first.
    pub fn contents_of(&self, original_name: &str) -> Vec<Vec<u8>> {
        let receipts = self.receipts();
        let of_name = receipts.iter().filter(|it| it["original_name"] == original_name);
        of_name.map(|it| self.open(it["job"].as_str().unwrap())).collect()
    }

    fn open(&self, job: &str) -> Vec<u8> {
        let identity = self.site("identity.txt");
        let output = self.veild(&["vault", "open", job, "-i", identity.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Receipts in the vault, oldest first.
    pub fn receipts(&self) -> Vec<Value> {
        let list = self.json(&["vault", "list"]);
        list.as_array().unwrap().iter().map(|entry| entry["receipt"].clone()).collect()
    }

    /// Masked content of the only object whose original had this name.
    pub fn vault_plaintext(&self, original_name: &str) -> Vec<u8> {
        let receipts = self.receipts();
        let is_main = |it: &&Value| it["original_name"] == original_name && it["view"].is_null();
        let of_name: Vec<_> = receipts.iter().filter(is_main).collect();
        assert_eq!(of_name.len(), 1, "objects of {original_name} in {receipts:?}");
        self.open(of_name[0]["job"].as_str().unwrap())
    }

    /// Reasons in quarantine, oldest first.
    pub fn quarantined(&self) -> Vec<Value> {
        self.json(&["quarantine", "list"]).as_array().unwrap().clone()
    }

    /// All audit records.
    pub fn audit(&self) -> Vec<Value> {
        let output = self.veild(&["audit", "tail", "-n", "1000000", "--json"]);
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn assert_audit_holds(&self) {
        let verdict = self.json(&["audit", "verify"]);
        assert_eq!(verdict["problems"].as_array().unwrap().len(), 0, "{verdict}");
    }

    pub fn landing_is_empty(&self) -> bool {
        self.is_empty("landing")
    }

    /// Whether a landing and its spool hold nothing.
    pub fn is_empty(&self, landing: &str) -> bool {
        let held = |dir: &Path| {
            fs::read_dir(dir).map_or(0, |it| it.filter(|it| it.as_ref().unwrap().file_name() != ".veild").count())
        };
        held(&self.site(landing)) == 0 && held(&self.site(landing).join(".veild")) == 0
    }
}

impl Drop for Sandbox {
    /// Whatever a test was about: what veild wrote meanwhile keeps to the schema.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            crate::ecs::assert_conforms(&self.site("audit"));
        }
    }
}

#[derive(Debug)]
pub struct LedgerRow {
    pub state: String,
    pub died: u32,
    pub interrupted: u32,
}

/// Every file below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The letter that the kernel gives for a process' state.
pub fn state_of(process: rustix::process::Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub struct Daemon {
    child: Child,
}

impl Daemon {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its worker processes.
    pub fn workers(&self) -> Vec<rustix::process::Pid> {
        let ours = format!("\nPPid:\t{}\n", self.child.id());
        let processes = fs::read_dir("/proc").unwrap().filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok());
        let is_ours = |id: &i32| fs::read_to_string(format!("/proc/{id}/status")).is_ok_and(|it| it.contains(&ours));
        processes.filter(is_ours).filter_map(rustix::process::Pid::from_raw).collect()
    }

    /// Resident KiB and open files.
    pub fn size(&self) -> (u64, usize) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib = resident.trim().split(' ').next().unwrap().parse().unwrap();
        (kib, fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count())
    }

    /// Whether any readable byte of its memory holds this.
    pub fn memory_holds(&self, wanted: &[u8]) -> bool {
        use std::os::unix::fs::FileExt;
        let of = |name: &str| format!("/proc/{}/{name}", self.child.id());
        let memory = fs::File::open(of("mem")).unwrap();
        let maps = fs::read_to_string(of("maps")).unwrap();
        let regions = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")));
        let mut found = false;
        for region in regions {
            let (start, end) = region.split(' ').next().unwrap().split_once('-').unwrap();
            let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            let read = memory.read_at(&mut bytes, start).unwrap_or(0);
            found |= bytes[..read].windows(wanted.len()).any(|window| window == wanted);
        }
        found
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to drain and stop, and checks that it did so cleanly.
    pub fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
