//! More at once than the kernel's queue of events holds.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use super::faithful;

const QUEUE: &str = "/proc/sys/fs/inotify/max_queued_events";

/// The length of the kernel's queue, lowered; put back when dropped. Watchers keep the one they started with.
struct ShortQueue {
    before: String,
    /// Keeps other test runs on this machine from taking the lowered one for the original.
    _lock: File,
}

impl ShortQueue {
    fn set(length: u32) -> Option<ShortQueue> {
        let lock =
            File::options().create(true).truncate(false).write(true).open("/tmp/veild-test-inotify.lock").ok()?;
        rustix::fs::flock(lock.as_fd(), rustix::fs::FlockOperation::LockExclusive).ok()?;
        let before = fs::read_to_string(QUEUE).ok()?;
        fs::write(QUEUE, length.to_string()).ok()?;
        Some(ShortQueue { before, _lock: lock })
    }
}

impl Drop for ShortQueue {
    fn drop(&mut self) {
        fs::write(QUEUE, &self.before).unwrap();
    }
}

#[test]
fn five_thousand_files_at_once_with_a_queue_of_sixteen_events() {
    let sandbox = faithful("0s");
    // A file that only a sweep in its turn would find comes too late for this test.
    sandbox.edit_config("[[landing]]", "[[landing]]\nsweep = \"1h\"");
    let Some(short) = ShortQueue::set(16) else {
        return eprintln!("SKIPPED: needs {QUEUE} writable");
    };
    let daemon = sandbox.ready_daemon();
    drop(short);
    let landing = sandbox.site("landing");
    for index in 0..5_000 {
        let name = format!("{index}.csv");
        match index % 2 {
            0 => fs::write(landing.join(name), format!("id\n{index}\n")).unwrap(),
            _ => {
                let outside = sandbox.path(&name);
                fs::write(&outside, format!("id\n{index}\n")).unwrap();
                fs::rename(outside, landing.join(name)).unwrap();
            }
        }
    }
    sandbox.wait_for_sealed(5_000);
    let said = sandbox.log_lines("events_lost");
    assert!((1..=3).contains(&said), "said {said} times");
    daemon.stop();
    let names: std::collections::BTreeSet<String> =
        sandbox.receipts().iter().map(|it| it["original_name"].as_str().unwrap().to_owned()).collect();
    assert_eq!((names.len(), sandbox.receipts().len()), (5_000, 5_000));
    assert!(sandbox.landing_is_empty() && Path::new(QUEUE).exists());
    sandbox.assert_audit_holds();
}
