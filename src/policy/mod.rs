//! Policy + header → [`Plan`]: which column gets which mask. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::anonymity::Anonymity;
use crate::detect::Class;
use crate::mask::{Mask, OnMistyped, Test};
use crate::pipeline::Fault;

pub mod path;
mod plan;

pub use plan::{check_header, looks_like_a_name};

/// Named rules for the columns of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub unlisted: OnUnlisted,
    pub missing: OnMissing,
    pub mistyped: OnMistyped,
    pub verify: Verify,
    pub accept: Vec<Acceptance>,
    pub columns: Vec<ColumnRule>,
    /// Rows that are left out; the first rule that holds counts a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppress_rows: Vec<RowRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymity: Option<Anonymity>,
    /// SHA-256 of the policy's canonical form, lower-case hexadecimal; see [`Policy::digest`].
    pub sha256: String,
}

/// A column that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnUnlisted {
    #[default]
    Reject,
    Redact,
    Drop,
    Keep,
}

/// A rule that matches no column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    #[default]
    Reject,
    Ignore,
}

/// What a leak in the finished output does to its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// The file goes to quarantine.
    #[default]
    Block,
    /// It is sealed; the log and the receipt tell.
    Warn,
    /// Nothing is looked for.
    Off,
}

/// A false alarm of the leak scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Name or path of the column, as rules spell it; for names of columns and keys of objects it ends in a star.
    pub column: String,
    /// A class of leaks, see [`crate::pipeline::LeakClass::of_name`].
    pub class: String,
}

/// Columns and what happens to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnRule {
    pub columns: Selector,
    pub mask: Mask,
    /// Overrides the policy's `mistyped`.
    pub mistyped: Option<OnMistyped>,
    /// From what the policy extends: it yields to every rule of the policy's own, and to those of its kind before it, and
    /// need not match anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preset: bool,
}

/// Rows that are left out of the output (ISO/IEC 20889: record suppression), and how many of a file may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowRule {
    /// The column that is looked at, as the rule spells it.
    pub column: String,
    pub test: Test,
    /// At most so many rows of a file.
    pub max_rows: Option<u64>,
    /// At most this share of a file's rows.
    pub max_share: Option<f64>,
}

/// Which columns a rule names; literal names are compared normalised ([`normalise`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    Names(Vec<String>),
    Glob(String),
    Regex(String),
    /// Columns whose names say that they hold one of these.
    Class(Vec<Class>),
}

/// What is done to each column of one file.
pub struct Plan {
    pub columns: Vec<PlannedColumn>,
    /// Indices of the columns that decide about rows ([`Policy::row_columns`]).
    pub row_columns: Vec<usize>,
}

/// What is done to one column.
pub struct PlannedColumn {
    /// The name as it may be given out, else `column N`.
    pub public_name: String,
    /// Normalised header name, the default namespace of keyed masks.
    pub namespace: String,
    pub mask: Mask,
    pub mistyped: OnMistyped,
    /// Index of the column that the mask looks at ([`Mask::beside`]).
    pub beside: Option<usize>,
    /// A rule spells this very name.
    pub is_spelled: bool,
}

impl Policy {
    /// Decides for every column of a header.
    ///
    /// # Errors
    ///
    /// A [`Fault`] for a blank or duplicate name, an unlisted column, a rule without a column, a column that two rules
    /// of the same rank claim, and a plan that leaves no column.
    pub fn plan(&self, header: &[&str]) -> Result<Plan, Fault> {
        plan::plan(self, header)
    }

    /// The mask of the rule for one column or path, if any.
    ///
    /// # Errors
    ///
    /// A sentence when the policy is not in order, or two patterns claim the column.
    pub fn mask_of(&self, column: &str) -> Result<Option<&Mask>, String> {
        plan::rule_of(self, &normalise(column)).map(|rule| rule.map(|rule| &rule.mask))
    }

    /// SHA-256 over the policy's rules as canonical JSON, its name aside; lower-case hexadecimal.
    pub fn digest(&self) -> String {
        use sha2::{Digest, Sha256};
        let rules = (&self.unlisted, &self.missing, &self.mistyped, &self.verify, &self.accept, &self.columns);
        let about_rows = (&self.suppress_rows, &self.anonymity);
        let text = serde_json::to_vec(&(rules, about_rows)).expect("a policy is plain data");
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The columns that decide which rows are left out, as the rules spell them, each once.
    pub fn row_columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        let counted = self.counted_columns().into_iter().flat_map(|(column, beside)| [Some(column), beside]);
        for column in self.suppress_rows.iter().map(|rule| rule.column.as_str()).chain(counted.flatten()) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// The columns of which anonymity is asked, quasi-identifiers first, each with the one that its mask looks at.
    pub fn counted_columns(&self) -> Vec<(&str, Option<&str>)> {
        let columns = self.anonymity.iter().flat_map(Anonymity::columns);
        columns.map(|column| (column, self.rule_named(column).and_then(|rule| rule.mask.beside()))).collect()
    }

    /// The rule that names a column literally.
    pub fn rule_named(&self, column: &str) -> Option<&ColumnRule> {
        let column = normalise(column);
        self.columns.iter().find(|rule| {
            matches!(&rule.columns, Selector::Names(names) if names.iter().any(|name| normalise(name) == column))
        })
    }

    /// The policy with each quasi-identifier at a level.
    pub fn at_levels(&self, levels: &[u32]) -> Policy {
        let mut policy = self.clone();
        let quasi_identifiers = self.anonymity.iter().flat_map(|it| &it.quasi_identifiers);
        for (quasi_identifier, level) in quasi_identifiers.zip(levels) {
            let Some(mask) = quasi_identifier.levels.get(*level as usize) else { continue };
            let column = Selector::Names(vec![quasi_identifier.column.clone()]);
            policy.columns.iter_mut().filter(|rule| rule.columns == column).for_each(|rule| rule.mask = mask.clone());
        }
        policy
    }

    /// The policy of a reading that looks at the rows and at nothing else.
    pub fn for_counting(&self) -> Policy {
        let rule = |column: &str| ColumnRule {
            columns: Selector::Names(vec![column.to_owned()]),
            mask: Mask::Keep,
            mistyped: None,
            preset: false,
        };
        let columns = self.row_columns().into_iter().map(rule).collect();
        let (unlisted, missing, verify) = (OnUnlisted::Keep, OnMissing::Ignore, Verify::Off);
        Policy { unlisted, missing, verify, accept: Vec::new(), columns, ..self.clone() }
    }

    /// Refuses two rules that name the same column, and masks that look at one which no rule names.
    pub fn check(&self) -> Result<(), String> {
        let mut seen = std::collections::HashSet::new();
        for rule in &self.columns {
            rule.columns.check()?;
            let Selector::Names(names) = &rule.columns else { continue };
            if let Some(twice) = names.iter().find(|name| !seen.insert(normalise(name))) {
                return Err(format!("column {twice:?} has two rules"));
            }
        }
        for beside in self.columns.iter().filter_map(|rule| rule.mask.beside()).chain(self.row_columns()) {
            path::canonical(beside)
                .ok_or_else(|| format!("{beside:?} must be one value of each record: without `*` and `[*]`"))?;
            if !seen.contains(&normalise(beside)) {
                return Err(format!(
                    "no rule names the column {beside:?} by its `name`: give it one, `drop` if need be"
                ));
            }
        }
        Ok(())
    }
}

impl Selector {
    /// A pattern's spelling, for messages.
    pub(crate) fn spelling(&self) -> String {
        match self {
            Selector::Names(names) => names.join(", "),
            Selector::Glob(pattern) | Selector::Regex(pattern) => pattern.clone(),
            Selector::Class(classes) => {
                let names: Vec<&str> = classes.iter().map(|class| class.name()).collect();
                format!("class {}", names.join(", "))
            }
        }
    }

    /// Refuses patterns that do not compile and empty names.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Selector::Names(names) if names.is_empty() || names.iter().any(|name| normalise(name).is_empty()) => {
                Err("a column's name must not be empty".to_owned())
            }
            Selector::Names(_) => Ok(()),
            Selector::Glob(_) | Selector::Regex(_) | Selector::Class(_) => plan::Matcher::new(self).map(|_| ()),
        }
    }
}

/// The form in which column names are compared: trimmed, runs of white space as one space, lower case.
pub fn normalise(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
