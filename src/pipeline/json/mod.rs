//! JSON by splicing: one object a line, one array of objects, or one object.
//!
//! Every byte is checked, nothing is built: a walk over each record finds the values of masked paths, they are masked
//! as Polars columns and put between the original bytes, so that key order, number spelling and white space survive.
//! It never opens a path, and nothing here puts a value into a message.

#![allow(clippy::result_large_err, reason = "failures are rare, and their shape is the pipeline's contract")]

mod cut;
mod decision;
mod fault;
mod found;
mod keys;
mod lex;
mod pass;
mod rows;
mod sift;
mod splice;
mod survey;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub(super) use self::lex::push_string;
pub(super) use self::rows::{Rows, push_line};
pub(super) use self::survey::survey;

use std::sync::Arc;

use self::cut::Cutter;
use self::sift::Sifter;
use self::tree::Tree;
use super::convert::Converter;
use super::drain::Outlet;
use super::fault::internal;
use super::sieve::{self, Sieve};
use super::source::Source;
use super::{DigestKind, Failure, Format, InputReport, Outgoing, Reading, Report, relay};
use crate::keys::MaskingKeys;

/// Cells keep offsets in 32 bits.
const LONGEST_RECORD: u64 = 512 << 20;

pub(super) fn process(
    source: Source<'_>,
    reading: &Reading,
    digest_kind: DigestKind,
    outputs: Vec<Outgoing>,
    keys: &MaskingKeys,
    threads: usize,
) -> Result<Report, Failure> {
    if outputs.len() > walk::MAX_OUTPUTS {
        return Err(internal("more outputs than one reading can make"));
    }
    let compression = source.compression();
    let policies: Vec<_> = outputs.iter().map(|output| output.policy.clone()).collect();
    let sieves: Vec<Option<Arc<Sieve>>> = outputs.iter().map(|output| output.sieve.clone()).collect();
    let mut outlets = Outlet::open_all(outputs, &source, Format::Json)?;
    let limits = &reading.limits;
    for outlet in &mut outlets {
        let rows = Rows { max_depth: limits.max_depth };
        outlet.drain.converter =
            outlet.conversion(Format::Json).map(|writing| Converter::of_json(writing, rows, outlet.expansion.clone()));
    }
    let tree = Tree::new(policies, keys, limits.max_paths).map_err(|error| {
        let advice = "Mend the policy; `veild check` finds this.";
        Failure::Reject(super::fault::of_file("bad_policy", &error, advice))
    })?;
    let is_small = source.head().1;
    let mut cutter = Cutter::new(source, tree, limits.max_record_bytes.min(LONGEST_RECORD), limits.max_depth);
    cutter.accept.clone_from(&reading.accept);
    cutter.sifter = Sifter::new(&sieves);
    let scans: Vec<_> = outlets.iter().map(|outlet| outlet.sum.digests()).collect();
    let splice = |block: &splice::Block, spares| block.splice(spares, &scans);
    relay::carry(is_small, || cutter.next(), splice, &mut outlets, threads)?;
    let named_lines = matches!(reading.extension.as_deref(), Some("ndjson" | "jsonl"));
    let format = cutter.format(named_lines || reading.accept == [Format::Ndjson]);
    let rows = cutter.rows;
    let of_outputs = sieve::finish_all(&sieves, rows)?;
    let verified = Outlet::verify_all(outlets.iter_mut())?;
    let outputs = outlets.into_iter().zip(verified).zip(of_outputs).enumerate();
    let outputs = outputs
        .map(|(output, ((outlet, verify), rows))| outlet.finish(format, rows, cutter.tree.report(output), verify));
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    let bytes = cutter.source.bytes();
    let format = format.compressed(compression);
    Ok(Report {
        input: InputReport { digest: cutter.source.digest(), digest_kind, bytes, format },
        rows_in: rows,
        outputs,
    })
}
