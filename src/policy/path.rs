//! Rules over nested values. Pure.
//!
//! A rule's name is a path: `user.email`, `contacts[*].phone`, `address.**`, `**.ssn`, `people.*.id`. A key that holds a
//! dot, a bracket or a star is written `["a.b"]`. `**` stands for any number of steps, at the end for at least one.
//! Globs and regular expressions are matched against the whole path as it is written here. Keys are compared
//! normalised, as column names are.

use std::fmt::Write as _;

use super::plan::Matcher;
use super::{OnMissing, Policy, Selector, normalise};

/// One step down from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A member's key, normalised.
    Key(&'a str),
    /// Any element of an array.
    Element,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    AnyKey,
    Element,
    Deep,
}

enum Pattern {
    Path {
        segments: Vec<Segment>,
        /// Without `*` and `**`: it goes before the others, and must be there in every record.
        literal: bool,
    },
    Text(Matcher),
    /// For single values only: what has others inside may bear any name.
    Class(Matcher),
}

/// A policy made ready for paths.
pub struct PathRules {
    patterns: Vec<(usize, String, Pattern)>,
    /// By rule: whether it is of what the policy extends.
    presets: Vec<bool>,
    on_missing: OnMissing,
}

/// Which rules a path has begun to match: pairs of a pattern and the segment that it expects next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    at: Vec<(usize, usize)>,
}

/// Two patterns of the policy claim one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

impl PathRules {
    /// # Errors
    ///
    /// A sentence when a pattern does not compile; `veild check` finds this first.
    pub fn new(policy: &Policy) -> Result<PathRules, String> {
        let mut patterns = Vec::new();
        for (rule, column) in policy.columns.iter().enumerate() {
            match &column.columns {
                Selector::Names(names) => patterns.extend(names.iter().map(|name| {
                    let segments = parse(name);
                    let literal = segments.iter().all(|it| matches!(it, Segment::Key(_) | Segment::Element));
                    (rule, name.clone(), Pattern::Path { segments, literal })
                })),
                selector @ Selector::Class(_) => {
                    patterns.push((rule, selector.spelling(), Pattern::Class(Matcher::new(selector)?)));
                }
                selector => patterns.push((rule, selector.spelling(), Pattern::Text(Matcher::new(selector)?))),
            }
        }
        let presets = policy.columns.iter().map(|rule| rule.preset).collect();
        Ok(PathRules { patterns, presets, on_missing: policy.missing })
    }

    /// The matches of a record itself.
    pub fn start(&self) -> Matches {
        let mut matches = Matches::default();
        for (index, (_, _, pattern)) in self.patterns.iter().enumerate() {
            if let Pattern::Path { segments, .. } = pattern {
                arrive(segments, index, 0, &mut matches);
            }
        }
        matches
    }

    /// The matches one step further down, and whether a rule spells this very key.
    pub fn step(&self, from: &Matches, step: Step<'_>) -> (Matches, bool) {
        let (mut matches, mut spelled) = (Matches::default(), false);
        for &(index, at) in &from.at {
            let segments = self.segments(index);
            match (segments.get(at), step) {
                (Some(Segment::Key(key)), Step::Key(found)) if key == found => {
                    spelled = true;
                    arrive(segments, index, at + 1, &mut matches);
                }
                (Some(Segment::AnyKey), Step::Key(_)) | (Some(Segment::Element), Step::Element) => {
                    arrive(segments, index, at + 1, &mut matches);
                }
                (Some(Segment::Deep), _) => {
                    arrive(segments, index, at, &mut matches);
                    arrive(segments, index, at + 1, &mut matches);
                }
                _ => {}
            }
        }
        (matches, spelled)
    }

    fn segments(&self, pattern: usize) -> &[Segment] {
        match &self.patterns[pattern].2 {
            Pattern::Path { segments, .. } => segments,
            Pattern::Text(_) | Pattern::Class(_) => &[],
        }
    }

    /// Whether a pattern is a path without `*` and `**`.
    pub fn is_literal(&self, pattern: usize) -> bool {
        matches!(self.patterns[pattern].2, Pattern::Path { literal: true, .. })
    }

    /// Patterns that match a path itself.
    pub fn matched<'a>(&'a self, matches: &'a Matches, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        let ended = matches.at.iter().filter(|(index, at)| *at == self.segments(*index).len()).map(|(index, _)| *index);
        let texts = self.patterns.iter().enumerate().filter(move |(_, (_, _, pattern))| match pattern {
            Pattern::Text(matcher) => matcher.is_match(path),
            Pattern::Class(matcher) => matcher.is_match(last_key(path)),
            Pattern::Path { .. } => false,
        });
        ended.chain(texts.map(|(index, _)| index))
    }

    /// The policy's rule for a path and the pattern that claims it; a literal one goes before the others.
    pub fn rule(&self, matches: &Matches, path: &str) -> Result<Option<(usize, usize)>, Ambiguous> {
        let mut claims: Vec<(usize, usize)> = Vec::new();
        for pattern in self.matched(matches, path) {
            let rule = self.patterns[pattern].0;
            if self.is_literal(pattern) {
                return Ok(Some((rule, pattern)));
            }
            if claims.iter().all(|(claiming, _)| *claiming != rule) {
                claims.push((rule, pattern));
            }
        }
        let own = claims.iter().filter(|(rule, _)| !self.presets[*rule]).count();
        if own == 0 {
            return Ok(claims.into_iter().min());
        }
        claims.retain(|(rule, _)| !self.presets[*rule]);
        if claims.len() > 1 { Err(Ambiguous) } else { Ok(claims.first().copied()) }
    }

    /// Whether a pattern that claims a path leaves what lies below it to itself and to the others: a `**` at the end
    /// claims that, too, and a class is one of single values.
    pub fn goes_on(&self, pattern: usize) -> bool {
        self.segments(pattern).last() == Some(&Segment::Deep) || matches!(self.patterns[pattern].2, Pattern::Class(_))
    }

    /// Whether a file must have something that the pattern matches, where the policy wants that at all.
    pub fn may_be_wanted(&self, pattern: usize) -> bool {
        !self.presets[self.patterns[pattern].0]
    }

    /// Whether the last step to here was one that a rule asks for, a mere `**` aside, and the rule goes on below.
    pub fn is_on_the_way(&self, matches: &Matches) -> bool {
        matches.at.iter().any(|(index, at)| {
            let segments = self.segments(*index);
            *at > 0 && *at < segments.len() && segments[*at - 1] != Segment::Deep
        })
    }

    /// Whether a pattern that claims a path knows its last key, and does not take whatever stands there.
    pub fn knows_key(&self, pattern: usize, path: &str) -> bool {
        match &self.patterns[pattern].2 {
            _ if self.presets[self.patterns[pattern].0] => false,
            Pattern::Path { segments, .. } => matches!(segments.last(), Some(Segment::Key(_))),
            Pattern::Text(matcher) | Pattern::Class(matcher) => {
                matcher.tells_names(path.rfind('.').map_or("", |dot| &path[..=dot]))
            }
        }
    }

    /// Number of literal patterns that lead here, where the policy wants them in every record.
    pub fn literals(&self, matches: &Matches) -> u32 {
        if self.on_missing == OnMissing::Ignore {
            return 0;
        }
        matches.at.iter().filter(|(index, _)| self.is_literal(*index)).count() as u32
    }

    /// Number of patterns.
    #[allow(clippy::len_without_is_empty, reason = "a policy without rules has none")]
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether a rule could match something below a path.
    pub fn leads_on(&self, matches: &Matches) -> bool {
        matches.at.iter().any(|(index, at)| *at < self.segments(*index).len())
            || self.patterns.iter().any(|(_, _, pattern)| matches!(pattern, Pattern::Text(_) | Pattern::Class(_)))
    }

    /// Patterns of literal paths that a path is the beginning of, where the policy wants them in every record: what
    /// they were spelled like, and whether they go on with a key.
    pub fn wanted<'a>(&'a self, matches: &'a Matches) -> impl Iterator<Item = (usize, bool)> + 'a {
        let is_wanted = self.on_missing == OnMissing::Reject;
        matches.at.iter().filter(move |(index, _)| is_wanted && self.is_literal(*index)).filter_map(|(index, at)| {
            self.segments(*index).get(*at).map(|segment| (*index, matches!(segment, Segment::Key(_))))
        })
    }

    /// Patterns with stars, globs and regular expressions, which must match something in a whole file.
    pub fn wanted_somewhere(&self) -> impl Iterator<Item = usize> + '_ {
        let is_wanted = self.on_missing == OnMissing::Reject;
        (0..self.patterns.len())
            .filter(move |index| is_wanted && !self.is_literal(*index) && self.may_be_wanted(*index))
    }

    /// A pattern as the policy spells it.
    pub fn spelling(&self, pattern: usize) -> &str {
        &self.patterns[pattern].1
    }
}

impl Matches {
    /// Whether a pattern has come this far.
    pub fn has(&self, pattern: usize) -> bool {
        self.at.iter().any(|(index, _)| *index == pattern)
    }
}

/// A `**` that is not the last also stands for nothing.
fn arrive(segments: &[Segment], index: usize, at: usize, matches: &mut Matches) {
    if !matches.at.contains(&(index, at)) {
        matches.at.push((index, at));
    }
    if segments.get(at) == Some(&Segment::Deep) && at + 1 < segments.len() {
        arrive(segments, index, at + 1, matches);
    }
}

/// Reads a rule's name. What is no path is one key as it stands: `amount [EUR]`.
fn parse(name: &str) -> Vec<Segment> {
    let name = name.trim();
    segments(name).unwrap_or_else(|| vec![Segment::Key(normalise(name))])
}

fn segments(name: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = name;
    loop {
        if let Some(after) = rest.strip_prefix("[\"") {
            let end = quoted_end(after)?;
            let key: String = serde_json::from_str(&rest[1..end + 3]).ok()?;
            segments.push(Segment::Key(normalise(&key)));
            rest = after[end + 1..].strip_prefix(']')?;
        } else if !rest.starts_with("[*]") {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            segments.push(match &rest[..end] {
                "" => return None,
                "*" => Segment::AnyKey,
                "**" => Segment::Deep,
                key if key.contains(['*', ']', '"']) => return None,
                key => Segment::Key(normalise(key)),
            });
            rest = &rest[end..];
        }
        while let Some(after) = rest.strip_prefix("[*]") {
            segments.push(Segment::Element);
            rest = after;
        }
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Some(segments),
            None if rest.starts_with("[\"") => {}
            None => return None,
        }
    }
}

/// The path of a rule's name as paths of values are written; `None` when it has stars.
pub fn canonical(name: &str) -> Option<String> {
    let mut path = String::new();
    for segment in parse(name) {
        match &segment {
            Segment::Key(key) => push_step(&mut path, Step::Key(key)),
            Segment::AnyKey | Segment::Element | Segment::Deep => return None,
        }
    }
    Some(path)
}

/// A path as a rule may spell it that has a star for each key of which something is so.
pub fn starred(path: &str, is_so: impl Fn(&str) -> bool) -> String {
    let mut starred = String::new();
    for segment in parse(path) {
        match segment {
            Segment::Key(key) if !is_so(&key) => push_step(&mut starred, Step::Key(&key)),
            Segment::Element => push_step(&mut starred, Step::Element),
            Segment::Key(_) | Segment::AnyKey | Segment::Deep if starred.is_empty() => starred.push('*'),
            Segment::Key(_) | Segment::AnyKey | Segment::Deep => starred.push_str(".*"),
        }
    }
    starred
}

/// Offset of the quote that closes a quoted key.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// Writes one step behind a path, in the spelling of rules.
pub fn push_step(path: &mut String, step: Step<'_>) {
    match step {
        Step::Element => path.push_str("[*]"),
        Step::Key(key) if key.is_empty() || key.contains(['.', '[', ']', '*', '"']) => {
            let _ = write!(path, "[{}]", serde_json::Value::from(key)); // a String takes everything
        }
        Step::Key(key) => {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
        }
    }
}

/// What a path ends with; classes are told by it, not by what it lies in.
fn last_key(path: &str) -> &str {
    let path = path.trim_end_matches("[*]");
    path.rsplit_once('.').map_or(path, |(_, key)| key)
}

#[cfg(test)]
mod tests;
