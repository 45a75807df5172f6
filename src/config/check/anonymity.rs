//! `[policy.NAME.anonymity]`: columns by which somebody could be recognised, and how coarse they may become.

use std::ops::Range;

use toml::Value;

use super::policy::hierarchy;
use crate::anonymity::{Anonymity, Diversity, MAX_NODES, Mode, QuasiIdentifier, Sensitive};
use crate::config::locate::Findings;
use crate::config::raw;
use crate::config::spanned::Spanned;
use crate::mask::{Mask, MaskParams, OnMistyped};
use crate::policy::{ColumnRule, Policy, Selector, normalise};

/// What stands for every value at the coarsest level.
const ANY: &str = "*";
/// Parts of dates, from fine to coarse; each is a whole number of those before.
const DATES: [&str; 4] = ["month", "quarter", "year", "decade"];
const LONGEST_FREEZE: usize = 63;

/// Adds what is asked of a policy, with rules for the quasi-identifiers that have levels.
pub(super) fn add(raw: raw::Anonymity, policy: &mut Policy, findings: &mut Findings<'_>) {
    let place = raw.k.span();
    let mode = raw.mode;
    if *raw.k.get_ref() < 2 {
        findings.add(place.clone(), "`k` must be at least 2: one row looks like itself");
    }
    let enforces = |findings: &mut Findings<'_>, place: Range<usize>, key: &str| {
        if mode != Mode::Enforce {
            findings.add(place, format!("`{key}` goes with `mode = \"enforce\"`"));
        }
    };
    if let Some(share) = &raw.max_suppressed {
        enforces(findings, share.span(), "max_suppressed");
        if !(0.0..=1.0).contains(share.get_ref()) {
            findings.add(share.span(), "`max_suppressed` is a share of the rows: 0 to 1");
        }
    }
    if let Some(utility) = &raw.utility {
        enforces(findings, utility.span(), "utility");
    }
    if let Some(freeze) = &raw.freeze {
        enforces(findings, freeze.span(), "freeze");
        if freeze.get_ref().is_empty() || freeze.get_ref().len() > LONGEST_FREEZE {
            findings.add(freeze.span(), "`freeze` is a text of 1 to 63 characters, a year for instance");
        }
    }
    if raw.quasi_identifier.is_empty() {
        findings.add(place.clone(), "name at least one `[[policy.X.anonymity.quasi_identifier]]`");
    }
    let mut asked = Anonymity {
        mode,
        k: raw.k.into_inner(),
        max_suppressed: raw.max_suppressed.map_or(0.0, Spanned::into_inner),
        utility: raw.utility.map(Spanned::into_inner).unwrap_or_default(),
        quasi_identifiers: Vec::new(),
        sensitive: Vec::new(),
        freeze: raw.freeze.map(Spanned::into_inner),
        frozen: None,
    };
    for quasi_identifier in raw.quasi_identifier {
        let place = quasi_identifier.span();
        if let Some(found) = with_levels(quasi_identifier, policy, mode, findings) {
            check_column(&found.column, &asked, policy, &place, findings);
            asked.quasi_identifiers.push(found);
        }
    }
    for given in raw.sensitive {
        let place = given.span();
        let found = sensitive(given, mode, findings);
        check_column(&found.column, &asked, policy, &place, findings);
        asked.sensitive.push(found);
    }
    let heights = asked.quasi_identifiers.iter().map(|it| it.levels.len().max(1));
    if heights.fold(1_usize, usize::saturating_mul) > MAX_NODES {
        let what = format!(
            "the levels have more than {MAX_NODES} combinations; use fewer levels, or `min_level` and `max_level`"
        );
        findings.add(place, what);
    }
    policy.anonymity = Some(asked);
}

/// A quasi-identifier; the rule of one that has levels is added to the policy.
fn with_levels(
    given: Spanned<raw::QuasiIdentifier>,
    policy: &mut Policy,
    mode: Mode,
    findings: &mut Findings<'_>,
) -> Option<QuasiIdentifier> {
    let place = given.span();
    let given = given.into_inner();
    let column = given.column.clone();
    let (min, max) = (given.min_level, given.max_level);
    let kinds = [given.widths.is_some(), given.dates.is_some(), given.prefixes.is_some(), given.hierarchy.is_some()];
    let kinds = kinds.iter().filter(|given| **given).count();
    let has_bounds = min.is_some() || max.is_some();
    if kinds > 1 {
        findings.add(place, "levels are given by one of `widths`, `dates`, `prefixes` and `hierarchy`");
        return None;
    }
    if mode != Mode::Enforce && (kinds > 0 || has_bounds) {
        findings.add(place, "levels go with `mode = \"enforce\"`; here the column counts as its own rule makes it");
        return None;
    }
    if given.format.is_some() && given.dates.is_none() {
        findings.add(place.clone(), "`format` goes with `dates`");
    }
    if kinds == 0 && !has_bounds && (mode != Mode::Enforce || policy.rule_named(&column).is_some()) {
        return Some(QuasiIdentifier { column, levels: Vec::new(), first_level: 0 });
    }
    let mut levels = match levels(given, findings) {
        Ok(levels) => levels,
        Err(error) => {
            findings.add(place, error);
            return None;
        }
    };
    let (first, last) = (min.unwrap_or(0) as usize, max.map_or(levels.len() - 1, |max| max as usize));
    if first > last || last >= levels.len() {
        findings
            .add(place, format!("the levels of {column:?} are 0 to {}: `min_level` to `max_level`", levels.len() - 1));
        return None;
    }
    levels.truncate(last + 1);
    levels.drain(..first);
    // Should ever a file be masked without its levels: nothing is told then.
    let mask = Mask::Redact { text: ANY.to_owned() };
    // Emptied cells would count as empty ones at one level and not at the next.
    let mistyped = (policy.mistyped != OnMistyped::Reject).then_some(OnMistyped::Redact);
    policy.columns.push(ColumnRule { columns: Selector::Names(vec![column.clone()]), mask, mistyped, preset: false });
    Some(QuasiIdentifier { column, levels, first_level: first as u32 })
}

/// All levels of a column, the value itself first and one text for all last.
fn levels(given: raw::QuasiIdentifier, findings: &mut Findings<'_>) -> Result<Vec<Mask>, String> {
    let mut levels = vec![Mask::Keep];
    let mut coarsest_is_one = false;
    if let Some(widths) = given.widths {
        check_widths(&widths)?;
        for width in widths {
            let params = MaskParams { width: Some(width), ..MaskParams::default() };
            levels.push(Mask::from_params("generalize", &params)?);
        }
    } else if let Some(dates) = given.dates {
        check_dates(&dates)?;
        for to in dates {
            let params = MaskParams { to: Some(to.into()), format: given.format.clone(), ..MaskParams::default() };
            levels.push(Mask::from_params("date", &params)?);
        }
    } else if let Some(prefixes) = given.prefixes {
        if prefixes.is_empty() || prefixes.windows(2).any(|pair| pair[0] <= pair[1]) {
            return Err("`prefixes` become shorter: [4, 3, 1]".to_owned());
        }
        for keep in prefixes {
            let params = MaskParams { keep: Some(keep), ..MaskParams::default() };
            levels.push(Mask::from_params("truncate", &params)?);
        }
    } else if let Some(path) = given.hierarchy {
        let hierarchy = hierarchy(path, findings).ok_or("its hierarchy cannot be used")?;
        for level in 1..=hierarchy.levels() as u32 {
            let params = MaskParams { hierarchy: Some(hierarchy.clone()), level: Some(level), ..MaskParams::default() };
            levels.push(Mask::from_params("generalize", &params)?);
        }
        coarsest_is_one = hierarchy.level(hierarchy.levels() as u32)?.is_one();
    }
    if !coarsest_is_one {
        levels.push(Mask::Redact { text: ANY.to_owned() });
    }
    Ok(levels)
}

fn check_widths(widths: &[Value]) -> Result<(), String> {
    let wrong = || "`widths` are numbers above 0, each a multiple of the one before: [5, 10, 20]".to_owned();
    let number = |value: &Value| match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let numbers: Vec<f64> = widths.iter().map(number).collect::<Option<_>>().ok_or_else(wrong)?;
    let is_multiple = |pair: &[f64]| {
        let ratio = pair[1] / pair[0];
        ratio > 1.5 && (ratio - ratio.round()).abs() < 1e-9 * ratio
    };
    if numbers.is_empty() || !numbers.windows(2).all(is_multiple) { Err(wrong()) } else { Ok(()) }
}

fn check_dates(dates: &[String]) -> Result<(), String> {
    let places: Option<Vec<usize>> = dates.iter().map(|date| DATES.iter().position(|known| known == date)).collect();
    match places {
        Some(places) if !places.is_empty() && places.windows(2).all(|pair| pair[0] < pair[1]) => Ok(()),
        _ => Err(format!("`dates` are some of {DATES:?}, in this order")),
    }
}

fn sensitive(given: Spanned<raw::Sensitive>, mode: Mode, findings: &mut Findings<'_>) -> Sensitive {
    let place = given.span();
    let raw::Sensitive { column, l, diversity, t, distance } = given.into_inner();
    if l.is_none() && t.is_none() && mode != Mode::Report {
        findings.add(place.clone(), "say what is asked of it: `l`, `t`, or both");
    }
    let is_whole = |l: f64| diversity == Diversity::Entropy || l.fract() == 0.0;
    if l.is_some_and(|l| !l.is_finite() || l < 1.0 || !is_whole(l)) {
        findings.add(place.clone(), "`l` is a number of values from 1 on, for the entropy a fraction too");
    }
    if t.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
        findings.add(place, "`t` is a distance of 0 to 1");
    }
    Sensitive { column, l, diversity, t, distance }
}

/// Refuses a column that counts twice, or of which nothing, or nothing lasting, goes out.
fn check_column(column: &str, asked: &Anonymity, policy: &Policy, place: &Range<usize>, findings: &mut Findings<'_>) {
    if asked.columns().any(|other| normalise(other) == normalise(column)) {
        findings.add(place.clone(), format!("the column {column:?} is named twice"));
    }
    let Some(rule) = policy.rule_named(column) else {
        let what = format!("no rule names the column {column:?} by its `name`: give it one, as it is to count");
        findings.add(place.clone(), what);
        return;
    };
    if rule.mask.is_drop() {
        findings.add(place.clone(), format!("the column {column:?} is dropped: it tells nobody anything"));
    }
    if rule.mask.is_randomized() {
        findings.add(place.clone(), format!("the column {column:?} has random values, which cannot be counted"));
    }
}
