//! Character masking (ISO/IEC 20889: masking).

use serde::{Deserialize, Serialize};

/// Fewer hidden characters than this hide nothing: then everything is masked.
const LEAST_HIDDEN: usize = 4;

/// Longest value in bytes that is masked on the stack.
const SHORT: usize = 64;

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
pub(super) fn is_separator(character: char) -> bool {
    (character.is_ascii() && !character.is_ascii_alphanumeric()) || character.is_whitespace()
}

impl PartialMask {
    /// Appends the masked value to `out`.
    #[inline]
    pub fn mask_into(&self, value: &str, out: &mut String) {
        if value.len() <= SHORT && self.character.is_ascii() && self.mask_short_ascii(value.as_bytes(), out) {
            return;
        }
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

    /// The same for what most cells are, eight bytes at a time, with one bit for each byte; false where the value is not
    /// ASCII.
    #[inline]
    fn mask_short_ascii(&self, value: &[u8], out: &mut String) -> bool {
        match value.len() {
            0 => true,
            length @ 1..=8 => self.mask_words([beginning(value)], length, out),
            length @ 9..=16 => {
                // Both ends, the second one moved to its place.
                let (first, last) = (word_at(value, 0), word_at(value, length - 8) >> (8 * (16 - length)));
                self.mask_words([first, last], length, out)
            }
            length => {
                let mut words = [0; SHORT / 8];
                let (eights, rest) = value.as_chunks();
                words.iter_mut().zip(eights).for_each(|(word, eight)| *word = u64::from_le_bytes(*eight));
                if let Some(word) = words.get_mut(eights.len()) {
                    *word = beginning(rest);
                }
                self.mask_words(words, length, out)
            }
        }
    }

    /// Appends the first `length` bytes of these words, masked.
    #[inline]
    fn mask_words<const WORDS: usize>(&self, mut words: [u64; WORDS], length: usize, out: &mut String) -> bool {
        if words.iter().fold(0, |all, word| all | word) & HIGHS != 0 {
            return false;
        }
        let counted = words.iter().rev().fold(0, |bits, word| (bits << 8) | alphanumeric(*word));
        let (first, last, keeps) = self.window();
        let ends = lowest(counted, first) | highest(counted, last);
        let hidden = if keeps { counted & !ends } else { ends };
        // Fewer than the least; asked so, as not every processor has an instruction that counts bits.
        let mut hidden = if lowest(hidden, LEAST_HIDDEN as u32 - 1) == hidden { counted } else { hidden };
        let character = u64::from(self.character as u8) * ONES;
        for word in &mut words {
            let chosen = whole_bytes(hidden & 0xff);
            *word = (*word & !chosen) | (character & chosen);
            hidden >>= 8;
        }
        let mut text = [[0; 8]; WORDS];
        text.iter_mut().zip(words).for_each(|(eight, word)| *eight = word.to_le_bytes());
        let text = text.as_flattened();
        // SAFETY: ASCII bytes took the place of ASCII bytes, and zeros follow, which leaves UTF-8. A copy of all words
        // needs no look at the length.
        out.push_str(unsafe { std::str::from_utf8_unchecked(text) });
        out.truncate(out.len() - (text.len() - length));
        true
    }

    /// How many at the beginning and at the end, and whether they are kept or masked.
    fn window(&self) -> (u32, u32, bool) {
        match self.window {
            Window::Keep { first, last } => (first, last, true),
            Window::Mask { first, last } => (first, last, false),
        }
    }

    fn hidden(&self, count: usize) -> impl Fn(usize) -> bool + use<> {
        let (first, last, keeps) = self.window();
        let (first, last) = (first as usize, last as usize);
        let at_the_ends = first.saturating_add(last).min(count);
        let hidden = if keeps { count - at_the_ends } else { at_the_ends };
        let everything = hidden < LEAST_HIDDEN;
        move |index| everything || (index < first || index >= count.saturating_sub(last)) != keeps
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x80 * ONES;

/// One bit for each of eight ASCII bytes: whether it is a letter or digit.
fn alphanumeric(word: u64) -> u64 {
    // With its top bit free, a byte reaches 128 by the addition exactly when it is at least `low`, or above `high`.
    let within = |word: u64, low: u8, high: u8| {
        (word + u64::from(128 - low) * ONES) & !(word + u64::from(127 - high) * ONES) & HIGHS
    };
    let found = within(word, b'0', b'9') | within(word | (0x20 * ONES), b'a', b'z');
    // Each top bit lands in the highest byte at its own place.
    (found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Eight bytes, all ones where a bit of `bits` (below 256) is set.
fn whole_bytes(bits: u64) -> u64 {
    let spread = (bits * ONES) & 0x8040_2010_0804_0201;
    (((spread + 0x7f * ONES) & HIGHS) >> 7) * 0xff
}

/// The eight bytes from `at` on.
#[inline]
fn word_at(value: &[u8], at: usize) -> u64 {
    value[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// Up to eight bytes, with zeros behind.
#[inline]
fn beginning(value: &[u8]) -> u64 {
    let half = |at: usize| value[at..].first_chunk().map_or(0, |four| u64::from(u32::from_le_bytes(*four)));
    match value.len() {
        0..4 => value.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
        length @ 4..8 => half(0) | (half(length - 4) << (8 * (length - 4))),
        _ => word_at(value, 0),
    }
}

/// The highest `count` of the bits that are set.
fn highest(bits: u64, count: u32) -> u64 {
    let mut rest = bits;
    for _ in 0..count {
        let Some(top) = rest.checked_ilog2() else { break };
        rest ^= 1 << top;
    }
    bits & !rest
}

/// The lowest `count` of the bits that are set.
fn lowest(bits: u64, count: u32) -> u64 {
    let mut rest = bits;
    for _ in 0..count {
        if rest == 0 {
            break;
        }
        rest &= rest - 1;
    }
    bits & !rest
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

    proptest::proptest! {
        #[test]
        fn short_ascii_is_masked_like_everything_else(value in "[ -~]{0,40}", first in 0..9_u32, last in 0..9_u32) {
            for window in [Window::Keep { first, last }, Window::Mask { first, last }] {
                // Beyond the short path by its length, and equal in what counts.
                let padded = format!("{value}{}", " ".repeat(SHORT));
                let (long, short) = (masked(window, &padded), masked(window, &value));
                proptest::prop_assert_eq!(long.trim_end(), short.trim_end());
            }
        }
    }

    #[test]
    fn the_ends_can_be_masked_instead() {
        assert_eq!(masked(Window::Mask { first: 2, last: 2 }, "abcdefgh"), "**cdef**");
        assert_eq!(masked(Window::Mask { first: 4, last: 0 }, "abc"), "***");
    }
}
