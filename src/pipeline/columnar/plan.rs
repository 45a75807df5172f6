//! What a policy does with each column of a schema. The rules are those of JSON's paths.

use std::sync::Arc;

use polars_arrow::array::Utf8ViewArray;

use super::names::Unspelled;
use super::schema::{Node, ROOT, Schema};
use crate::keys::MaskingKeys;
use crate::mask::{Mask, OnMistyped, Prepared};
use crate::pipeline::sieve::Sieve;
use crate::pipeline::verify::{Column, Watched};
use crate::pipeline::{ColumnReport, Fault};
use crate::policy::path::{Matches, PathRules, Step, canonical, push_step};
use crate::policy::{OnMissing, OnUnlisted, Policy, looks_like_a_name};

/// What one output does with one column.
pub(super) enum Fate {
    Keep,
    Drop,
    Mask(Box<LeafMask>),
}

pub(super) struct LeafMask {
    pub mask: Mask,
    pub prepared: Prepared,
    pub mistyped: OnMistyped,
    /// Index of the column that the mask looks at.
    pub beside: Option<usize>,
}

impl Fate {
    fn mask(&self) -> &Mask {
        match self {
            Fate::Keep => &Mask::Keep,
            Fate::Drop => &Mask::Drop,
            Fate::Mask(leaf) => &leaf.mask,
        }
    }
}

/// One column of an output.
pub(super) struct Leaf {
    pub fate: Fate,
    /// The path as it may be given out.
    pub public_path: String,
    /// The same of the table's column that it is or lies in.
    pub public_column: String,
    /// What the leak scan looks for.
    pub watched: Arc<Watched>,
}

impl Leaf {
    /// The column as the leak scan looks at it.
    pub(super) fn watched<'a>(
        &'a self,
        cells: &'a Utf8ViewArray,
        masked: Option<&'a Utf8ViewArray>,
        rows: Option<&'a [u32]>,
    ) -> Column<'a> {
        Column { watched: &self.watched, name: &self.public_path, cells, masked, rows }
    }

    /// The receipt's entry; `type_change` is what a mask makes of the column's type.
    pub(super) fn report(&self, type_change: Option<String>) -> ColumnReport {
        let (mask, key_version) = match &self.fate {
            Fate::Keep => ("keep", None),
            Fate::Drop => ("drop", None),
            Fate::Mask(leaf) => (leaf.mask.name(), leaf.prepared.key_version()),
        };
        ColumnReport { name: self.public_path.clone(), mask: mask.to_owned(), key_version, type_change }
    }
}

/// Rows that an output leaves out.
pub(super) struct Sieving<'s> {
    pub sieve: &'s Sieve,
    /// Columns that the sieve looks at; they are in no list, so each has one value in every row.
    pub columns: Vec<usize>,
}

/// Finds the columns that a sieve looks at.
pub(super) fn sieving<'s>(
    schema: &Schema,
    policy: &Policy,
    sieve: Option<&'s Sieve>,
) -> Result<Option<Sieving<'s>>, Fault> {
    let Some(sieve) = sieve else { return Ok(None) };
    let columns = sieve.columns().iter().map(|column| {
        place_of(schema, column).ok_or_else(|| {
            let name = &policy.name;
            let sentence = format!("the file has no column {column:?}, by which policy {name:?} leaves out rows");
            fault("missing_column", None, sentence, "Ask the sender for the column, or take the rule out.")
        })
    });
    Ok(Some(Sieving { sieve, columns: columns.collect::<Result<_, _>>()? }))
}

/// The column at a path without stars.
fn place_of(schema: &Schema, path: &str) -> Option<usize> {
    let path = canonical(path)?;
    schema.leaves.iter().position(|id| schema.nodes[*id].path == path)
}

/// What a rule on something with columns inside does to all of them.
#[derive(Clone, Copy)]
enum Whole {
    Drop,
    Null,
    Redact,
}

/// Decides for every column, in the schema's order.
///
/// # Errors
///
/// A [`Fault`] for an unlisted column, a rule without a column, a column that two rules of one rank claim, a rule for
/// single values on a list or struct, and a policy that leaves no column.
pub(super) fn plan(schema: &Schema, policy: &Policy, keys: &MaskingKeys) -> Result<(Vec<Leaf>, Unspelled), Fault> {
    let rules = PathRules::new(policy)
        .map_err(|error| fault("bad_policy", None, error, "Mend the policy; `veild check` finds this."))?;
    let found = Found::new(schema, &rules);
    let mut wholes: Vec<Option<Whole>> = vec![None; schema.nodes.len()];
    let mut leaves = Vec::with_capacity(schema.leaves.len());
    for (id, node) in schema.nodes.iter().enumerate().skip(ROOT + 1) {
        let inherited = wholes[node.parent];
        let ruled = rules.rule(&found.matches[id], &node.path);
        if node.is_leaf {
            let public_path = found.public_path(schema, id);
            let fate = match (inherited, ruled) {
                (Some(Whole::Drop), _) => Fate::Drop,
                (Some(Whole::Null), _) => mask(Mask::Null, node, policy.mistyped, keys),
                (Some(Whole::Redact), _) => mask(Mask::redact(), node, policy.mistyped, keys),
                (None, Err(_)) => return Err(ambiguous(policy, &public_path)),
                (None, Ok(Some((rule, _)))) => {
                    let rule = &policy.columns[rule];
                    mask(rule.mask.clone(), node, rule.mistyped.unwrap_or(policy.mistyped), keys)
                }
                (None, Ok(None)) => unlisted(policy, node, &public_path, keys)?,
            };
            let watched = Watched::new(leaves.len(), &node.path, fate.mask());
            let public_column = found.public_path(schema, schema.column(id));
            leaves.push(Leaf { fate, public_path, public_column, watched });
        } else if inherited.is_some() {
            wholes[id] = inherited;
        } else {
            let ruled = ruled.map_err(|_| ambiguous(policy, &found.public_path(schema, id)))?;
            wholes[id] = match ruled {
                None => None,
                Some((rule, pattern)) => {
                    whole(policy, &rules, rule, pattern).map_err(|()| not_single(&found.public_path(schema, id)))?
                }
            };
        }
    }
    refuse_missing(policy, &rules, &found)?;
    find_beside(schema, policy, &mut leaves)?;
    if leaves.iter().all(|leaf| matches!(leaf.fate, Fate::Drop)) {
        let sentence = "the policy drops every column of this file".to_owned();
        return Err(fault("no_column_left", None, sentence, "Keep or mask at least one column."));
    }
    let unspelled = Unspelled::new(schema, &found, &leaves);
    Ok((leaves, unspelled))
}

fn mask(mask: Mask, node: &Node, mistyped: OnMistyped, keys: &MaskingKeys) -> Fate {
    match mask {
        Mask::Keep => Fate::Keep,
        Mask::Drop => Fate::Drop,
        mask => {
            let prepared = mask.prepare(&node.path, keys);
            Fate::Mask(Box::new(LeafMask { prepared, mask, mistyped, beside: None }))
        }
    }
}

/// Finds the columns that masks look at; such a path goes through no list, so it has one value in each record.
fn find_beside(schema: &Schema, policy: &Policy, leaves: &mut [Leaf]) -> Result<(), Fault> {
    for leaf in leaves {
        let Fate::Mask(mask) = &mut leaf.fate else { continue };
        let Some(beside) = mask.mask.beside() else { continue };
        mask.beside = place_of(schema, beside);
        if mask.beside.is_none() {
            let name = &policy.name;
            let sentence = format!(
                "the file has no column {beside:?}, without which policy {name:?} cannot mask {}",
                leaf.public_path
            );
            let advice = "Ask the sender for the column, or choose another mask.";
            return Err(fault("missing_column", Some(&leaf.public_path), sentence, advice));
        }
    }
    Ok(())
}

/// What a rule that claims a list or struct does with what is inside; an error for a mask of single values.
fn whole(policy: &Policy, rules: &PathRules, rule: usize, pattern: usize) -> Result<Option<Whole>, ()> {
    let column = &policy.columns[rule];
    // What a keeping pattern does not claim below is for `unlisted` to decide.
    let passes = (column.mask.is_keep() && !rules.is_literal(pattern)) || rules.goes_on(pattern);
    match column.mistyped.unwrap_or(policy.mistyped) {
        _ if column.mask.is_drop() => Ok(Some(Whole::Drop)),
        _ if passes => Ok(None),
        OnMistyped::Reject => Err(()),
        OnMistyped::Null => Ok(Some(Whole::Null)),
        OnMistyped::Redact => Ok(Some(Whole::Redact)),
    }
}

fn unlisted(policy: &Policy, node: &Node, public_path: &str, keys: &MaskingKeys) -> Result<Fate, Fault> {
    match policy.unlisted {
        OnUnlisted::Reject => {
            let sentence = format!("no rule of policy {:?} names {public_path}", policy.name);
            let advice = "Add a rule for the path, or set `unlisted`, then `veild quarantine retry`.";
            Err(fault("unlisted_column", Some(public_path), sentence, advice))
        }
        OnUnlisted::Redact => Ok(mask(Mask::redact(), node, policy.mistyped, keys)),
        OnUnlisted::Drop => Ok(Fate::Drop),
        OnUnlisted::Keep => Ok(Fate::Keep),
    }
}

/// Where the rules lead in a schema.
pub(super) struct Found {
    matches: Vec<Matches>,
    /// A rule spells this very key.
    pub(super) spelled: Vec<bool>,
    /// Children that a rule spells, or claims because of what they are.
    known_children: Vec<usize>,
    known: Vec<bool>,
    /// Patterns that claim something.
    matched: Vec<bool>,
}

impl Found {
    fn new(schema: &Schema, rules: &PathRules) -> Found {
        let count = schema.nodes.len();
        let mut found = Found {
            matches: vec![rules.start()],
            spelled: vec![false],
            known_children: vec![0; count],
            known: vec![false],
            matched: vec![false; rules.len()],
        };
        for node in schema.nodes.iter().skip(ROOT + 1) {
            let normal = node.normal_key();
            let (matches, spelled) = rules.step(&found.matches[node.parent], node.step(&normal));
            rules.matched(&matches, &node.path).for_each(|pattern| found.matched[pattern] = true);
            let claim = rules.rule(&matches, &node.path).ok().flatten();
            let known = spelled || claim.is_some_and(|(_, pattern)| rules.knows_key(pattern, &node.path));
            found.known_children[node.parent] += usize::from(known);
            found.matches.push(matches);
            found.spelled.push(spelled);
            found.known.push(known);
        }
        found
    }

    /// A key shows only if a rule spells it, or if it looks like a name and a rule knows another key beside it; else
    /// the column is told by its position in the table, and what lies in it as `?`.
    fn public_path(&self, schema: &Schema, id: usize) -> String {
        let mut way = Vec::new();
        let mut at = id;
        while at != ROOT {
            way.push(at);
            at = schema.nodes[at].parent;
        }
        let mut path = String::new();
        for &step in way.iter().rev() {
            let node = &schema.nodes[step];
            let others = self.known_children[node.parent] - usize::from(self.known[step]);
            match &node.key {
                None => push_step(&mut path, Step::Element),
                Some(key) if self.spelled[step] || (others > 0 && looks_like_a_name(key)) => {
                    push_step(&mut path, Step::Key(key));
                }
                Some(_) if node.parent == ROOT => path = format!("column {}", schema.position(step)),
                Some(_) => push_step(&mut path, Step::Key("?")),
            }
        }
        path
    }
}

fn refuse_missing(policy: &Policy, rules: &PathRules, found: &Found) -> Result<(), Fault> {
    let unmatched = found.matched.iter().enumerate().filter(|(_, matched)| !**matched).map(|(pattern, _)| pattern);
    let missing = unmatched.into_iter().find(|pattern| rules.may_be_wanted(*pattern));
    match missing.filter(|_| policy.missing == OnMissing::Reject) {
        None => Ok(()),
        Some(pattern) => {
            let rule = rules.spelling(pattern);
            let sentence = format!("the file has no column for the rule {rule:?} of policy {:?}", policy.name);
            let advice = "Ask the sender for the column, take the rule out, or set `missing = \"ignore\"`.";
            Err(fault("missing_column", None, sentence, advice))
        }
    }
}

fn ambiguous(policy: &Policy, public_path: &str) -> Fault {
    let sentence = format!("two patterns of policy {:?} claim {public_path}", policy.name);
    fault("ambiguous_rule", Some(public_path), sentence, "Give the path a rule with its literal name.")
}

fn not_single(public_path: &str) -> Fault {
    let sentence = format!("{public_path} is a list or a struct, and its rule is for single values");
    let advice = "Name what is inside (`path.key`, `path[*]`, `path.**`), drop the whole, or set `mistyped`.";
    fault("mistyped_cell", Some(public_path), sentence, advice)
}

fn fault(code: &str, column: Option<&str>, sentence: String, advice: &str) -> Fault {
    Fault {
        code: code.to_owned(),
        sentence,
        row: None,
        column: column.map(str::to_owned),
        byte_offset: None,
        advice: advice.to_owned(),
    }
}
