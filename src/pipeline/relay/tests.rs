//! Order, bounds and failures, over blocks that are numbers.

use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::*;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::reading::Limits;
use crate::pipeline::tests::{Shared, policy};
use crate::pipeline::verify::Sum;
use crate::pipeline::{Format, Outgoing, Sink, Writing};

/// As long as anything may take on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(60);

fn outlet(to: impl Write + Send + 'static) -> Outlet {
    let sink = Sink::Plain(Box::new(to));
    let expansion = Arc::new(Expansion::of(0, Limits::default()));
    let output = Outgoing { policy: policy(&[]), writing: Writing::default(), sink, expansion, sieve: None };
    Outlet::open_binary(output, (Format::Csv, None), Sum::off()).unwrap()
}

/// The numbers below `count`, each once.
fn numbers(count: u8) -> impl FnMut() -> Result<Option<u8>, Failure> + Send {
    let mut rest = 0..count;
    move || Ok(rest.next())
}

fn piece(block: &u8) -> Pieces {
    Ok(vec![Piece::from(vec![*block])])
}

/// What was written, and what went wrong.
fn carried(
    cut: impl FnMut() -> Result<Option<u8>, Failure> + Send,
    splice: impl Fn(&u8, Spares) -> Pieces + Sync,
    threads: usize,
) -> (Vec<u8>, Option<String>) {
    let written = Shared::default();
    let failed = threaded(cut, splice, &mut [outlet(written.clone())], threads).err();
    let what = failed.map(|failure| match failure {
        Failure::Defect { what } => what,
        failure => panic!("{failure:?}"),
    });
    (written.bytes(), what)
}

fn turns(blocks: u64, written: u64, ready: &[u64]) -> Turns<'static, ()> {
    Turns {
        cut: Some(()),
        outlets: Some(&mut []),
        ready: ready.iter().map(|number| (*number, Ok(Vec::new()))).collect(),
        blocks,
        written,
        spares: Vec::new(),
        ended: false,
        failed: None,
    }
}

#[test]
fn what_is_first_in_the_output_goes_first() {
    #[derive(Debug, PartialEq)]
    enum Taken {
        Write,
        Cut(u64),
        Nothing,
    }
    use Taken::{Cut, Nothing, Write};
    // Blocks begun and written, those ready, who else writes and cuts; with three blocks in flight at most.
    let none: &[u64] = &[];
    for (blocks, written, ready, is_writing, is_cutting, expected) in [
        (0, 0, none, false, false, Cut(0)),
        (1, 0, &[0], false, false, Write),
        (1, 0, &[0], true, false, Cut(1)),
        (1, 0, &[0], true, true, Nothing),
        (2, 0, &[1], false, false, Cut(2)),
        (2, 0, &[1], false, true, Nothing),
        (3, 0, &[1, 2], false, false, Nothing),
        (3, 0, &[0, 1, 2], false, false, Write),
        (3, 0, &[0, 1, 2], true, false, Nothing),
        (3, 1, &[2], false, false, Cut(3)),
        (9, 7, &[7], false, true, Write),
    ] {
        let mut turns = turns(blocks, written, ready);
        turns.outlets = turns.outlets.filter(|_| !is_writing);
        turns.cut = turns.cut.filter(|()| !is_cutting);
        let taken = match turns.take(3) {
            Some(Turn::Write(..)) => Write,
            Some(Turn::Cut((), number, _)) => Cut(number),
            None => Nothing,
        };
        assert_eq!(taken, expected, "{blocks} begun, {written} written, {ready:?} ready");
        let (now, left) = match taken {
            Write => (blocks, ready.len() - 1),
            Cut(number) => (number + 1, ready.len()),
            Nothing => (blocks, ready.len()),
        };
        assert_eq!((turns.blocks, turns.ready.len()), (now, left), "{ready:?}");
        assert!(turns.outlets.is_none() == (is_writing || taken == Write), "one writes at a time");
        assert!(turns.cut.is_none() == (is_cutting || matches!(taken, Cut(_))), "one cuts at a time");
    }
}

#[test]
fn it_is_over_when_all_is_written_or_something_failed() {
    for (blocks, written, ended, has_failed, expected) in [
        (0, 0, false, false, false),
        (2, 2, false, false, false),
        (2, 1, true, false, false),
        (2, 2, true, false, true),
        (0, 0, true, false, true),
        (2, 1, false, true, true),
    ] {
        let failed = has_failed.then(|| internal("a test"));
        let turns = Turns { ended, failed, ..turns(blocks, written, &[]) };
        assert_eq!(turns.is_over(), expected, "{written} of {blocks}, ended: {ended}, failed: {has_failed}");
    }
}

#[test]
fn a_late_block_is_waited_for_in_order_and_within_the_bound() {
    for threads in [2, 4] {
        let others = 2 * threads + 1;
        let (done, ready) = mpsc::channel();
        let ready = Mutex::new(ready);
        let splice = |block: &u8, _: Spares| {
            if *block > 0 {
                done.send(()).unwrap();
                return piece(block);
            }
            let ready = ready.lock().unwrap();
            (0..others).for_each(|_| ready.recv_timeout(LONG).unwrap());
            // With this one they are as many as may be in flight.
            assert!(ready.recv_timeout(Duration::from_millis(100)).is_err(), "a block more was begun");
            piece(block)
        };
        assert_eq!(carried(numbers(100), splice, threads), ((0..100).collect(), None), "{threads} threads");
    }
}

#[test]
fn the_memory_of_pieces_goes_round() {
    let taken = Mutex::new(Vec::new());
    let splice = |block: &u8, spares: Spares| {
        taken.lock().unwrap().push(spares.first().map_or(0, Vec::len));
        let mut piece = Piece::new(spares.into_iter().next().unwrap_or_default(), 1000);
        piece.put(&[*block]);
        Ok(vec![piece])
    };
    assert_eq!(carried(numbers(100), splice, 2), ((0..100).collect(), None));
    let taken = taken.into_inner().unwrap();
    let fresh = taken.iter().filter(|bytes| **bytes == 0).count();
    assert!(taken.len() == 100 && fresh <= 6, "{fresh} were made for six blocks in flight");
}

#[test]
fn a_cutter_that_panics_fails_behind_what_it_has_cut() {
    for threads in [2, 4] {
        let mut blocks = numbers(100);
        let cut = move || match blocks()? {
            Some(3) => panic!("a test"),
            block => Ok(block),
        };
        let (written, failed) = carried(cut, |block, _| piece(block), threads);
        assert_eq!((written, failed.as_deref()), (vec![0, 1, 2], Some("the cutter panicked")), "{threads} threads");
    }
}

#[test]
fn of_several_failures_the_first_by_position_is_told() {
    let (failed, later) = mpsc::channel();
    let later = Mutex::new(later);
    let splice = |block: &u8, _: Spares| match block {
        3 => {
            later.lock().unwrap().recv_timeout(LONG).unwrap();
            Err(internal("the third"))
        }
        5 => {
            failed.send(()).unwrap();
            panic!("a test");
        }
        block => piece(block),
    };
    assert_eq!(carried(numbers(100), splice, 2), (vec![0, 1, 2], Some("the third".to_owned())));
}

#[test]
fn a_full_outlet_ends_the_work() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let failure = threaded(numbers(100), |block: &u8, _| piece(block), &mut [outlet(Full)], 2).unwrap_err();
    assert!(matches!(failure, Failure::Retry { .. }), "{failure:?}");
}
