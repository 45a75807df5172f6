//! Everything at random for a while: uploads of all kinds, reloads, kills of daemon and workers, full disks, clock steps.
//!
//! `VEILD_SOAK_SECONDS` says for how long (12 where it is not set), `VEILD_SOAK_SEED` which way; both are printed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::mounts::{Mount, run};
use crate::sandbox::{Daemon, Sandbox};

const HEADER: &str = "id,name,ssn,email,dob,country,notes\n";
const ROW: &str = "1,Ann,123-45-6789,a@example.com,1987-04-12,US,\"two\nlines\"\n";
/// Each has a file system of its own, where one can be mounted, so that it can be filled.
const FILLED: [&str; 4] = ["landing", "vault", "audit", "state"];
/// At the least; what stays in the vault comes on top.
const DISK_BYTES: u64 = 192 << 20;
const DISK_BYTES_PER_SECOND: u64 = 512 << 10;
/// Every second of so many phases is calm: nothing ends the daemon, so that it would show what it does not let go.
const PHASES: u32 = 6;
const CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Uploads have serial numbers for names.
struct Soak {
    sandbox: Sandbox,
    daemon: Option<Daemon>,
    random: u64,
    uploads: u32,
    good: BTreeSet<String>,
    bad: BTreeSet<String>,
    /// Under way: the file and what is still to be written.
    slow: Vec<(fs::File, String)>,
    disks: Vec<Mount>,
    /// Whether there is a clock that can be set.
    clock: bool,
    extra_landing: bool,
    daemons: u32,
}

impl Soak {
    fn new(seconds: u64, seed: u64) -> Soak {
        let sandbox = Sandbox::new();
        let disks = FILLED
            .iter()
            .map_while(|name| disk(&sandbox.site(name), DISK_BYTES + seconds * DISK_BYTES_PER_SECOND))
            .collect();
        sandbox.edit_config("min_free = \"64MiB\"", "min_free = \"1MiB\"\nmax_attempts = 100");
        let clock = Path::new(CLOCK).exists();
        if !clock {
            println!("SKIPPED: clock steps, which need the Debian package libfaketime");
        }
        fs::write(sandbox.path("clock"), "+0").unwrap();
        Soak {
            sandbox,
            daemon: None,
            random: seed,
            uploads: 0,
            good: BTreeSet::new(),
            bad: BTreeSet::new(),
            slow: Vec::new(),
            disks,
            clock,
            extra_landing: false,
            daemons: 0,
        }
    }

    /// Xorshift: the same way again for the same seed.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn upload(&mut self) {
        self.uploads += 1;
        let name = format!("f{}.csv", self.uploads);
        let rows = [1, 30, 300][self.random(3) as usize];
        let content = format!("{HEADER}{}", ROW.repeat(rows));
        let landing = if self.extra_landing && self.random(4) == 0 { "extra" } else { "landing" };
        let to = self.sandbox.site(landing).join(&name);
        let way = self.random(7);
        let uploaded = match way {
            0 => fs::write(&to, format!("{content}1,ragged\n")),
            1 => fs::write(&to, content),
            2 => {
                let part = self.sandbox.site(landing).join(format!("{name}.part"));
                fs::write(&part, content).and_then(|()| fs::rename(part, &to))
            }
            3 => fs::File::create(&to).and_then(|mut file| {
                let (now, later) = content.split_at(content.len() / 2);
                file.write_all(now.as_bytes())?;
                self.slow.push((file, later.to_owned()));
                Ok(())
            }),
            // OpenSSH's plain rename.
            4 => {
                let part = self.sandbox.site(landing).join(format!("{name}.part"));
                fs::write(&part, content).and_then(|()| fs::hard_link(&part, &to)).and_then(|()| fs::remove_file(part))
            }
            _ => {
                let source = self.sandbox.path("source");
                let command = if way == 5 { "cp" } else { "mv" };
                fs::write(&source, content).and_then(|()| {
                    run(command, &[source.to_str().unwrap(), to.to_str().unwrap()])
                        .map(drop)
                        .map_err(std::io::Error::other)
                })
            }
        };
        uploaded.unwrap();
        if way == 0 {
            self.bad.insert(name)
        } else {
            self.good.insert(name)
        };
    }

    fn go_on_with_a_slow_upload(&mut self) {
        if !self.slow.is_empty() {
            let index = self.random(self.slow.len() as u64) as usize;
            let (mut file, rest) = self.slow.swap_remove(index);
            file.write_all(rest.as_bytes()).unwrap();
        }
    }

    fn start(&mut self) {
        self.daemons += 1;
        let mut command = Command::new(env!("CARGO_BIN_EXE_veild"));
        if self.clock {
            command.env("LD_PRELOAD", CLOCK).env("FAKETIME_TIMESTAMP_FILE", self.sandbox.path("clock"));
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        }
        self.daemon = Some(self.sandbox.daemon_by(command));
    }

    fn restart(&mut self, signal: Signal) {
        match self.daemon.take() {
            // Before it listens for signals, one ends it without ceremony.
            Some(daemon) if signal == Signal::TERM => {
                self.sandbox.wait_until_ready();
                daemon.stop();
            }
            killed => drop(killed),
        }
        self.start();
    }

    fn reload(&mut self) {
        // Before it listens, a signal ends it; nor must it find nonsense at its start.
        self.sandbox.wait_until_ready();
        let config = self.sandbox.site("config.toml");
        let text = fs::read_to_string(&config).unwrap();
        match self.random(4) {
            0 => fs::write(&config, text.replace("length = 24", "length = 26")).unwrap(),
            1 => fs::write(&config, text.replace("length = 26", "length = 24")).unwrap(),
            2 if !self.extra_landing => {
                self.sandbox.add_landing("extra", "quiet = \"0s\"");
                self.extra_landing = true;
            }
            _ => {
                fs::write(&config, format!("{text}\nnonsense")).unwrap();
                self.daemon.as_ref().unwrap().signal(Signal::HUP);
                self.wait_a_moment();
                fs::write(&config, text).unwrap();
            }
        }
        self.daemon.as_ref().unwrap().signal(Signal::HUP);
    }

    fn kill_a_worker(&mut self) {
        let workers = self.daemon.as_ref().unwrap().workers();
        if !workers.is_empty() {
            let worker = workers[self.random(workers.len() as u64) as usize];
            let _ = kill_process(worker, Signal::KILL); // it may have ended by itself
        }
    }

    /// Not the landing's: its uploaders would see that first, and what they do then is theirs.
    fn fill_a_disk(&mut self) {
        if self.disks.len() < FILLED.len() {
            return;
        }
        let name = FILLED[1 + self.random(3) as usize];
        let filler = self.sandbox.site(name).join(".filler");
        let file = fs::File::create(&filler).unwrap();
        let mut step = 16 << 20;
        let mut length = 0;
        while step > 0 {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), length, step) {
                Ok(()) => length += step,
                Err(_) => step /= 2,
            }
        }
        for _ in 0..5 {
            self.upload();
        }
        self.wait_a_moment();
        fs::remove_file(filler).unwrap();
    }

    fn step_the_clock(&mut self) {
        let hours = self.random(60) as i64 - 30;
        fs::write(self.sandbox.path("clock"), format!("{:+}h", hours)).unwrap();
    }

    /// Pauses are part of the random input.
    fn wait_a_moment(&mut self) {
        std::thread::sleep(Duration::from_millis(self.random(400)));
    }

    fn act(&mut self, calm: bool) {
        match self.random(100) {
            0..60 => self.upload(),
            60..75 => self.go_on_with_a_slow_upload(),
            75..79 => self.reload(),
            79..82 if !calm => self.restart(Signal::KILL),
            82..84 if !calm => self.restart(Signal::TERM),
            84..86 => self.kill_a_worker(),
            86 => self.fill_a_disk(),
            87 => self.step_the_clock(),
            _ => self.wait_a_moment(),
        }
    }

    fn act_for(&mut self, time: Duration, calm: bool) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.act(calm);
        }
    }

    /// A while without an end of the daemon; it must not grow.
    fn calm(&mut self, time: Duration) {
        self.act_for(time / 4, true);
        let before = self.size();
        self.act_for(time * 3 / 4, true);
        let after = self.size();
        println!("resident KiB and open files: from {before:?} to {after:?} in {:?}", time * 3 / 4);
        assert!(after.0 <= before.0 + 16 * 1024, "the daemon grows");
        assert!(after.1 <= before.1 + 16, "the daemon does not let files go");
    }

    fn size(&mut self) -> (u64, usize) {
        while !self.slow.is_empty() {
            self.go_on_with_a_slow_upload();
        }
        self.wait_for_rest();
        self.daemon.as_ref().unwrap().size()
    }

    fn wait_for_rest(&self) {
        self.sandbox.wait_for("empty landings", || {
            ["landing", "extra"].iter().all(|name| !self.sandbox.site(name).exists() || self.sandbox.is_empty(name))
        });
    }

    fn assert_all_accounted(&self) {
        let names = |values: Vec<serde_json::Value>| {
            let name = |value: &serde_json::Value| value["original_name"].as_str().unwrap().to_owned();
            let mut names: Vec<String> = values.iter().map(name).collect();
            names.sort();
            names
        };
        let sorted = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        assert_eq!(names(self.sandbox.receipts()), sorted(&self.good));
        assert_eq!(names(self.sandbox.quarantined()), sorted(&self.bad));
        let identity = self.sandbox.site("identity.txt");
        let verdict = self.sandbox.json(&["vault", "verify", "-i", identity.to_str().unwrap()]);
        assert_eq!(verdict["problems"].as_array().unwrap().len(), 0, "{verdict}");
        self.sandbox.assert_audit_holds();
    }
}

/// A file system below a directory of the site, which keeps what it holds and its mode.
fn disk(at: &Path, bytes: u64) -> Option<Mount> {
    let mode = run("stat", &["-c", "%a", at.to_str().unwrap()]).unwrap();
    let held = at.with_extension("held");
    run("cp", &["-a", at.to_str().unwrap(), held.to_str().unwrap()]).unwrap();
    let mount = Mount::tmpfs(at, &format!("size={bytes},mode={mode}"))?;
    run("cp", &["-a", &format!("{}/.", held.display()), at.to_str().unwrap()]).unwrap();
    Some(mount)
}

#[test]
fn everything_at_random_loses_and_doubles_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = number("VEILD_SOAK_SECONDS").unwrap_or(12);
    let seed = number("VEILD_SOAK_SEED").unwrap_or(0x2545_F491_4F6C_DD1D);
    println!("VEILD_SOAK_SECONDS={seconds} VEILD_SOAK_SEED={seed}");
    let mut soak = Soak::new(seconds, seed);
    soak.start();
    let phase = Duration::from_secs(seconds) / PHASES;
    for _ in 0..PHASES / 2 {
        soak.act_for(phase, false);
        soak.calm(phase);
    }
    soak.restart(Signal::TERM);
    soak.wait_for_rest();
    soak.restart(Signal::TERM);
    soak.sandbox.wait_until_ready();
    soak.daemon.take().unwrap().stop();
    println!("{} files good, {} bad, {} daemons", soak.good.len(), soak.bad.len(), soak.daemons);
    soak.assert_all_accounted();
}
