//! The validators against python-stdnum's answers, and against chance.

use std::collections::BTreeMap;

use super::{Identifier, identifiers};
use crate::detect::card;
use crate::detect::class::Class;
use crate::detect::iban::is_iban;

fn compact(number: &str) -> Vec<u8> {
    number.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase()).collect()
}

fn all() -> impl Iterator<Item = &'static Identifier> {
    identifiers().chain([&card::CARD])
}

/// See `tests/identifiers/generate.py`, which makes the numbers.
#[test]
fn validators_agree_with_python_stdnum() {
    let path = std::env::var("VEILD_IDENTIFIERS");
    let path = path.unwrap_or_else(|_| format!("{}/tests/identifiers/numbers.tsv", env!("CARGO_MANIFEST_DIR")));
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut asked, mut differing) = (BTreeMap::new(), BTreeMap::<&str, Vec<&str>>::new());
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (name, number, answer) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
        let class = Class::of_name(name).unwrap();
        let ours = match identifiers().find(|it| it.class == class) {
            Some(identifier) => (identifier.valid)(&compact(number)),
            None => class == Class::Iban && is_iban(number),
        };
        *asked.entry(class).or_insert(0) += 1;
        if ours != (answer == "1") {
            differing.entry(name).or_default().push(line);
        }
    }
    assert!(asked.len() >= 60, "{} classes asked", asked.len());
    let some: Vec<_> =
        differing.iter().map(|(name, lines)| (name, lines.len(), &lines[..lines.len().min(3)])).collect();
    assert!(some.is_empty(), "{some:#?}");
    println!("{} numbers of {} classes agree", text.lines().count(), asked.len());
}

/// Random text of a form; a small generator, the same at every run.
fn random(form: &str, state: &mut u64) -> String {
    let mut next = |among: &[u8]| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(among[(*state >> 33) as usize % among.len()])
    };
    let place = |byte| match byte {
        b'#' => next(b"0123456789"),
        b'@' => next(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        b'?' => next(b"0123456789"),
        byte => char::from(byte),
    };
    form.bytes().map(place).collect()
}

#[test]
fn chance_is_as_the_tables_say() {
    let mut off = Vec::new();
    // What is rarer would take too long to measure, and counts as rare enough either way.
    for identifier in all().filter(|it| it.one_in <= 400) {
        let (tries, mut passed, mut state) = ((identifier.one_in * 150).clamp(2_000, 20_000), 0, 7);
        for _ in 0..tries {
            passed += u32::from((identifier.valid)(&compact(&random(identifier.forms[0], &mut state))));
        }
        let one_in = f64::from(tries) / f64::from(passed.max(1));
        if !(0.5..2.0).contains(&(one_in / f64::from(identifier.one_in))) {
            off.push((identifier.class.name(), identifier.one_in, one_in.round()));
        }
    }
    assert!(off.is_empty(), "class, table, measured: {off:?}");
}

#[test]
fn validators_take_any_bytes() {
    let mut state = 11;
    for identifier in all() {
        for length in 0..24 {
            for form in ["#", "@", "?", "&"] {
                (identifier.valid)(&compact(&random(&form.repeat(length), &mut state)));
            }
        }
    }
}

#[test]
fn at_least_25_countries_have_a_check() {
    let checked = identifiers().filter(|it| it.one_in >= 10).map(|it| &it.class.name()[..2]);
    assert!(checked.collect::<std::collections::BTreeSet<_>>().len() >= 45);
}
