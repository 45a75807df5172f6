//! Threads and order: each thread writes what is next, or else cuts a block off the input and splices it.
//!
//! No thread has a part of its own to play, so none waits while another has too much to do. The memory of the pieces goes
//! round, and blocks in flight are bounded. A block's failure travels in the block's place, so the failure that is
//! reported is the first by position, whichever thread was faster.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Failure;
use super::drain::Outlet;
use super::fault::internal;
use super::piece::Piece;

#[cfg(test)]
mod tests;

/// Each output's piece of a block.
pub(super) type Pieces = Result<Vec<Piece>, Failure>;

/// Memory of an earlier block's pieces, one for each output; there is none for the first blocks.
pub(super) type Spares = Vec<Vec<u8>>;

/// A block that was lost would leave others waiting for it; the panic's payload is dropped, it may hold a value.
fn contained<T>(what: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(internal(what)))
}

fn masked<B>(splice: impl Fn(&B, Spares) -> Pieces, block: &B, spares: Spares) -> Pieces {
    contained("a mask panicked", || {
        crate::faults::point("block_masked");
        splice(block, spares)
    })
}

fn write(outlets: &mut [Outlet], mut pieces: Vec<Piece>) -> Result<Spares, Failure> {
    for (outlet, piece) in outlets.iter_mut().zip(&mut pieces) {
        outlet.drain.write(piece.written())?;
        piece.seen.take().into_iter().for_each(|seen| outlet.sum.add(*seen));
    }
    crate::faults::point("block_written");
    Ok(pieces.into_iter().map(Piece::into_spare).collect())
}

/// Brings a file's blocks from the cutter to the outlets; a file that is small, on the caller's thread.
pub(super) fn carry<B>(
    small: bool,
    cut: impl FnMut() -> Result<Option<B>, Failure> + Send,
    splice: impl Fn(&B, Spares) -> Pieces + Sync,
    outlets: &mut [Outlet],
    threads: usize,
) -> Result<(), Failure> {
    if small || threads < 2 { inline(cut, splice, outlets) } else { threaded(cut, splice, outlets, threads) }
}

/// Everything on the caller's thread.
fn inline<B>(
    mut cut: impl FnMut() -> Result<Option<B>, Failure>,
    splice: impl Fn(&B, Spares) -> Pieces,
    outlets: &mut [Outlet],
) -> Result<(), Failure> {
    let mut spares = Spares::new();
    while let Some(block) = cut()? {
        spares = write(outlets, masked(&splice, &block, spares)?)?;
    }
    Ok(())
}

/// Everything on `threads` threads, the caller's among them.
fn threaded<B>(
    cut: impl FnMut() -> Result<Option<B>, Failure> + Send,
    splice: impl Fn(&B, Spares) -> Pieces + Sync,
    outlets: &mut [Outlet],
    threads: usize,
) -> Result<(), Failure> {
    let most_in_flight = 2 * threads as u64 + 2;
    let turns = Turns {
        cut: Some(cut),
        outlets: Some(outlets),
        ready: BTreeMap::new(),
        blocks: 0,
        written: 0,
        spares: Vec::new(),
        ended: false,
        failed: None,
    };
    let relay = Relay { turns: Mutex::new(turns), moved: Condvar::new(), most_in_flight };
    let work = || relay.work(&splice);
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let turns = relay.turns.into_inner().unwrap_or_else(PoisonError::into_inner);
    turns.failed.map_or(Ok(()), Err)
}

struct Relay<'o, C> {
    turns: Mutex<Turns<'o, C>>,
    /// There may be something to do, or nothing is left.
    moved: Condvar,
    most_in_flight: u64,
}

/// What is to be done, and what is left of it.
struct Turns<'o, C> {
    /// Absent while somebody cuts, and behind the last block.
    cut: Option<C>,
    /// Absent while somebody writes.
    outlets: Option<&'o mut [Outlet]>,
    /// Pieces by the number of their block, which wait for those before them.
    ready: BTreeMap<u64, Pieces>,
    /// Blocks that were begun.
    blocks: u64,
    written: u64,
    spares: Vec<Spares>,
    /// No block follows.
    ended: bool,
    failed: Option<Failure>,
}

/// What a thread does next.
enum Turn<'o, C> {
    Write(&'o mut [Outlet], Pieces),
    /// A block of this number is to be cut and spliced.
    Cut(C, u64, Spares),
}

impl<'o, C> Turns<'o, C> {
    fn is_over(&self) -> bool {
        self.failed.is_some() || (self.ended && self.written == self.blocks)
    }

    /// What is first in the output goes first: it frees memory.
    fn take(&mut self, most_in_flight: u64) -> Option<Turn<'o, C>> {
        if let Some(pieces) = self.outlets.as_ref().and_then(|_| self.ready.remove(&self.written)) {
            return self.outlets.take().map(|outlets| Turn::Write(outlets, pieces));
        }
        if self.blocks - self.written >= most_in_flight {
            return None;
        }
        let cut = self.cut.take()?;
        self.blocks += 1;
        Some(Turn::Cut(cut, self.blocks - 1, self.spares.pop().unwrap_or_default()))
    }
}

impl<'o, C> Relay<'o, C> {
    /// Takes turns until nothing is left.
    fn work<B>(&self, splice: &impl Fn(&B, Spares) -> Pieces)
    where
        C: FnMut() -> Result<Option<B>, Failure>,
    {
        while let Some(turn) = self.next_turn() {
            match turn {
                Turn::Write(outlets, pieces) => self.write(outlets, pieces),
                Turn::Cut(cut, number, spares) => self.cut_and_splice(cut, number, spares, splice),
            }
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns<'o, C>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_turn(&self) -> Option<Turn<'o, C>> {
        let mut turns = self.turns();
        while !turns.is_over() {
            if let Some(turn) = turns.take(self.most_in_flight) {
                return Some(turn);
            }
            turns = self.moved.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn write(&self, outlets: &'o mut [Outlet], pieces: Pieces) {
        let written = pieces.and_then(|pieces| contained("a writer panicked", || write(outlets, pieces)));
        let mut turns = self.turns();
        match written {
            Ok(spares) => turns.spares.push(spares),
            Err(failure) => turns.failed = Some(failure),
        }
        turns.outlets = Some(outlets);
        turns.written += 1;
        self.moved.notify_all();
    }

    fn cut_and_splice<B>(&self, mut cut: C, number: u64, spares: Spares, splice: &impl Fn(&B, Spares) -> Pieces)
    where
        C: FnMut() -> Result<Option<B>, Failure>,
    {
        let block = contained("the cutter panicked", &mut cut);
        let mut turns = self.turns();
        match &block {
            Ok(Some(_)) => turns.cut = Some(cut),
            Ok(None) => {
                turns.blocks = number;
                turns.ended = true;
            }
            Err(_) => turns.ended = true,
        }
        self.moved.notify_all();
        drop(turns);
        let Some(block) = block.transpose() else { return };
        let pieces = block.and_then(|block| masked(splice, &block, spares));
        self.turns().ready.insert(number, pieces);
        self.moved.notify_all();
    }
}
