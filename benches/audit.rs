//! The audit trail: how fast it is written and verified, and its share of a burst of small files.
//!
//! `cargo bench --bench audit -- [MEGABYTES] [BURST]` (default 1,000 MB and 5,000 files of 1 KB), below the folder that
//! `TMPDIR` names: let it be on a disk, not a tmpfs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use veild::audit::{Action, Outcome, Record, Trail, TrailOptions, Upkeep};
use veild::daemon::{control, event::Request};
use veild::keys::SigningKey;

/// Records that are appended together.
const BATCH: u64 = 64;

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    written_and_verified(number(0, 1000) * 1_000_000);
    burst(number(1, 5000));
}

fn written_and_verified(bytes: u64) {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let key = dir.path().join("signing.key");
    veild::keys::generate_signing(&key).expect("there is room");
    let key = SigningKey::load(&key).expect("it was just made");
    let options = TrailOptions::keeping_all(dir.path().join("audit"), 64 << 20);
    let audit = options.dir.clone();
    let mut trail = Trail::open(options, key.clone(), Timestamp::now()).expect("there is room");
    let (began, mut spent) = (Instant::now(), Duration::ZERO);
    let size = || -> u64 {
        let entries = fs::read_dir(&audit).expect("the trail is there").flatten();
        entries.map(|entry| entry.metadata().map_or(0, |it| it.len())).sum()
    };
    while size() < bytes {
        for _ in 0..200 {
            let records: Vec<Record> = (0..BATCH).map(record).collect();
            let at = Instant::now();
            trail.append(&records).expect("there is room");
            spent += at.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(600), "the disk is too slow for this size");
    }
    let (bytes, records) = (size() as f64, trail.last_seq() as f64);
    let cost = spent.as_secs_f64() / records * 1e6;
    println!("appended: {:.0} bytes a record, {cost:.0} us each in batches of {BATCH}", bytes / records);
    let verify = |how: &str| {
        let began = Instant::now();
        let verdict = veild::audit::verify(&audit, &key.verifying(), &|_, _| {}).expect("it can be read");
        assert!(verdict.problems.is_empty() && verdict.records as f64 >= records);
        println!("verified {how}: {:.0} MB/s", bytes / began.elapsed().as_secs_f64() / 1e6);
    };
    verify("plain");
    while trail.upkeep(Timestamp::now()).expect("there is room") != Upkeep::Idle {}
    println!("compressed to {:.0} %", size() as f64 / bytes * 100.0);
    verify("compressed");
}

/// As one of a sealed file.
fn record(number: u64) -> Record {
    let job = format!("01M86GK5SGQ7X3HTBS5V{number:06}");
    let digest = "5d2a8f0c".repeat(8);
    Record::new(Timestamp::now(), Action::FileSealed, Outcome::Success)
        .field("file", json!({"name": format!("people-{number}.csv"), "size": 1024 + number}))
        .veild("job", job.clone())
        .veild("landing", "people")
        .veild("arrived_at", Timestamp::now().to_string())
        .veild("claimed_at", Timestamp::now().to_string())
        .veild("sealed_at", Timestamp::now().to_string())
        .veild("rows_in", 12)
        .veild("rows_out", 12)
        .veild("object", format!("people/2026/11/24/people-{number}.{job}.csv.age"))
        .veild("object_sha256", digest.clone())
        .veild("receipt_sha256", digest.clone())
        .veild("policy", json!({"name": "people", "sha256": digest}))
}

/// A burst into a running daemon, which counts what its audit trail costs.
fn burst(count: u64) {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let site = dir.path().join("site");
    let veild = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(veild(&["init".as_ref(), site.as_os_str()]).status().expect("veild starts").success());
    let config = site.join("config.toml");
    let text = fs::read_to_string(&config).expect("init wrote it");
    fs::write(&config, text.replace("quiet = \"1s\"", "quiet = \"0s\"")).expect("there is room");
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("there is room");
    let rows = "1,Ann,123-45-6789,a@example.com,1987-04-12,US,some notes that make the line as long as lines are\n";
    let content = format!("id,name,ssn,email,dob,country,notes\n{}", rows.repeat(11));
    (0..count).for_each(|number| fs::write(outside.join(number.to_string()), &content).expect("there is room"));
    let arguments = ["--config".as_ref(), config.as_os_str(), "run".as_ref()];
    let mut daemon = veild(&arguments).spawn().expect("veild starts");
    let status = || control::ask(&site.join("state"), &Request::Status).ok().flatten();
    let before = wait_for(&status, |_| true);
    let began = Instant::now();
    for number in 0..count {
        let to = site.join("landing").join(format!("{number}.csv"));
        fs::rename(Path::new(&outside).join(number.to_string()), to).expect("one file system");
    }
    let after = wait_for(&status, |status| status["counts"]["sealed"].as_u64() >= Some(count));
    let took = began.elapsed().as_secs_f64();
    let spent = |status: &Value| status["audit"]["append_seconds"].as_f64().expect("it is told");
    let share = (spent(&after) - spent(&before)) / took * 100.0;
    println!(
        "burst of {count}: {:.0} files a second, {share:.1} % of the time in the audit trail",
        count as f64 / took
    );
    let _ = daemon.kill();
    let _ = daemon.wait();
}

fn wait_for(status: &dyn Fn() -> Option<Value>, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        match status() {
            Some(status) if is_so(&status) => return status,
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
