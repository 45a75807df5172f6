//! Delimited text by splicing.
//!
//! Owns the way from a file's bytes to each output's bytes: header, plan, structure, masked cells put between the
//! original ones. It never opens a path, and nothing here puts a cell's value into a message.

#![allow(clippy::result_large_err, reason = "failures are rare, and their shape is the pipeline's contract")]

mod bits;
mod block;
mod cut;
mod escape;
mod fault;
mod fixed;
mod header;
mod preface;
mod rows;
mod scan;
mod splice;
mod survey;
#[cfg(test)]
mod tests;

pub(super) use self::rows::Rows;
pub(super) use self::survey::survey;

use std::sync::Arc;

use polars::prelude::StringChunked;

use self::cut::Cutter;
use self::header::Header;
use self::scan::Scanner;
use self::splice::{Action, Sifting, Splicer};
use super::charset::Script;
use super::convert::Converter;
use super::drain::Outlet;
use super::fault::internal;
use super::sieve::{self, Sieve};
use super::source::Source;
use super::verify::{Scan, Sum, Watched};
use super::{ColumnReport, Dialect, DigestKind, Failure, Fault, Format, InputReport, Outgoing, Reading, Report, relay};
use crate::keys::MaskingKeys;
use crate::policy::{Plan, Verify};

/// Files that fit into the first reading are done without threads: starting them would cost more than the work.
const SMALL: usize = 256 << 10;
/// Spans keep offsets in 31 bits.
const LONGEST_RECORD: u64 = 512 << 20;

/// What one output does with one column of the input.
enum Fate<'a> {
    Keep,
    Drop,
    Mask {
        apply: splice::Apply<'a>,
        /// Index of the column that it looks at beside its own.
        beside: Option<usize>,
    },
}

impl Fate<'_> {
    fn beside(&self) -> Option<usize> {
        match self {
            Fate::Mask { beside, .. } => *beside,
            Fate::Keep | Fate::Drop => None,
        }
    }
}

/// What one output does.
struct Fates<'a> {
    /// For each column the name that may be given out, and what is done.
    columns: Vec<(String, Fate<'a>)>,
    /// For each column what the leak scan looks for; empty where there is none.
    watched: Vec<Arc<Watched>>,
    /// Names of the file's own that no rule spells, with their positions, as far as they go out.
    unspelled: Vec<(u32, String)>,
    /// Rows that it leaves out.
    sifting: Option<Sifting<'a>>,
}

impl Fates<'_> {
    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Lets the leak scan look at the names.
    fn see_names(&self, sum: &mut Sum) {
        sum.see_names(self.columns.len(), "*", &self.unspelled);
    }

    /// For each column whether its cells are wanted: changed, or looked at for the sake of others, of its rows, or by the
    /// leak scan.
    fn touched(&self) -> Vec<bool> {
        let is_watched = !self.watched.is_empty();
        let fates = self.columns.iter().map(|(_, fate)| fate);
        let mut touched: Vec<bool> = fates.clone().map(|fate| is_watched || !matches!(fate, Fate::Keep)).collect();
        let sifted = self.sifting.iter().flat_map(|sifting| sifting.columns.iter().copied());
        for column in fates.filter_map(Fate::beside).chain(sifted) {
            touched[column] = true;
        }
        touched
    }
}

pub(super) fn process(
    source: Source<'_>,
    reading: &Reading,
    digest_kind: DigestKind,
    outputs: Vec<Outgoing>,
    keys: &MaskingKeys,
    threads: usize,
) -> Result<Report, Failure> {
    let compression = source.compression();
    let policies: Vec<_> = outputs.iter().map(|output| output.policy.clone()).collect();
    let sieves: Vec<Option<Arc<Sieve>>> = outputs.iter().map(|output| output.sieve.clone()).collect();
    let mut outlets = Outlet::open_all(outputs, &source, Format::Csv)?;
    let mut columns = Vec::new();
    let planner = |names: &[&str]| {
        let mut all = Vec::with_capacity(policies.len());
        for (policy, sieve) in policies.iter().zip(&sieves) {
            let named = |fault| {
                let fault = of_dialect(fault, &reading.dialect);
                if policies.len() > 1 { of_policy(fault, &policy.name) } else { fault }
            };
            let plan = policy.plan(names).map_err(named)?;
            let has_header = reading.dialect.columns.is_empty();
            let unspelled = if has_header { unspelled(&plan, names) } else { Vec::new() };
            let (fates, reports) = fates(plan, policy.verify, sieve.as_deref(), keys);
            all.push(Fates { unspelled, ..fates });
            columns.push(reports);
        }
        Ok(all)
    };
    let ran = if reading.dialect.widths.is_empty() {
        run(source, reading, planner, &mut outlets, threads)?
    } else {
        fixed::run(source, reading, planner, &mut outlets, threads)?
    };
    let rows = sieve::finish_all(&sieves, ran.rows)?;
    let verified = Outlet::verify_all(outlets.iter_mut())?;
    let outputs = outlets.into_iter().zip(columns).zip(verified).zip(rows);
    let outputs = outputs.map(|(((outlet, columns), verify), rows)| outlet.finish(Format::Csv, rows, columns, verify));
    let format = Format::Csv.compressed(compression);
    Ok(Report {
        input: InputReport { digest: ran.digest, digest_kind, bytes: ran.bytes, format },
        rows_in: ran.rows,
        outputs: outputs.collect::<Result<Vec<_>, _>>()?,
    })
}

/// What no rule knows as a name may be none, since the first record is something else than a header.
fn of_dialect(fault: Fault, dialect: &Dialect) -> Fault {
    let is_named = fault.column.as_deref().is_none_or(|column| !column.starts_with("column "));
    if is_named || !dialect.columns.is_empty() {
        return fault;
    }
    let advice = format!(
        "{}; if it has none by design, begins with a preamble or has another quote, set `delimited.columns`, \
         `delimited.preamble` or `delimited.quote`",
        fault.advice
    );
    Fault { advice, ..fault }
}

/// With several outputs it matters whose policy refuses a header.
fn of_policy(fault: Fault, policy: &str) -> Fault {
    Fault { sentence: format!("{} (policy {policy:?})", fault.sentence), ..fault }
}

fn fates<'a>(
    plan: Plan,
    verify: Verify,
    sieve: Option<&'a Sieve>,
    keys: &MaskingKeys,
) -> (Fates<'a>, Vec<ColumnReport>) {
    let sifting = sieve.map(|sieve| Sifting { sieve, columns: plan.row_columns });
    let watched = plan.columns.iter().enumerate().filter(|_| verify != Verify::Off);
    let watched = watched.map(|(index, column)| Watched::new(index, &column.namespace, &column.mask)).collect();
    let (columns, reports) = plan
        .columns
        .into_iter()
        .map(|column| {
            let mut key_version = None;
            let fate = if column.mask.is_drop() {
                Fate::Drop
            } else if column.mask.is_keep() {
                Fate::Keep
            } else {
                let prepared = column.mask.prepare(&column.namespace, keys);
                key_version = prepared.key_version();
                let apply = move |cells: &StringChunked, beside: Option<&StringChunked>| {
                    prepared.apply_beside(cells, beside, column.mistyped)
                };
                Fate::Mask { apply: Box::new(apply), beside: column.beside }
            };
            let mask = column.mask.name().to_owned();
            (
                (column.public_name.clone(), fate),
                ColumnReport { name: column.public_name, mask, key_version, type_change: None },
            )
        })
        .unzip();
    (Fates { columns, watched, unspelled: Vec::new(), sifting }, reports)
}

/// The names that go out and that no rule spells.
fn unspelled(plan: &Plan, names: &[&str]) -> Vec<(u32, String)> {
    let all = (1..).zip(names.iter().zip(&plan.columns));
    let unspelled = all.filter(|(_, (_, column))| !column.is_spelled && !column.mask.is_drop());
    unspelled.map(|(position, (name, _))| (position, (*name).to_owned())).collect()
}

/// What a run found and made.
struct Ran {
    digest: Option<String>,
    bytes: u64,
    rows: u64,
}

fn run<'a>(
    mut source: Source<'_>,
    reading: &Reading,
    planner: impl FnOnce(&[&str]) -> Result<Vec<Fates<'a>>, Fault>,
    outlets: &mut [Outlet],
    threads: usize,
) -> Result<Ran, Failure> {
    let dialect = &reading.dialect;
    let max_record_bytes = reading.limits.max_record_bytes.min(LONGEST_RECORD);
    let (header, mut buffer) = first_record(&mut source, dialect, max_record_bytes)?;
    crate::faults::point("header_read");
    let names: Vec<&str> = header.names.iter().map(String::as_str).collect();
    let plans = planner(&names).map_err(Failure::Reject)?;
    plans.iter().zip(&mut *outlets).for_each(|(plan, outlet)| plan.see_names(&mut outlet.sum));
    let public = plans.first().map(Fates::names).unwrap_or_default();
    let ends = plans.iter().any(|plan| plan.sifting.is_some());
    let script = source.script();
    let left: Vec<Vec<String>> = plans.iter().map(|plan| names_left(plan, &header, &script)).collect();
    let (touched, splicers) = splicers(plans, &header, dialect, outlets)?;
    let first = block::beginning(&buffer, &header, &touched, dialect.keep_comments);
    for ((outlet, splicer), names) in outlets.iter_mut().zip(&splicers).zip(&left) {
        match outlet.conversion(Format::Csv) {
            None => outlet.drain.write(splicer.splice_header(&first)?.written())?,
            Some(writing) => {
                let rows = Rows::new(&header, dialect, names.len(), script.clone());
                outlet.drain.converter = Some(Converter::of_delimited(writing, names, rows, outlet.expansion.clone())?);
            }
        }
    }
    let Dialect { quote, escape, comment, .. } = *dialect;
    // No other format has a place for them.
    let keep_comments = dialect.keep_comments && outlets.iter().all(|outlet| outlet.conversion(Format::Csv).is_none());
    let scanner = Scanner {
        delimiter: header.delimiter,
        quote,
        escape,
        comment,
        columns: header.names.len(),
        max_record_bytes,
        touched,
        ends,
        finder: bits::Finder::new(Scanner::needles(header.delimiter, quote)),
    };
    buffer.drain(..header.end);
    let base = header.end as u64;
    let small = source.eof;
    let (_, block_bytes) = sizes();
    let mut cutter =
        Cutter { source, scanner, names: public, buffer, base, block_bytes, rows: 0, failed: None, keep_comments };
    let splice = |block: &block::Block, spares| splice::splice_all(&splicers, block, spares);
    relay::carry(small, || cutter.next(), splice, outlets, threads)?;
    let (rows, bytes) = (cutter.rows, cutter.source.bytes());
    Ok(Ran { digest: cutter.source.digest(), bytes, rows })
}

/// The names of the columns of an output.
fn names_left(plan: &Fates<'_>, header: &Header, script: &Script) -> Vec<String> {
    let names = header.names.iter().zip(&plan.columns).filter(|(_, (_, fate))| !matches!(fate, Fate::Drop));
    names.map(|(name, _)| script.as_written(name).into_owned()).collect()
}

/// The header, and the first bytes of the file with it in them.
fn first_record(
    source: &mut Source<'_>,
    dialect: &Dialect,
    max_record_bytes: u64,
) -> Result<(Header, Vec<u8>), Failure> {
    let mut buffer = Vec::new();
    let (mut size, _) = sizes();
    loop {
        source.fill(&mut buffer, size)?;
        if let Some(header) = header::read(&buffer, source.eof, dialect, max_record_bytes).map_err(Failure::Reject)? {
            return Ok((header, buffer));
        }
        size *= 2;
    }
}

/// Bytes of the first reading and of later blocks.
fn sizes() -> (usize, usize) {
    crate::faults::sizes((SMALL, cut::BLOCK))
}

/// The columns that any output touches, and each output's splicer over them.
fn splicers<'a>(
    plans: Vec<Fates<'a>>,
    header: &Header,
    dialect: &Dialect,
    outlets: &[Outlet],
) -> Result<(Vec<usize>, Vec<Splicer<'a>>), Failure> {
    let width = header.names.len();
    let mut wanted = vec![false; width];
    for plan in &plans {
        let left = plan.columns.iter().filter(|(_, fate)| !matches!(fate, Fate::Drop)).count();
        if plan.columns.len() != width || left == 0 {
            return Err(internal("a plan does not fit the header"));
        }
        for (want, touched) in wanted.iter_mut().zip(plan.touched()) {
            *want |= touched || (left == 1 && width > 1);
        }
    }
    let touched: Vec<usize> = (0..width).filter(|&column| wanted[column]).collect();
    let splicers = plans.into_iter().zip(outlets).map(|(plan, outlet)| {
        let scan = Scan::new(&outlet.sum, plan.names(), plan.watched);
        let columns_out = plan.columns.iter().filter(|(_, fate)| !matches!(fate, Fate::Drop)).count();
        let (mut kept, mut kept_before, mut actions) = (false, Vec::new(), Vec::new());
        for (column, (public_name, fate)) in plan.columns.into_iter().enumerate() {
            let before = kept;
            kept |= !matches!(fate, Fate::Drop);
            if wanted[column] {
                kept_before.push(before);
                actions.push(match fate {
                    Fate::Drop => Action::Drop,
                    Fate::Keep if columns_out == 1 && width > 1 => Action::Sole,
                    Fate::Keep => Action::Keep,
                    Fate::Mask { apply, beside } => {
                        let beside = beside.and_then(|column| touched.binary_search(&column).ok());
                        Action::Mask { apply, beside, public_name }
                    }
                });
            }
        }
        let Dialect { quote, escape, .. } = *dialect;
        let comment = dialect.comment.filter(|_| touched.first() == Some(&0));
        let special = bits::Finder::new([header.delimiter, quote.unwrap_or(b'\n'), b'\r', b'\n']);
        let sifting = plan.sifting.map(|Sifting { sieve, columns }| {
            let columns = columns.iter().filter_map(|column| touched.binary_search(column).ok());
            Sifting { sieve, columns: columns.collect() }
        });
        Splicer {
            delimiter: header.delimiter,
            quote,
            escape,
            comment,
            columns_out,
            kept_before,
            actions,
            special,
            scan,
            sifting,
        }
    });
    let splicers = splicers.collect();
    Ok((touched, splicers))
}
