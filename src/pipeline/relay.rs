//! Threads and order: one cuts the input into blocks, some splice them, the caller's writes.
//!
//! The memory of the pieces goes round and bounds the blocks in flight. A block's failure travels in the block's place, so the failure that is reported
//! is the first by position, whichever thread was faster.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Failure;
use super::drain::Outlet;
use super::fault::internal;
use super::piece::Piece;

/// Each output's piece of a block.
pub(super) type Pieces = Result<Vec<Piece>, Failure>;

/// Memory of earlier pieces, one for each output; whoever holds one may have a block in flight.
pub(super) type Spares = Vec<Vec<u8>>;

/// A lost block would leave the writer waiting for it; the panic's payload is dropped, it may hold a value.
fn contained<B>(splice: impl Fn(&B, Spares) -> Pieces, block: &B, spares: Spares) -> Pieces {
    let splice = || {
        crate::faults::point("block_masked");
        splice(block, spares)
    };
    catch_unwind(AssertUnwindSafe(splice)).unwrap_or_else(|_| Err(internal("a mask panicked")))
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
pub(super) fn carry<B: Send>(
    small: bool,
    cut: impl FnMut() -> Result<Option<B>, Failure> + Send,
    splice: impl Fn(&B, Spares) -> Pieces + Sync,
    outlets: &mut [Outlet],
    threads: usize,
) -> Result<(), Failure> {
    if small { inline(cut, splice, outlets) } else { threaded(cut, splice, outlets, threads) }
}

/// Everything on the caller's thread.
fn inline<B>(
    mut cut: impl FnMut() -> Result<Option<B>, Failure>,
    splice: impl Fn(&B, Spares) -> Pieces,
    outlets: &mut [Outlet],
) -> Result<(), Failure> {
    let mut spares = Spares::new();
    while let Some(block) = cut()? {
        spares = write(outlets, contained(&splice, &block, spares)?)?;
    }
    Ok(())
}

/// A block on its way to be spliced.
struct Cut<B> {
    index: u64,
    block: B,
    spares: Spares,
}

/// Cutter and splicers on threads of their own.
fn threaded<B: Send>(
    cut: impl FnMut() -> Result<Option<B>, Failure> + Send,
    splice: impl Fn(&B, Spares) -> Pieces + Sync,
    outlets: &mut [Outlet],
    threads: usize,
) -> Result<(), Failure> {
    let threads = threads.max(1);
    let in_flight = 2 * threads + 4;
    let (free, spares) = sync_channel::<Spares>(in_flight);
    for _ in 0..in_flight {
        free.send(Spares::new()).expect("the receiver is at hand, and there is room for all");
    }
    let (work, blocks) = sync_channel::<Cut<B>>(threads);
    let (done, results) = sync_channel::<(u64, Pieces)>(threads);
    let splice = &splice;
    thread::scope(|scope| {
        let cutting = scope.spawn(move || cut_all(cut, &spares, &work));
        let blocks = std::sync::Arc::new(Mutex::new(blocks));
        for _ in 0..threads {
            let (blocks, done) = (blocks.clone(), done.clone());
            scope.spawn(move || splice_all(&blocks, &done, splice));
        }
        // Whoever ends must find the channels closed by the others' ends, not held open here.
        drop((blocks, done));
        let written = write_in_order(&results, &free, outlets);
        drop((results, free));
        let cut = cutting.join().unwrap_or_else(|_| Err(internal("the cutting thread panicked")));
        let count = written?;
        if count == cut? { Ok(()) } else { Err(internal("a splicing thread ended early")) }
    })
}

fn cut_all<B>(
    mut cut: impl FnMut() -> Result<Option<B>, Failure>,
    spares: &Receiver<Spares>,
    work: &SyncSender<Cut<B>>,
) -> Result<u64, Failure> {
    let mut index = 0;
    while let Some(block) = cut()? {
        let Ok(spares) = spares.recv() else { break };
        if work.send(Cut { index, block, spares }).is_err() {
            break;
        }
        index += 1;
    }
    Ok(index)
}

fn splice_all<B>(
    blocks: &Mutex<Receiver<Cut<B>>>,
    done: &SyncSender<(u64, Pieces)>,
    splice: &(impl Fn(&B, Spares) -> Pieces + Sync),
) {
    loop {
        let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Cut { index, block, spares }) = next else { return };
        let pieces = contained(splice, &block, spares);
        drop(block);
        if done.send((index, pieces)).is_err() {
            return;
        }
    }
}

fn write_in_order(
    results: &Receiver<(u64, Pieces)>,
    free: &SyncSender<Spares>,
    outlets: &mut [Outlet],
) -> Result<u64, Failure> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    while let Ok((index, pieces)) = results.recv() {
        early.insert(index, pieces);
        while let Some(pieces) = early.remove(&next) {
            // The cutter may have ended; then nobody needs the memory.
            let _ = free.send(write(outlets, pieces?)?);
            next += 1;
        }
    }
    Ok(next)
}
