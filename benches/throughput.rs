//! A large table through `veild mask`, with the leak scan and without, beside the bare `age` command: ratios of wall time,
//! and peak memory.
//!
//! `cargo bench --bench throughput -- [ROWS] [RUNS]` (default 3,000,000 rows, 534 MB, and 5 runs). Input and output lie in
//! /dev/shm; needs Debian's `age`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const FIRST: [&str; 12] =
    ["Alice", "Bob", "Charlie", "Diana", "Eva", "Frank", "Grace", "Hector", "Ines", "José", "Łukasz", "Mei"];
const LAST: [&str; 10] =
    ["Smith", "Johnson", "Williams", "Brown", "Davis", "Müller", "O'Neil", "García", "Nguyen", "Kowalski"];
const WORDS: [&str; 8] =
    ["order", "delayed", "because", "customer", "refund", "please", "regarding", "billing address"];
const POLICY: &str = r#"
unlisted = "keep"
[[column]]
name = "email"
mask = "hash"
length = 24
[[column]]
names = ["ssn", "phone", "card"]
mask = "partial"
keep_last = 4
[[column]]
names = ["first_name", "last_name"]
mask = "redact"
text = "***"
[[column]]
name = "dob"
mask = "date"
to = "year"
"#;

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let rows = numbers.first().copied().unwrap_or(3_000_000);
    let runs = numbers.get(1).copied().unwrap_or(5);
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is a tmpfs");
    let path = |name: &str| dir.path().join(name).to_str().expect("the path is ASCII").to_owned();
    generate(rows, Path::new(&path("people.csv")));
    for (name, verify) in [("policy.toml", "block"), ("unscanned.toml", "off")] {
        let policy = format!("verify = {verify:?}\n{POLICY}");
        fs::write(path(name), policy).expect("there is room in /dev/shm");
    }
    let veild = env!("CARGO_BIN_EXE_veild");
    for (kind, name) in [("masking", "masking.key"), ("signing", "signing.key")] {
        measure(Command::new(veild).args(["key", "generate", kind, "--out", &path(name)]));
    }
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let (input, bare) = (path("people.csv"), path("bare.age"));
    let (mut walls, mut scans, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let mask = |policy: &str| {
        let (policy, masking, signing) = (path(policy), path("masking.key"), path("signing.key"));
        let keys = ["--masking-key", &masking, "--signing-key", &signing];
        let mut command = Command::new(veild);
        let measured = measure(command.args(["mask", &input, "--policy", &policy, "-r", recipient]).args(keys));
        for made in ["people.csv.age", "people.csv.receipt.json", "people.csv.receipt.json.sig"] {
            fs::remove_file(path(made)).expect("veild wrote it");
        }
        measured
    };
    for _ in 0..=runs {
        let (age_seconds, _) = measure(Command::new("age").args(["-r", recipient, "-o", &bare, &input]));
        let (seconds, peak_kib) = mask("policy.toml");
        let (unscanned_seconds, _) = mask("unscanned.toml");
        println!(
            "age {age_seconds:.3} s   veild {seconds:.3} s, unscanned {unscanned_seconds:.3} s   ratio {:.2}   peak {} MB",
            seconds / age_seconds,
            peak_kib / 1024
        );
        walls.push(seconds / age_seconds);
        scans.push(unscanned_seconds / seconds);
        peaks.push(peak_kib / 1024);
    }
    // The first pair warms up.
    let (mut walls, mut scans, mut peaks) = (walls.split_off(1), scans.split_off(1), peaks.split_off(1));
    walls.sort_by(f64::total_cmp);
    scans.sort_by(f64::total_cmp);
    peaks.sort_unstable();
    let bytes = fs::metadata(&input).expect("it is still there").len();
    println!(
        "{} MB, {rows} rows: median ratio to bare age {:.2}, {:.0} % of the throughput without the scan, peak {} MB",
        bytes / 1_000_000,
        walls[walls.len() / 2],
        scans[scans.len() / 2] * 100.0,
        peaks[peaks.len() / 2]
    );
}

/// Runs a command to its end: seconds of wall time and the largest resident set in KiB.
fn measure(command: &mut Command) -> (f64, i64) {
    let began = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
    let pid = child.expect("the command is installed").id();
    let mut status = 0;
    // SAFETY: rusage is plain data for which zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; the child is ours and is waited for only here.
    let waited = unsafe { libc::wait4(pid as i32, &mut status, 0, &mut usage) };
    assert!(waited == pid as i32 && status == 0, "{command:?} failed");
    (began.elapsed().as_secs_f64(), usage.ru_maxrss)
}

/// The reference table: 12 columns, names beyond ASCII, every tenth note quoted.
fn generate(rows: u64, path: &Path) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).expect("there is room in /dev/shm"));
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut line = String::from("id,first_name,last_name,ssn,email,phone,dob,zip,card,amount,country,notes\n");
    for row in 0..rows {
        file.write_all(line.as_bytes()).expect("there is room in /dev/shm");
        line.clear();
        let (first, last) = (FIRST[random(12) as usize], LAST[random(10) as usize]);
        let (quote, end) = if random(10) == 0 { ("\"", ", said \"\"ok\"\"\"") } else { ("", "") };
        let _ = write!(
            line,
            "{row:08},{first},{last},{:03}-{:02}-{:04},{}.{}{}@example.com,+1-{}-555-{:04},{}-{:02}-{:02},{:05},{},{}.{:02},US,{quote}",
            1 + random(898),
            1 + random(99),
            1 + random(9999),
            first.to_lowercase(),
            last.to_lowercase().replace('\'', ""),
            random(100_000),
            200 + random(700),
            random(10_000),
            1930 + random(75),
            1 + random(12),
            1 + random(28),
            random(99_999),
            4_000_000_000_000_000 + random(1 << 30) * 900_000,
            random(1000),
            random(100),
        );
        for _ in 0..8 {
            line.push_str(WORDS[random(8) as usize]);
            line.push(' ');
        }
        line.pop();
        line.push_str(end);
        line.push('\n');
    }
    file.write_all(line.as_bytes()).expect("there is room in /dev/shm");
    file.flush().expect("there is room in /dev/shm");
}
