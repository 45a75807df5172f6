//! From a fault's byte range to `file:line:column`, and from a typing error to what was meant.

use std::ops::Range;
use std::path::Path;

use super::spanned::Spanned;

/// Collects what is wrong with one file.
pub struct Findings<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<(usize, String)>,
}

impl<'a> Findings<'a> {
    pub fn new(path: &'a Path, text: &'a str) -> Findings<'a> {
        Findings { path, text, found: Vec::new() }
    }

    pub fn add(&mut self, place: Range<usize>, what: impl Into<String>) {
        self.found.push((place.start, what.into()));
    }

    /// Refuses a key of a part that is not built, rather than ignore it.
    pub fn refuse<T>(&mut self, key: &str, value: &Option<Spanned<T>>) {
        if let Some(value) = value {
            self.add(value.span(), format!("`{key}` is not built yet; take it out"));
        }
    }

    pub fn count(&self) -> usize {
        self.found.len()
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// One line for each finding, in the order of the file.
    pub fn report(mut self) -> String {
        self.found.sort_by_key(|(place, _)| *place);
        let lines = self.found.iter().map(|(place, what)| {
            let before = &self.text[..floor_boundary(self.text, *place)];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            format!("{}:{line}:{column}: {what}", self.path.display())
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn floor_boundary(text: &str, mut index: usize) -> usize {
    index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// A parser's message, with a suggestion where it names what it would have taken.
pub fn explain(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((wrong, allowed)) = quoted.split_first() else { return message.to_owned() };
    let what = if message.starts_with("unknown field") {
        format!("unknown key `{wrong}`")
    } else if message.starts_with("unknown variant") {
        format!("`{wrong}` is not a value for this key")
    } else {
        return message.to_owned();
    };
    let nearest = allowed.iter().map(|key| (strsim::damerau_levenshtein(wrong, key), *key)).min();
    match nearest {
        Some((distance, key)) if distance <= 3 && distance * 2 < key.len() => {
            format!("{what}, did you mean `{key}`?")
        }
        _ => format!("{what}; allowed are `{}`", allowed.join("`, `")),
    }
}
