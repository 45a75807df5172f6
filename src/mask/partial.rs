//! Character masking (ISO/IEC 20889: masking).

use serde::{Deserialize, Serialize};

/// Fewer hidden characters than this hide nothing: then everything is masked.
const LEAST_HIDDEN: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialMask {
    pub window: Window,
    pub character: char,
}

/// Which letters and digits stay, or which are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    Keep { first: u32, last: u32 },
    Mask { first: u32, last: u32 },
}

/// Separators stay; everything else counts as a character, so that combining marks and emoji are hidden too.
fn is_separator(character: char) -> bool {
    (character.is_ascii() && !character.is_ascii_alphanumeric()) || character.is_whitespace()
}

impl PartialMask {
    /// Appends the masked value to `out`.
    pub fn mask_into(&self, value: &str, out: &mut String) {
        let count = value.chars().filter(|character| !is_separator(*character)).count();
        let hides = self.hidden(count);
        let mut index = 0;
        for character in value.chars() {
            if is_separator(character) {
                out.push(character);
                continue;
            }
            out.push(if hides(index) { self.character } else { character });
            index += 1;
        }
    }

    fn hidden(&self, count: usize) -> impl Fn(usize) -> bool + use<> {
        let (first, last, keeps) = match self.window {
            Window::Keep { first, last } => (first as usize, last as usize, true),
            Window::Mask { first, last } => (first as usize, last as usize, false),
        };
        let at_the_ends = first.saturating_add(last).min(count);
        let hidden = if keeps { count - at_the_ends } else { at_the_ends };
        let everything = hidden < LEAST_HIDDEN;
        move |index| everything || (index < first || index >= count.saturating_sub(last)) != keeps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(window: Window, value: &str) -> String {
        let mut out = String::new();
        PartialMask { window, character: '*' }.mask_into(value, &mut out);
        out
    }

    #[test]
    fn separators_stay_and_short_values_are_hidden_whole() {
        let last4 = Window::Keep { first: 0, last: 4 };
        assert_eq!(masked(last4, "123-45-6789"), "***-**-6789");
        assert_eq!(masked(last4, "1234567"), "*******");
        assert_eq!(masked(last4, "12345678"), "****5678");
        assert_eq!(masked(last4, "e\u{301}ab"), "****");
        assert_eq!(masked(Window::Keep { first: 2, last: 2 }, "Łukasz Żak"), "Łu**** *ak");
    }

    #[test]
    fn the_ends_can_be_masked_instead() {
        assert_eq!(masked(Window::Mask { first: 2, last: 2 }, "abcdefgh"), "**cdef**");
        assert_eq!(masked(Window::Mask { first: 4, last: 0 }, "abc"), "***");
    }
}
