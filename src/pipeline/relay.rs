//! Threads and order: one cuts the input into blocks, some splice them, the caller's writes.
//!
//! Tokens bound the blocks in flight. A block's failure travels in the block's place, so the failure that is reported
//! is the first by position, whichever thread was faster.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Failure;
use super::drain::Outlet;
use super::fault::internal;

/// Each output's piece of a block.
pub(super) type Pieces = Result<Vec<Vec<u8>>, Failure>;

/// A lost block would leave the writer waiting for it; the panic's payload is dropped, it may hold a value.
fn contained<B>(splice: impl Fn(&B) -> Pieces, block: &B) -> Pieces {
    catch_unwind(AssertUnwindSafe(|| splice(block))).unwrap_or_else(|_| Err(internal("a mask panicked")))
}

fn write(outlets: &mut [Outlet], pieces: &[Vec<u8>]) -> Result<(), Failure> {
    outlets.iter_mut().zip(pieces).try_for_each(|(outlet, piece)| outlet.drain.write(piece))
}

/// Everything on the caller's thread.
pub(super) fn inline<B>(
    mut cut: impl FnMut() -> Result<Option<B>, Failure>,
    splice: impl Fn(&B) -> Pieces,
    outlets: &mut [Outlet],
) -> Result<(), Failure> {
    while let Some(block) = cut()? {
        write(outlets, &contained(&splice, &block)?)?;
    }
    Ok(())
}

/// Cutter and splicers on threads of their own.
pub(super) fn threaded<B: Send>(
    mut cut: impl FnMut() -> Result<Option<B>, Failure> + Send,
    splice: impl Fn(&B) -> Pieces + Sync,
    outlets: &mut [Outlet],
    threads: usize,
) -> Result<(), Failure> {
    let threads = threads.max(1);
    let (token, tokens) = sync_channel::<()>(threads + 2);
    let (work, blocks) = sync_channel::<(u64, B)>(1);
    let (done, results) = sync_channel::<(u64, Pieces)>(threads);
    let splice = &splice;
    thread::scope(|scope| {
        let cutting = scope.spawn(move || {
            let mut count = 0;
            while let Some(block) = cut()? {
                if token.send(()).is_err() || work.send((count, block)).is_err() {
                    break;
                }
                count += 1;
            }
            Ok(count)
        });
        let blocks = std::sync::Arc::new(Mutex::new(blocks));
        for _ in 0..threads {
            let (blocks, done) = (blocks.clone(), done.clone());
            scope.spawn(move || splice_all(&blocks, &done, splice));
        }
        // Whoever ends must find the channels closed by the others' ends, not held open here.
        drop((blocks, done));
        let written = write_in_order(&results, &tokens, outlets);
        drop((results, tokens));
        let cut = cutting.join().unwrap_or_else(|_| Err(internal("the cutting thread panicked")));
        let count: u64 = written?;
        if count == cut? { Ok(()) } else { Err(internal("a splicing thread ended early")) }
    })
}

fn splice_all<B>(
    blocks: &Mutex<Receiver<(u64, B)>>,
    done: &SyncSender<(u64, Pieces)>,
    splice: &(impl Fn(&B) -> Pieces + Sync),
) {
    loop {
        let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((index, block)) = next else { return };
        let pieces = contained(splice, &block);
        drop(block);
        if done.send((index, pieces)).is_err() {
            return;
        }
    }
}

fn write_in_order(
    results: &Receiver<(u64, Pieces)>,
    tokens: &Receiver<()>,
    outlets: &mut [Outlet],
) -> Result<u64, Failure> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    while let Ok((index, pieces)) = results.recv() {
        early.insert(index, pieces);
        while let Some(pieces) = early.remove(&next) {
            write(outlets, &pieces?)?;
            let _ = tokens.recv(); // the cutter may have ended
            next += 1;
        }
    }
    Ok(next)
}
