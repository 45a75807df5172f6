//! Which rule takes which column.

use std::collections::HashMap;

use super::{ColumnRule, OnMissing, OnUnlisted, Plan, PlannedColumn, Policy, Selector, normalise};
use crate::detect::{Class, name_says};
use crate::mask::Mask;
use crate::pipeline::Fault;

/// Longest column name that is given out, in characters.
const MAX_NAME_CHARS: usize = 64;

/// Cells as a lost header leaves them in the first row.
const CELLS: [&str; 20] = [
    "alice",
    "bob miller",
    "o'neil-smith",
    "al_ice",
    "us",
    "f",
    "true",
    "7",
    "42",
    "123",
    "4711",
    "1234567",
    "4111111111111111",
    "3.50",
    "1987-04-12",
    "12.04.1987",
    "123-45-6789",
    "+49 30 1234567",
    "a@example.com",
    "12 main street",
];

/// A compiled selector.
pub(super) enum Matcher {
    Names(Vec<String>),
    Glob(globset::GlobMatcher),
    Regex(regex::Regex),
    Class(Vec<Class>),
}

impl Matcher {
    pub(super) fn new(selector: &Selector) -> Result<Matcher, String> {
        match selector {
            Selector::Names(names) => Ok(Matcher::Names(names.iter().map(|name| normalise(name)).collect())),
            Selector::Glob(glob) => globset::GlobBuilder::new(&normalise(glob))
                .build()
                .map(|glob| Matcher::Glob(glob.compile_matcher()))
                .map_err(|_| format!("{glob:?} is not a shell pattern")),
            // Alone first: `a)|(?:b` would compile inside the anchors, and escape them.
            Selector::Regex(regex) => regex::Regex::new(regex)
                .and_then(|_| regex::RegexBuilder::new(&format!("^(?:{regex})$")).case_insensitive(true).build())
                .map(Matcher::Regex)
                .map_err(|_| format!("{regex:?} is not a regular expression")),
            Selector::Class(classes) => Ok(Matcher::Class(classes.clone())),
        }
    }

    fn is_literal(&self) -> bool {
        matches!(self, Matcher::Names(_))
    }

    pub(super) fn is_match(&self, name: &str) -> bool {
        match self {
            Matcher::Names(names) => names.iter().any(|wanted| wanted == name),
            Matcher::Glob(glob) => glob.is_match(name),
            Matcher::Regex(regex) => regex.is_match(name),
            Matcher::Class(classes) => classes.iter().any(|class| name_says(name, *class)),
        }
    }

    /// Whether this tells names from values: what takes anything, behind `before`, says nothing about what it took. A
    /// pattern must ask for more than one particular character. The words that classes are told by are common in values,
    /// too: `mobile`, `home address`.
    pub(super) fn tells_names(&self, before: &str) -> bool {
        if matches!(self, Matcher::Class(_)) {
            return false;
        }
        let odd = ('a'..='z').chain('0'..='9').flat_map(|it| [format!("{it}xq"), format!("xq{it}")]);
        let mut values = CELLS.into_iter().map(str::to_owned).chain(odd);
        self.is_literal() || !values.any(|value| self.is_match(&format!("{before}{value}")))
    }
}

pub(super) fn plan(policy: &Policy, header: &[&str]) -> Result<Plan, Fault> {
    let names: Vec<String> = header.iter().map(|name| normalise(name)).collect();
    let matchers: Vec<Matcher> = policy
        .columns
        .iter()
        .map(|rule| Matcher::new(&rule.columns))
        .collect::<Result<_, _>>()
        .map_err(|error| fault("bad_policy", None, error, "mend the policy; `veild check` finds this"))?;
    let own = policy.columns.iter().zip(&matchers).filter(|(rule, _)| !rule.preset).map(|(_, matcher)| matcher);
    let telling: Vec<&Matcher> = own.filter(|matcher| matcher.tells_names("")).collect();
    let known: Vec<bool> = names.iter().map(|name| telling.iter().any(|matcher| matcher.is_match(name))).collect();
    let spelled: Vec<bool> =
        names.iter().map(|name| matchers.iter().any(|it| it.is_literal() && it.is_match(name))).collect();
    let public: Vec<String> = public_names(header, &known, &spelled);
    let places = places(&names, &public)?;
    let mut columns = Vec::with_capacity(header.len());
    for (index, name) in names.iter().enumerate() {
        let rule = rule_for(policy, &matchers, name, &public[index])?;
        let mask = match rule {
            Some(rule) => rule.mask.clone(),
            None => unlisted(policy, &public[index])?,
        };
        let mistyped = rule.and_then(|rule| rule.mistyped).unwrap_or(policy.mistyped);
        let beside = mask.beside().map(|beside| find_beside(policy, beside, &places, &public[index])).transpose()?;
        let public_name = public[index].clone();
        let is_spelled = spelled[index];
        columns.push(PlannedColumn { public_name, namespace: name.clone(), mask, mistyped, beside, is_spelled });
    }
    refuse_missing(policy, &matchers, &names)?;
    if columns.iter().all(|column| column.mask.is_drop()) {
        let sentence = "the policy drops every column of this file".to_owned();
        return Err(fault("no_column_left", None, sentence, "keep or mask at least one column"));
    }
    let row_columns = policy.row_columns().into_iter().map(|column| {
        places.get(normalise(column).as_str()).copied().ok_or_else(|| {
            let name = &policy.name;
            let sentence = format!("the file has no column {column:?}, by which policy {name:?} leaves out rows");
            fault("missing_column", None, sentence, "ask the sender for the column, or take the rule out")
        })
    });
    Ok(Plan { row_columns: row_columns.collect::<Result<_, _>>()?, columns })
}

/// The column that a mask looks at beside its own.
fn find_beside(policy: &Policy, beside: &str, places: &HashMap<&str, usize>, public: &str) -> Result<usize, Fault> {
    places.get(normalise(beside).as_str()).copied().ok_or_else(|| {
        let sentence = format!(
            "the file has no column {beside:?}, without which policy {:?} cannot mask {}",
            policy.name,
            quoted(public)
        );
        fault("missing_column", Some(public), sentence, "ask the sender for the column, or choose another mask")
    })
}

/// Whether a text has the form of a name; values can have it too.
pub fn looks_like_a_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().count() <= MAX_NAME_CHARS
        && !name.contains("  ")
        && name.chars().all(|character| character.is_alphanumeric() || "_-. ".contains(character))
}

fn public_names(header: &[&str], known: &[bool], spelled: &[bool]) -> Vec<String> {
    let all = known.iter().filter(|known| **known).count();
    let public = |index: usize| public_name(header[index], index, spelled[index] || all > usize::from(known[index]));
    (0..header.len()).map(public).collect()
}

/// A name goes out only if it looks like one, and a rule spells it or its header is one, as a rule's knowing another name
/// of it shows: a file that has lost its header line has personal data there.
fn public_name(name: &str, index: usize, is_known: bool) -> String {
    if looks_like_a_name(name) && is_known { name.to_owned() } else { format!("column {}", index + 1) }
}

fn fault(code: &str, column: Option<&str>, sentence: String, advice: &str) -> Fault {
    Fault {
        code: code.to_owned(),
        sentence,
        row: Some(0),
        column: column.map(str::to_owned),
        byte_offset: None,
        advice: advice.to_owned(),
    }
}

/// Refuses a header for which no policy can be: with blank names, or some that stand twice.
pub fn check_header(header: &[&str]) -> Result<(), Fault> {
    let names: Vec<String> = header.iter().map(|name| normalise(name)).collect();
    let none = vec![false; header.len()];
    places(&names, &public_names(header, &none, &none)).map(|_| ())
}

/// Where each name stands; blank names and those that stand twice are refused.
fn places<'n>(names: &'n [String], public: &[String]) -> Result<HashMap<&'n str, usize>, Fault> {
    let mut places = HashMap::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            let sentence = format!("column {} of the header has no name", index + 1);
            return Err(fault("blank_column", Some(&public[index]), sentence, "ask the sender to name every column"));
        }
        if let Some(earlier) = places.insert(name.as_str(), index) {
            let sentence = format!("columns {} and {} of the header have the same name", earlier + 1, index + 1);
            let advice = "ask the sender to give every column its own name";
            return Err(fault("duplicate_column", Some(&public[index]), sentence, advice));
        }
    }
    Ok(places)
}

/// A literal name beats patterns, and these beat what the policy extends; two patterns that claim one column are refused.
fn rule_for<'a>(
    policy: &'a Policy,
    matchers: &[Matcher],
    name: &str,
    public: &str,
) -> Result<Option<&'a ColumnRule>, Fault> {
    let rules = || policy.columns.iter().zip(matchers).filter(|(_, matcher)| matcher.is_match(name));
    if let Some((rule, _)) = rules().find(|(_, matcher)| matcher.is_literal()) {
        return Ok(Some(rule));
    }
    let mut patterns = rules().filter(|(rule, _)| !rule.preset);
    let Some((first, _)) = patterns.next() else {
        return Ok(rules().next().map(|(rule, _)| rule));
    };
    if patterns.next().is_some() {
        let sentence = format!("two patterns of the policy claim {}", quoted(public));
        return Err(fault("ambiguous_rule", Some(public), sentence, "give the column a rule with its literal name"));
    }
    Ok(Some(first))
}

/// The rule for a normalised name.
pub(super) fn rule_of<'a>(policy: &'a Policy, name: &str) -> Result<Option<&'a ColumnRule>, String> {
    let matchers: Vec<Matcher> =
        policy.columns.iter().map(|rule| Matcher::new(&rule.columns)).collect::<Result<_, _>>()?;
    rule_for(policy, &matchers, name, "the column").map_err(|fault| fault.sentence)
}

fn quoted(public: &str) -> String {
    if public.starts_with("column ") { public.to_owned() } else { format!("column {public:?}") }
}

fn unlisted(policy: &Policy, public: &str) -> Result<Mask, Fault> {
    match policy.unlisted {
        OnUnlisted::Reject => {
            let sentence = format!("no rule of policy {:?} names {}", policy.name, quoted(public));
            let advice = "add a rule for the column, or set `unlisted`, then `veild quarantine retry`; \
                          if the file has lost its header line, ask the sender";
            Err(fault("unlisted_column", Some(public), sentence, advice))
        }
        OnUnlisted::Redact => Ok(Mask::redact()),
        OnUnlisted::Drop => Ok(Mask::Drop),
        OnUnlisted::Keep => Ok(Mask::Keep),
    }
}

fn refuse_missing(policy: &Policy, matchers: &[Matcher], names: &[String]) -> Result<(), Fault> {
    if policy.missing == OnMissing::Ignore {
        return Ok(());
    }
    let own = policy.columns.iter().zip(matchers).filter(|(rule, _)| !rule.preset);
    let missing = own.into_iter().find_map(|(rule, matcher)| match (&rule.columns, matcher) {
        (Selector::Names(spelled), Matcher::Names(wanted)) => {
            wanted.iter().position(|wanted| !names.contains(wanted)).map(|index| spelled[index].clone())
        }
        (Selector::Names(_), _) => None,
        (pattern, _) => (!names.iter().any(|name| matcher.is_match(name))).then(|| pattern.spelling()),
    });
    match missing {
        None => Ok(()),
        Some(rule) => {
            let sentence = format!("the file has no column for the rule {rule:?} of policy {:?}", policy.name);
            let advice = "ask the sender for the column, take the rule out, or set `missing = \"ignore\"`";
            Err(fault("missing_column", None, sentence, advice))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::OnMistyped;
    use crate::policy::Verify;

    fn rule(columns: Selector, mask: Mask) -> ColumnRule {
        ColumnRule { columns, mask, mistyped: None, preset: false }
    }

    fn names(names: &[&str]) -> Selector {
        Selector::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn policy(columns: Vec<ColumnRule>) -> Policy {
        Policy {
            name: "p".to_owned(),
            unlisted: OnUnlisted::Reject,
            missing: OnMissing::Reject,
            mistyped: OnMistyped::Reject,
            verify: Verify::Off,
            accept: Vec::new(),
            columns,
            suppress_rows: Vec::new(),
            anonymity: None,
            sha256: String::new(),
        }
    }

    fn code(policy: &Policy, header: &[&str]) -> String {
        policy.plan(header).err().map(|fault| fault.code).unwrap_or_default()
    }

    #[test]
    fn names_are_compared_normalised_and_beat_patterns() {
        let glob = Selector::Glob("*name".to_owned());
        let policy = policy(vec![rule(names(&["first name"]), Mask::Keep), rule(glob, Mask::Null)]);
        let plan = policy.plan(&["  First   NAME ", "last_name"]).unwrap();
        assert_eq!([plan.columns[0].mask.name(), plan.columns[1].mask.name()], ["keep", "null"]);
        assert_eq!(plan.columns[0].namespace, "first name");
    }

    #[test]
    fn everything_doubtful_is_refused() {
        let strict = policy(vec![rule(names(&["a", "b"]), Mask::Keep)]);
        assert_eq!(code(&strict, &["a", "b"]), "");
        assert_eq!(code(&strict, &["a", "b", ""]), "blank_column");
        assert_eq!(code(&strict, &["a", "b", "A "]), "duplicate_column");
        assert_eq!(code(&strict, &["a", "b", "c"]), "unlisted_column");
        assert_eq!(code(&strict, &["a"]), "missing_column");
        let patterns = [Selector::Glob("x*".to_owned()), Selector::Regex("x.".to_owned())];
        let two = policy(patterns.into_iter().map(|it| rule(it, Mask::Keep)).collect());
        assert_eq!(code(&two, &["xy"]), "ambiguous_rule");
        assert_eq!(code(&policy(vec![rule(names(&["a"]), Mask::Drop)]), &["a"]), "no_column_left");
    }

    #[test]
    fn classes_and_presets_prove_no_header() {
        let mut all = policy(vec![
            rule(Selector::Class(vec![Class::Phone]), Mask::Null),
            ColumnRule { preset: true, ..rule(Selector::Regex("image.*".to_owned()), Mask::Null) },
        ]);
        all.missing = OnMissing::Ignore;
        let fault = all.plan(&["mobile", "image.jpg", "Alice"]).err().unwrap();
        assert!(fault.code == "unlisted_column" && !format!("{fault:?}").contains("Alice"), "{fault:?}");
    }

    #[test]
    fn a_preset_yields_to_every_rule_and_need_not_match() {
        let class = |class, mask| rule(Selector::Class(vec![class]), mask);
        let preset = |class, mask| ColumnRule { preset: true, ..rule(Selector::Class(vec![class]), mask) };
        let mut all = vec![
            rule(Selector::Glob("*_name".to_owned()), Mask::Keep),
            preset(Class::PersonName, Mask::redact()),
            preset(Class::PersonName, Mask::Null),
            preset(Class::Iban, Mask::Null),
        ];
        let plan = policy(all.clone()).plan(&["first_name", "surname"]).unwrap();
        assert_eq!([plan.columns[0].mask.name(), plan.columns[1].mask.name()], ["keep", "redact"]);
        all.push(class(Class::Iban, Mask::Null));
        assert_eq!(code(&policy(all.clone()), &["first_name"]), "missing_column");
        all.push(class(Class::PersonName, Mask::Null));
        assert_eq!(code(&policy(all), &["first_name", "iban"]), "ambiguous_rule");
    }

    #[test]
    fn a_regex_cannot_escape_its_anchors() {
        assert!(Selector::Regex("a)|(?:b".to_owned()).check().is_err());
        let policy = policy(vec![rule(Selector::Regex("a|b".to_owned()), Mask::Keep)]);
        assert_eq!(code(&policy, &["a", "xb"]), "unlisted_column");
    }

    #[test]
    fn a_lost_header_does_not_give_its_values_out() {
        let strict = policy(vec![rule(names(&["ssn"]), Mask::Keep)]);
        let fault = strict.plan(&["Alice", "123-45-6789"]).err().unwrap();
        assert_eq!(fault.column.as_deref(), Some("column 1"));
        assert!(!format!("{fault:?}").contains("Alice"));
        let fault = strict.plan(&["ssn", "iban"]).err().unwrap();
        assert_eq!(fault.column.as_deref(), Some("iban"));
        let kept = Policy { unlisted: OnUnlisted::Redact, ..strict };
        let names = |header: [&str; 2]| kept.plan(&header).unwrap().columns.into_iter().map(|it| it.public_name);
        assert!(names(["Alice", "SSN"]).eq(["Alice", "SSN"]), "its header is one");
    }

    #[test]
    fn a_pattern_that_takes_any_value_proves_no_header() {
        let shown = |pattern: Selector, header: [&str; 2]| {
            let plan = policy(vec![rule(pattern, Mask::Null)]).plan(&header).unwrap();
            plan.columns.into_iter().map(|column| column.public_name).collect::<Vec<_>>()
        };
        for pattern in ["*", "?*", "*[a-z]*", "[a-z0-9]*", "*e*", "{alice,*_ssn,*}"] {
            assert_eq!(
                shown(Selector::Glob(pattern.to_owned()), ["Alice", "Eve"]),
                ["column 1", "column 2"],
                "{pattern}"
            );
        }
        for pattern in [".*", r"\w+", "[^_]+", "(?:ssn|.{3,5})", r"[A-Z]\w*"] {
            assert_eq!(
                shown(Selector::Regex(pattern.to_owned()), ["Alice", "Eve"]),
                ["column 1", "column 2"],
                "{pattern}"
            );
        }
        for pattern in ["col_*", "*_?", "col_[ab]"] {
            assert_eq!(shown(Selector::Glob(pattern.to_owned()), ["col_a", "col_b"]), ["col_a", "col_b"], "{pattern}");
        }
        assert_eq!(shown(Selector::Regex("(ssn|iban)".to_owned()), ["SSN", "IBAN"]), ["SSN", "IBAN"]);
    }
}
