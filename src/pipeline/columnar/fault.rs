//! The faults of columnar files in words that all of them share.

use super::Opened;
use crate::pipeline::Fault;
use crate::pipeline::fault::{for_mistyped, of_file, quoted};
use crate::policy::Policy;

/// With several outputs it matters whose policy refuses a schema.
pub(super) fn named(fault: Fault, policy: &Policy, opened: &Opened<'_>) -> Fault {
    if opened.policies.len() < 2 {
        return fault;
    }
    Fault { sentence: format!("{} (policy {:?})", fault.sentence, policy.name), ..fault }
}

/// A value that a mask cannot take; `row` counts from 1.
pub(super) fn mistyped(expected: &str, row: u64, public_path: &str) -> Fault {
    Fault {
        code: "mistyped_cell".to_owned(),
        sentence: format!("{expected} expected in row {row}, {}", quoted(public_path)),
        row: Some(row),
        column: Some(public_path.to_owned()),
        byte_offset: None,
        advice: for_mistyped(expected).to_owned(),
    }
}

/// A mask that would null what must be there.
pub(super) fn must_be_there(public_path: &str) -> Fault {
    Fault {
        code: "unmaskable_column".to_owned(),
        sentence: format!("{public_path} must have a value in every place, so it cannot be nulled"),
        row: None,
        column: Some(public_path.to_owned()),
        byte_offset: None,
        advice: "Choose another mask, or drop what the column belongs to.".to_owned(),
    }
}

/// A map that would lose its keys or its values only.
pub(super) fn half_a_map() -> Fault {
    let sentence = "the policy drops the keys of a map without its values, or the values without the keys";
    of_file("unmaskable_column", sentence, "Drop the whole map, or mask what shall not be seen.")
}
