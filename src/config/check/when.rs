//! `when` of a column rule: rules of one column become one conditional mask.

use toml::Value;

use crate::config::locate::Findings;
use crate::config::raw;
use crate::config::spanned::Spanned;
use crate::mask::{Case, Mask, Test, WhenMask};
use crate::policy::{ColumnRule, RowRule};

/// Rules of a policy as they come, those of one column joined.
#[derive(Default)]
pub struct Rules {
    pub rules: Vec<ColumnRule>,
    /// Conditional ones that have not said yet what becomes of other rows.
    open: Vec<usize>,
}

impl Rules {
    pub fn push(&mut self, rule: ColumnRule, condition: Condition, findings: &mut Findings<'_>) {
        let Condition { place, when, otherwise } = condition;
        let same = |index: &usize| self.rules[*index].columns == rule.columns;
        let Some(at) = self.open.iter().position(same) else {
            if when.is_some() && otherwise.is_none() {
                self.open.push(self.rules.len());
            }
            self.rules.push(match when {
                None => rule,
                Some((column, test)) => {
                    let cases = vec![Case { test, mask: rule.mask }];
                    let when = WhenMask { column, cases, otherwise: otherwise.unwrap_or_else(Mask::redact) };
                    ColumnRule { mask: Mask::When(Box::new(when)), ..rule }
                }
            });
            return;
        };
        let earlier = &mut self.rules[self.open[at]];
        let Mask::When(chain) = &mut earlier.mask else { return };
        if earlier.mistyped != rule.mistyped {
            findings.add(place, "rules of one column have the same `mistyped`");
            return;
        }
        match when {
            Some((column, _)) if column != chain.column => {
                findings.add(place, format!("`when` of one column's rules looks at one column: {:?}", chain.column));
                return;
            }
            Some((_, test)) => chain.cases.push(Case { test, mask: rule.mask }),
            None => {
                chain.otherwise = rule.mask;
                self.open.remove(at);
                return;
            }
        }
        if let Some(otherwise) = otherwise {
            chain.otherwise = otherwise;
            self.open.remove(at);
        }
    }
}

/// When a rule counts, and what becomes of the other rows.
pub struct Condition {
    place: std::ops::Range<usize>,
    when: Option<(String, Test)>,
    otherwise: Option<Mask>,
}

impl Condition {
    /// Takes the condition out of a rule with this mask; `None` when it is out of order.
    pub fn take(column: &mut raw::Column, mask: &Mask, findings: &mut Findings<'_>) -> Option<Condition> {
        let otherwise = match column.otherwise.take() {
            None => None,
            Some(word) if column.when.is_none() => {
                findings.add(word.span(), "`otherwise` goes with `when`");
                return None;
            }
            Some(word) => match word.get_ref().as_str() {
                "redact" => Some(Mask::redact()),
                "null" => Some(Mask::Null),
                "keep" => Some(Mask::Keep),
                _ => {
                    let what = "`otherwise` is \"redact\", \"null\" or \"keep\"; for another mask write a second rule of \
                                the column, without `when`";
                    findings.add(word.span(), what);
                    return None;
                }
            },
        };
        let Some(when) = column.when.take() else {
            return Some(Condition { place: column.mask.span(), when: None, otherwise });
        };
        let place = when.span();
        match read(when, mask) {
            Ok(when) => Some(Condition { place, when: Some(when), otherwise }),
            Err(error) => {
                findings.add(place, error);
                None
            }
        }
    }
}

fn read(when: Spanned<raw::When>, mask: &Mask) -> Result<(String, Test), String> {
    if mask.is_drop() {
        return Err("a column is dropped whole or not at all: use \"null\" or \"redact\" with `when`".to_owned());
    }
    if let Some(beside) = mask.beside() {
        return Err(format!("mask {:?} looks at {beside:?} already and takes no `when`", mask.name()));
    }
    condition(when)
}

/// What is looked at, and for which values.
fn condition(when: Spanned<raw::When>) -> Result<(String, Test), String> {
    let raw::When { column, values, other_values } = when.into_inner();
    let test = match (values, other_values) {
        (Some(values), None) => Test::In(texts(values)?),
        (None, Some(values)) => Test::NotIn(texts(values)?),
        _ => return Err("`when` has a `column` and one of `in` and `not_in`, each a list of values".to_owned()),
    };
    Ok((column, test))
}

/// A rule of `suppress_rows`.
pub fn row_rule(rule: Spanned<raw::SuppressRows>, findings: &mut Findings<'_>) -> Option<RowRule> {
    let place = rule.span();
    let raw::SuppressRows { when, max_rows, max_share } = rule.into_inner();
    if max_rows.is_none() && max_share.is_none() {
        findings.add(place.clone(), "say how many rows may go: `max_rows`, `max_share` (0 to 1), or both");
    }
    if max_share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        findings.add(place, "`max_share` is a share of the rows: 0 to 1");
    }
    let place = when.span();
    let condition = condition(when).map_err(|error| findings.add(place, error));
    condition.ok().map(|(column, test)| RowRule { column, test, max_rows, max_share })
}

fn texts(values: Vec<Value>) -> Result<Vec<String>, String> {
    let texts = values.into_iter().map(|value| match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        _ => Err("values of `when` are texts as they stand in the cells, as in `in = [\"DE\", \"FR\"]`".to_owned()),
    });
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    if texts.is_empty() { Err("`when` needs at least one value".to_owned()) } else { Ok(texts) }
}
