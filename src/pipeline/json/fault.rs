//! The faults of JSON in words.

use crate::pipeline::Fault;
use crate::pipeline::fault::place;

/// What breaks a document's structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syntax { expected: &'static str },
    CutOff,
    NotAnObject,
    DuplicateKey,
    TooDeep { limit: usize },
    TooLong { limit: u64 },
    TooManyPaths { limit: usize },
    InvalidUtf8,
    BadKey,
    NotAccepted { found: &'static str },
}

/// A structural fault within a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub kind: Kind,
    /// Offset in the buffer.
    pub at: usize,
}

impl Broken {
    /// Puts the fault into words; `base` is the buffer's offset in the file.
    pub(super) fn describe(self, row: u64, base: u64) -> Fault {
        let offset = base + self.at as u64;
        let (code, what, advice) = match self.kind {
            Kind::Syntax { expected } => (
                "json_syntax",
                format!("this is not JSON: {expected} was expected"),
                "Have the sender write the file with a JSON library.",
            ),
            Kind::CutOff => {
                ("json_cut_off", "the file ends within a value".to_owned(), "Have the file sent again, whole.")
            }
            Kind::NotAnObject => (
                "record_not_object",
                "a record is not an object".to_owned(),
                "Records are objects: one a line, or all in one array, or one alone.",
            ),
            Kind::DuplicateKey => (
                "duplicate_key",
                "a key stands twice in one object".to_owned(),
                "Readers disagree on which of the two counts; have the sender write each key once.",
            ),
            Kind::TooDeep { limit } => (
                "nested_too_deep",
                format!("values are nested deeper than {limit}"),
                "If the file is right, raise `max_depth` in the limits.",
            ),
            Kind::TooLong { limit } => (
                "record_too_long",
                format!("a record is longer than {limit} bytes"),
                "Have the sender write one record a line; if the record is right, raise `max_record` in the limits.",
            ),
            Kind::TooManyPaths { limit } => (
                "too_many_paths",
                format!("the file has more than {limit} different paths, or keys of enormous length"),
                "Where keys are values (a map by customer), drop or redact the map; or raise `max_paths` in the limits.",
            ),
            Kind::InvalidUtf8 => (
                "invalid_utf8",
                "the bytes are not valid UTF-8".to_owned(),
                "Name its encoding (`encoding` of the landing, `--encoding` of a command), or have it written as UTF-8.",
            ),
            Kind::BadKey => (
                "json_syntax",
                "this is not JSON: a key holds half of a surrogate pair".to_owned(),
                "Have the sender write the file with a JSON library.",
            ),
            Kind::NotAccepted { found } => (
                "unrecognised_format",
                format!("the file is {found}, which is not accepted here"),
                "Drop the file on a landing that accepts it, or add its format to this one's.",
            ),
        };
        Fault {
            code: code.to_owned(),
            sentence: format!("{what}, in {}", place(row, None, offset)),
            row: Some(row),
            column: None,
            byte_offset: Some(offset),
            advice: advice.to_owned(),
        }
    }
}

/// What a policy holds against a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Unlisted,
    Ambiguous,
    NotScalar,
    /// The policy's pattern with this index has no value here.
    Missing(usize),
    /// Two keys of one object are the same rule's.
    SameRule,
}

impl Why {
    /// Puts the fault into words; `missing` is the rule as the policy spells it.
    pub(super) fn describe(self, policy: &str, missing: &str, path: &str, row: u64, offset: u64) -> Fault {
        let (code, what, advice) = match self {
            Why::Unlisted => (
                "unlisted_column",
                format!("no rule of policy {policy:?} names this path"),
                "Add a rule for the path, or set `unlisted`, then `veild quarantine retry`.",
            ),
            Why::Ambiguous => (
                "ambiguous_rule",
                format!("two patterns of policy {policy:?} claim this path"),
                "Give the path a rule with its literal name.",
            ),
            Why::NotScalar => (
                "mistyped_cell",
                "a single value expected, an object or an array found".to_owned(),
                "Name what is inside (`path.key`, `path[*]`, `path.**`), drop the whole, or set `mistyped`.",
            ),
            Why::Missing(_) => (
                "missing_column",
                format!("{} has no value for the rule {missing:?} of policy {policy:?}", holder(path)),
                "Ask the sender for it, or set `missing = \"ignore\"` where records may lack it.",
            ),
            Why::SameRule => (
                "duplicate_key",
                format!("two keys of one object belong to one rule of policy {policy:?}"),
                "Have the sender write each key once, in one spelling.",
            ),
        };
        let column = (!matches!(self, Why::Missing(_)) && !path.is_empty()).then(|| path.to_owned());
        Fault {
            code: code.to_owned(),
            sentence: format!("{what}, in {}", place(row, column.as_deref(), offset)),
            row: Some(row),
            column,
            byte_offset: Some(offset),
            advice: advice.to_owned(),
        }
    }
}

/// What lacks something, by its path.
fn holder(path: &str) -> String {
    if path.is_empty() { "the record".to_owned() } else { format!("what stands at {path}") }
}
