//! Intervals and hierarchies (ISO/IEC 20889: generalization, local and full-domain).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::number::{Decimal, NUMBER};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneralizeMask {
    /// Intervals of one width, with an edge at 0.
    Width {
        width: Decimal,
    },
    /// Intervals between ascending edges, open-ended outside them.
    Edges {
        edges: Vec<Decimal>,
    },
    Hierarchy(#[serde(with = "shared")] Arc<Level>),
}

impl GeneralizeMask {
    /// What it reads, for messages.
    pub fn expected(&self) -> &'static str {
        match self {
            GeneralizeMask::Width { .. } | GeneralizeMask::Edges { .. } => NUMBER,
            GeneralizeMask::Hierarchy(_) => "a value that the hierarchy lists",
        }
    }

    /// Appends the interval (`[20, 30)`: from 20, below 30) or the hierarchy's text; false when the value is no number
    /// or not in the hierarchy.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        match self {
            GeneralizeMask::Width { width } => Decimal::parse(value)
                .and_then(|number| number.interval(width))
                .map(|(low, high)| write!(out, "[{low}, {high})").is_ok())
                .is_some(),
            GeneralizeMask::Edges { edges } => Decimal::parse(value)
                .and_then(|number| between(&number, edges))
                .map(|index| write_between(index, edges, out).is_ok())
                .is_some(),
            GeneralizeMask::Hierarchy(level) => level.of(value).map(|text| out.push_str(text)).is_some(),
        }
    }
}

/// Number of edges that the number has reached; `None` when the arithmetic cannot tell.
fn between(number: &Decimal, edges: &[Decimal]) -> Option<usize> {
    let mut reached = 0;
    for edge in edges {
        reached += usize::from(number.compare(edge)?.is_ge());
    }
    Some(reached)
}

fn write_between(reached: usize, edges: &[Decimal], out: &mut String) -> std::fmt::Result {
    match reached.checked_sub(1).map(|below| &edges[below]) {
        Some(low) => write!(out, "[{low}, ")?,
        None => out.push_str("(-inf, "),
    }
    match edges.get(reached) {
        Some(high) => write!(out, "{high})"),
        None => out.write_str("inf)"),
    }
}

/// A hierarchy file in the format of ARX: a line for each value, the value first, then its coarser and coarser texts,
/// with semicolons between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Hierarchy {
    lines: Vec<csv::StringRecord>,
}

impl Hierarchy {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, with the line: no coarser text, lines of different lengths, a value that stands
    /// there twice, values that are joined at one level and apart again at the next.
    pub fn parse(file: &[u8]) -> Result<Hierarchy, String> {
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        let mut reader = csv::ReaderBuilder::new().delimiter(b';').has_headers(false).from_reader(file);
        let lines: Vec<csv::StringRecord> =
            reader.records().collect::<Result<_, _>>().map_err(|error| match error.kind() {
                csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                    let line = pos.as_ref().map_or(0, csv::Position::line);
                    format!("line {line} has {len} columns, the lines before it have {expected_len}")
                }
                csv::ErrorKind::Utf8 { pos, .. } => {
                    format!("line {} is not UTF-8", pos.as_ref().map_or(0, csv::Position::line))
                }
                _ => error.to_string(),
            })?;
        match lines.first().map(csv::StringRecord::len) {
            None => return Err("there is no line in it".to_owned()),
            Some(1) => {
                return Err("line 1 has one column: a value and its levels stand with `;` between them".to_owned());
            }
            Some(_) => {}
        }
        let hierarchy = Hierarchy { lines };
        hierarchy.refuse_blanks()?;
        hierarchy.refuse_repeats()?;
        hierarchy.refuse_splits()?;
        Ok(hierarchy)
    }

    /// Number of levels above the value itself.
    pub fn levels(&self) -> usize {
        self.lines[0].len() - 1
    }

    /// One level as a table.
    ///
    /// # Errors
    ///
    /// The levels that there are.
    pub fn level(&self, level: u32) -> Result<Level, String> {
        let levels = self.levels();
        if !(1..=levels).contains(&(level as usize)) {
            let values = "the value itself is level 0";
            return Err(format!("`level` must be 1 to {levels}, as this hierarchy has it ({values})"));
        }
        let mut texts: Vec<String> = Vec::new();
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut values = HashMap::with_capacity(self.lines.len());
        for line in &self.lines {
            let index = *known.entry(&line[level as usize]).or_insert_with_key(|text| {
                texts.push((*text).to_owned());
                texts.len() as u32 - 1
            });
            values.insert(line[0].to_owned(), index);
        }
        Ok(Level { level, texts, values })
    }

    /// Nothing would be told apart from a cell that was empty before.
    fn refuse_blanks(&self) -> Result<(), String> {
        for line in &self.lines {
            if let Some(level) = line.iter().skip(1).position(str::is_empty) {
                return Err(format!("line {} has no text at level {}", number(line), level + 1));
            }
        }
        Ok(())
    }

    fn refuse_repeats(&self) -> Result<(), String> {
        let mut seen = HashMap::with_capacity(self.lines.len());
        for line in &self.lines {
            if let Some(first) = seen.insert(&line[0], number(line)) {
                return Err(format!("lines {first} and {} give levels for the same value", number(line)));
            }
        }
        Ok(())
    }

    /// A level that told apart what the level below it had joined would be finer, not coarser.
    fn refuse_splits(&self) -> Result<(), String> {
        for level in 1..self.levels() {
            let mut seen: HashMap<&str, &csv::StringRecord> = HashMap::new();
            for line in &self.lines {
                let first = *seen.entry(&line[level]).or_insert(line);
                if first[level + 1] != line[level + 1] {
                    let (first, line) = (number(first), number(line));
                    let above = level + 1;
                    return Err(format!(
                        "lines {first} and {line} are the same at level {level}, but not at level {above}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn number(line: &csv::StringRecord) -> u64 {
    line.position().map_or(0, csv::Position::line)
}

/// One level of a hierarchy; the table that travels to the workers, which open no file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    level: u32,
    texts: Vec<String>,
    /// Indices into `texts`.
    #[serde(serialize_with = "sorted")]
    values: HashMap<String, u32>,
}

impl Level {
    /// Whether all values have one text.
    pub fn is_one(&self) -> bool {
        self.texts.len() == 1
    }

    fn of(&self, value: &str) -> Option<&str> {
        self.values.get(value).and_then(|index| self.texts.get(*index as usize)).map(String::as_str)
    }
}

/// A level is shared by all columns and files of its policy, and large; serde itself does not go through an `Arc`.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Level;

    pub fn serialize<S: Serializer>(level: &Arc<Level>, serializer: S) -> Result<S::Ok, S::Error> {
        Level::serialize(level, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Level>, D::Error> {
        Level::deserialize(deserializer).map(Arc::new)
    }
}

/// A policy's digest must not depend on the order of a hash table.
fn sorted<S: Serializer>(values: &HashMap<String, u32>, serializer: S) -> Result<S::Ok, S::Error> {
    values.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDUCATION: &str =
        "Bachelors;Undergraduate;Higher;*\nMasters;Graduate;Higher;*\n11th;High School;Secondary;*\n";

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn masked(mask: &GeneralizeMask, value: &str) -> Option<String> {
        let mut out = String::new();
        mask.mask_into(value, &mut out).then_some(out)
    }

    #[test]
    fn intervals_hold_their_lower_end_only() {
        let tens = GeneralizeMask::Width { width: decimal("10") };
        assert_eq!(masked(&tens, "20").as_deref(), Some("[20, 30)"));
        assert_eq!(masked(&tens, "29.99").as_deref(), Some("[20, 30)"));
        assert_eq!(masked(&tens, "-0.5").as_deref(), Some("[-10, 0)"));
        assert_eq!(masked(&tens, "thirty"), None);
        let halves = GeneralizeMask::Width { width: decimal("0.5") };
        assert_eq!(masked(&halves, "1.75").as_deref(), Some("[1.5, 2.0)"));
    }

    #[test]
    fn edges_may_lie_apart_as_they_like() {
        let ages = GeneralizeMask::Edges { edges: ["18", "40", "67.5"].map(decimal).to_vec() };
        assert_eq!(masked(&ages, "17.999").as_deref(), Some("(-inf, 18)"));
        assert_eq!(masked(&ages, "18").as_deref(), Some("[18, 40)"));
        assert_eq!(masked(&ages, "67.5").as_deref(), Some("[67.5, inf)"));
        assert_eq!(masked(&ages, "1e3"), None);
    }

    #[test]
    fn a_hierarchy_replaces_by_its_level() {
        let hierarchy = Hierarchy::parse(EDUCATION.as_bytes()).unwrap();
        let at = |level| GeneralizeMask::Hierarchy(Arc::new(hierarchy.level(level).unwrap()));
        assert_eq!(masked(&at(1), "Masters").as_deref(), Some("Graduate"));
        assert_eq!(masked(&at(2), "Masters").as_deref(), Some("Higher"));
        assert_eq!(masked(&at(3), "11th").as_deref(), Some("*"));
        assert_eq!(masked(&at(1), "masters"), None);
        assert!(hierarchy.level(0).unwrap_err().contains("1 to 3"));
        assert!(hierarchy.level(4).unwrap_err().contains("1 to 3"));
    }

    #[test]
    fn quotes_byte_order_mark_and_dos_lines_are_read() {
        let hierarchy = Hierarchy::parse(b"\xef\xbb\xbf\"a;b\";\"say \"\"x\"\"\"\r\nc;d\r\n\r\n").unwrap();
        let mask = GeneralizeMask::Hierarchy(Arc::new(hierarchy.level(1).unwrap()));
        assert_eq!(masked(&mask, "a;b").as_deref(), Some("say \"x\""));
    }

    #[test]
    fn files_that_are_no_hierarchies_are_refused_with_their_lines() {
        let refusal = |file: &str| Hierarchy::parse(file.as_bytes()).unwrap_err();
        assert!(refusal("").contains("no line"));
        assert!(refusal("a,b\nc,d\n").contains("`;`"));
        assert_eq!(refusal("a;x;*\nb;x\n"), "line 2 has 2 columns, the lines before it have 3");
        assert_eq!(refusal("a;x;*\nb;;*\n"), "line 2 has no text at level 1");
        assert_eq!(refusal("a;x\nb;x\na;y\n"), "lines 1 and 3 give levels for the same value");
        assert_eq!(refusal("a;x;1\nb;x;2\n"), "lines 1 and 2 are the same at level 1, but not at level 2");
        assert_eq!(Hierarchy::parse(b"a;x\n\xff;y\n").unwrap_err(), "line 2 is not UTF-8");
    }

    #[test]
    fn the_table_survives_its_way_to_a_worker_and_has_one_spelling() {
        let level = Hierarchy::parse(EDUCATION.as_bytes()).unwrap().level(1).unwrap();
        let mask = GeneralizeMask::Hierarchy(Arc::new(level));
        let text = serde_json::to_string(&mask).unwrap();
        let back: GeneralizeMask = serde_json::from_str(&text).unwrap();
        assert_eq!(back, mask);
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    proptest::proptest! {
        #[test]
        fn a_number_lies_in_its_interval(whole in -100_000_i64..100_000, cents in 0_u32..100, width in 1_u32..5_000) {
            let value = format!("{whole}.{cents:02}");
            let mask = GeneralizeMask::Width { width: Decimal { digits: i128::from(width), scale: 1 } };
            let text = masked(&mask, &value).unwrap();
            let (low, high) = text.strip_prefix('[').and_then(|it| it.strip_suffix(')')).unwrap().split_once(", ").unwrap();
            proptest::prop_assert!(decimal(low).compare(&decimal(&value)).unwrap().is_le());
            proptest::prop_assert!(decimal(high).compare(&decimal(&value)).unwrap().is_gt());
            // All of an interval becomes the same.
            proptest::prop_assert_eq!(masked(&mask, low).unwrap(), text);
        }
    }
}
