//! From findings to a mask: what a column rule could be, and why.

use super::class::Class;
use super::header::Hints;
use super::phrases::NATIONAL;
use super::sight;
use super::survey::{Finding, Survey};
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
        let parameters = parameters.iter().map(|(name, value)| (*name, text_in_toml(value))).collect();
        Suggestion { mask, parameters, why }
    }

    fn with_number(mut self, name: &'static str, number: u32) -> Suggestion {
        self.parameters.push((name, number.to_string()));
        self
    }

    /// What becomes of cells that the mask cannot read: data is dirty.
    fn redacting_others(mut self) -> Suggestion {
        self.parameters.push(("mistyped", text_in_toml("redact")));
        self
    }

    /// Dates of this format; ISO 8601's is understood without.
    fn of_format(mut self, format: &str) -> Suggestion {
        if format != "%Y-%m-%d" {
            self.parameters.push(("format", text_in_toml(format)));
        }
        self
    }
}

fn text_in_toml(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What `scrub` does not do.
const LIMITS: &str = "names in it are found by dictionary only, use redact if nobody needs the text";

/// Words of a column's name, and which names are put in place of those in it.
const NAMES: &[(&[&str], &str, &str)] = &[
    (&["vorname", "vornamen"], "first_name", "de"),
    (&["nachname", "familienname", "zuname"], "last_name", "de"),
    (&["prenom", "prenoms"], "first_name", "fr"),
    (&["famille"], "last_name", "fr"),
    (&["sobrenome", "apelido"], "last_name", "pt-PT"),
    (&["first", "given", "forename", "fname", "firstname", "givenname"], "first_name", "en"),
    (&["last", "surname", "lname", "lastname", "family", "apellido", "apellidos"], "last_name", "en"),
];

/// A rule for each column of a file. Every mask suggested can read every cell, or says what becomes of the others.
///
/// `is_table` says that every row has every column, so that one may stand for whom a row is about.
pub fn suggest(columns: &mut [(String, Survey)], is_table: bool) -> Vec<Suggestion> {
    let findings: Vec<Option<Finding>> =
        columns.iter_mut().map(|(_, survey)| survey.findings().into_iter().next()).collect();
    let is_person = |found: &Option<Finding>| found.as_ref().is_some_and(|it| NATIONAL.contains(&it.class));
    let subject = findings.iter().position(is_person).filter(|_| is_table);
    let subject = subject.map(|index| columns[index].0.as_str());
    let rule = |((_, survey), found): (&(String, Survey), &Option<Finding>)| match (found, subject) {
        (Some(found), _) => found_to_be(survey, found),
        (None, Some(subject)) => event(survey, subject).unwrap_or_else(|| nothing_found(survey)),
        (None, None) => nothing_found(survey),
    };
    columns.iter().zip(&findings).map(rule).collect()
}

fn nothing_found(survey: &Survey) -> Suggestion {
    match survey.cells() {
        (looked_at, 0) => {
            let why = format!("empty in all {looked_at} rows looked at: nothing is known about what may come");
            Suggestion::new("redact", &[], why)
        }
        _ if survey.is_prose() => Suggestion::new("scrub", &[], format!("free text: {LIMITS}")),
        (_, filled) => Suggestion::new("keep", &[], format!("nothing recognised in {filled} cells")),
    }
}

/// A day in the life of the person whose number stands in the same row.
fn event(survey: &Survey, subject: &str) -> Option<Suggestion> {
    let format = survey.date_format()?;
    let why = format!("dates of the person in {subject:?}: shifted, so that the time between them stays");
    Some(Suggestion::new("date_shift", &[("subject", subject)], why).of_format(format).redacting_others())
}

fn found_to_be(survey: &Survey, first: &Finding) -> Suggestion {
    let why = format!("{} (confidence {:.2}): {}", first.class.title(), first.confidence, first.reason);
    if first.within_text {
        return Suggestion::new("scrub", &[], format!("{why}; {LIMITS}"));
    }
    match first.class {
        // Other valid numbers, which systems behind accept and which still join.
        Class::PaymentCard => Suggestion::new("fpe", &[("kind", "card"), ("short", "redact")], why),
        Class::Iban => Suggestion::new("fpe", &[("kind", "iban"), ("short", "redact")], why),
        Class::Ipv4 | Class::Ipv6 => Suggestion::new("truncate", &[("kind", "ip")], why).redacting_others(),
        Class::PostalCode if survey.is_us_zip() => {
            Suggestion::new("truncate", &[("kind", "zip3")], why).redacting_others()
        }
        Class::PostalCode => Suggestion::new("truncate", &[], why).with_number("keep", 2),
        Class::DateOfBirth => match survey.date_format() {
            Some(format) => Suggestion::new("date", &[("to", "year")], why).of_format(format).redacting_others(),
            None => Suggestion::new("redact", &[], why),
        },
        Class::PersonName => {
            let named = NAMES.iter().find(|(words, ..)| survey.name_has(words));
            let (kind, locale) = named.map_or(("name", "en"), |(_, kind, locale)| (*kind, *locale));
            Suggestion::new("fake", &[("kind", kind), ("locale", locale)], why)
        }
        Class::PostalAddress | Class::Secret | Class::UrlCredentials => Suggestion::new("redact", &[], why),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(columns: &[(&str, &[&str])]) -> Vec<String> {
        let mut columns: Vec<(String, Survey)> = columns
            .iter()
            .map(|(name, cells)| {
                let mut survey = Survey::new(name);
                cells.iter().for_each(|cell| survey.see(cell));
                ((*name).to_owned(), survey)
            })
            .collect();
        let shown = |it: Suggestion| {
            let parameters: Vec<String> =
                it.parameters.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            format!("{}{}", it.mask, parameters.concat())
        };
        suggest(&mut columns, true).into_iter().map(shown).collect()
    }

    #[test]
    fn each_class_gets_the_mask_that_leaves_most_use() {
        let columns: &[(&str, &[&str])] = &[
            ("card", &["4111111111111111", "5500005555555559", "2221000000000009"]),
            ("iban", &["DE89370400440532013000", "GB29NWBK60161331926819"]),
            ("ip", &["192.0.2.17", "198.51.100.4"]),
            ("zip", &["85004", "10001"]),
            ("postcode", &["85004-1234", "10001"]),
            ("plz", &["10115", "80331"]),
            ("Vorname", &["Anna", "Jürgen"]),
            ("name", &["Emily Clark", "Ana García"]),
            ("geboren", &["12.04.1987", "01.02.1990"]),
            ("visit", &["2026-01-02", "2026-01-09"]),
        ];
        assert_eq!(
            suggested(columns),
            [
                "fpe kind=\"card\" short=\"redact\"",
                "fpe kind=\"iban\" short=\"redact\"",
                "truncate kind=\"ip\" mistyped=\"redact\"",
                "truncate kind=\"zip3\" mistyped=\"redact\"",
                "truncate kind=\"zip3\" mistyped=\"redact\"",
                "truncate keep=2",
                "fake kind=\"first_name\" locale=\"de\"",
                "fake kind=\"name\" locale=\"en\"",
                "date to=\"year\" format=\"%d.%m.%Y\" mistyped=\"redact\"",
                "keep",
            ]
        );
    }

    #[test]
    fn dates_beside_a_person_s_number_are_shifted_together() {
        let columns: &[(&str, &[&str])] =
            &[("admitted", &["02/29/2024", "12/31/2025"]), ("ssn \"1\"", &["123-45-6789", "219-09-9998"])];
        assert_eq!(suggested(columns), [r#"date_shift subject='ssn "1"' format="%m/%d/%Y" mistyped="redact""#, "hash"]);
    }
}
