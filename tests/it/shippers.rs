//! Shippers beside veild: the shipped configurations of rsyslog, carried out by the real one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use veild::audit::{Action, Outcome, Record, Trail, TrailOptions, Upkeep};
use veild::keys::SigningKey;

use crate::receivers::{Authority, Mood, Store};

/// Longest wait for anything; generous, because nothing is timed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records of one step: several segments.
const STEP: usize = 400;

pub fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/shippers").join(name)).unwrap()
}

/// Whether rsyslog is here with a module; says what is missing.
fn has_rsyslog(module: &str, package: &str) -> bool {
    let dirs = ["/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib64/rsyslog"];
    let is_there =
        Path::new("/usr/sbin/rsyslogd").exists() && dirs.iter().any(|dir| Path::new(dir).join(module).exists());
    if !is_there {
        println!("SKIPPED: needs the Debian packages rsyslog and {package}");
    }
    is_there
}

#[test]
fn the_shipped_configurations_of_rsyslog_are_in_order() {
    for (name, module, package) in [
        ("rsyslog-elasticsearch.conf", "omelasticsearch.so", "rsyslog-elasticsearch"),
        ("rsyslog-tls.conf", "lmnsd_gtls.so", "rsyslog-gnutls"),
    ] {
        if !has_rsyslog(module, package) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        // As Debian's rsyslog.conf does before it includes others.
        fs::write(&path, format!("global(workDirectory=\"/tmp\")\n{}", shipped(name))).unwrap();
        let checked = Command::new("/usr/sbin/rsyslogd").args(["-N1", "-f"]).arg(path).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && !said.contains("error") && !said.contains("warning"), "{name}: {said}");
    }
}

/// A trail of a writer of its own, in small segments.
pub struct Writer {
    pub dir: tempfile::TempDir,
    trail: Trail,
    written: usize,
}

impl Writer {
    pub fn new() -> Writer {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signing.key");
        veild::keys::generate_signing(&path).unwrap();
        let options = TrailOptions::keeping_all(dir.path().join("audit"), 30_000);
        let trail = Trail::open(options, SigningKey::load(&path).unwrap(), Timestamp::now()).unwrap();
        Writer { dir, trail, written: 0 }
    }

    pub fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    /// One step's records, in batches of several sizes.
    pub fn write(&mut self) {
        for batch in 0..STEP / 8 {
            let size = 1 + batch % 15;
            let records: Vec<Record> = (0..size)
                .map(|_| {
                    self.written += 1;
                    Record::new(Timestamp::now(), Action::FileSealed, Outcome::Success)
                        .file(format!("\"näme\" {}.csv", self.written))
                        .veild("object", "x".repeat(self.written % 700))
                })
                .collect();
            self.trail.append(&records).unwrap();
        }
    }

    /// Compresses all closed segments but the newest.
    pub fn compress(&mut self) {
        let mut steps = 0;
        while self.trail.upkeep(Timestamp::now()).unwrap() != Upkeep::Idle {
            steps += 1;
        }
        assert!(steps > 0, "there was nothing to compress");
    }

    /// What the shipper has said.
    fn log(&self) -> String {
        let logs = ["rsyslog.log", "filebeat.log"].map(|name| fs::read_to_string(self.dir.path().join(name)));
        logs.into_iter().flatten().collect()
    }

    /// Every line of the trail.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        veild::audit::each_line(&self.audit(), |line, _| {
            lines.push(String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned());
            Ok(())
        })
        .unwrap();
        lines
    }
}

/// Nothing is missing, nothing is changed, and what came twice is known by its id.
fn assert_all_arrived(writer: &Writer, store: &Store) {
    let held = store.held();
    let by_id = held.by_id();
    let lines: BTreeSet<String> = writer.lines().into_iter().collect();
    let arrived: BTreeSet<String> = by_id.values().map(|(line, _)| line.clone()).collect();
    assert_eq!(arrived.len(), by_id.len());
    assert!(arrived == lines, "{} of {} records", arrived.intersection(&lines).count(), lines.len());
}

#[track_caller]
pub fn all_arrived(writer: &Writer, store: &Store) {
    let began = Instant::now();
    while store.records() != writer.lines().len() {
        let (there, all) = (store.records(), writer.lines().len());
        assert!(began.elapsed() < PATIENCE, "{there} of {all} records:\n{}", writer.log());
        std::thread::sleep(Duration::from_millis(50)); // between two looks, not for luck
    }
}

#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20)); // between two looks, not for luck
    }
}

/// rsyslogd under a configuration of its own.
struct Rsyslog {
    child: Child,
}

impl Rsyslog {
    fn start(writer: &Writer, config: &str) -> Rsyslog {
        let at = |name: &str| writer.dir.path().join(name);
        fs::create_dir_all(at("work")).unwrap();
        let place = format!("global(workDirectory=\"{}\")\n", at("work").display());
        let config = config
            .replace("/var/log/veild/audit", &writer.audit().display().to_string())
            .replace("/var/log/", &format!("{}/", writer.dir.path().display()))
            .replace("action.resumeInterval=\"5\"", "action.resumeInterval=\"1\"");
        fs::write(at("rsyslog.conf"), place + &config).unwrap();
        let log = fs::File::options().create(true).append(true).open(at("rsyslog.log")).unwrap();
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.arg("-n").arg("-f").arg(at("rsyslog.conf")).arg("-i").arg(at("rsyslog.pid"));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Rsyslog { child }
    }

    /// Whether it has read every plain segment to its end.
    fn has_read_all(&self, writer: &Writer) -> bool {
        let of_process = |name: &str| PathBuf::from(format!("/proc/{}/{name}", self.child.id()));
        let mut unread: BTreeSet<PathBuf> =
            fs::read_dir(writer.audit()).unwrap().map(|entry| entry.unwrap().path()).collect();
        unread.retain(|path| path.extension().is_some_and(|it| it == "jsonl"));
        for entry in fs::read_dir(of_process("fd")).unwrap().flatten() {
            let Ok(path) = fs::read_link(entry.path()) else { continue };
            let info = of_process("fdinfo").join(entry.file_name());
            let info = fs::read_to_string(info).unwrap_or_default();
            let position = info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse::<u64>().ok());
            if position.is_some() && position == path.metadata().ok().map(|it| it.len()) {
                unread.remove(&path);
            }
        }
        unread.is_empty()
    }

    fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends again what Elasticsearch has refused; whether it has taken it.
fn resend(refused: &Path, store: &Store) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/shippers/elasticsearch-resend");
    let mut command = Command::new("sh");
    command.env("RSYSLOG_PID_FILE", refused.with_file_name("rsyslog.pid"));
    let ran = command.arg(script).arg(refused).arg(format!("http://{}", store.address)).output().unwrap();
    ran.status.success()
}

#[test]
fn rsyslog_carries_every_record_to_elasticsearch() {
    if !has_rsyslog("omelasticsearch.so", "rsyslog-elasticsearch") {
        return;
    }
    if ["jq", "curl"].iter().any(|tool| Command::new(tool).arg("--version").output().is_err()) {
        return println!("SKIPPED: needs the Debian packages curl and jq");
    }
    let store = Store::elasticsearch();
    let url = format!("server=\"http://{}\"", store.address);
    let config = shipped("rsyslog-elasticsearch.conf")
        .replace("server=\"https://localhost:9200\"", &url)
        .replace("indexTimeout=\"60000\"", "indexTimeout=\"3000\"");
    let mut writer = Writer::new();
    let rsyslog = Rsyslog::start(&writer, &config);
    // Rotations, and compression of what was read.
    writer.write();
    all_arrived(&writer, &store);
    writer.compress();
    // It refuses, which rsyslog takes for good: what was refused is sent again from its file.
    store.set(Mood::Refusing);
    writer.write();
    let refused = writer.dir.path().join("veild-elasticsearch-refused.log");
    let count = |path: &Path| fs::read_to_string(path).unwrap_or_default().matches("_id").count();
    let lacking = |writer: &Writer| writer.lines().len() - store.records();
    wait_for("the refusals", || count(&refused) == lacking(&writer));
    assert!(!resend(&refused, &store), "it refuses still");
    store.set(Mood::Well);
    assert!(resend(&refused, &store));
    all_arrived(&writer, &store);
    // It takes what comes and does not answer, and meanwhile segments are compressed that have been read.
    store.set(Mood::Stalled);
    writer.write();
    wait_for("a visit", || store.visits() > 0);
    wait_for("the reading", || rsyslog.has_read_all(&writer));
    writer.compress();
    store.set(Mood::Well);
    all_arrived(&writer, &store);
    // It breaks connections off; rsyslog is killed with records at hand, and more come before it is started again.
    store.set(Mood::Breaking);
    writer.write();
    wait_for("broken connections", || store.visits() > 1);
    drop(rsyslog);
    writer.write();
    store.set(Mood::Well);
    let rsyslog = Rsyslog::start(&writer, &config);
    all_arrived(&writer, &store);
    // It is stopped in order.
    rsyslog.stop();
    writer.write();
    let _rsyslog = Rsyslog::start(&writer, &config);
    all_arrived(&writer, &store);
    assert_all_arrived(&writer, &store);
    let arrived = store.held().arrived.len();
    assert!(arrived > store.records(), "a stalled store gets some twice: this test has seen none");
    // What came twice was refused, and stands in the file, too.
    assert!(resend(&refused, &store) && !refused.exists());
    assert!(!writer.dir.path().join("veild-elasticsearch-strays.log").exists());
}

#[test]
fn rsyslog_carries_every_record_to_a_syslog_server_over_tls() {
    if !has_rsyslog("lmnsd_gtls.so", "rsyslog-gnutls") {
        return;
    }
    let authority = Authority::new();
    let store = Store::syslog(authority.server(None));
    let mut writer = Writer::new();
    let ca = writer.dir.path().join("ca.pem");
    fs::write(&ca, &authority.pem).unwrap();
    let config = shipped("rsyslog-tls.conf")
        .replace("logs.example.com", "localhost")
        .replace("\"6514\"", &format!("\"{}\"", store.address.port()))
        .replace("/etc/rsyslog.d/logs-ca.pem", &ca.display().to_string());
    let rsyslog = Rsyslog::start(&writer, &config);
    writer.write();
    all_arrived(&writer, &store);
    writer.compress();
    // It ends the connection, and takes no other.
    store.set(Mood::Refusing);
    store.hang_up();
    writer.write();
    wait_for("the refusals", || store.visits() > 1);
    store.set(Mood::Well);
    all_arrived(&writer, &store);
    // It reads nothing, and meanwhile segments are compressed that have been read.
    store.set(Mood::Stalled);
    writer.write();
    wait_for("the reading", || rsyslog.has_read_all(&writer));
    writer.compress();
    store.set(Mood::Well);
    all_arrived(&writer, &store);
    // rsyslog is stopped in order with records at hand, and more come before it is started again.
    store.set(Mood::Stalled);
    writer.write();
    wait_for("the reading", || rsyslog.has_read_all(&writer));
    rsyslog.stop();
    writer.write();
    store.set(Mood::Well);
    let rsyslog = Rsyslog::start(&writer, &config);
    all_arrived(&writer, &store);
    // It is killed.
    store.set(Mood::Refusing);
    store.hang_up();
    writer.write();
    wait_for("the refusals", || store.visits() > 1);
    drop(rsyslog);
    store.set(Mood::Well);
    let _rsyslog = Rsyslog::start(&writer, &config);
    all_arrived(&writer, &store);
    assert_all_arrived(&writer, &store);
    assert!(!writer.dir.path().join("veild-tls-strays.log").exists());
}
