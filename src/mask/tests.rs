//! What holds for every mask.

use polars::prelude::{NewChunkedArray, StringChunked};
use proptest::prelude::*;

use super::{Case, Hierarchy, Mask, MaskParams, OnMistyped, REDACTED, Test, WhenMask};

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
        ("hash", none()),
        ("hash", MaskParams { algorithm: text("blake3"), encoding: text("base32"), ..none() }),
        ("hash", MaskParams { normalize: steps(&["digits"]), ..none() }),
        ("token", none()),
        ("token", MaskParams { normalize: steps(&["nfc", "trim", "lowercase"]), ..none() }),
        ("fpe", none()),
        ("fpe", MaskParams { alphabet: text("alphanumeric"), short: text("hash"), ..none() }),
        ("fpe", MaskParams { short: text("redact"), ..kind("card") }),
        ("fpe", kind("iban")),
        ("fake", kind("name")),
        ("fake", MaskParams { locale: text("de"), ..kind("address") }),
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
        ("date", MaskParams { to: Some("year".into()), ..none() }),
        ("date_shift", MaskParams { subject: text("id"), ..none() }),
        ("round", MaskParams { to: Some(10.into()), ..none() }),
        ("clamp", MaskParams { max: Some(50.into()), ..none() }),
    ]
    .into_iter()
    .map(|(mask, params)| Mask::from_params(mask, &params).unwrap())
    .chain([conditional()])
    .collect()
}

fn conditional() -> Mask {
    let of = |value: &str| Test::In(vec![value.to_owned()]);
    let hash = Mask::from_params("hash", &MaskParams::default()).unwrap();
    let year = MaskParams { to: Some("year".into()), ..MaskParams::default() };
    let year = Mask::from_params("date", &year).unwrap();
    let cases = vec![Case { test: of("p1"), mask: hash }, Case { test: of("p2"), mask: year }];
    Mask::When(Box::new(WhenMask { column: "id".to_owned(), cases, otherwise: Mask::Null }))
}

fn noise() -> Mask {
    let scale = Some(toml::Value::from(0.5));
    Mask::from_params("noise", &MaskParams { scale, ..MaskParams::default() }).unwrap()
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
        for mask in masks().into_iter().chain([noise()]) {
            let prepared = mask.prepare("column", keys());
            let masked = prepared.apply_beside(&column, Some(&subjects), OnMistyped::Redact).unwrap();
            prop_assert_eq!(masked.len(), cells.len());
            for (cell, masked) in cells.iter().zip(masked.iter()) {
                match cell.as_deref() {
                    None | Some("") => prop_assert_eq!(masked, cell.as_deref()),
                    Some(_) => prop_assert!(masked.is_some()),
                }
            }
            if mask == noise() {
                continue;
            }
            let again = mask.prepare("column", keys());
            let again = again.apply_beside(&column, Some(&subjects), OnMistyped::Redact).unwrap();
            prop_assert!(masked.iter().eq(again.iter()), "{} is not deterministic", mask.name());
        }
    }

    #[test]
    fn no_planted_value_survives_in_any_byte(
        cells in proptest::collection::vec("Canary[0-9]{8}|[0-9]{12}|(19|20)[0-9]{2}-0[1-9]-1[0-9]|4111 ?1111 ?1111 ?1111", 1..20),
    ) {
        // The others keep what they say they keep.
        let hides = ["null", "redact", "hash", "token", "fpe", "fake", "date", "date_shift", "when"];
        let (column, subjects) = (
            StringChunked::from_iter_values("".into(), cells.iter()),
            subjects(&vec![None; cells.len()]),
        );
        for mask in masks().into_iter().filter(|mask| hides.contains(&mask.name())) {
            let masked = mask.prepare("column", keys()).apply_beside(&column, Some(&subjects), OnMistyped::Redact);
            for (cell, masked) in cells.iter().zip(masked.unwrap().iter()) {
                prop_assert!(!masked.unwrap().contains(cell.as_str()), "{} let {cell} through", mask.name());
            }
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
        for mask in masks().into_iter().chain([noise()]) {
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
    for mask in masks().into_iter().chain([noise()]) {
        let text = serde_json::to_string(&mask).unwrap();
        assert_eq!(serde_json::from_str::<Mask>(&text).unwrap(), mask);
    }
}
