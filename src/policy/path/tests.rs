use super::*;
use crate::mask::{Mask, OnMistyped};
use crate::policy::{ColumnRule, OnUnlisted};

fn rules(selectors: Vec<Selector>) -> PathRules {
    let rule = |columns| ColumnRule { columns, mask: Mask::Keep, mistyped: None, preset: false };
    PathRules::new(&Policy {
        name: "p".to_owned(),
        unlisted: OnUnlisted::Reject,
        missing: OnMissing::Reject,
        mistyped: OnMistyped::Reject,
        verify: crate::policy::Verify::Off,
        accept: Vec::new(),
        columns: selectors.into_iter().map(rule).collect(),
        suppress_rows: Vec::new(),
        anonymity: None,
        sha256: String::new(),
    })
    .unwrap()
}

fn names(names: &[&str]) -> Vec<Selector> {
    names.iter().map(|name| Selector::Names(vec![(*name).to_owned()])).collect()
}

fn rule_of(rules: &PathRules, steps: &[Step<'_>]) -> Result<Option<usize>, Ambiguous> {
    let mut path = String::new();
    let matches = steps.iter().fold(rules.start(), |matches, step| {
        push_step(&mut path, *step);
        rules.step(&matches, *step).0
    });
    rules.rule(&matches, &path).map(|found| found.map(|(rule, _)| rule))
}

use Step::{Element, Key};

#[test]
fn paths_match_what_they_say() {
    let all = rules(names(&["user.email", "contacts[*].phone", "**.ssn", "address.**", "people.*.id", "m[*][*]"]));
    for (steps, rule) in [
        (&[Key("user"), Key("email")][..], Some(0)),
        (&[Key("email")], None),
        (&[Key("user")], None),
        (&[Key("user"), Element, Key("email")], None),
        (&[Key("contacts"), Element, Key("phone")], Some(1)),
        (&[Key("contacts"), Key("phone")], None),
        (&[Key("ssn")], Some(2)),
        (&[Key("a"), Element, Key("b"), Key("ssn")], Some(2)),
        (&[Key("ssn"), Key("x")], None),
        (&[Key("address")], None),
        (&[Key("address"), Element, Key("x")], Some(3)),
        (&[Key("people"), Key("k"), Key("id")], Some(4)),
        (&[Key("people"), Element, Key("id")], None),
        (&[Key("m"), Element, Element], Some(5)),
        (&[Key("m"), Element], None),
    ] {
        assert_eq!(rule_of(&all, steps), Ok(rule), "{steps:?}");
    }
    assert_eq!(rule_of(&all, &[Key("address"), Key("ssn")]), Err(Ambiguous));
}

#[test]
fn a_dot_in_a_key_is_no_step() {
    let all = rules(names(&["a.b", "[\"a.b\"]", "x[\"q\\\"]\"].y", "amount [EUR]", "a[0]"]));
    assert_eq!(rule_of(&all, &[Key("a"), Key("b")]), Ok(Some(0)));
    assert_eq!(rule_of(&all, &[Key("a.b")]), Ok(Some(1)));
    assert_eq!(rule_of(&all, &[Key("x"), Key("q\"]"), Key("y")]), Ok(Some(2)));
    assert_eq!(rule_of(&all, &[Key("amount [eur]")]), Ok(Some(3)));
    assert_eq!(rule_of(&all, &[Key("a[0]")]), Ok(Some(4)));
    let mut path = String::new();
    [Key("a.b"), Element, Key("c"), Key("")].into_iter().for_each(|step| push_step(&mut path, step));
    assert_eq!(path, "[\"a.b\"][*].c[\"\"]");
    assert_eq!(canonical(" [\"a.b\"].C ").as_deref(), Some("[\"a.b\"].c"));
    assert_eq!(canonical("User.Id").as_deref(), Some("user.id"));
    assert_eq!(["a[*].b", "*.b", "**"].map(canonical), [None, None, None]);
}

#[test]
fn globs_and_regexes_see_the_whole_path() {
    let all = rules(vec![Selector::Glob("*_ssn".to_owned()), Selector::Regex("user\\.(mail|phone)".to_owned())]);
    assert_eq!(rule_of(&all, &[Key("a"), Key("home_ssn")]), Ok(Some(0)));
    assert_eq!(rule_of(&all, &[Key("user"), Key("mail")]), Ok(Some(1)));
    assert_eq!(rule_of(&all, &[Key("user.mail")]), Ok(None));
}

#[test]
fn literal_paths_are_wanted_step_by_step() {
    let all = rules(names(&["user.email", "contacts[*].phone", "**.ssn"]));
    let start = all.start();
    let wanted = |matches: &Matches| all.wanted(matches).collect::<Vec<_>>();
    assert_eq!(wanted(&start), [(0, true), (1, true)]);
    let (contacts, spelled) = all.step(&start, Key("contacts"));
    assert_eq!((wanted(&contacts), spelled), (vec![(1, false)], true));
    let (other, spelled) = all.step(&start, Key("other"));
    assert!(wanted(&other).is_empty() && !spelled && all.leads_on(&other));
    assert_eq!(all.wanted_somewhere().map(|it| all.spelling(it)).collect::<Vec<_>>(), ["**.ssn"]);
}
