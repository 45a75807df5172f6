//! From findings to a mask: what a column rule could be, and why.

use super::class::Class;
use super::header::Hints;
use super::sight;
use super::survey::Survey;
use super::text;

/// A column rule's mask with its parameters, as TOML lines without the selector, and the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    pub mask: &'static str,
    /// Parameters and their values as TOML spells them.
    pub parameters: Vec<(&'static str, String)>,
    pub why: String,
}

impl Suggestion {
    fn new(mask: &'static str, parameters: &[(&'static str, &str)], why: String) -> Suggestion {
        let parameters = parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Suggestion { mask, parameters, why }
    }
}

/// What `scrub` does not do.
const LIMITS: &str = "names in it are found by dictionary only, use redact if nobody needs the text";

/// What to do with a column. Every mask suggested can read every cell.
pub fn suggest(survey: &mut Survey) -> Suggestion {
    let findings = survey.findings();
    let (looked_at, filled) = survey.cells();
    let Some(first) = findings.first() else {
        return match filled {
            0 => {
                let why = format!("empty in all {looked_at} rows looked at: nothing is known about what may come");
                Suggestion::new("redact", &[], why)
            }
            _ if survey.is_prose() => Suggestion::new("scrub", &[], format!("free text: {LIMITS}")),
            _ => Suggestion::new("keep", &[], format!("nothing recognised in {filled} cells")),
        };
    };
    let why = format!("{} (confidence {:.2}): {}", first.class.title(), first.confidence, first.reason);
    if first.within_text {
        return Suggestion::new("scrub", &[], format!("{why}; {LIMITS}"));
    }
    match first.class {
        Class::PaymentCard | Class::Iban => Suggestion::new("partial", &[("keep_last", "4")], why),
        Class::PostalCode => Suggestion::new("truncate", &[("keep", "2")], why),
        Class::DateOfBirth => match survey.date_format() {
            Some("%Y-%m-%d") => Suggestion::new("date", &[("to", "\"year\""), ("mistyped", "\"redact\"")], why),
            Some(format) => {
                let format = format!("{format:?}");
                Suggestion::new("date", &[("to", "\"year\""), ("format", &format), ("mistyped", "\"redact\"")], why)
            }
            None => Suggestion::new("redact", &[], why),
        },
        Class::PersonName | Class::PostalAddress | Class::Secret | Class::UrlCredentials => {
            Suggestion::new("redact", &[], why)
        }
        // Keyed, so that files still join on them.
        _ => Suggestion::new("hash", &[], why),
    }
}

/// Whether a header's name or a path is or holds a value of a class with a check: the file has lost its header line, or
/// has keys that are values.
pub fn looks_like_data(name: &str) -> bool {
    let mut found = false;
    sight::look(name.trim(), &Hints::of(""), |sighting| {
        let checked = !matches!(sighting.class, Class::PersonName | Class::PlaceName | Class::PostalAddress);
        found |= sighting.passed && checked;
    });
    found || !text::spans(name, &text::Wanted::all()).is_empty()
}
