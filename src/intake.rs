//! Is this file finished? Pure: what was seen, the clock and the landing's rules come in, a decision goes out.
//!
//! Events and sweeps only feed [`Candidate`]; the last word on open writers has the lease test at the claim.

use std::time::Duration;

use crate::config::Complete;

/// What `lstat` says of a path, as far as intake cares. Times are nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub kind: Kind,
    pub bytes: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    pub links: u64,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Regular,
    Directory,
    /// Symbolic link, FIFO, socket or device: never followed, never opened.
    Irregular,
}

/// What made us look at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Closed after writing.
    Closed,
    /// Renamed in.
    Renamed,
    /// Something else happened to it: created, written, linked.
    Touched,
    /// A sweep came by.
    Swept,
    /// The wait that [`decide`] asked for is over.
    Due,
}

/// Clocks at one observation.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic.
    pub monotonic: Duration,
    /// Nanoseconds since the epoch.
    pub wall_ns: i128,
}

/// A file in a landing that is not claimed yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub stat: Stat,
    /// Monotonic time since which nothing is known to have happened to it.
    pub quiet_since: Duration,
    /// When it was first seen, nanoseconds since the epoch.
    pub arrived_ns: i128,
    pub renamed_in: bool,
    /// Sweeps in a row that found it unchanged.
    pub unchanged_sweeps: u32,
}

/// The landing's rules.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub complete: Complete,
    pub quiet: Duration,
    pub sweep: Duration,
}

/// What to do with a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Claim,
    /// Look again at this monotonic time, or earlier when something happens.
    Wait {
        until: Duration,
    },
    /// Look again when something happens or a sweep comes by.
    Idle,
}

/// Adds an observation to what is known of a file.
pub fn observe(known: Option<Candidate>, now: Now, hint: Hint, stat: Stat) -> Candidate {
    let Some(mut candidate) = known else {
        return Candidate {
            stat,
            quiet_since: first_quiet_since(now, hint, stat),
            arrived_ns: now.wall_ns,
            renamed_in: hint == Hint::Renamed,
            unchanged_sweeps: u32::from(hint == Hint::Swept),
        };
    };
    let unchanged = candidate.stat == stat;
    if !unchanged || matches!(hint, Hint::Closed | Hint::Renamed | Hint::Touched) {
        candidate.quiet_since = now.monotonic;
    }
    candidate.unchanged_sweeps = match (unchanged, hint) {
        (true, Hint::Swept) => candidate.unchanged_sweeps.saturating_add(1),
        (true, _) => candidate.unchanged_sweeps,
        (false, Hint::Swept) => 1,
        (false, _) => 0,
    };
    candidate.renamed_in |= hint == Hint::Renamed;
    candidate.stat = stat;
    candidate
}

/// A file found by a sweep has been quiet since its last change of any kind, which only ctime tells; a clock that was
/// set back must not make it look older than it is known to be.
fn first_quiet_since(now: Now, hint: Hint, stat: Stat) -> Duration {
    if hint != Hint::Swept {
        return now.monotonic;
    }
    let age_ns = u64::try_from(now.wall_ns - stat.ctime_ns).unwrap_or(0);
    now.monotonic.saturating_sub(Duration::from_nanos(age_ns))
}

/// Decides what to do with a candidate; `marker_there` says whether its marker exists.
pub fn decide(candidate: &Candidate, now: Now, rules: Rules, marker_there: bool) -> Decision {
    // A second name means that a rename by link and unlink is under way, or that somebody keeps a way to change the
    // file after its claim: wait for it to go.
    if candidate.stat.links != 1 {
        return Decision::Wait { until: now.monotonic + Duration::from_millis(250).max(rules.quiet) };
    }
    let finished = match rules.complete {
        Complete::Close => true,
        Complete::Rename => candidate.renamed_in || candidate.unchanged_sweeps >= 2,
        Complete::Marker => marker_there,
        Complete::Stable => candidate.unchanged_sweeps >= 2,
    };
    if !finished {
        return match rules.complete {
            Complete::Close | Complete::Marker => Decision::Idle,
            Complete::Rename | Complete::Stable => Decision::Wait { until: now.monotonic + rules.sweep },
        };
    }
    let quiet_until = candidate.quiet_since + rules.quiet;
    if quiet_until > now.monotonic { Decision::Wait { until: quiet_until } } else { Decision::Claim }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(1000 + seconds), wall_ns: (5000 + i128::from(seconds)) * SECOND }
    }

    fn stat(bytes: u64, changed: i128) -> Stat {
        Stat { kind: Kind::Regular, bytes, mtime_ns: changed * SECOND, ctime_ns: changed * SECOND, links: 1 }
    }

    fn rules(complete: Complete) -> Rules {
        Rules { complete, quiet: Duration::from_secs(2), sweep: Duration::from_secs(60) }
    }

    #[test]
    fn a_closed_file_is_claimed_after_quiet() {
        let seen = observe(None, at(0), Hint::Closed, stat(5, 5000));
        assert_eq!(decide(&seen, at(0), rules(Complete::Close), false), Decision::Wait { until: at(2).monotonic });
        assert_eq!(decide(&seen, at(2), rules(Complete::Close), false), Decision::Claim);
    }

    #[test]
    fn a_second_close_restarts_quiet() {
        let seen = observe(None, at(0), Hint::Closed, stat(5, 5000));
        let seen = observe(Some(seen), at(1), Hint::Closed, stat(5, 5000));
        assert_eq!(decide(&seen, at(2), rules(Complete::Close), false), Decision::Wait { until: at(3).monotonic });
    }

    #[test]
    fn an_old_file_found_by_a_sweep_is_claimed_at_once() {
        let seen = observe(None, at(0), Hint::Swept, stat(5, 4000));
        assert_eq!(decide(&seen, at(0), rules(Complete::Close), false), Decision::Claim);
    }

    #[test]
    fn a_change_time_in_the_future_does_not_count_as_quiet() {
        let seen = observe(None, at(0), Hint::Swept, stat(5, 9000));
        assert_eq!(decide(&seen, at(0), rules(Complete::Close), false), Decision::Wait { until: at(2).monotonic });
    }

    #[test]
    fn stable_needs_two_sweeps_that_agree() {
        let seen = observe(None, at(0), Hint::Swept, stat(5, 4000));
        assert_ne!(decide(&seen, at(9), rules(Complete::Stable), false), Decision::Claim);
        let grown = observe(Some(seen), at(60), Hint::Swept, stat(6, 5060));
        assert_ne!(decide(&grown, at(69), rules(Complete::Stable), false), Decision::Claim);
        let same = observe(Some(grown), at(120), Hint::Swept, stat(6, 5060));
        assert_eq!(decide(&same, at(120), rules(Complete::Stable), false), Decision::Claim);
    }

    #[test]
    fn rename_takes_a_rename_or_two_sweeps() {
        let created = observe(None, at(0), Hint::Closed, stat(5, 5000));
        assert_ne!(decide(&created, at(9), rules(Complete::Rename), false), Decision::Claim);
        let renamed = observe(Some(created), at(9), Hint::Renamed, stat(5, 5000));
        assert_eq!(decide(&renamed, at(11), rules(Complete::Rename), false), Decision::Claim);
    }

    #[test]
    fn marker_needs_its_marker() {
        let seen = observe(None, at(0), Hint::Closed, stat(5, 5000));
        assert_eq!(decide(&seen, at(9), rules(Complete::Marker), false), Decision::Idle);
        assert_eq!(decide(&seen, at(9), rules(Complete::Marker), true), Decision::Claim);
    }

    #[test]
    fn a_file_with_a_second_name_waits() {
        let linked = Stat { links: 2, ..stat(5, 4000) };
        let seen = observe(None, at(0), Hint::Swept, linked);
        assert!(matches!(decide(&seen, at(9), rules(Complete::Close), false), Decision::Wait { .. }));
    }
}
