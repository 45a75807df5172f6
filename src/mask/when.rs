//! Conditional masks: which one a cell gets is told by a cell of another column in the same row.

use polars::prelude::{NewChunkedArray, PlSmallStr, StringChunked};
use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::{Mask, Mistyped, OnMistyped, Prepared};
use crate::keys::MaskingKeys;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhenMask {
    /// The column that is looked at, as the rule spells it.
    pub column: String,
    /// The first that holds decides.
    pub cases: Vec<Case>,
    /// For cells for which none holds.
    pub otherwise: Mask,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub test: Test,
    pub mask: Mask,
}

/// Values are compared as they are spelled; null is empty. For one that cannot be told no test holds: a key that is not
/// there, or stands for several values or for a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Test {
    pub fn holds(&self, value: &str) -> bool {
        match self {
            Test::In(values) => values.iter().any(|known| known == value),
            Test::NotIn(values) => values.iter().all(|known| known != value),
        }
    }
}

impl WhenMask {
    /// All masks that a cell can get.
    pub fn masks(&self) -> impl Iterator<Item = &Mask> {
        self.cases.iter().map(|case| &case.mask).chain([&self.otherwise])
    }

    pub fn prepare(&self, namespace: &str, keys: &MaskingKeys) -> Chooser {
        let cases = self.cases.iter().map(|case| (case.test.clone(), case.mask.prepare(namespace, keys)));
        Chooser { cases: cases.collect(), otherwise: self.otherwise.prepare(namespace, keys) }
    }
}

/// A [`WhenMask`] ready to work.
pub struct Chooser {
    cases: Vec<(Test, Prepared)>,
    otherwise: Prepared,
}

impl Chooser {
    pub fn key_version(&self) -> Option<u32> {
        self.cases.iter().map(|(_, mask)| mask).chain([&self.otherwise]).find_map(Prepared::key_version)
    }

    /// Masks a column. A cell beside that is null cannot be told: the cell that it decides about is mistyped then, as is
    /// every cell without the other column.
    pub fn apply(
        &self,
        column: &StringChunked,
        beside: Option<&StringChunked>,
        mistyped: OnMistyped,
    ) -> Result<StringChunked, Mistyped> {
        let mut beside = beside.into_iter().flat_map(|beside| beside.iter());
        let (otherwise, undecided) = (self.cases.len(), self.cases.len() + 1);
        let mut parts: Vec<Vec<Option<&str>>> = vec![Vec::new(); undecided + 1];
        let mut chosen = Vec::with_capacity(column.len());
        for cell in column.iter() {
            let place = match beside.next().flatten() {
                Some(value) => self.cases.iter().position(|(test, _)| test.holds(value)).unwrap_or(otherwise),
                None => undecided,
            };
            parts[place].push(cell);
            chosen.push(place);
        }
        let masks = self.cases.iter().map(|(_, mask)| Some(mask)).chain([Some(&self.otherwise), None]);
        let mut masked = Vec::with_capacity(parts.len());
        let mut first: Option<Mistyped> = None;
        for (place, (mask, part)) in masks.zip(&parts).enumerate() {
            let part = StringChunked::from_iter_options(PlSmallStr::EMPTY, part.iter().copied());
            let part = match mask {
                Some(mask) => mask.apply(&part, mistyped),
                None => super::prepared::masked(&part, mistyped, "a value to decide by", |_, _| false),
            };
            match part {
                Ok(part) => masked.push(part),
                Err(Mistyped { index, expected }) => {
                    let mut rows = (0..chosen.len()).filter(|row| chosen[*row] == place);
                    let index = rows.nth(index).unwrap_or(0);
                    if first.is_none_or(|first| index < first.index) {
                        first = Some(Mistyped { index, expected });
                    }
                }
            }
        }
        if let Some(mistyped) = first {
            return Err(mistyped);
        }
        let mut parts: Vec<_> = masked.iter().map(|part| part.iter()).collect();
        let mut cells = Cells::with_capacity(column.len());
        for place in chosen {
            cells.push(parts[place].next().flatten().unwrap_or_default());
        }
        Ok(cells.finish(column))
    }
}

#[cfg(test)]
mod tests {
    use super::super::MaskParams;
    use super::*;

    fn column(cells: &[Option<&str>]) -> StringChunked {
        StringChunked::from_iter_options("".into(), cells.iter().copied())
    }

    fn keys() -> MaskingKeys {
        MaskingKeys::parse(&MaskingKeys::generate(jiff::Timestamp::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn every_cell_gets_the_mask_of_its_own_row() {
        let of = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let year = MaskParams { to: Some("year".into()), ..MaskParams::default() };
        let mask = WhenMask {
            column: "country".to_owned(),
            cases: vec![
                Case { test: Test::In(of(&["US", "CA"])), mask: Mask::from_params("date", &year).unwrap() },
                Case { test: Test::NotIn(of(&["DE", ""])), mask: Mask::Keep },
            ],
            otherwise: Mask::redact(),
        };
        let chooser = mask.prepare("c", &keys());
        let cells = column(&[Some("1987-04-12"), Some("x"), Some("x"), None, Some(""), Some("x"), Some("2001-01-01")]);
        let beside = column(&[Some("US"), Some("DE"), Some("FR"), Some("US"), Some("DE"), Some(""), Some("CA")]);
        let masked = chooser.apply(&cells, Some(&beside), OnMistyped::Reject).unwrap();
        let expected = [Some("1987"), Some("[REDACTED]"), Some("x"), None, Some(""), Some("[REDACTED]"), Some("2001")];
        assert_eq!(masked.iter().collect::<Vec<_>>(), expected);
        let alone = chooser.apply(&cells, None, OnMistyped::Reject).unwrap_err();
        assert_eq!(
            (alone.index, alone.expected),
            (0, "a value to decide by"),
            "without the other column nothing passes"
        );
        let untold = column(&[Some("US"), Some("DE"), None, None, None, None, None]);
        let redacted = chooser.apply(&cells, Some(&untold), OnMistyped::Redact).unwrap();
        assert_eq!(redacted.iter().skip(2).take(2).collect::<Vec<_>>(), [Some("[REDACTED]"), None]);

        let beside = column(&[Some("US"), Some("FR"), Some("CA"), Some(""), None, Some("US"), None]);
        let refused = chooser.apply(&cells, Some(&beside), OnMistyped::Reject).unwrap_err();
        assert_eq!(refused.index, 2);
        let nulled = chooser.apply(&cells, Some(&beside), OnMistyped::Null).unwrap();
        assert_eq!((nulled.get(2), nulled.get(5)), (Some(""), Some("")));
    }
}
