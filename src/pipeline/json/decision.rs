//! What each output's policy does at one path.

use std::borrow::Cow;

use super::fault::Why;
use crate::mask::{Mask, OnMistyped};
use crate::policy::path::{Matches, PathRules};
use crate::policy::{OnUnlisted, Policy, Verify};

/// What an output does with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Keep,
    Drop,
    /// For single values: the node's column has the mask.
    Mask,
    /// For objects and arrays: what is inside is decided by itself.
    Enter,
    /// This in its place.
    Whole(Instead),
    Refuse(Why),
}

/// What stands in place of a whole object or array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    Null,
    Redacted,
}

/// What an output does with the wholes that a value lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Above {
    /// It looks into them.
    Entered,
    Kept,
    Gone,
}

/// What one output does at one path.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    /// With a string, number or truth value.
    pub scalar: Act,
    /// With an object or an array.
    pub container: Act,
    /// With an object or an array that turns out to be empty.
    pub empty: Act,
    /// Literal rules that must find a value below, in each object here.
    pub wanted: u32,
    /// One of the wanted that goes on with a key, if any: an array cannot have it.
    pub wanted_key: Option<usize>,
    /// How many of the parent's wanted this one is.
    pub fulfils: u32,
    pub matches: Matches,
    pub rule: Option<usize>,
    /// The pattern that claims this knows its key.
    pub knows_key: bool,
}

pub(super) struct OutputRules {
    pub policy: Policy,
    pub rules: PathRules,
    /// Which patterns matched something.
    pub matched: Vec<bool>,
    /// Paths that masks of other paths look at, or that decide about records.
    pub looked_at: Vec<String>,
}

impl OutputRules {
    pub(super) fn is_scanned(&self) -> bool {
        self.policy.verify != Verify::Off
    }

    /// The mask of single values.
    pub(super) fn mask(&self, decision: &Decision) -> Cow<'_, Mask> {
        match decision.scalar {
            Act::Drop => Cow::Owned(Mask::Drop),
            Act::Mask => {
                let rule = decision.rule.map(|rule| &self.policy.columns[rule].mask);
                rule.map_or_else(|| Cow::Owned(Mask::redact()), Cow::Borrowed)
            }
            _ => Cow::Owned(Mask::Keep),
        }
    }
}

impl Above {
    /// The same for what lies in a whole with which this is done.
    pub(super) fn and(self, container: Act) -> Above {
        match (self, container) {
            (Above::Entered, Act::Enter) => Above::Entered,
            (Above::Entered, Act::Drop | Act::Whole(_)) => Above::Gone,
            (Above::Entered, _) => Above::Kept,
            (above, _) => above,
        }
    }
}

pub(super) fn decide_root(rules: &PathRules) -> Decision {
    let matches = rules.start();
    let (wanted, wanted_key) = wanted(rules, &matches);
    Decision {
        scalar: Act::Keep,
        container: Act::Enter,
        empty: Act::Keep,
        wanted,
        wanted_key,
        fulfils: 0,
        matches,
        rule: None,
        knows_key: false,
    }
}

fn wanted(rules: &PathRules, matches: &Matches) -> (u32, Option<usize>) {
    let mut key = None;
    let count = rules.wanted(matches).inspect(|(pattern, is_key)| key = key.or(is_key.then_some(*pattern))).count();
    (count as u32, key)
}

pub(super) fn decide(output: &mut OutputRules, matches: Matches, path: &str) -> Decision {
    let OutputRules { policy, rules, matched, .. } = output;
    rules.matched(&matches, path).for_each(|pattern| matched[pattern] = true);
    let (wanted, wanted_key) = wanted(rules, &matches);
    let fulfils = rules.literals(&matches);
    let unlisted = match policy.unlisted {
        OnUnlisted::Reject => Act::Refuse(Why::Unlisted),
        OnUnlisted::Redact => Act::Mask,
        OnUnlisted::Drop => Act::Drop,
        OnUnlisted::Keep => Act::Keep,
    };
    let whole = |act| if act == Act::Mask { Act::Whole(Instead::Redacted) } else { act };
    let claim = rules.rule(&matches, path);
    let (scalar, container, empty, rule) = match claim {
        Err(_) => {
            let refused = Act::Refuse(Why::Ambiguous);
            (refused, refused, refused, None)
        }
        Ok(None) if rules.leads_on(&matches) => {
            let empty = if rules.is_on_the_way(&matches) { Act::Keep } else { whole(unlisted) };
            (unlisted, Act::Enter, empty, None)
        }
        Ok(None) => (unlisted, whole(unlisted), whole(unlisted), None),
        Ok(Some((rule, pattern))) => {
            // What a keeping pattern does not claim below is for `unlisted` to decide; a mask would let it slip away.
            let kept = policy.columns[rule].mask.is_keep() && !rules.is_literal(pattern);
            let (scalar, container) = by_rule(policy, rule, kept || rules.goes_on(pattern));
            (scalar, container, if container == Act::Enter { Act::Keep } else { container }, Some(rule))
        }
    };
    let knows_key = claim.is_ok_and(|claim| claim.is_some_and(|(_, pattern)| rules.knows_key(pattern, path)));
    Decision { scalar, container, empty, wanted, wanted_key, fulfils, matches, rule, knows_key }
}

fn by_rule(policy: &Policy, rule: usize, goes_on: bool) -> (Act, Act) {
    let column = &policy.columns[rule];
    let scalar = match &column.mask {
        Mask::Drop => return (Act::Drop, Act::Drop),
        Mask::Keep => Act::Keep,
        _ => Act::Mask,
    };
    let container = match column.mistyped.unwrap_or(policy.mistyped) {
        _ if goes_on => Act::Enter,
        OnMistyped::Reject => Act::Refuse(Why::NotScalar),
        OnMistyped::Null => Act::Whole(Instead::Null),
        OnMistyped::Redact => Act::Whole(Instead::Redacted),
    };
    (scalar, container)
}
