//! Threads and order: one scans, some mask, the caller's writes. Small files stay on the caller's thread.
//!
//! The memory of the pieces goes round and bounds the blocks in flight. A block's failure travels in the block's place, so the failure that is reported
//! is the first by position, whichever thread was faster.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::fault::{Broken, Kind};
use super::piece::Piece;
use super::scan::Scanner;
use super::splice::{Block, Splicer};
use crate::pipeline::Failure;
use crate::pipeline::drain::Drain;
use crate::pipeline::fault::internal;
use crate::pipeline::source::Source;

/// Size of a block in bytes, unless a record is longer.
pub(super) const BLOCK: usize = 1 << 20;

/// Cuts the input into blocks of whole records.
pub(super) struct Cutter<'a> {
    pub source: Source<'a>,
    pub scanner: Scanner,
    /// Public column names, for faults.
    pub names: Vec<String>,
    /// Bytes read and not yet handed out.
    pub buffer: Vec<u8>,
    /// Offset of `buffer` in the file.
    pub base: u64,
    pub block_bytes: usize,
    pub rows: u64,
    /// A fault behind the block handed out last.
    pub failed: Option<Failure>,
}

impl Cutter<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Block>, Failure> {
        if let Some(failure) = self.failed.take() {
            return Err(failure);
        }
        let mut size = self.block_bytes;
        loop {
            self.source.fill(&mut self.buffer, size)?;
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let scanned = self.scanner.scan(&self.buffer, self.source.eof);
            let failure = scanned
                .broken
                .map(|broken| Failure::Reject(broken.describe(self.rows + scanned.rows + 1, self.base, &self.names)));
            if scanned.rows > 0 {
                self.failed = failure;
                let rest = self.buffer.split_off(scanned.end);
                let data = std::mem::replace(&mut self.buffer, rest);
                let block = Block {
                    data: data.into(),
                    spans: scanned.spans,
                    rows: scanned.rows,
                    first_row: self.rows + 1,
                    base: self.base,
                };
                self.rows += scanned.rows;
                self.base += scanned.end as u64;
                return Ok(Some(block));
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            let limit = self.scanner.max_record_bytes;
            if self.buffer.len() as u64 > limit {
                let broken = Broken { kind: Kind::TooLong { limit }, at: 0, column: None };
                return Err(Failure::Reject(broken.describe(self.rows + 1, self.base, &self.names)));
            }
            size = (self.buffer.len() * 2).max(self.block_bytes).min(limit as usize + 1).max(self.buffer.len() + 1);
        }
    }
}

type Spliced = Result<Vec<Piece>, Failure>;

/// Memory of earlier pieces, one for each output; whoever holds one may have a block in flight.
type Spares = Vec<Vec<u8>>;

/// Makes every output's piece of a block; of several failures the lowest row's is kept.
fn splice_all(splicers: &[Splicer<'_>], block: &Block, mut spares: Spares) -> Spliced {
    // A lost block would leave the writer waiting for it; the panic's payload is dropped, it may hold a value.
    catch_unwind(AssertUnwindSafe(|| {
        let mut pieces = Vec::with_capacity(splicers.len());
        let mut first: Option<Failure> = None;
        for splicer in splicers {
            match splicer.splice(block, spares.pop().unwrap_or_default()) {
                Ok(piece) => pieces.push(piece),
                Err(failure) if first.as_ref().is_none_or(|first| row(&failure) < row(first)) => first = Some(failure),
                Err(_) => {}
            }
        }
        first.map_or(Ok(pieces), Err)
    }))
    .unwrap_or_else(|_| Err(internal("a mask panicked")))
}

/// A failure without a row goes first: nothing can be said about the rows then.
fn row(failure: &Failure) -> u64 {
    match failure {
        Failure::Reject(fault) => fault.row.unwrap_or(0),
        Failure::Retry { .. } => 0,
    }
}

/// Everything on the caller's thread.
pub(super) fn inline(cutter: &mut Cutter<'_>, splicers: &[Splicer<'_>], drains: &mut [Drain]) -> Result<(), Failure> {
    let mut spares = Spares::new();
    while let Some(block) = cutter.next()? {
        spares = write(drains, splice_all(splicers, &block, spares)?)?;
    }
    Ok(())
}

fn write(drains: &mut [Drain], pieces: Vec<Piece>) -> Result<Spares, Failure> {
    drains.iter_mut().zip(&pieces).try_for_each(|(drain, piece)| drain.write(piece.written()))?;
    Ok(pieces.into_iter().map(Piece::into_spare).collect())
}

/// A block on its way to be masked.
struct Cut {
    index: u64,
    block: Block,
    spares: Spares,
}

/// Scanner and maskers on threads of their own.
pub(super) fn threaded(
    cutter: &mut Cutter<'_>,
    splicers: &[Splicer<'_>],
    drains: &mut [Drain],
    threads: usize,
) -> Result<(), Failure> {
    let threads = threads.max(1);
    let in_flight = 2 * threads + 4;
    let (free, spares) = sync_channel::<Spares>(in_flight);
    for _ in 0..in_flight {
        free.send(Spares::new()).expect("the receiver is at hand, and there is room for all");
    }
    let (work, blocks) = sync_channel::<Cut>(threads);
    let (done, results) = sync_channel::<(u64, Spliced)>(threads);
    thread::scope(|scope| {
        let scanning = scope.spawn(move || scan(cutter, &spares, &work));
        let blocks = std::sync::Arc::new(Mutex::new(blocks));
        for _ in 0..threads {
            let (blocks, done) = (blocks.clone(), done.clone());
            scope.spawn(move || mask(&blocks, &done, splicers));
        }
        // Whoever ends must find the channels closed by the others' ends, not held open here.
        drop((blocks, done));
        let written = drain_in_order(&results, &free, drains);
        drop((results, free));
        let scanned = scanning.join().unwrap_or_else(|_| Err(internal("the scanning thread panicked")));
        let count = written?;
        if count == scanned? { Ok(()) } else { Err(internal("a masking thread ended early")) }
    })
}

fn scan(cutter: &mut Cutter<'_>, spares: &Receiver<Spares>, work: &SyncSender<Cut>) -> Result<u64, Failure> {
    let mut index = 0;
    while let Some(block) = cutter.next()? {
        let Ok(spares) = spares.recv() else { break };
        if work.send(Cut { index, block, spares }).is_err() {
            break;
        }
        index += 1;
    }
    Ok(index)
}

fn mask(blocks: &Mutex<Receiver<Cut>>, done: &SyncSender<(u64, Spliced)>, splicers: &[Splicer<'_>]) {
    loop {
        let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Cut { index, block, spares }) = next else { return };
        let spliced = splice_all(splicers, &block, spares);
        drop(block);
        if done.send((index, spliced)).is_err() {
            return;
        }
    }
}

fn drain_in_order(
    results: &Receiver<(u64, Spliced)>,
    free: &SyncSender<Spares>,
    drains: &mut [Drain],
) -> Result<u64, Failure> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    while let Ok((index, spliced)) = results.recv() {
        early.insert(index, spliced);
        while let Some(spliced) = early.remove(&next) {
            // The scanner may have ended; then nobody needs the memory.
            let _ = free.send(write(drains, spliced?)?);
            next += 1;
        }
    }
    Ok(next)
}
