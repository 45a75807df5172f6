//! Personal data inside free text, replaced where it stands; everything around it is left as it is.

use serde::{Deserialize, Serialize};

use crate::detect::{Class, Wanted, spans};

/// Stands for the class's name in `with`.
pub(super) const CLASS: &str = "{class}";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubMask {
    /// Classes that are looked for; empty: all that can be told in prose.
    pub classes: Vec<Class>,
    /// Text in place of what is found.
    pub with: String,
}

/// A [`ScrubMask`] ready to work.
pub struct Scrubber {
    wanted: Wanted,
    with: String,
}

impl ScrubMask {
    pub fn prepare(&self) -> Scrubber {
        let wanted = if self.classes.is_empty() { Wanted::all() } else { Wanted::only(&self.classes) };
        Scrubber { wanted, with: self.with.clone() }
    }
}

impl Scrubber {
    pub fn mask_into(&self, value: &str, out: &mut String) {
        let mut from = 0;
        for span in spans(value, &self.wanted) {
            out.push_str(&value[from..span.start]);
            let mut parts = self.with.split(CLASS);
            out.push_str(parts.next().unwrap_or_default());
            for part in parts {
                out.push_str(span.class.name());
                out.push_str(part);
            }
            from = span.end;
        }
        out.push_str(&value[from..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(classes: &[Class], with: &str, value: &str) -> String {
        let mut out = String::new();
        ScrubMask { classes: classes.to_vec(), with: with.to_owned() }.prepare().mask_into(value, &mut out);
        out
    }

    #[test]
    fn only_the_spans_change() {
        let text =
            "Jan  wrote from <jan@example.com>,\r\ncall +49 1512 3456789; paid with 4111 1111 1111 1111.\u{feff}";
        assert_eq!(
            scrubbed(&[], "[{class}]", text),
            "Jan  wrote from <[email]>,\r\ncall [phone]; paid with [payment_card].\u{feff}"
        );
        assert_eq!(scrubbed(&[Class::Email], "", "to a@b.de and +49 1512 3456789"), "to  and +49 1512 3456789");
        assert_eq!(scrubbed(&[], "{class}{class}", "a@b.de"), "emailemail");
    }

    proptest::proptest! {
        #[test]
        fn nothing_around_a_span_is_touched(before in "[a-z ,.;äß\n]{0,30}", after in "[a-z ,.;äß\n]{0,30}") {
            let (before, after) = (format!("{before} "), format!(" {after}"));
            let text = format!("{before}jane.doe@example.com{after}");
            proptest::prop_assert_eq!(scrubbed(&[], "#", &text), format!("{before}#{after}"));
        }
    }
}
