//! A look at every single value of every path.

use std::collections::HashMap;

use jiff::Timestamp;

use super::LONGEST_RECORD;
use super::cut::Cutter;
use super::found::CellKind;
use super::splice::Block;
use super::tree::Tree;
use crate::detect::Survey;
use crate::keys::MaskingKeys;
use crate::mask::{Mask, OnMistyped};
use crate::pipeline::fault::internal;
use crate::pipeline::source::Source;
use crate::pipeline::survey::{Sample, Surveyed, SurveyedColumn};
use crate::pipeline::{Failure, Format, Reading};
use crate::policy::{ColumnRule, OnMissing, OnUnlisted, Policy, Selector, Verify};

/// Reads the whole file as if every single value were to be masked, and looks at those of the sample.
pub(in crate::pipeline) fn survey(
    source: Source<'_>,
    reading: &Reading,
    mut sample: Sample,
) -> Result<Surveyed, Failure> {
    let compression = source.compression();
    // Nothing that it could mask leaves the reading.
    let keys = MaskingKeys::parse(&MaskingKeys::generate(Timestamp::UNIX_EPOCH)).expect("a new key can be read");
    let limits = &reading.limits;
    let tree = Tree::new(vec![everything()], &keys, limits.max_paths).map_err(|error| internal(&error))?;
    let mut cutter = Cutter::new(source, tree, limits.max_record_bytes.min(LONGEST_RECORD), limits.max_depth);
    cutter.accept.clone_from(&reading.accept);
    let mut surveys: HashMap<usize, Survey> = HashMap::new();
    let mut values: HashMap<usize, u64> = HashMap::new();
    while let Some(block) = cutter.next()? {
        let rows = cutter.rows + 1 - block.first_row;
        block.columns.iter().for_each(|it| *values.entry(it.column.node).or_default() += it.cells.len() as u64);
        look(&block, &sample.choose(block.first_row, rows), &cutter.tree, &mut surveys);
    }
    let named_lines = matches!(reading.extension.as_deref(), Some("ndjson" | "jsonl"));
    let format = cutter.format(named_lines || reading.accept == [Format::Ndjson]);
    let ends: Vec<(usize, &str)> = cutter.tree.ends(|node| surveys.contains_key(&node)).collect();
    let is_in_all = |(node, path): &(usize, &str)| !path.contains("[*]") && values.get(node) == Some(&cutter.rows);
    let is_rectangular = ends.iter().all(is_in_all);
    let columns = ends.into_iter().map(|(node, path)| SurveyedColumn {
        name: path.to_owned(),
        survey: surveys.remove(&node).unwrap_or_else(|| Survey::new(path)),
    });
    Ok(Surveyed {
        format: format.compressed(compression),
        rows: cutter.rows,
        rows_looked_at: sample.looked_at,
        columns: columns.collect(),
        is_rectangular,
    })
}

fn everything() -> Policy {
    let rule = ColumnRule {
        columns: Selector::Names(vec!["**".to_owned()]),
        mask: Mask::redact(),
        mistyped: None,
        preset: false,
    };
    Policy {
        name: String::new(),
        unlisted: OnUnlisted::Redact,
        missing: OnMissing::Ignore,
        mistyped: OnMistyped::Redact,
        verify: Verify::Off,
        accept: Vec::new(),
        columns: vec![rule],
        suppress_rows: Vec::new(),
        anonymity: None,
        sha256: String::new(),
    }
}

fn look(block: &Block, chosen: &[bool], tree: &Tree<'_>, surveys: &mut HashMap<usize, Survey>) {
    let data = block.data.as_slice();
    let mut plain = Vec::new();
    for column in &block.columns {
        let node = column.column.node;
        let survey = surveys.entry(node).or_insert_with(|| Survey::new(tree.path(node)));
        for cell in column.cells.iter().filter(|cell| chosen.get(cell.row as usize) == Some(&true)) {
            let raw = &data[cell.start as usize..cell.end as usize];
            plain.clear();
            let text = if cell.kind == CellKind::EscapedText {
                // Half a character is no text; its file is refused when it is masked.
                let Some(()) = super::lex::unescape(raw, &mut plain) else { continue };
                &plain[..]
            } else {
                raw
            };
            survey.see(std::str::from_utf8(text).expect("the block was checked to be UTF-8"));
        }
    }
}
