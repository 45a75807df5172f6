//! What holds for every mask.

use polars::prelude::{NewChunkedArray, StringChunked};
use proptest::prelude::*;

use super::{Case, Hierarchy, Mask, MaskParams, OnMistyped, REDACTED, Remains, Test, WhenMask};

/// One of each mask and kind.
fn masks() -> Vec<Mask> {
    let text = |text: &str| Some(text.to_owned());
    let none = MaskParams::default;
    let steps = |steps: &[&str]| Some(steps.iter().map(|step| (*step).to_owned()).collect());
    let kind = |kind: &str| MaskParams { kind: text(kind), ..none() };
    let edges = Some(vec![18.into(), 40.into(), 67.5.into()]);
    let hierarchy = Hierarchy::parse(b"20;young;*\n85004;old;*\nu33dc0;old;*\n").unwrap();
    [
        ("null", none()),
        ("redact", none()),
        ("partial", MaskParams { keep_last: Some(4), ..none() }),
        ("partial", MaskParams { mask_first: Some(5), char: text("#"), ..none() }),
        ("hash", none()),
        ("hash", MaskParams { algorithm: text("blake3"), encoding: text("base32"), ..none() }),
        ("hash", MaskParams { encoding: text("base64url"), length: Some(12), ..none() }),
        ("hash", MaskParams { normalize: steps(&["digits"]), ..none() }),
        ("token", none()),
        ("token", MaskParams { normalize: steps(&["nfc", "trim", "lowercase"]), ..none() }),
        ("fpe", none()),
        ("fpe", MaskParams { alphabet: text("alphanumeric"), short: text("hash"), ..none() }),
        ("fpe", MaskParams { short: text("redact"), ..kind("card") }),
        ("fpe", MaskParams { keep_first: Some(6), ..kind("card") }),
        ("fpe", kind("iban")),
        ("fake", MaskParams { locale: text("de"), ..kind("address") }),
        ("fake", MaskParams { locale: text("fr"), ..kind("phone") }),
        ("fake", MaskParams { locale: text("ja"), ..kind("last_name") }),
        ("truncate", MaskParams { keep: Some(2), ..none() }),
        ("truncate", kind("zip3")),
        ("truncate", kind("ip")),
        ("truncate", kind("geohash")),
        ("generalize", MaskParams { width: Some(10.into()), ..none() }),
        ("generalize", MaskParams { edges, ..none() }),
        ("generalize", MaskParams { hierarchy: Some(hierarchy), ..none() }),
        ("pattern", MaskParams { pattern: text(r"\d+"), replace: text("#"), ..none() }),
        ("pattern", MaskParams { pattern: text(r"^(\d)\d+$"), replace: text("$1…"), ..none() }),
        ("scrub", none()),
        (
            "date",
            MaskParams { to: Some("age_band".into()), as_of: text("2026-01-01"), width: Some(5.into()), ..none() },
        ),
        ("date_shift", MaskParams { subject: text("id"), ..none() }),
        ("round", MaskParams { to: Some(10.into()), ..none() }),
        ("clamp", MaskParams { min: Some(10.into()), max: Some(50.into()), ..none() }),
    ]
    .into_iter()
    .chain(
        ["year", "quarter", "month", "week", "decade"].map(|to| ("date", MaskParams { to: Some(to.into()), ..none() })),
    )
    .chain(FAKES.map(|fake| ("fake", kind(fake))))
    .map(|(mask, params)| Mask::from_params(mask, &params).unwrap())
    .chain([conditional()])
    .collect()
}

const FAKES: [&str; 10] =
    ["name", "first_name", "last_name", "email", "username", "phone", "street", "city", "address", "company"];

#[test]
fn every_mask_of_the_table_is_among_them() {
    let named = [Mask::Keep, Mask::Drop].into_iter().chain(masks()).chain(noises());
    let named: std::collections::BTreeSet<&str> =
        named.map(|mask| mask.name()).filter(|name| *name != "when").collect();
    assert_eq!(named, super::MASKS.iter().copied().collect());
}

fn conditional() -> Mask {
    let of = |value: &str| Test::In(vec![value.to_owned()]);
    let hash = Mask::from_params("hash", &MaskParams::default()).unwrap();
    let year = MaskParams { to: Some("year".into()), ..MaskParams::default() };
    let year = Mask::from_params("date", &year).unwrap();
    let cases = vec![Case { test: of("p1"), mask: hash }, Case { test: of("p2"), mask: year }];
    Mask::When(Box::new(WhenMask { column: "id".to_owned(), cases, otherwise: Mask::Null }))
}

/// Of both kinds.
fn noises() -> [Mask; 2] {
    ["laplace", "gaussian"].map(|kind| {
        let (kind, scale) = (Some(kind.to_owned()), Some(toml::Value::from(0.5)));
        Mask::from_params("noise", &MaskParams { kind, scale, ..MaskParams::default() }).unwrap()
    })
}

/// Cells of which every mask can read some.
fn cell() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(prop_oneof![
        Just(String::new()),
        "-?[0-9]{1,5}(\\.[0-9]{1,3})?",
        "[0-9]{5}(-[0-9]{4})?",
        "20|85004|u33dc0",
        "[0-9b-hjkmnp-z]{1,12}",
        "(19|20)[0-9]{2}-0[1-9]-[0-2][0-9]",
        any::<[u8; 4]>().prop_map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
        any::<[u16; 8]>().prop_map(|groups| std::net::Ipv6Addr::from(groups).to_string()),
        "4[0-9]{15}|DE89370400440532013000|NL91 ABNA 0417 1643 00",
        ".{0,20}",
    ])
}

fn column(cells: &[Option<String>]) -> StringChunked {
    StringChunked::from_iter_options("".into(), cells.iter().cloned())
}

/// The column beside, for masks that look at one.
fn subjects(cells: &[Option<String>]) -> StringChunked {
    StringChunked::from_iter_values("".into(), (0..cells.len()).map(|index| ["p1", "p2", "p3"][index % 3]))
}

fn keys() -> &'static crate::keys::MaskingKeys {
    static KEYS: std::sync::LazyLock<crate::keys::MaskingKeys> = std::sync::LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("masking.key");
        crate::keys::generate_masking(&path, jiff::Timestamp::UNIX_EPOCH).unwrap();
        crate::keys::MaskingKeys::load(&path).unwrap()
    });
    &KEYS
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn masks_keep_length_null_and_empty_and_are_deterministic(cells in proptest::collection::vec(cell(), 0..40)) {
        let (column, subjects) = (column(&cells), subjects(&cells));
        for mask in masks().into_iter().chain(noises()) {
            let prepared = mask.prepare("column", keys());
            let masked = prepared.apply_beside(&column, Some(&subjects), OnMistyped::Redact).unwrap();
            prop_assert_eq!(masked.len(), cells.len());
            for (cell, masked) in cells.iter().zip(masked.iter()) {
                match cell.as_deref() {
                    None | Some("") => prop_assert_eq!(masked, cell.as_deref()),
                    Some(_) => prop_assert!(masked.is_some()),
                }
            }
            if mask.is_randomized() {
                continue;
            }
            let again = mask.prepare("column", keys());
            let again = again.apply_beside(&column, Some(&subjects), OnMistyped::Redact).unwrap();
            prop_assert!(masked.iter().eq(again.iter()), "{} is not deterministic", mask.name());
        }
    }

    #[test]
    fn nothing_comes_out_as_it_was_unless_the_mask_says_that_it_may(cells in proptest::collection::vec(cell(), 0..40)) {
        let (column, subjects) = (column(&cells), subjects(&cells));
        for mask in masks() {
            let masked = mask.prepare("column", keys()).apply_beside(&column, Some(&subjects), OnMistyped::Null).unwrap();
            let hides = |letter: char, but| letter.is_alphanumeric() && Some(letter) != but;
            let is_same = |cell: &str, but| cell != REDACTED && cell.chars().any(|letter| hides(letter, but));
            let same = |but| {
                let pairs = cells.iter().map(Option::as_deref).zip(masked.iter());
                pairs.filter(|(cell, masked)| cell == masked && cell.is_some_and(|cell| is_same(cell, but))).count()
            };
            let (most, same) = match mask.remains() {
                Remains::All | Remains::Parts | Remains::Coarse => continue,
                Remains::Nothing | Remains::Changed => (0, same(None)),
                Remains::ChangedBut(character) => (0, same(Some(character))),
                // One in a million is its own pseudonym.
                Remains::ChangedMostly => (1, same(None)),
            };
            prop_assert!(same <= most, "{} left {same} cells as they were", mask.name());
        }
    }

    #[test]
    fn a_shifted_date_is_another_one_and_keeps_its_order(days in proptest::collection::vec(0..20_000_i64, 2..20)) {
        use jiff::ToSpan;
        let first = jiff::civil::date(1970, 1, 1);
        let text = |days: &i64| first.checked_add(days.days()).unwrap().to_string();
        let column = StringChunked::from_iter_values("".into(), days.iter().map(text));
        let subjects = StringChunked::from_iter_values("".into(), days.iter().map(|_| "p1"));
        let shift = MaskParams { subject: Some("id".to_owned()), ..MaskParams::default() };
        let shift = Mask::from_params("date_shift", &shift).unwrap().prepare("column", keys());
        let shifted = shift.apply_beside(&column, Some(&subjects), OnMistyped::Reject).unwrap();
        for (one, other) in (0..days.len()).flat_map(|one| (0..days.len()).map(move |other| (one, other))) {
            // ISO dates sort as they follow each other.
            prop_assert_eq!(shifted.get(one).cmp(&shifted.get(other)), days[one].cmp(&days[other]));
        }
        prop_assert!(column.iter().zip(shifted.iter()).all(|(date, shifted)| date != shifted));
    }

    #[test]
    fn no_planted_value_survives_in_any_byte(
        cells in proptest::collection::vec("Canary[0-9]{8}|[0-9]{12}|(19|20)[0-9]{2}-0[1-9]-1[0-9]|4111 ?1111 ?1111 ?1111", 1..20),
    ) {
        // Numbers that are multiples already stay what they are, and `pattern` changes what it is told to.
        let keeps = ["generalize", "pattern", "round", "clamp", "scrub"];
        let (column, subjects) = (
            StringChunked::from_iter_values("".into(), cells.iter()),
            subjects(&vec![None; cells.len()]),
        );
        for mask in masks().into_iter().filter(|mask| !keeps.contains(&mask.name())) {
            let masked = mask.prepare("column", keys()).apply_beside(&column, Some(&subjects), OnMistyped::Redact);
            for (cell, masked) in cells.iter().zip(masked.unwrap().iter()) {
                prop_assert!(!masked.unwrap().contains(cell.as_str()), "{} let {cell} through", mask.name());
            }
        }
    }

    #[test]
    fn no_planted_value_survives_within_text(
        before in "[a-z ,.;äß\n]{0,20}",
        after in "[a-z ,.;äß\n]{0,20}",
        mail in "[a-z]{8,12}@[a-z]{5,9}\\.(com|de)",
        digits in "4[0-9]{14}",
    ) {
        let card = format!("{digits}{}", crate::detect::luhn_digit(digits.bytes().map(|digit| digit - b'0')));
        for planted in [mail, card] {
            let text = column(&[Some(format!("{before} {planted} {after}"))]);
            let scrub = Mask::from_params("scrub", &MaskParams::default()).unwrap().prepare("column", keys());
            let scrubbed = scrub.apply(&text, OnMistyped::Reject).unwrap();
            prop_assert!(!scrubbed.get(0).unwrap().contains(&planted));
        }
    }

    #[test]
    fn a_cell_is_masked_alone_as_among_others(cells in proptest::collection::vec(cell(), 1..20)) {
        for mask in masks() {
            let prepared = mask.prepare("column", keys());
            let subjects = subjects(&cells);
            let together = prepared.apply_beside(&column(&cells), Some(&subjects), OnMistyped::Null).unwrap();
            for (index, (cell, masked)) in cells.iter().zip(together.iter()).enumerate() {
                let (cell, subject) = (column(std::slice::from_ref(cell)), subjects.slice(index as i64, 1));
                let alone = prepared.apply_beside(&cell, Some(&subject), OnMistyped::Null).unwrap();
                prop_assert_eq!(alone.get(0), masked);
            }
        }
    }

    #[test]
    fn an_unreadable_cell_is_rejected_at_its_place_or_replaced_whole(value in "[A-Z]{3} [A-Z]{3}", before in 0..5_usize) {
        let mut cells = vec![None; before];
        cells.push(Some(value.clone()));
        for mask in masks().into_iter().chain(noises()) {
            let prepared = mask.prepare("column", keys());
            let Err(mistyped) = prepared.apply(&column(&cells), OnMistyped::Reject) else { continue };
            prop_assert_eq!(mistyped.index, before);
            prop_assert!(!mistyped.to_string().contains(&value));
            let redacted = prepared.apply(&column(&cells), OnMistyped::Redact).unwrap();
            prop_assert_eq!(redacted.get(before), Some(REDACTED));
            let nulled = prepared.apply(&column(&cells), OnMistyped::Null).unwrap();
            prop_assert_eq!(nulled.get(before), Some(""));
        }
    }
}

#[test]
fn masks_survive_their_way_to_a_worker() {
    for mask in masks().into_iter().chain(noises()) {
        let text = serde_json::to_string(&mask).unwrap();
        assert_eq!(serde_json::from_str::<Mask>(&text).unwrap(), mask);
    }
}
