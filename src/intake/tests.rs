use super::*;

mod traces;

pub const SECOND: i128 = 1_000_000_000;

fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(1000 + seconds), wall_ns: (5000 + i128::from(seconds)) * SECOND }
}

fn stat(bytes: u64, changed: i128) -> Stat {
    let (mtime_ns, ctime_ns) = (changed * SECOND, changed * SECOND);
    Stat { kind: Kind::Regular, inode: 7, bytes, mtime_ns, ctime_ns, links: 1 }
}

fn rules(complete: Complete) -> Rules {
    Rules { complete, quiet: Duration::from_secs(2), sweep: Duration::from_secs(60), polled: false }
}

/// What is known after these observations.
fn seen(trace: &[(u64, Hint, Stat)]) -> Candidate {
    let known = trace.iter().fold(None, |known, (when, hint, stat)| Some(observe(known, at(*when), *hint, *stat)));
    known.unwrap()
}

#[test]
fn a_closed_file_is_claimed_after_quiet() {
    let seen = seen(&[(0, Hint::Closed, stat(5, 5000))]);
    assert_eq!(decide(&seen, at(0), rules(Complete::Close), false), Decision::Wait { until: at(2).monotonic });
    assert_eq!(decide(&seen, at(2), rules(Complete::Close), false), Decision::Claim);
}

#[test]
fn a_second_close_restarts_quiet() {
    let seen = seen(&[(0, Hint::Closed, stat(5, 5000)), (1, Hint::Closed, stat(5, 5000))]);
    assert_eq!(decide(&seen, at(2), rules(Complete::Close), false), Decision::Wait { until: at(3).monotonic });
}

#[test]
fn an_old_file_found_at_the_start_is_claimed_at_once() {
    let seen = seen(&[(0, Hint::Found, stat(5, 4000))]);
    assert_eq!(decide(&seen, at(0), rules(Complete::Close), false), Decision::Claim);
}

#[test]
fn a_change_time_in_the_future_does_not_count_as_quiet() {
    let seen = seen(&[(0, Hint::Found, stat(5, 9000))]);
    assert_eq!(decide(&seen, at(0), rules(Complete::Close), false), Decision::Wait { until: at(2).monotonic });
}

#[test]
fn a_clock_that_stepped_makes_no_later_file_look_old() {
    for hint in [Hint::Swept, Hint::Rescanned, Hint::Closed] {
        let seen = seen(&[(0, hint, stat(5, 1000))]);
        assert_eq!(decide(&seen, at(0), rules(Complete::Close), false), Decision::Wait { until: at(2).monotonic });
    }
}

#[test]
fn stable_needs_two_sweeps_that_agree() {
    let one = seen(&[(0, Hint::Swept, stat(5, 4000))]);
    assert_ne!(decide(&one, at(9), rules(Complete::Stable), false), Decision::Claim);
    let grown = seen(&[(0, Hint::Swept, stat(5, 4000)), (60, Hint::Swept, stat(6, 5060))]);
    assert_ne!(decide(&grown, at(69), rules(Complete::Stable), false), Decision::Claim);
    let same = observe(Some(grown), at(120), Hint::Swept, stat(6, 5060));
    assert_eq!(decide(&same, at(120), rules(Complete::Stable), false), Decision::Claim);
}

#[test]
fn sweeps_that_follow_each_other_at_once_count_as_one() {
    let mut known = None;
    for _ in 0..5 {
        known = Some(observe(known, at(0), Hint::Swept, stat(5, 4000)));
    }
    known = Some(observe(known, at(9), Hint::Rescanned, stat(5, 4000)));
    assert_ne!(decide(&known.unwrap(), at(9), rules(Complete::Stable), false), Decision::Claim);
}

#[test]
fn rename_takes_a_rename_a_link_or_two_sweeps() {
    let rename = rules(Complete::Rename);
    let written =
        [(0, Hint::Appeared, stat(0, 5000)), (0, Hint::Opened, stat(0, 5000)), (1, Hint::Closed, stat(5, 5001))];
    assert_eq!(decide(&seen(&written), at(9), rename, false), Decision::Idle);
    let renamed = observe(Some(seen(&written)), at(9), Hint::Renamed, stat(5, 5000));
    assert_eq!(decide(&renamed, at(11), rename, false), Decision::Claim);
    let linked = seen(&[(0, Hint::Appeared, stat(5, 4000))]);
    assert_eq!(decide(&linked, at(0), rename, false), Decision::Wait { until: at(2).monotonic });
    let linked = observe(Some(linked), at(2), Hint::Due, stat(5, 4000));
    assert_eq!(decide(&linked, at(2), rename, false), Decision::Claim);
    let mut doubted = seen(&[(0, Hint::Appeared, stat(5, 4000))]);
    doubt(&mut doubted);
    assert_eq!(decide(&doubted, at(9), rename, false), Decision::Idle);
}

#[test]
fn a_new_file_under_a_name_that_was_renamed_in_is_not_taken_for_it() {
    let renamed = seen(&[(0, Hint::Renamed, stat(5, 5000))]);
    let created = observe(Some(renamed), at(1), Hint::Opened, Stat { inode: 8, ..stat(0, 5001) });
    assert_eq!(decide(&created, at(9), rules(Complete::Rename), false), Decision::Idle);
}

#[test]
fn marker_needs_its_marker() {
    let seen = seen(&[(0, Hint::Closed, stat(5, 5000))]);
    assert_eq!(decide(&seen, at(9), rules(Complete::Marker), false), Decision::Idle);
    assert_eq!(decide(&seen, at(9), rules(Complete::Marker), true), Decision::Claim);
}

#[test]
fn a_file_with_a_second_name_waits_and_is_left_to_the_sweeps_in_the_end() {
    let linked = Stat { links: 2, ..stat(5, 4000) };
    let known = seen(&[(0, Hint::Found, linked)]);
    assert!(matches!(decide(&known, at(9), rules(Complete::Close), false), Decision::Wait { .. }));
    assert_eq!(decide(&known, at(60), rules(Complete::Close), false), Decision::Idle);
    let alone = observe(Some(known), at(70), Hint::Swept, stat(5, 4000));
    assert_eq!(decide(&alone, at(72), rules(Complete::Close), false), Decision::Claim);
}

#[test]
fn close_on_a_polled_file_system_needs_two_sweeps_as_well() {
    let polled = Rules { polled: true, ..rules(Complete::Close) };
    let once = seen(&[(0, Hint::Closed, stat(5, 5000)), (3, Hint::Swept, stat(5, 5000))]);
    assert_eq!(decide(&once, at(9), polled, false), Decision::Idle);
    let twice = observe(Some(once), at(63), Hint::Swept, stat(5, 5000));
    assert_eq!(decide(&twice, at(63), polled, false), Decision::Claim);
}

#[test]
fn of_several_hints_the_strongest_counts() {
    assert_eq!([Hint::Opened, Hint::Closed, Hint::Appeared, Hint::Due].into_iter().max(), Some(Hint::Closed));
}
