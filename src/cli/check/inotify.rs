//! Limits of the kernel on watches.

use std::path::Path;

use super::Finding;
use crate::config::Config;

/// Directories that are counted below the landings; whoever has more needs no exact number.
const MAX_COUNTED: u64 = 1_000_000;
/// Events in one burst that should fit.
const LEAST_QUEUE: u64 = 4096;

struct Limits {
    watches: u64,
    queued: u64,
}

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let limit = |name: &str| {
        let text = std::fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name)).ok()?;
        text.trim().parse().ok()
    };
    let (Some(watches), Some(queued)) = (limit("max_user_watches"), limit("max_queued_events")) else {
        return Vec::new(); // not shown here
    };
    let recursive = config.landings.iter().filter(|landing| landing.recursive);
    let below: u64 = recursive.map(|landing| directories_below(&landing.dir)).sum();
    judge(&Limits { watches, queued }, config.landings.len() as u64 + below)
}

fn directories_below(dir: &Path) -> u64 {
    let (mut count, mut waiting) = (0, vec![dir.to_owned()]);
    while let Some(dir) = waiting.pop() {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let before = waiting.len();
        waiting.extend(directories.map(|entry| entry.path()));
        count += (waiting.len() - before) as u64;
        if count >= MAX_COUNTED {
            break;
        }
    }
    count
}

fn judge(limits: &Limits, needed: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let raise = |name: &str, to: u64| {
        format!("echo 'fs.inotify.{name} = {to}' >> /etc/sysctl.d/60-veild.conf && sysctl --system")
    };
    // The limit holds for all programs of a user; some room is left for others.
    if needed.saturating_mul(10) > limits.watches.saturating_mul(9) {
        let what = format!(
            "the landings have {needed} directories to watch, and fs.inotify.max_user_watches is {}: files would be found by sweeps only",
            limits.watches
        );
        findings.push(Finding::error(what).mend(raise("max_user_watches", (needed * 2).next_power_of_two())));
    }
    if limits.queued < LEAST_QUEUE {
        let what = format!(
            "fs.inotify.max_queued_events is {}: bursts of files lose events, and are found by sweeps",
            limits.queued
        );
        findings.push(Finding::warning(what).mend(raise("max_queued_events", 16384)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_too_low_are_raised_with_room_to_spare() {
        assert!(judge(&Limits { watches: 8192, queued: 16384 }, 7000).is_empty());
        let findings = judge(&Limits { watches: 8192, queued: 16 }, 8000);
        let mends: Vec<&str> = findings.iter().filter_map(|finding| finding.mend.as_deref()).collect();
        assert_eq!(mends.len(), 2);
        assert!(mends[0].contains("'fs.inotify.max_user_watches = 16384'"), "{mends:?}");
        assert!(mends[1].contains("'fs.inotify.max_queued_events = 16384'"), "{mends:?}");
    }

    #[test]
    fn directories_are_counted_all_the_way_down() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::fs::create_dir_all(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(directories_below(dir.path()), 4);
    }
}
