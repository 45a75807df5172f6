//! Format-preserving encryption: the shape of a value stays, its characters are others of the same alphabet.
//!
//! What is kept in the clear goes into FF1's tweak. Nothing in the output says which version of the key made it: the
//! receipt does.

use aes::Aes256;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ff1::{Direction, Ff1, least_length, most_length};
use super::hash::{HashMask, Keyed};
use super::normalize::Normalize;
use super::partial::is_separator;
use super::{MaskParams, REDACTED};
use crate::detect::{is_iban, luhn_digit};
use crate::keys::MaskingKeys;

/// Alphabets with a name.
const ALPHABETS: [(&str, &str); 5] = [
    ("digits", "0123456789"),
    ("hex", "0123456789abcdef"),
    ("lowercase", "0123456789abcdefghijklmnopqrstuvwxyz"),
    ("uppercase", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ("alphanumeric", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
];
const MOST_CHARACTERS: usize = 1 << 15;
/// Digits of a payment card number, the check digit among them.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;
/// Longest issuer prefix (ISO/IEC 7812-1).
const MOST_ISSUER_DIGITS: u32 = 8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FpeMask {
    pub shape: Shape,
    pub short: Short,
    pub namespace: Option<String>,
    pub normalize: Normalize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Characters of one alphabet; punctuation and spaces between them stay.
    Text { alphabet: String, keep_first: u32, keep_last: u32, length: Option<u32> },
    /// A payment card number; the last digit is the check digit of the others.
    Card { keep_first: u32 },
    /// The country and the letters stay, the check digits fit.
    Iban,
}

/// What happens to a value that is outside the alphabet, or too short or long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Short {
    /// It counts as unreadable; the rule's `mistyped` decides.
    Reject,
    Redact,
    /// As mask "hash" has it.
    Hash,
}

impl FpeMask {
    pub fn from_params(params: &MaskParams) -> Result<FpeMask, String> {
        let shape = match params.kind.as_deref().unwrap_or("text") {
            "text" => text_shape(params)?,
            kind @ ("card" | "iban") if params.alphabet.is_some() || params.keep_last.is_some() => {
                return Err(format!("`alphabet` and `keep_last` do not go with `kind = {kind:?}`"));
            }
            kind @ ("card" | "iban") if params.length.is_some() => {
                return Err(format!("`length` does not go with `kind = {kind:?}`"));
            }
            "card" => match params.keep_first.unwrap_or(0) {
                keep_first @ 0..=MOST_ISSUER_DIGITS => Shape::Card { keep_first },
                _ => return Err("a card keeps at most the 8 digits of its issuer: `keep_first = 6`, say".to_owned()),
            },
            "iban" if params.keep_first.is_some() => {
                return Err("an IBAN always keeps its country: take `keep_first` out".to_owned());
            }
            "iban" => Shape::Iban,
            _ => return Err("`kind` must be \"text\", \"card\" or \"iban\"".to_owned()),
        };
        let short = match params.short.as_deref() {
            None | Some("reject") => Short::Reject,
            Some("redact") => Short::Redact,
            Some("hash") => Short::Hash,
            Some(_) => return Err("`short` must be \"reject\", \"redact\" or \"hash\"".to_owned()),
        };
        let normalize = Normalize::parse(params.normalize.as_deref())?;
        Ok(FpeMask { shape, short, namespace: super::params::namespace(params)?, normalize })
    }

    /// What it reads, for messages.
    pub fn expected(&self) -> &'static str {
        match self.shape {
            Shape::Text { .. } => "a text of the rule's alphabet, long enough to be encrypted,",
            Shape::Card { .. } => "a payment card number with its check digit",
            Shape::Iban => "an IBAN with its check digits",
        }
    }
}

fn text_shape(params: &MaskParams) -> Result<Shape, String> {
    let given = params.alphabet.as_deref().unwrap_or("digits");
    let named = ALPHABETS.iter().find(|(name, _)| *name == given);
    let alphabet = named.map_or(given, |(_, characters)| characters).to_owned();
    let mut characters: Vec<char> = alphabet.chars().collect();
    characters.sort_unstable();
    let distinct = characters.windows(2).all(|pair| pair[0] != pair[1]);
    if characters.len() < 2
        || characters.len() > MOST_CHARACTERS
        || !distinct
        || characters.iter().any(|it| it.is_control())
    {
        let names = ALPHABETS.map(|(name, _)| name).join(", ");
        return Err(format!("`alphabet` is one of {names}, or the characters themselves, each once, at least two"));
    }
    let (keep_first, keep_last) = (params.keep_first.unwrap_or(0), params.keep_last.unwrap_or(0));
    let least = least_length(characters.len() as u16) as u64 + u64::from(keep_first) + u64::from(keep_last);
    if let Some(length) = params.length.filter(|length| u64::from(*length) < least) {
        return Err(format!(
            "{length} characters leave fewer than 1,000,000 values, which can all be tried out: at least {least} are \
             needed; use \"token\" or \"hash\" for shorter ones"
        ));
    }
    Ok(Shape::Text { alphabet, keep_first, keep_last, length: params.length })
}

/// An [`FpeMask`] ready to work under one version of the key.
pub struct Encryptor {
    ff1: Ff1<Aes256>,
    alphabet: Alphabet,
    shape: Shape,
    short: Short,
    hash: Keyed,
    version: u32,
    pub(super) normalize: Normalize,
    pub(super) expected: &'static str,
}

impl Encryptor {
    pub fn new(mask: &FpeMask, namespace: &str, keys: &MaskingKeys) -> Encryptor {
        let alphabet = match &mask.shape {
            Shape::Text { alphabet, .. } => Alphabet::new(alphabet),
            Shape::Card { .. } | Shape::Iban => Alphabet::new(ALPHABETS[0].1),
        };
        let key = keys.derive("mask/fpe", namespace);
        Encryptor {
            ff1: Ff1::new(key.as_slice(), alphabet.radix()),
            alphabet,
            shape: mask.shape.clone(),
            short: mask.short,
            hash: Keyed::new(&HashMask::default(), &keys.derive("mask/hash", namespace)),
            version: keys.current_version(),
            normalize: mask.normalize,
            expected: mask.expected(),
        }
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    /// Appends the encrypted value; false when the rule wants it counted as unreadable.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        if self.transform(Direction::Encrypt, value, out).is_some() {
            return true;
        }
        match self.short {
            Short::Reject => return false,
            Short::Redact => out.push_str(REDACTED),
            Short::Hash => self.hash.hash_into(value, out),
        }
        true
    }

    /// The value that was encrypted under this version; `None` for what this mask cannot have made. Any other text of
    /// the shape has a value, too: FF1 cannot tell.
    pub fn reveal(&self, sealed: &str) -> Option<Zeroizing<String>> {
        let mut value = Zeroizing::new(String::new());
        self.transform(Direction::Decrypt, sealed, &mut value).map(|()| value)
    }

    /// `None` when the value does not fit; then nothing is appended.
    fn transform(&self, direction: Direction, value: &str, out: &mut String) -> Option<()> {
        match &self.shape {
            Shape::Text { keep_first, keep_last, length, .. } => {
                self.text(direction, value, (*keep_first as usize, *keep_last as usize, *length), out)
            }
            Shape::Card { keep_first } => self.card(direction, value, *keep_first as usize, out),
            Shape::Iban => self.iban(direction, value, out),
        }
    }

    /// FF1 over some of the numerals.
    fn permute(&self, direction: Direction, tweak: &[u8], numerals: &mut [u16]) -> Option<()> {
        let radix = self.alphabet.radix();
        let fits = (least_length(radix)..=most_length(radix)).contains(&numerals.len());
        fits.then(|| self.ff1.transform(direction, tweak, numerals))
    }

    fn text(
        &self,
        direction: Direction,
        value: &str,
        (keep_first, keep_last, length): (usize, usize, Option<u32>),
        out: &mut String,
    ) -> Option<()> {
        let mut numerals = Vec::with_capacity(value.len());
        for character in value.chars() {
            match self.alphabet.numeral(character) {
                Some(numeral) => numerals.push(numeral),
                None if is_separator(character) => {}
                None => return None,
            }
        }
        let count = numerals.len();
        if length.is_some_and(|length| length as usize != count) {
            return None;
        }
        let end = count.checked_sub(keep_last).filter(|end| *end >= keep_first)?;
        let mut tweak = Vec::new();
        if keep_first + keep_last > 0 {
            let kept = [&numerals[..keep_first], &[u16::MAX], &numerals[end..]].concat();
            tweak.extend(kept.iter().flat_map(|numeral| numeral.to_be_bytes()));
        }
        self.permute(direction, &tweak, &mut numerals[keep_first..end])?;
        let mut numerals = numerals.into_iter();
        out.extend(value.chars().map(|character| match self.alphabet.numeral(character) {
            Some(_) => self.alphabet.characters[usize::from(numerals.next().unwrap_or_default())],
            None => character,
        }));
        Some(())
    }

    fn card(&self, direction: Direction, value: &str, keep_first: usize, out: &mut String) -> Option<()> {
        let mut digits = Vec::with_capacity(*CARD_DIGITS.end());
        for byte in value.bytes() {
            match byte {
                b'0'..=b'9' => digits.push(u16::from(byte - b'0')),
                b' ' | b'-' | b'.' => {}
                _ => return None,
            }
        }
        let check = digits.pop().filter(|_| CARD_DIGITS.contains(&(digits.len() + 1)))?;
        if u16::from(luhn_digit(digits.iter().map(|digit| *digit as u8))) != check {
            return None;
        }
        let (kept, rest) = digits.split_at_mut(keep_first);
        let tweak: Vec<u8> = kept.iter().map(|digit| *digit as u8).collect();
        self.permute(direction, &tweak, rest)?;
        digits.push(u16::from(luhn_digit(digits.iter().map(|digit| *digit as u8))));
        replace_digits(value, &digits, out);
        Some(())
    }

    fn iban(&self, direction: Direction, value: &str, out: &mut String) -> Option<()> {
        if !is_iban(value) {
            return None;
        }
        let compact: Vec<u8> =
            value.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase()).collect();
        let (country, account) = (&compact[..2], &compact[4..]);
        let mut digits: Vec<u16> =
            account.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u16::from(byte - b'0')).collect();
        let shape = account.iter().map(|byte| if byte.is_ascii_digit() { b'#' } else { *byte });
        let tweak: Vec<u8> = country.iter().copied().chain(shape).collect();
        self.permute(direction, &tweak, &mut digits)?;
        let mut next = digits.iter();
        let account = account.iter().map(|byte| match byte {
            b'0'..=b'9' => b'0' + *next.next().unwrap_or(&0) as u8,
            letter => *letter,
        });
        let account: Vec<u8> = account.collect();
        let remainder = crate::detect::mod_97(account.iter().chain(country).chain(b"00").copied())?;
        let check = 98 - remainder;
        digits.splice(0..0, [check as u16 / 10, check as u16 % 10]);
        replace_digits(value, &digits, out);
        Some(())
    }
}

/// Appends the value with other digits in place of its own.
fn replace_digits(value: &str, digits: &[u16], out: &mut String) {
    let mut digits = digits.iter();
    out.extend(value.chars().map(|character| match character {
        '0'..='9' => char::from(b'0' + *digits.next().unwrap_or(&0) as u8),
        other => other,
    }));
}

/// Characters and their numerals.
struct Alphabet {
    characters: Vec<char>,
    /// One more than the numeral; 0 for what is outside.
    ascii: [u16; 128],
    others: std::collections::HashMap<char, u16>,
}

impl Alphabet {
    fn new(characters: &str) -> Alphabet {
        let characters: Vec<char> = characters.chars().collect();
        let (mut ascii, mut others) = ([0; 128], std::collections::HashMap::new());
        for (character, numeral) in characters.iter().zip(0_u16..) {
            match ascii.get_mut(*character as usize) {
                Some(place) => *place = numeral + 1,
                None => _ = others.insert(*character, numeral),
            }
        }
        Alphabet { characters, ascii, others }
    }

    fn radix(&self) -> u16 {
        self.characters.len() as u16
    }

    fn numeral(&self, character: char) -> Option<u16> {
        match self.ascii.get(character as usize) {
            Some(numeral) => numeral.checked_sub(1),
            None => self.others.get(&character).copied(),
        }
    }
}

#[cfg(test)]
#[path = "fpe_tests.rs"]
mod tests;
