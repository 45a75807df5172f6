//! A large table through `veild mask` under a policy that asks for anonymity: wall time and peak memory.
//!
//! `cargo bench --bench anonymity -- [ROWS] [RUNS]` (default 1,000,000 rows of 6 quasi-identifiers, and 3 runs). Input and
//! output lie in /dev/shm.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const JOBS: [(&str, &str); 12] = [
    ("cook", "food"),
    ("baker", "food"),
    ("waiter", "food"),
    ("clerk", "office"),
    ("accountant", "office"),
    ("lawyer", "office"),
    ("nurse", "health"),
    ("physician", "health"),
    ("carer", "health"),
    ("smith", "craft"),
    ("mason", "craft"),
    ("painter", "craft"),
];

const POLICY: &str = r#"
column = [{ name = "id", mask = "hash" }, { name = "diagnosis", mask = "keep" }]
[anonymity]
k = 10
max_suppressed = 0.02
[[anonymity.quasi_identifier]]
column = "age"
widths = [5, 10, 20, 40]
[[anonymity.quasi_identifier]]
column = "zip"
prefixes = [4, 3, 2, 1]
[[anonymity.quasi_identifier]]
column = "admitted"
dates = ["month", "quarter", "year", "decade"]
[[anonymity.quasi_identifier]]
column = "sex"
[[anonymity.quasi_identifier]]
column = "job"
hierarchy = "JOBS"
[[anonymity.quasi_identifier]]
column = "children"
widths = [2, 4]
[[anonymity.sensitive]]
column = "diagnosis"
l = 3
t = 0.5
"#;

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let rows = numbers.first().copied().unwrap_or(1_000_000);
    let runs = numbers.get(1).copied().unwrap_or(3);
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is a tmpfs");
    let path = |name: &str| dir.path().join(name).to_str().expect("the path is ASCII").to_owned();
    generate(rows, Path::new(&path("patients.csv")));
    let jobs: String = JOBS.iter().map(|(job, field)| format!("{job};{field};*\n")).collect();
    fs::write(path("jobs.csv"), jobs).expect("there is room in /dev/shm");
    fs::write(path("policy.toml"), POLICY.replace("JOBS", &path("jobs.csv"))).expect("there is room in /dev/shm");
    let veild = env!("CARGO_BIN_EXE_veild");
    for (kind, name) in [("masking", "masking.key"), ("signing", "signing.key")] {
        measure(Command::new(veild).args(["key", "generate", kind, "--out", &path(name)]));
    }
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    for _ in 0..runs.max(1) {
        let (input, policy, masking, signing) =
            (path("patients.csv"), path("policy.toml"), path("masking.key"), path("signing.key"));
        let keys = ["--masking-key", &masking, "--signing-key", &signing];
        let (seconds, peak_kib) =
            measure(Command::new(veild).args(["mask", &input, "--policy", &policy, "-r", recipient]).args(keys));
        let receipt = fs::read_to_string(path("patients.csv.receipt.json")).expect("veild wrote it");
        let receipt: serde_json::Value = serde_json::from_str(&receipt).expect("it is JSON");
        println!(
            "{rows} rows: {seconds:.1} s, peak {} MB; k = {}, {} rows suppressed, levels {:?}",
            peak_kib / 1024,
            receipt["anonymity"]["k"],
            receipt["rows_suppressed"],
            receipt["anonymity"]["quasi_identifiers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| it["level"].as_u64().unwrap_or(0))
                .collect::<Vec<_>>()
        );
        for made in ["patients.csv.age", "patients.csv.receipt.json", "patients.csv.receipt.json.sig"] {
            fs::remove_file(path(made)).expect("veild wrote it");
        }
    }
}

/// Nearly as many different combinations as rows.
fn generate(rows: u64, path: &Path) {
    let mut text = String::with_capacity(rows as usize * 64);
    text.push_str("id,age,zip,admitted,sex,job,children,diagnosis\n");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for id in 0..rows {
        let age = 18 + next(40) + next(40);
        let (zip, year, month, day) = (10_000 + next(300) * 101, 2018 + next(6), 1 + next(12), 1 + next(28));
        let (sex, job, children) = (["f", "m"][next(2) as usize], JOBS[next(12) as usize].0, next(3) * next(3));
        let diagnosis = next(40) * next(2);
        let _ = writeln!(text, "{id},{age},{zip},{year}-{month:02}-{day:02},{sex},{job},{children},D{diagnosis:02}");
    }
    fs::write(path, text).expect("there is room in /dev/shm");
}

/// Seconds, and the highest resident memory in KiB.
fn measure(command: &mut Command) -> (f64, u64) {
    let began = Instant::now();
    let child = command.process_group(0).stdout(Stdio::null()).spawn();
    let pid = child.expect("the program starts").id();
    // SAFETY: rusage is plain data for which zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: both pointers are of live values, and the child is ours.
    let waited = unsafe { libc::wait4(pid as i32, &mut status, 0, &mut usage) };
    assert!(waited > 0 && status == 0, "the program failed");
    (began.elapsed().as_secs_f64(), usage.ru_maxrss as u64)
}
