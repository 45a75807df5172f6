//! The search against a slow way through all levels, which shares nothing with it but the masks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{NewChunkedArray, StringChunked};
use proptest::prelude::*;

use super::*;
use crate::keys::MaskingKeys;
use crate::mask::{Hierarchy, Mask, MaskParams, OnMistyped};

fn keys() -> MaskingKeys {
    MaskingKeys::parse(&MaskingKeys::generate(jiff::Timestamp::UNIX_EPOCH)).unwrap()
}

fn widths(widths: &[i64]) -> Vec<Mask> {
    let of = |width: &i64| {
        let params = MaskParams { width: Some((*width).into()), ..MaskParams::default() };
        Mask::from_params("generalize", &params).unwrap()
    };
    [vec![Mask::Keep], widths.iter().map(of).collect(), vec![one_for_all()]].concat()
}

fn prefixes(lengths: &[u32]) -> Vec<Mask> {
    let of =
        |keep: &u32| Mask::from_params("truncate", &MaskParams { keep: Some(*keep), ..MaskParams::default() }).unwrap();
    [vec![Mask::Keep], lengths.iter().map(of).collect(), vec![one_for_all()]].concat()
}

fn hierarchy(text: &str) -> Vec<Mask> {
    let hierarchy = Hierarchy::parse(text.as_bytes()).unwrap();
    let of = |level: u32| {
        let params = MaskParams { hierarchy: Some(hierarchy.clone()), level: Some(level), ..MaskParams::default() };
        Mask::from_params("generalize", &params).unwrap()
    };
    std::iter::once(Mask::Keep).chain((1..=hierarchy.levels() as u32).map(of)).collect()
}

fn one_for_all() -> Mask {
    Mask::Redact { text: "*".to_owned() }
}

fn asked(levels: Vec<Vec<Mask>>, sensitive: Vec<Sensitive>) -> Anonymity {
    let of = |(place, levels)| QuasiIdentifier { column: format!("q{place}"), levels, first_level: 0 };
    Anonymity {
        mode: Mode::Enforce,
        k: 2,
        max_suppressed: 0.0,
        utility: Utility::Entropy,
        quasi_identifiers: levels.into_iter().enumerate().map(of).collect(),
        sensitive,
        freeze: None,
        frozen: None,
    }
}

/// Quasi-identifiers of a row, then its sensitive values.
type Row = Vec<String>;

fn cells(rows: &[Row], column: usize) -> StringChunked {
    StringChunked::from_iter_values("".into(), rows.iter().map(|row| row[column].as_str()))
}

fn masks(asked: &Anonymity) -> Vec<Vec<Mask>> {
    let levels = asked.quasi_identifiers.iter().map(|it| it.levels.clone());
    levels.chain(asked.sensitive.iter().map(|_| vec![Mask::Keep])).collect()
}

fn levels(asked: &Anonymity) -> Levels {
    let keys = keys();
    let prepare = |masks: Vec<Mask>| masks.iter().map(|mask| mask.prepare("", &keys)).collect();
    Levels::new(masks(asked).into_iter().map(|masks| (prepare(masks), OnMistyped::Reject)).collect())
}

fn tally(asked: &Anonymity, rows: &[Row]) -> (Levels, Tally) {
    let levels = levels(asked);
    let mut tally = Tally::new(&levels);
    for block in rows.chunks(7) {
        let columns = 0..levels.len();
        let block: Vec<Cells> = columns.map(|column| Cells { cells: cells(block, column), beside: None }).collect();
        let finest = levels.finest(&block).unwrap();
        tally.add(&levels, &block, &finest).unwrap();
    }
    (levels, tally)
}

/// The rows as they go out at some levels.
fn levelled(asked: &Anonymity, rows: &[Row], levels: &[u32]) -> Vec<Row> {
    let keys = keys();
    let mut out = rows.to_vec();
    for (column, (masks, level)) in masks(asked).iter().zip(levels).enumerate() {
        let mask = masks[*level as usize].prepare("", &keys);
        let texts = mask.apply_to(rows.iter().map(|row| row[column].as_str()), OnMistyped::Reject).unwrap();
        out.iter_mut().zip(texts).for_each(|(row, text)| row[column] = text);
    }
    out
}

/// Rows by class.
fn classes(rows: &[Row], quasi_identifiers: usize) -> BTreeMap<&[String], Vec<usize>> {
    let mut classes: BTreeMap<&[String], Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        classes.entry(&row[..quasi_identifiers]).or_default().push(index);
    }
    classes
}

fn counts<'r>(rows: &'r [Row], of: &[usize], column: usize) -> BTreeMap<&'r str, f64> {
    let mut counts = BTreeMap::new();
    of.iter().for_each(|index| *counts.entry(rows[*index][column].as_str()).or_insert(0.0) += 1.0);
    counts
}

fn entropy(counts: &BTreeMap<&str, f64>) -> f64 {
    let all: f64 = counts.values().sum();
    counts.values().map(|count| -(count / all) * (count / all).ln()).sum::<f64>()
}

fn distance(rows: &[Row], class: &[usize], all: &[usize], column: usize, distance: Distance) -> f64 {
    let (here, there) = (counts(rows, class, column), counts(rows, all, column));
    let mut values: Vec<&str> = there.keys().copied().collect();
    values.sort_by_key(|value| value.parse::<i64>().unwrap());
    let difference =
        |value: &&str| here.get(value).unwrap_or(&0.0) / class.len() as f64 - there[value] / all.len() as f64;
    match distance {
        Distance::Equal => values.iter().map(|value| difference(value).abs()).sum::<f64>() / 2.0,
        Distance::Ordered if values.len() < 2 => 0.0,
        Distance::Ordered => {
            let (mut running, mut sum) = (0.0, 0.0_f64);
            for value in &values {
                running += difference(value);
                sum += f64::abs(running);
            }
            sum / (values.len() - 1) as f64
        }
    }
}

/// The rows that stay.
fn judged(asked: &Anonymity, rows: &[Row]) -> BTreeSet<usize> {
    let count = asked.quasi_identifiers.len();
    let mut kept: Vec<Vec<usize>> = classes(rows, count).into_values().collect();
    kept.retain(|class| class.len() as u64 >= asked.k);
    for (place, sensitive) in asked.sensitive.iter().enumerate() {
        let Some(l) = sensitive.l else { continue };
        kept.retain(|class| {
            let values = counts(rows, class, count + place);
            match sensitive.diversity {
                Diversity::Distinct => values.len() as f64 >= l,
                Diversity::Entropy => entropy(&values) >= l.ln() - 1e-9,
            }
        });
    }
    loop {
        let before = kept.len();
        for (place, sensitive) in asked.sensitive.iter().enumerate() {
            let Some(t) = sensitive.t else { continue };
            let all: Vec<usize> = kept.iter().flatten().copied().collect();
            kept.retain(|class| distance(rows, class, &all, count + place, sensitive.distance) <= t + 1e-9);
        }
        if kept.len() == before {
            return kept.into_iter().flatten().collect();
        }
    }
}

fn loss(asked: &Anonymity, raw: &[Row], rows: &[Row], kept: &BTreeSet<usize>) -> f64 {
    let (count, all) = (asked.quasi_identifiers.len(), raw.len() as f64);
    let gone = all - kept.len() as f64;
    let left: Vec<Row> = kept.iter().map(|index| rows[*index].clone()).collect();
    let sizes: Vec<f64> = classes(&left, count).values().map(|class| class.len() as f64).collect();
    match asked.utility {
        Utility::Discernibility => sizes.iter().map(|size| size * size).sum::<f64>() + gone * all,
        Utility::ClassSize => kept.len() as f64 / sizes.len().max(1) as f64 / asked.k as f64,
        Utility::Entropy => (0..count)
            .map(|column| {
                let of = |rows: &[Row]| -> HashMap<String, f64> {
                    let mut counts = HashMap::new();
                    rows.iter().for_each(|row| *counts.entry(row[column].clone()).or_insert(0.0) += 1.0);
                    counts
                };
                let (fine, coarse) = (of(raw), of(rows));
                raw.iter().zip(rows).map(|(raw, row)| (coarse[&row[column]] / fine[&raw[column]]).log2()).sum::<f64>()
            })
            .sum(),
        Utility::Loss => {
            let mut lost = gone * count as f64;
            for column in 0..count {
                let mut below: HashMap<&str, BTreeSet<&str>> = HashMap::new();
                for (raw, row) in raw.iter().zip(rows) {
                    below.entry(&row[column]).or_default().insert(&raw[column]);
                }
                let values = raw.iter().map(|row| &row[column]).collect::<BTreeSet<_>>().len();
                let share = |index: &usize| {
                    (below[rows[*index][column].as_str()].len() - 1) as f64 / (values - 1).max(1) as f64
                };
                lost += kept.iter().map(share).sum::<f64>();
            }
            lost / (all * count as f64)
        }
    }
}

/// The least loss there is.
fn slow(asked: &Anonymity, rows: &[Row]) -> Option<f64> {
    let heights: Vec<u32> = asked.quasi_identifiers.iter().map(|it| it.levels.len() as u32).collect();
    let mut best: Option<f64> = None;
    let mut levels = vec![0; heights.len()];
    loop {
        let out = levelled(asked, rows, &levels);
        let kept = judged(asked, &out);
        let gone = (rows.len() - kept.len()) as f64;
        if !kept.is_empty() && gone / rows.len() as f64 <= asked.max_suppressed {
            let loss = loss(asked, rows, &out, &kept);
            best = Some(best.map_or(loss, |best| best.min(loss)));
        }
        let Some(place) = (0..heights.len()).find(|place| levels[*place] + 1 < heights[*place]) else { return best };
        levels[..place].fill(0);
        levels[place] += 1;
    }
}

fn check(asked: &Anonymity, rows: &[Row]) {
    let (levels, tally) = tally(asked, rows);
    let found = decide(tally, asked, &|| {});
    let expected = slow(asked, rows);
    let Ok(found) = found else {
        assert_eq!(expected, None, "levels were there, and not found");
        return;
    };
    let expected = expected.expect("levels were found where there are none");
    let loss_found = found.report.utility.unwrap().loss;
    assert!((loss_found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{loss_found} instead of {expected}");
    let out = levelled(asked, rows, &found.levels);
    let kept = judged(asked, &out);
    assert!((loss(asked, rows, &out, &kept) - expected).abs() <= 1e-9 * expected.abs().max(1.0));
    let columns = 0..levels.len();
    let block: Vec<Cells> = columns.map(|column| Cells { cells: cells(rows, column), beside: None }).collect();
    let gone = found.chooser.left_out(&levels.finest(&block).unwrap()).unwrap();
    let gone = gone.unwrap_or_else(|| vec![false; rows.len()]);
    assert!((0..rows.len()).all(|row| gone[row] != kept.contains(&row)), "other rows are left out");
    assert_eq!(found.suppressed, (rows.len() - kept.len()) as u64);
    let count = asked.quasi_identifiers.len();
    let left: Vec<Row> = kept.iter().map(|index| out[*index].clone()).collect();
    let all: Vec<usize> = (0..left.len()).collect();
    let by_class = classes(&left, count);
    assert_eq!(found.report.k, by_class.values().map(|class| class.len() as u64).min());
    assert_eq!(found.report.classes, by_class.len() as u64);
    for (place, sensitive) in found.report.sensitive.iter().enumerate() {
        let values = || by_class.values().map(|class| counts(&left, class, count + place));
        assert_eq!(sensitive.l_distinct, values().map(|values| values.len() as u64).min());
        let least = values().map(|values| entropy(&values).exp()).fold(f64::MAX, f64::min);
        assert!((sensitive.l_entropy.unwrap() - least).abs() < 1e-9);
        let far = |class: &Vec<usize>| distance(&left, class, &all, count + place, sensitive.distance);
        let farthest = by_class.values().map(far).fold(0.0, f64::max);
        assert!((sensitive.t.unwrap() - farthest).abs() < 1e-9);
    }
}

fn sensitive() -> impl Strategy<Value = Vec<Sensitive>> {
    let l = prop::option::of(prop::sample::select(vec![1.0, 2.0, 3.0]));
    let t = prop::option::of(prop::sample::select(vec![0.05, 0.2, 0.4]));
    let one = (l, any::<bool>(), t, any::<bool>()).prop_map(|(l, by_entropy, t, is_ordered)| Sensitive {
        column: "s".to_owned(),
        l,
        diversity: if by_entropy { Diversity::Entropy } else { Diversity::Distinct },
        t,
        distance: if is_ordered { Distance::Ordered } else { Distance::Equal },
    });
    prop::collection::vec(one, 0..3)
}

fn utility() -> impl Strategy<Value = Utility> {
    prop::sample::select(vec![Utility::Entropy, Utility::Loss, Utility::Discernibility, Utility::ClassSize])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_optimum_is_found_and_holds(
        rows in prop::collection::vec((0_i64..24, 0_usize..7, 0_usize..6, 0_i64..5, 0_i64..3), 1..60),
        sensitive in sensitive(), utility in utility(), k in 1_u64..5, max_suppressed in prop::sample::select(vec![0.0, 0.1, 0.3]),
    ) {
        let zips = ["10115", "10117", "10243", "20095", "20097", "", "99"];
        let jobs = ["cook", "baker", "clerk", "nurse", "medic", "smith"];
        let ladder = "cook;food;*\nbaker;food;*\nclerk;office;*\nnurse;health;*\nmedic;health;*\nsmith;craft;*\n";
        let row = |(age, zip, job, first, second): &(i64, usize, usize, i64, i64)| {
            vec![age.to_string(), zips[*zip].to_owned(), jobs[*job].to_owned(), first.to_string(), second.to_string()]
        };
        let rows: Vec<Row> = rows.iter().map(row).collect();
        let levels = vec![widths(&[2, 6, 12]), prefixes(&[4, 2]), hierarchy(ladder)];
        let asked = Anonymity { k, max_suppressed, utility, ..asked(levels, sensitive) };
        check(&asked, &rows);
    }
}

#[test]
fn frozen_levels_hold_or_refuse() {
    let rows = |ages: &[i64]| -> Vec<Row> { ages.iter().map(|age| vec![age.to_string()]).collect() };
    let mut asked = asked(vec![widths(&[5, 10])], Vec::new());
    let decided = |asked: &Anonymity, ages: &[i64]| decide(tally(asked, &rows(ages)).1, asked, &|| {});
    assert_eq!(decided(&asked, &[1, 2, 6, 7]).ok().unwrap().levels, [1]);
    asked.frozen = Some(vec![2]);
    let found = decided(&asked, &[1, 2, 6, 7]).ok().unwrap();
    assert_eq!((found.levels, found.report.frozen, found.report.k), (vec![2], true, Some(4)));
    let unmet = decided(&asked, &[1, 2, 6, 17]).err().unwrap();
    assert_eq!(unmet, Unmet { rows: 4, suppressed: 1, most_suppressed: 0, frozen: true });
    asked.max_suppressed = 0.25;
    assert_eq!(decided(&asked, &[1, 2, 6, 17]).ok().unwrap().suppressed, 1);
    // Of another policy: they say nothing here.
    asked.frozen = Some(vec![2, 0]);
    assert_eq!(decided(&asked, &[1, 2, 6, 7]).ok().unwrap().levels, [1]);
}

#[test]
fn no_rows_and_a_single_one() {
    let asked = asked(vec![widths(&[5])], Vec::new());
    let none = decide(tally(&asked, &[]).1, &asked, &|| {}).ok().unwrap();
    assert_eq!((none.levels, none.suppressed, none.report.k, none.report.holds), (vec![0], 0, None, true));
    let one = decide(tally(&asked, &[vec!["3".to_owned()]]).1, &asked, &|| {}).err().unwrap();
    assert_eq!(one, Unmet { rows: 1, suppressed: 1, most_suppressed: 0, frozen: false });
    let all = Anonymity { max_suppressed: 1.0, ..asked.clone() };
    assert!(decide(tally(&all, &[vec!["3".to_owned()]]).1, &all, &|| {}).is_err(), "an empty file is no answer");
}

#[test]
fn an_unreadable_value_is_told_by_its_row() {
    let asked = asked(vec![widths(&[5])], Vec::new());
    let levels = levels(&asked);
    let mut tally = Tally::new(&levels);
    let rows: Vec<Row> = ["3", "4", "old", "3"].iter().map(|cell| vec![(*cell).to_owned()]).collect();
    let block = [Cells { cells: cells(&rows, 0), beside: None }];
    let finest = levels.finest(&block).unwrap();
    let refused = tally.add(&levels, &block, &finest).unwrap_err();
    assert_eq!(refused, Refused::Cell { place: 0, index: 2, expected: "a decimal number" });
}

#[test]
fn risks_are_those_of_the_book() {
    let asked = Anonymity { mode: Mode::Report, ..asked(vec![vec![Mask::Keep], vec![Mask::Keep]], Vec::new()) };
    let rows = |classes: &[(&str, usize)]| -> Vec<Row> {
        classes.iter().flat_map(|(class, size)| vec![vec![(*class).to_owned(), "x".to_owned()]; *size]).collect()
    };
    let file = rows(&[("a", 1), ("b", 2), ("c", 5)]);
    let found = risk(&classes_of(tally(&asked, &file).1, 2)).unwrap();
    assert_eq!((found.rows, found.classes, found.smallest, found.largest, found.uniques), (8, 3, 1, 5, 1));
    assert_eq!(found.prosecutor, Model { highest: 1.0, average: 3.0 / 8.0, above_threshold: 3.0 / 8.0 });
    assert_eq!((found.journalist, found.marketer), (found.prosecutor, 3.0 / 8.0));
    assert_eq!(found.sizes[&5], Size { classes: 1, rows: 5 });
    let (levels, tally_of_both) = tally(&asked, &file);
    let population = rows(&[("c", 20), ("d", 100), ("b", 4), ("a", 10)]);
    let block: Vec<Cells> = (0..2).map(|column| Cells { cells: cells(&population, column), beside: None }).collect();
    let mut tally_of_both = tally_of_both.with_population();
    tally_of_both.add(&levels, &block, &levels.finest(&block).unwrap()).unwrap();
    let found = risk(&classes_of(tally_of_both, 2)).unwrap();
    assert_eq!(found.journalist.highest, 0.25);
    assert_eq!(found.journalist.above_threshold, 2.0 / 8.0);
    assert!((found.marketer - (1.0 / 10.0 + 2.0 / 4.0 + 5.0 / 20.0) / 8.0).abs() < 1e-12);
    assert_eq!((found.prosecutor.highest, found.rows), (1.0, 8));
    assert!(risk(&[]).is_none());
}
