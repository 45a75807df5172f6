//! Spellings that count as one value, before a keyed mask sees it; only what the rule names is done.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// What the masks that normalise read, for messages.
pub const LEFT_OVER: &str = "a value of which `normalize` leaves something";

const STEPS: &str = "`normalize` is a list of \"trim\", \"lowercase\", \"digits\" and \"nfc\"";

/// Steps are done in the order of the fields, whatever order the rule names them in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normalize {
    /// Unicode NFC.
    nfc: bool,
    /// White space at both ends goes.
    trim: bool,
    lowercase: bool,
    /// Everything but digits goes, and digits of other scripts become ASCII.
    digits: bool,
}

impl Normalize {
    /// Reads a rule's list.
    ///
    /// # Errors
    ///
    /// A sentence with the steps that there are.
    pub fn parse(steps: Option<&[String]>) -> Result<Normalize, String> {
        let mut normalize = Normalize::default();
        let Some(steps) = steps else { return Ok(normalize) };
        for step in steps {
            let wanted = match step.as_str() {
                "nfc" => &mut normalize.nfc,
                "trim" => &mut normalize.trim,
                "lowercase" => &mut normalize.lowercase,
                "digits" => &mut normalize.digits,
                _ => return Err(STEPS.to_owned()),
            };
            if std::mem::replace(wanted, true) {
                return Err(format!("`normalize` names {step:?} twice"));
            }
        }
        if normalize.is_none() { Err(format!("{STEPS}; leave it out for none")) } else { Ok(normalize) }
    }

    /// Whether values are taken as they stand.
    pub fn is_none(&self) -> bool {
        *self == Normalize::default()
    }

    /// The normal form, empty where nothing is left of the value.
    pub fn apply<'a>(&self, value: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(value);
        if self.nfc && !value.is_ascii() && is_nfc_quick(value.chars()) != IsNormalized::Yes {
            text = Cow::Owned(value.nfc().collect());
        }
        if self.trim {
            text = match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
            };
        }
        if self.lowercase && text.chars().any(|character| !character.is_lowercase() && character.is_alphabetic()) {
            let mut lower = text.to_lowercase();
            if self.nfc && !lower.is_ascii() {
                lower = lower.nfc().collect(); // İ becomes i and a dot above
            }
            text = Cow::Owned(lower);
        }
        if self.digits && !text.bytes().all(|byte| byte.is_ascii_digit()) {
            text = Cow::Owned(text.chars().filter_map(digit).collect());
        }
        text
    }
}

/// First of each run of ten digits that people write numbers with: Unicode's decimal digits of living scripts.
const ZEROS: [char; 21] = [
    '0', '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}', '\u{c66}',
    '\u{ce6}', '\u{d66}', '\u{de6}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{17e0}', '\u{1810}', '\u{ff10}',
];

fn digit(character: char) -> Option<char> {
    let run = ZEROS
        .iter()
        .find(|zero| (**zero..=char::from_u32(**zero as u32 + 9).unwrap_or(**zero)).contains(&character))?;
    char::from_digit(character as u32 - *run as u32, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(steps: &[&str], value: &str) -> String {
        let steps: Vec<String> = steps.iter().map(|step| (*step).to_owned()).collect();
        Normalize::parse(Some(&steps)).unwrap().apply(value).into_owned()
    }

    #[test]
    fn each_step_does_what_it_says_and_no_more() {
        assert_eq!(normal(&["trim"], " \u{a0}Ann Lee\t"), "Ann Lee");
        assert_eq!(normal(&["lowercase"], " ANN É ß"), " ann é ß");
        assert_eq!(normal(&["digits"], "+49 (0)30/１２-٣"), "49030123");
        assert_eq!(normal(&["digits"], "none"), "");
        assert_eq!(normal(&["nfc"], "e\u{301} A"), "é A");
        assert_eq!(normal(&["nfc", "trim", "lowercase"], " E\u{301} "), "é");
        assert_eq!(normal(&["trim", "lowercase"], "plain"), "plain");
    }

    #[test]
    fn unknown_repeated_and_empty_lists_are_refused() {
        for steps in [&["upper"][..], &["trim", "trim"], &[]] {
            let steps: Vec<String> = steps.iter().map(|step| (*step).to_owned()).collect();
            assert!(Normalize::parse(Some(&steps)).unwrap_err().contains("`normalize`"));
        }
        assert!(Normalize::parse(None).unwrap().is_none());
    }

    proptest::proptest! {
        #[test]
        fn a_normal_form_is_its_own(value in "\\PC{0,20}", bits in 1..16_u8) {
            let normalize =
                Normalize { nfc: bits & 1 > 0, trim: bits & 2 > 0, lowercase: bits & 4 > 0, digits: bits & 8 > 0 };
            let once = normalize.apply(&value).into_owned();
            let twice = normalize.apply(&once).into_owned();
            proptest::prop_assert_eq!(twice, once);
        }
    }
}
