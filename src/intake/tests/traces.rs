//! Properties over traces of what uploaders do, with events lost, clocks stepped and sweeps in between.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::*;

const SWEEP: Duration = Duration::from_secs(60);

/// What may happen to the one name that is watched.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Opened for writing, created if it was not there.
    Open,
    Write,
    Close,
    /// A finished file is renamed over the name.
    RenameIn,
    /// A finished file is linked in, if the name is free; its other name stays.
    LinkIn,
    UnlinkOther,
    Chmod,
    Remove,
    Mark,
    /// A reader opens and closes it.
    Read,
    Pass(Duration),
    /// The wall clock steps by seconds.
    Step(i64),
}

/// Deeds, each with whether its events are lost; the loss is noticed a little later, as an overflow is.
fn deeds() -> impl Strategy<Value = Vec<(Deed, bool)>> {
    let deed = prop_oneof![
        3 => Just(Deed::Open),
        4 => Just(Deed::Write),
        3 => Just(Deed::Close),
        2 => Just(Deed::RenameIn),
        2 => Just(Deed::LinkIn),
        2 => Just(Deed::UnlinkOther),
        1 => Just(Deed::Chmod),
        1 => Just(Deed::Remove),
        1 => Just(Deed::Mark),
        1 => Just(Deed::Read),
        4 => (1u64..5_000).prop_map(|ms| Deed::Pass(Duration::from_millis(ms))),
        1 => (5u64..150).prop_map(|seconds| Deed::Pass(Duration::from_secs(seconds))),
        1 => (-100_000i64..100_000).prop_map(Deed::Step),
    ];
    proptest::collection::vec((deed, proptest::bool::weighted(0.2)), 1..60)
}

#[derive(Clone, Copy)]
struct Upload {
    stat: Stat,
    writers: u32,
    moved_in: bool,
    /// Monotonic time of the last thing that changed it.
    changed: Duration,
}

struct World {
    rules: Rules,
    clock: Duration,
    step_ns: i128,
    inodes: u64,
    file: Option<Upload>,
    marked: bool,
    next_sweep: Duration,
    events_lost: bool,
    sweeps_since_change: u32,
    /// What the daemon holds.
    known: Option<Candidate>,
    due: Option<Duration>,
    claimed: Vec<u64>,
    vanished: u64,
}

impl World {
    fn new(complete: Complete, quiet: Duration, polled: bool) -> World {
        let clock = Duration::from_secs(1_000_000);
        World {
            rules: Rules { complete, quiet, sweep: SWEEP, polled },
            clock,
            step_ns: 0,
            inodes: 0,
            file: None,
            marked: false,
            next_sweep: clock + SWEEP,
            events_lost: false,
            sweeps_since_change: 0,
            known: None,
            due: None,
            claimed: Vec::new(),
            vanished: 0,
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.clock, wall_ns: i128::try_from(self.clock.as_nanos()).unwrap() + self.step_ns }
    }

    fn put(&mut self, bytes: u64, links: u64, writers: u32) {
        self.vanished += u64::from(self.file.is_some());
        self.inodes += 1;
        let now = self.now().wall_ns;
        let stat = Stat { kind: Kind::Regular, inode: self.inodes, bytes, mtime_ns: now, ctime_ns: now, links };
        self.file = Some(Upload { stat, writers, moved_in: writers == 0, changed: self.clock });
        self.sweeps_since_change = 0;
    }

    /// Changes the file, as far as it is there, in a way that its times show.
    fn change(&mut self, how: impl FnOnce(&mut Stat)) -> bool {
        let (wall_ns, clock) = (self.now().wall_ns, self.clock);
        let Some(file) = &mut self.file else { return false };
        how(&mut file.stat);
        file.stat.ctime_ns = wall_ns;
        file.changed = clock;
        self.sweeps_since_change = 0;
        true
    }

    fn is_being_written(&self) -> bool {
        self.file.is_some_and(|file| file.writers > 0)
    }

    /// Returns the events that the kernel queues for it.
    fn perform(&mut self, deed: Deed) -> Vec<Hint> {
        match deed {
            Deed::Open if self.file.is_none() => {
                self.put(0, 1, 1);
                return vec![Hint::Appeared, Hint::Opened];
            }
            Deed::Open => {
                self.file.iter_mut().for_each(|file| file.writers += 1);
                return vec![Hint::Opened];
            }
            Deed::Write if self.is_being_written() => {
                let wall_ns = self.now().wall_ns;
                self.change(|stat| (stat.bytes, stat.mtime_ns) = (stat.bytes + 1, wall_ns));
            }
            Deed::Close if self.is_being_written() => {
                self.file.iter_mut().for_each(|file| file.writers -= 1);
                return vec![Hint::Closed];
            }
            Deed::RenameIn => {
                self.put(9, 1, 0);
                return vec![Hint::Renamed];
            }
            Deed::LinkIn if self.file.is_none() => {
                self.put(9, 2, 0);
                return vec![Hint::Appeared];
            }
            Deed::UnlinkOther => drop(self.change(|stat| stat.links = 1)),
            Deed::Chmod if self.change(|_| ()) => return vec![Hint::Touched],
            Deed::Remove => self.vanished += u64::from(self.file.take().is_some()),
            Deed::Mark => {
                self.marked = true;
                return vec![Hint::Touched];
            }
            Deed::Read if self.file.is_some() => return vec![Hint::Opened],
            Deed::Step(seconds) => self.step_ns += i128::from(seconds) * super::SECOND,
            Deed::Pass(span) => self.pass(span),
            Deed::Write | Deed::Close | Deed::LinkIn | Deed::Chmod | Deed::Read => {}
        }
        Vec::new()
    }

    /// Lets time go by, with what falls due in it.
    fn pass(&mut self, span: Duration) {
        let end = self.clock + span;
        if std::mem::take(&mut self.events_lost) {
            self.known.iter_mut().for_each(doubt);
            self.look(Hint::Rescanned);
        }
        loop {
            let next = self.next_sweep.min(self.due.unwrap_or(Duration::MAX));
            if next > end {
                break;
            }
            self.clock = self.clock.max(next);
            if next == self.next_sweep {
                self.next_sweep = self.clock + SWEEP;
                self.sweeps_since_change += 1;
                self.look(Hint::Swept);
            } else {
                self.due = None;
                self.look(Hint::Due);
            }
        }
        self.clock = end;
    }

    fn look(&mut self, hint: Hint) {
        let Some(file) = self.file else {
            self.known = None;
            return;
        };
        let now = self.now();
        let candidate = observe(self.known, now, hint, file.stat);
        self.known = Some(candidate);
        match decide(&candidate, now, self.rules, self.marked) {
            Decision::Wait { until } => {
                assert!(until > now.monotonic, "a wait that is over already would spin");
                self.due = Some(self.due.map_or(until, |due| due.min(until)));
            }
            Decision::Idle => {}
            Decision::Claim if file.writers > 0 => {
                self.known.iter_mut().for_each(|known| known.quiet_since = now.monotonic);
                self.due = Some(now.monotonic + self.rules.quiet.max(Duration::from_millis(500)));
            }
            Decision::Claim => self.claim(file),
        }
    }

    fn claim(&mut self, file: Upload) {
        assert_eq!(file.stat.links, 1, "claimed with a second name");
        let age = self.clock - file.changed;
        assert!(age >= self.rules.quiet, "claimed {age:?} after a change");
        let steady = self.sweeps_since_change >= 2;
        match self.rules.complete {
            Complete::Close => assert!(steady || !self.rules.polled, "a close on a polled file system was believed"),
            Complete::Rename => assert!(steady || file.moved_in, "claimed in the making"),
            Complete::Marker => assert!(self.marked, "claimed without its marker"),
            Complete::Stable => assert!(steady, "claimed before two sweeps agreed"),
        }
        self.claimed.push(file.stat.inode);
        (self.file, self.known, self.marked) = (None, None, false);
    }
}

fn complete() -> impl Strategy<Value = Complete> {
    prop_oneof![Just(Complete::Close), Just(Complete::Rename), Just(Complete::Marker), Just(Complete::Stable)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_unfinished_is_claimed_and_nothing_finished_waits_for_ever(
        complete in complete(),
        quiet_ms in prop_oneof![Just(0u64), 1u64..10_000],
        polled in any::<bool>(),
        trace in deeds(),
    ) {
        let mut world = World::new(complete, Duration::from_millis(quiet_ms), polled);
        for (deed, lost) in trace {
            let hints = world.perform(deed);
            world.events_lost |= lost && !hints.is_empty();
            if !lost && !polled {
                hints.into_iter().for_each(|hint| world.look(hint));
            }
            world.clock += Duration::from_micros(1); // no two things happen at the same instant
        }
        world.file.iter_mut().for_each(|file| file.writers = 0);
        world.perform(Deed::UnlinkOther);
        world.perform(Deed::Mark);
        world.pass(SWEEP * 4 + Duration::from_secs(20));
        prop_assert!(world.file.is_none(), "a finished file waits for ever: {:?}", world.known);
        let claimed: BTreeSet<u64> = world.claimed.iter().copied().collect();
        prop_assert_eq!(claimed.len(), world.claimed.len(), "claimed twice");
        prop_assert_eq!(world.claimed.len() as u64 + world.vanished, world.inodes, "an upload was lost");
    }
}
