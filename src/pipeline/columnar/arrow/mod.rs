//! Arrow IPC, as a file (Feather) or a stream: batch by batch, masked columns built anew, all others passed on.
//!
//! Where an output is converted, Parquet comes this way, too, and batches go out in the other format.
//!
//! What is written of a masked column is built from its masked values alone: no dictionary, no bytes below a missing
//! value or between lists are taken over. Batches, compression and the types of untouched columns stay.

mod array;
mod input;
mod leaf;
mod messages;
mod rows;
mod schema;
mod sift;
mod stored;
mod verify;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Metadata, Schema, SchemaRef};
use polars::prelude::StringChunked;

use self::array::{Live, RowOf, Trouble, Walk};
use self::input::Input;
use self::leaf::{Refused, Unmasked};
use self::schema::{Found, Target};
use self::sift::Sifted;
use self::verify::Scan;
use self::writer::Writer;
use super::fault::{half_a_map, mistyped, must_be_there, named};
use super::fields::{self, Change};
use super::plan::{Fate, Leaf, Sieving, plan, sieving};
use super::{Opened, Ran};
use crate::detect::Survey;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::fault::{internal, of_file};
use crate::pipeline::survey::{Sample, Surveyed, SurveyedColumn};
use crate::pipeline::tap::Tap;
use crate::pipeline::verify::Sum;
use crate::pipeline::{ColumnReport, Failure, Format};

const MAGIC: &[u8] = b"ARROW1";
const ADVICE: &str = "Have the file sent again, whole, or written by another program.";

/// One output under construction.
struct Making<'s> {
    writer: Writer,
    schema: SchemaRef,
    leaves: Vec<Leaf>,
    sieving: Option<Sieving<'s>>,
    /// What becomes of each masked column.
    targets: Vec<Option<Target>>,
    /// What the leak scan has seen.
    sum: Sum,
}

pub(super) fn run(opened: &Opened<'_>, taps: Vec<Tap>) -> Result<Ran, Failure> {
    let mut input = Input::open(opened)?;
    let before = input.schema();
    let found = schema::find(before.fields(), opened.reading.limits).map_err(Failure::Reject)?;
    let mut makings = Vec::with_capacity(taps.len());
    for ((mut tap, policy), sieve) in taps.into_iter().zip(&opened.policies).zip(&opened.sieves) {
        let named = |fault| Failure::Reject(named(fault, policy, opened));
        let (leaves, unspelled) = plan(&found.schema, policy, opened.keys).map_err(named)?;
        unspelled.see(&mut tap.outlet.sum);
        let sieving = sieving(&found.schema, policy, sieve.as_deref()).map_err(named)?;
        makings.push(begin(tap, (leaves, sieving), &found, &input, opened.format)?);
    }
    let expansion = Expansion::of(opened.len, opened.reading.limits);
    let mut rows = 0;
    while let Some(batch) = input.next()? {
        for making in &mut makings {
            making.write(&batch, rows, &expansion)?;
        }
        rows += batch.num_rows() as u64;
        (opened.progress)(input.position().min(opened.len));
    }
    let finished = makings.into_iter().map(|making| {
        let columns = making.reports(&found);
        let mut tap = making.writer.finish()?;
        tap.outlet.sum = making.sum;
        Ok((tap, columns))
    });
    Ok(Ran { rows, outputs: finished.collect::<Result<Vec<_>, Failure>>()? })
}

fn begin<'s>(
    mut tap: Tap,
    (leaves, sieving): (Vec<Leaf>, Option<Sieving<'s>>),
    found: &Found,
    input: &Input,
    format: Format,
) -> Result<Making<'s>, Failure> {
    let mut targets = Vec::with_capacity(leaves.len());
    for (leaf, column) in leaves.iter().zip(&found.columns) {
        targets.push(match &leaf.fate {
            Fate::Mask(mask) => {
                let target = Target::of(column, mask);
                Some(target.ok_or_else(|| Failure::Reject(must_be_there(&leaf.public_path)))?)
            }
            _ => None,
        });
    }
    let before = input.schema();
    if sieving.is_some() {
        sift::check(before.fields()).map_err(Failure::Reject)?;
    }
    let change = |index: usize, before: &arrow_schema::DataType| {
        let target: Option<&Target> = targets.get(index).and_then(Option::as_ref);
        let data_type = target.map_or_else(|| before.clone(), |target| target.data_type.clone());
        Change { data_type, becomes_nullable: target.is_some_and(|target| target.becomes_nullable) }
    };
    // What programs noted about the file and its columns may hold values.
    let is_untouched = sieving.is_none() && leaves.iter().all(|leaf| matches!(leaf.fate, Fate::Keep));
    let is_scanned = tap.outlet.sum.digests().is_some();
    let keeps_notes = is_untouched && !(is_scanned && fields::notes_tell(&before));
    let fields = fields::left(before.fields(), &leaves, &change, sieving.is_some(), keeps_notes);
    let fields = fields.ok_or_else(|| internal("columns were miscounted"))?;
    if !fields.iter().all(|field| schema::maps_are_whole(field.data_type())) {
        return Err(Failure::Reject(half_a_map()));
    }
    let metadata = if keeps_notes { before.metadata().clone() } else { Metadata::default() };
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let sum = std::mem::replace(&mut tap.outlet.sum, Sum::off());
    let left = leaves.iter().filter(|leaf| !matches!(leaf.fate, Fate::Drop));
    let mut columns: Vec<String> = left.map(|leaf| leaf.public_column.clone()).collect();
    columns.dedup();
    let writer = Writer::open(tap, (&schema, columns), input, format)?;
    Ok(Making { writer, schema, leaves, sieving, targets, sum })
}

impl Making<'_> {
    fn write(&mut self, batch: &RecordBatch, rows_before: u64, expansion: &Expansion) -> Result<(), Failure> {
        let sifted = match &self.sieving {
            None => Sifted::whole(batch),
            Some(sieving) => sift::sift(sieving, batch, rows_before, expansion)?,
        };
        let batch = sifted.batch.as_ref();
        if batch.num_rows() == 0 && self.sieving.is_some() {
            return Ok(());
        }
        let looked_at = looked_at(&self.leaves, batch, expansion)?;
        let (leaves, targets, is_sifted) = (&self.leaves, &self.targets, self.sieving.is_some());
        let mut scan = Scan::new(self.sum.digests(), leaves.len());
        let mut visit = |index: usize, array: &ArrayRef, live: &Live, row_of: RowOf<'_>| match (
            leaves.get(index).map(|leaf| &leaf.fate),
            targets.get(index),
        ) {
            (Some(Fate::Keep), _) if is_sifted => Ok(sift::compacted(array)?),
            (Some(Fate::Keep), _) => Ok(array.clone()),
            (Some(Fate::Mask(mask)), Some(Some(target))) => {
                let beside = mask.beside.and_then(|column| looked_at.get(&column)).map(Vec::as_slice);
                let mut see = |cells: &StringChunked, masked: &StringChunked, rows| {
                    scan.see(index, cells, Some(masked), rows);
                };
                let masked = leaf::masked(array, mask, target, (live, row_of), beside, expansion, &mut see);
                masked.map_err(|unmasked| match unmasked {
                    Unmasked::Refused(refused) => Trouble::Refused(index, refused),
                    Unmasked::Failed(failure) => Trouble::Failed(failure),
                })
            }
            _ => Err(Trouble::Misfit),
        };
        let before = batch.schema();
        let mut walk = Walk { visit: &mut visit, next: 0 };
        let columns = walk.columns((before.fields(), batch.columns()), self.schema.fields(), &None, &|row| row);
        let columns = columns.map_err(|trouble| match trouble {
            Trouble::Refused(column, Refused { row, expected }) => {
                let public_path = &self.leaves[column].public_path;
                Failure::Reject(mistyped(expected, rows_before + sifted.row(row) as u64 + 1, public_path))
            }
            Trouble::Misfit => unwritable(),
            Trouble::Failed(failure) => failure,
        })?;
        if let Some(seen) = scan.look(&sifted, leaves, rows_before + 1, expansion)? {
            self.sum.add(seen);
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(|_| unwritable())?;
        self.writer.write(&batch)
    }

    fn reports(&self, found: &Found) -> Vec<ColumnReport> {
        let all = self.leaves.iter().zip(&self.targets).zip(&found.columns);
        let report = |((leaf, target), column): ((&Leaf, &Option<Target>), &schema::Column)| {
            let before = column.field.data_type();
            let changes = target.as_ref().is_some_and(|target| target.data_type != *before);
            let decoded = fields::decoded(before);
            let is_decoded = self.sieving.is_some() && matches!(leaf.fate, Fate::Keep) && decoded != *before;
            leaf.report(match is_decoded {
                true => Some(format!("dictionary to {}", schema::name(&decoded))),
                false => changes.then(|| format!("{} to text", schema::name(before))),
            })
        };
        all.map(report).collect()
    }
}

/// The texts of the columns that masks of others look at, by row.
fn looked_at(
    leaves: &[Leaf],
    batch: &RecordBatch,
    expansion: &Expansion,
) -> Result<HashMap<usize, Vec<Option<String>>>, Failure> {
    let beside = |leaf: &Leaf| if let Fate::Mask(mask) = &leaf.fate { mask.beside } else { None };
    texts_by_row(&leaves.iter().filter_map(beside).collect::<Vec<_>>(), batch, expansion)
}

/// The texts of columns without lists, by row.
fn texts_by_row(
    wanted: &[usize],
    batch: &RecordBatch,
    expansion: &Expansion,
) -> Result<HashMap<usize, Vec<Option<String>>>, Failure> {
    let mut found = HashMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let mut visit = |index: usize, array: &ArrayRef, live: &Live, row_of: RowOf<'_>| {
        if wanted.contains(&index) {
            let texts = leaf::by_row(array.as_ref(), live, row_of, batch.num_rows(), expansion);
            found.insert(index, texts.map_err(Trouble::Failed)?);
        }
        Ok(array.clone())
    };
    let schema = batch.schema();
    let mut walk = Walk { visit: &mut visit, next: 0 };
    let walked = walk.columns((schema.fields(), batch.columns()), schema.fields(), &None, &|row| row);
    walked.map_err(|trouble| if let Trouble::Failed(failure) = trouble { failure } else { unwritable() })?;
    Ok(found)
}

/// A look at every value of the sampled rows.
pub(super) fn survey(opened: &Opened<'_>, mut sample: Sample) -> Result<Surveyed, Failure> {
    let mut input = Input::open(opened)?;
    let schema = input.schema();
    let found = schema::find(schema.fields(), opened.reading.limits).map_err(Failure::Reject)?;
    let paths = found.schema.leaves.iter().map(|leaf| found.schema.nodes[*leaf].path.clone());
    let mut columns: Vec<SurveyedColumn> =
        paths.map(|name| SurveyedColumn { survey: Survey::new(&name), name }).collect();
    let expansion = Expansion::of(opened.len, opened.reading.limits);
    let mut rows = 0;
    while let Some(batch) = input.next()? {
        let chosen = sample.choose(rows + 1, batch.num_rows() as u64);
        let mut visit = |index: usize, array: &ArrayRef, live: &Live, row_of: RowOf<'_>| {
            expansion.add(array.len() as u64).map_err(Trouble::Failed)?;
            see(array.as_ref(), live, row_of, &chosen, &mut columns[index].survey);
            Ok(array.clone())
        };
        let mut walk = Walk { visit: &mut visit, next: 0 };
        let seen = walk.columns((schema.fields(), batch.columns()), schema.fields(), &None, &|row| row);
        seen.map_err(|trouble| if let Trouble::Failed(failure) = trouble { failure } else { unwritable() })?;
        rows += batch.num_rows() as u64;
    }
    let (format, rows_looked_at) = (Format::Arrow.name().to_owned(), sample.looked_at);
    Ok(Surveyed { format, rows, rows_looked_at, columns, is_rectangular: true })
}

fn see(array: &dyn Array, live: &Live, row_of: RowOf<'_>, chosen: &[bool], survey: &mut Survey) {
    let (there, read) = (leaf::there(array, live), leaf::reader(array));
    let mut cell = String::new();
    let belongs = |place: &usize| live.as_ref().is_none_or(|live| live.is_valid(*place));
    for place in (0..array.len()).filter(belongs).filter(|place| chosen.get(row_of(*place)) == Some(&true)) {
        cell.clear();
        let is_there = there.as_ref().is_none_or(|there| there.is_valid(place));
        let is_read = is_there && read(place, &mut cell);
        survey.see(if is_read { &cell } else { "" });
    }
}

/// What was read does not fit together: a reader of the output would not take it either.
fn unwritable() -> Failure {
    let sentence = "the parts of the Arrow IPC file do not fit together";
    Failure::Reject(of_file("malformed_file", sentence, ADVICE))
}
