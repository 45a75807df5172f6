//! Is this file finished? Pure: what was seen, the clock and the landing's rules come in, a decision goes out.
//!
//! Events and sweeps only feed [`Candidate`]; the last word on open writers has the lease test at the claim. Waits are
//! counted on the monotonic clock: wall clocks step.

use std::time::Duration;

use crate::config::Complete;

/// A file may have two names for this long before that is worth a warning, and is left to the sweeps.
pub const LINKS_MAY_LAST: Duration = Duration::from_secs(60);
/// Time between two looks at a file with two names.
const LINKS_LOOK: Duration = Duration::from_millis(250);
/// The open that follows a creation is noticed within this time; a file that was linked in is not opened.
const OPEN_FOLLOWS: Duration = Duration::from_millis(250);

/// What `lstat` says of a path, as far as intake cares. Times are nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub kind: Kind,
    pub inode: u64,
    pub bytes: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    pub links: u64,
}

impl Stat {
    /// Whether nothing has changed in between. Inodes do not count: some FUSE file systems give a file another one
    /// each time they are asked.
    pub fn is_as(&self, before: &Stat) -> bool {
        Stat { inode: before.inode, ..*self } == *before
    }
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Regular,
    Directory,
    /// Symbolic link, FIFO, socket or device: never followed, never opened.
    Irregular,
}

/// What made us look at a path; of several that come together, the last in this order stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// The wait that [`decide`] asked for is over.
    Due,
    /// The first sweep found it: it was there before we looked.
    Found,
    /// A sweep made up for lost events.
    Rescanned,
    /// A sweep came by, in its turn or because an operator asked.
    Swept,
    /// Something else happened to it: mode, owner, times.
    Touched,
    /// Its name appeared: created or linked in.
    Appeared,
    /// Somebody opened it.
    Opened,
    /// Closed after writing.
    Closed,
    /// Renamed in.
    Renamed,
}

/// Clocks at one observation.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic.
    pub monotonic: Duration,
    /// Nanoseconds since the epoch.
    pub wall_ns: i128,
}

/// How a file came under its name, as far as events have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    Unseen,
    /// Its name appeared and nobody is known to have opened it since: it was linked in, or the open is still to come.
    Appeared,
    /// Opened under this name: it may be in the making.
    Opened,
    /// Renamed or linked in, whole.
    MovedIn,
}

/// A file in a landing that is not claimed yet. Times are monotonic, except where their names say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub stat: Stat,
    /// Since when nothing is known to have happened to it.
    pub quiet_since: Duration,
    /// When it was first seen, nanoseconds since the epoch.
    pub arrived_ns: i128,
    pub entrance: Entrance,
    /// The first and the latest of the sweeps in a row that found it as it is.
    pub steady: Option<(Duration, Duration)>,
    /// Since when it is known to have another name.
    pub linked_since: Option<Duration>,
}

/// The landing's rules.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub complete: Complete,
    pub quiet: Duration,
    pub sweep: Duration,
    /// On a file system whose other hosts' closes nobody tells us of.
    pub polled: bool,
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
    let before = known.map(|known| known.stat);
    let unchanged = before.is_some_and(|before| stat.is_as(&before));
    let mut candidate = known.unwrap_or_else(|| appeared(now, hint, stat));
    candidate.stat = stat;
    if before.is_some_and(|before| before.inode != stat.inode) {
        candidate.entrance = Entrance::Unseen;
    }
    let disturbed = matches!(hint, Hint::Touched | Hint::Appeared | Hint::Closed | Hint::Renamed);
    if before.is_some() && (!unchanged || disturbed) {
        candidate.quiet_since = now.monotonic;
    }
    candidate.entrance = entrance(&candidate, now, hint);
    candidate.steady = match (hint, candidate.steady.filter(|_| unchanged)) {
        (Hint::Found | Hint::Swept, Some((first, _))) => Some((first, now.monotonic)),
        (Hint::Found | Hint::Swept, None) => Some((now.monotonic, now.monotonic)),
        (_, steady) => steady,
    };
    candidate.linked_since = if stat.links == 1 { None } else { candidate.linked_since.or(Some(now.monotonic)) };
    candidate
}

/// A file that was there before the daemon has been quiet since its last change of any kind, which only ctime tells;
/// one with a change time in the future has not. Any later file waits from now on, whatever the wall clock says.
fn appeared(now: Now, hint: Hint, stat: Stat) -> Candidate {
    let age_ns = if hint == Hint::Found { u64::try_from(now.wall_ns - stat.ctime_ns).unwrap_or(0) } else { 0 };
    Candidate {
        stat,
        quiet_since: now.monotonic.saturating_sub(Duration::from_nanos(age_ns)),
        arrived_ns: now.wall_ns,
        entrance: Entrance::Unseen,
        steady: None,
        linked_since: None,
    }
}

fn entrance(candidate: &Candidate, now: Now, hint: Hint) -> Entrance {
    match (hint, candidate.entrance) {
        (Hint::Renamed, _) | (_, Entrance::MovedIn) => Entrance::MovedIn,
        (Hint::Appeared, _) => Entrance::Appeared,
        (Hint::Opened | Hint::Closed, _) => Entrance::Opened,
        (_, Entrance::Appeared) if now.monotonic >= candidate.quiet_since + OPEN_FOLLOWS => Entrance::MovedIn,
        (_, unchanged) => unchanged,
    }
}

/// Takes back what only a complete stream of events can tell, because some were lost.
pub fn doubt(candidate: &mut Candidate) {
    if candidate.entrance == Entrance::Appeared {
        candidate.entrance = Entrance::Unseen;
    }
}

/// Decides what to do with a candidate; `marker_there` says whether its marker exists.
pub fn decide(candidate: &Candidate, now: Now, rules: Rules, marker_there: bool) -> Decision {
    // A second name means that a rename by link and unlink is under way, or that somebody keeps a way to change the
    // file after its claim: wait for it to go.
    if let Some(since) = candidate.linked_since {
        let lasting = now.monotonic >= since + LINKS_MAY_LAST;
        return if lasting { Decision::Idle } else { Decision::Wait { until: now.monotonic + LINKS_LOOK } };
    }
    let steady = candidate
        .steady
        .is_some_and(|(first, latest)| latest > first && latest - first >= rules.quiet.min(rules.sweep));
    let finished = match rules.complete {
        Complete::Close => steady || !rules.polled,
        Complete::Rename => steady || candidate.entrance == Entrance::MovedIn,
        Complete::Marker => marker_there,
        Complete::Stable => steady,
    };
    let may_be_linked_in = rules.complete == Complete::Rename && candidate.entrance == Entrance::Appeared;
    if !finished && !may_be_linked_in {
        return Decision::Idle;
    }
    let quiet = if finished { rules.quiet } else { rules.quiet.max(OPEN_FOLLOWS) };
    let quiet_until = candidate.quiet_since + quiet;
    if quiet_until > now.monotonic { Decision::Wait { until: quiet_until } } else { Decision::Claim }
}

#[cfg(test)]
mod tests;
