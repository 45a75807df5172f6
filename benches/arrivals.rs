//! Small files through the running daemon: time to ready, a burst, the delay of single files, idle CPU, a backlog.
//!
//! `cargo bench --bench arrivals -- [BURST] [SINGLES] [BACKLOG]` (default 5,000, 500 and 100,000 files of 1 KB), with
//! landing, vault, audit trail and ledger below the folder that `TMPDIR` names: let it be on a disk, not a tmpfs.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let site = Site::new();
    let daemon = site.start();
    println!("ready after {:.0} ms", daemon.ready.as_secs_f64() * 1e3);
    idle(&daemon);
    singles(&site, number(1, 500));
    burst(&site, &daemon, number(0, 5_000));
    drop(daemon);
    backlog(&site, number(2, 100_000));
}

struct Site {
    dir: tempfile::TempDir,
    content: String,
}

struct Daemon {
    child: Child,
    ready: Duration,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// A line of /proc/PID/status, in KiB.
    fn memory_kib(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        line.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Processor time used so far, workers not counted.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the daemon runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|index| fields[*index].parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let made = Command::new(env!("CARGO_BIN_EXE_veild")).arg("init").arg(dir.path().join("site")).output();
        assert!(made.expect("veild starts").status.success());
        let site = Site { content: content(), dir };
        let config = fs::read_to_string(site.path("config.toml")).expect("init wrote it");
        fs::write(site.path("config.toml"), config.replace("quiet = \"1s\"", "quiet = \"0s\"")).expect("there is room");
        fs::create_dir(site.path("outside")).expect("there is room");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("site").join(name)
    }

    fn start(&self) -> Daemon {
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
        command.arg("--config").arg(self.path("config.toml")).arg("run").stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("veild starts");
        let socket = self.path("state/control.sock");
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Daemon { child, ready: began.elapsed() }
    }

    /// Writes files beside the landing, so that only their arrival is timed.
    fn prepare(&self, prefix: &str, count: usize) -> Vec<PathBuf> {
        let write = |index: usize| {
            let path = self.path("outside").join(format!("{prefix}{index}.csv"));
            fs::write(&path, &self.content).expect("there is room");
            path
        };
        (0..count).map(write).collect()
    }

    fn drop_in(&self, file: &Path) {
        fs::rename(file, self.path("landing").join(file.file_name().expect("it has a name"))).expect("one file system");
    }

    fn trail(&self) -> Trail {
        Trail { dir: self.path("audit"), at: 0, segment: PathBuf::new(), rest: Vec::new() }
    }
}

/// Follows the audit trail.
struct Trail {
    dir: PathBuf,
    segment: PathBuf,
    at: u64,
    rest: Vec<u8>,
}

impl Trail {
    /// Counts records of files sealed since the last look.
    fn sealed(&mut self) -> usize {
        let segments = fs::read_dir(&self.dir).expect("the trail is there").flatten().map(|entry| entry.path());
        let newest = segments.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).max().unwrap_or_default();
        let mut count = 0;
        if newest != self.segment {
            count += if self.segment.as_os_str().is_empty() { 0 } else { self.read() };
            (self.segment, self.at) = (newest, 0);
            self.rest.clear();
        }
        count + self.read()
    }

    fn read(&mut self) -> usize {
        let Ok(mut file) = fs::File::open(&self.segment) else { return 0 };
        file.seek(SeekFrom::Start(self.at)).expect("a file can be sought in");
        self.at += file.read_to_end(&mut self.rest).expect("the segment can be read") as u64;
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text: Vec<u8> = self.rest.drain(..whole).collect();
        String::from_utf8_lossy(&text).matches("\"action\":\"file.sealed\"").count()
    }

    fn wait_for(&mut self, count: usize) {
        let mut seen = 0;
        while seen < count {
            seen += self.sealed();
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

fn idle(daemon: &Daemon) {
    std::thread::sleep(Duration::from_secs(2));
    let (began, before) = (Instant::now(), daemon.cpu());
    std::thread::sleep(Duration::from_secs(20));
    let share = (daemon.cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("idle: {:.2} % of one processor, {} MB resident", share * 100.0, daemon.memory_kib("VmRSS:") / 1024);
}

fn singles(site: &Site, count: usize) {
    let mut trail = site.trail();
    trail.sealed();
    let mut delays: Vec<f64> = site
        .prepare("single", count)
        .iter()
        .map(|file| {
            std::thread::sleep(Duration::from_millis(20)); // 50 a second, into an idle daemon
            let began = Instant::now();
            site.drop_in(file);
            trail.wait_for(1);
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    let at = |share: usize| delays[(delays.len() * share / 100).min(delays.len() - 1)];
    println!("{count} single files, arrival to audit record: median {:.1} ms, p99 {:.1} ms", at(50), at(99));
}

fn burst(site: &Site, daemon: &Daemon, count: usize) {
    let mut trail = site.trail();
    trail.sealed();
    let files = site.prepare("burst", count);
    let began = Instant::now();
    files.iter().for_each(|file| site.drop_in(file));
    trail.wait_for(count);
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("burst of {count}: {rate:.0} files a second, daemon's peak {} MB", daemon.memory_kib("VmHWM:") / 1024);
}

fn backlog(site: &Site, count: usize) {
    site.prepare("backlog", count).iter().for_each(|file| site.drop_in(file));
    let mut trail = site.trail();
    trail.sealed();
    let began = Instant::now();
    let daemon = site.start();
    trail.wait_for(count);
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("backlog of {count}: {rate:.0} files a second, daemon's peak {} MB", daemon.memory_kib("VmHWM:") / 1024);
}

/// 1 KB.
fn content() -> String {
    let rows = (0..12).map(|row| {
        format!("{row},Ann,123-45-6789,a{row}@example.com,1987-04-12,US,some notes that make the line as long as lines are\n")
    });
    std::iter::once("id,name,ssn,email,dob,country,notes\n".to_owned()).chain(rows).collect()
}
