//! Regular expression replacement, in time linear in the cell.

use regex::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::Look;
use serde::{Deserialize, Serialize};

/// Largest compiled expression in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatternMask {
    pub pattern: String,
    /// Text with `$1`, `$name` or `${name}` for what a group matched, and `$$` for a dollar sign.
    pub replace: String,
}

/// A compiled [`PatternMask`].
pub struct Replacer {
    regex: Regex,
    parts: Vec<Part>,
    /// The expression is anchored at both ends: it describes the whole cell, and a cell that it does not match is one
    /// that it cannot read.
    whole: bool,
}

enum Part {
    Text(String),
    Group(usize),
}

impl PatternMask {
    /// Compiles the expression and the replacement.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: an expression that does not compile or matches the empty text, a replacement that
    /// names a group which is not there or keeps the whole match.
    pub fn compile(&self) -> Result<Replacer, String> {
        let regex = RegexBuilder::new(&self.pattern).size_limit(MAX_COMPILED_BYTES).build().map_err(|error| {
            let message = error.to_string();
            let reason = message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("`pattern` is not a regular expression: {reason}")
        })?;
        let parsed = regex_syntax::parse(&self.pattern).map_err(|error| error.to_string())?;
        let shape = parsed.properties();
        let whole = shape.look_set_prefix().contains(Look::Start) && shape.look_set_suffix().contains(Look::End);
        if !whole && shape.minimum_len() == Some(0) {
            return Err("`pattern` matches the empty text, and so between characters: write `+` in place of `*`, \
                        or anchor it with `^` and `$`"
                .to_owned());
        }
        let parts = template(&self.replace, &regex)?;
        Ok(Replacer { regex, parts, whole })
    }
}

/// Splits a replacement at its references, as the regex crate reads them.
fn template(replace: &str, regex: &Regex) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = replace;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            text.push('$');
            rest = after;
            continue;
        }
        let (name, after) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some(braced) => braced,
            None => {
                let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
                rest.split_at(rest.find(|character| !is_name(character)).unwrap_or(rest.len()))
            }
        };
        if name.is_empty() {
            return Err("`replace` has a lone `$`: write `$$` for a dollar sign".to_owned());
        }
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(Part::Group(group(name, regex)?));
        rest = after;
    }
    text.push_str(rest);
    parts.push(Part::Text(text));
    Ok(parts)
}

fn group(name: &str, regex: &Regex) -> Result<usize, String> {
    let by_number = name.parse().ok().filter(|number| *number < regex.captures_len());
    match by_number.or_else(|| regex.capture_names().position(|known| known == Some(name))) {
        Some(0) => Err("`replace` keeps the whole match with `$0`, so nothing would be masked".to_owned()),
        Some(number) => Ok(number),
        None => Err(format!(
            "`replace` names the group `{name}`, which `pattern` does not have; write `${{1}}` where a letter, digit \
             or `_` follows a reference"
        )),
    }
}

impl Replacer {
    /// What it reads, for messages.
    pub fn expected(&self) -> &'static str {
        "a text that the rule's pattern matches"
    }

    /// Appends the value with every match replaced; false when an anchored expression does not match it.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        let mut from = 0;
        for captures in self.regex.captures_iter(value) {
            let found = captures.get_match();
            out.push_str(&value[from..found.start()]);
            self.replace_into(&captures, out);
            from = found.end();
        }
        if from == 0 && self.whole {
            return false;
        }
        out.push_str(&value[from..]);
        true
    }

    fn replace_into(&self, captures: &Captures<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(number) => out.push_str(captures.get(*number).map_or("", |group| group.as_str())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacer(pattern: &str, replace: &str) -> Result<Replacer, String> {
        PatternMask { pattern: pattern.to_owned(), replace: replace.to_owned() }.compile()
    }

    fn masked(pattern: &str, replace: &str, value: &str) -> Option<String> {
        let mut out = String::new();
        replacer(pattern, replace).unwrap().mask_into(value, &mut out).then_some(out)
    }

    #[test]
    fn every_match_is_replaced_and_the_rest_stays() {
        assert_eq!(masked(r"\d{3,}", "#", "call 5551234 or 99, 1000").as_deref(), Some("call # or 99, #"));
        assert_eq!(masked(r"(\w)\w*@", "$1***@", "ann@x, bob@y").as_deref(), Some("a***@x, b***@y"));
        assert_eq!(masked("(?P<d>é)+", "${d}_$$", "aééb").as_deref(), Some("aé_$b"));
        assert_eq!(masked("x", "", "axbx").as_deref(), Some("ab"));
        assert_eq!(masked("x", "y", "none").as_deref(), Some("none"));
    }

    #[test]
    fn an_anchored_pattern_describes_the_whole_cell() {
        let ssn = r"^\d{3}-\d{2}-(\d{4})$";
        assert_eq!(masked(ssn, "***-**-$1", "123-45-6789").as_deref(), Some("***-**-6789"));
        assert_eq!(masked(ssn, "***-**-$1", "123456789"), None);
        assert_eq!(masked(r"^a|b$", "", "xb").as_deref(), Some("x"), "anchored at either end is not at both");
        assert_eq!(masked(r"(?m)^b$", "", "a\nc").as_deref(), Some("a\nc"));
        assert_eq!(masked("^.*$", "x", "abc").as_deref(), Some("x"));
    }

    #[test]
    fn what_would_mask_nothing_or_too_much_is_refused() {
        let refusal = |pattern, replace| replacer(pattern, replace).err().unwrap();
        assert!(refusal("(", "").contains("unclosed group"));
        assert!(refusal(r"(a)\1", "").contains("backreferences are not supported"));
        assert!(refusal(r"\d*", "#").contains("write `+` in place of `*`"));
        assert!(refusal(r"\b", "#").contains("between characters"));
        assert!(refusal("(a)", "$1_").contains("group `1_`"));
        assert!(refusal("a", "$1").contains("group `1`"));
        assert!(refusal("a", "<$0>").contains("nothing would be masked"));
        assert!(refusal("a", "5 $").contains("`$$`"));
        assert!(refusal("(?:a{1000}){1000}", "").contains("not a regular expression"));
    }

    #[test]
    fn hostile_cells_take_linear_time() {
        // Catastrophic for a backtracking engine: 2^50000 steps.
        let value = "a".repeat(50_000);
        assert_eq!(masked("(a+)+$b", "", &value), Some(value));
    }
}
