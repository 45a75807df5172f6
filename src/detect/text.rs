//! Personal data inside free text: where it begins and ends.
//!
//! One pass finds the places where something could begin (an `@`, a digit, a capital, a secret's prefix); only there
//! are the families asked. What has a weak check must be written distinctively, or be announced by a word before it.

use std::cell::{Cell, RefCell};
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::class::Class;
use super::form::Shape;
use super::header::Hints;
use super::sight::{BY_NAME, Sighting};
use super::{crypto, dictionary, iban, mail, network, phone, secret};

/// A stretch of text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub class: Class,
}

/// The classes that are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    bits: u128,
    /// Whether they were named: then a weak check is enough.
    named: bool,
}

impl Wanted {
    /// Every class that prose can show.
    pub fn all() -> Wanted {
        Wanted { bits: u128::MAX, named: false }
    }

    /// These classes only; whatever is written like them and valid counts.
    pub fn only(classes: &[Class]) -> Wanted {
        Wanted { bits: classes.iter().fold(0, |bits, class| bits | 1 << *class as u32), named: true }
    }

    fn has(&self, class: Class) -> bool {
        self.bits >> class as u32 & 1 == 1
    }
}

/// Classes that can be found inside text.
pub fn is_found_in_text(class: Class) -> bool {
    !matches!(
        class,
        Class::Passport
            | Class::DrivingLicence
            | Class::DateOfBirth
            | Class::PlaceName
            | Class::PostalAddress
            | Class::PostalCode
    )
}

/// What the text holds, in order and without overlaps.
pub fn spans(text: &str, wanted: &Wanted) -> Vec<Span> {
    let mut found = Vec::new();
    marked(text.as_bytes(), wanted, &mut found);
    let mut walk = Walk { text, wanted, taken: found.len(), found, visit: None, before: Cell::new(None) };
    walk.words();
    let mut found = walk.found;
    found.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut end = 0;
    found.retain(|span| {
        let free = span.start >= end;
        if free {
            end = span.end;
        }
        free
    });
    found
}

/// Everything in the text that is written like a class with a check, valid or not; true where a mark tells it, or
/// the words before it.
pub(super) fn sightings(text: &str, see: &mut dyn FnMut(Sighting, bool)) {
    static CHECKED: LazyLock<Wanted> = LazyLock::new(|| {
        let unchecked = [Class::PersonName, Class::Phone, Class::MacAddress, Class::Ipv4, Class::Ipv6];
        let bits = unchecked.iter().fold(u128::MAX, |bits, class| bits & !(1 << *class as u32));
        Wanted { bits, named: false }
    });
    let mut found = Vec::new();
    marked(text.as_bytes(), &CHECKED, &mut found);
    let seen = RefCell::new(Vec::new());
    let visit = |sighting, is_announced| seen.borrow_mut().push((sighting, is_announced));
    let mut walk =
        Walk { text, wanted: &CHECKED, taken: found.len(), found, visit: Some(&visit), before: Cell::new(None) };
    walk.words();
    for span in &walk.found {
        let one_in = match span.class {
            Class::Email => mail::ONE_IN,
            Class::Secret | Class::UrlCredentials => secret::ONE_IN,
            Class::CryptoAddress => crypto::ONE_IN,
            Class::Iban => iban::ONE_IN,
            _ => continue,
        };
        see(Sighting::new(span.class, true, one_in, 0.0), true);
    }
    for at in memchr::memchr_iter(b'+', text.as_bytes()) {
        let begins = at == 0 || !is_word(text.as_bytes()[at - 1]);
        if begins && phone::at(&text[at..], false).is_some() {
            let announced = walk.announced(at, Class::Phone).max(0.0);
            see(Sighting::new(Class::Phone, true, phone::ONE_IN, announced), announced > 0.0);
        }
    }
    seen.into_inner().into_iter().for_each(|(sighting, is_announced)| see(sighting, is_announced));
}

/// None begins within another. The leftmost match of a few short texts is searched for many bytes at once.
static PREFIXES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let prefixes = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(secret::prefixes());
    prefixes.expect("the prefixes are few and short")
});

/// What stands around a mark that is searched for many bytes at once.
fn marked(text: &[u8], wanted: &Wanted, found: &mut Vec<Span>) {
    if wanted.has(Class::Secret) {
        let mut free = 0; // what lies within a secret is not read again and again
        for hit in PREFIXES.find_iter(text) {
            let begins = hit.start() == 0 || !text[hit.start() - 1].is_ascii_alphanumeric();
            if let Some(length) = (begins && hit.start() >= free).then(|| secret::at(&text[hit.start()..])).flatten() {
                free = hit.start() + length;
                found.push(Span { start: hit.start(), end: free, class: Class::Secret });
            }
        }
    }
    // The only one whose writing may have neither digit nor capital.
    if wanted.has(Class::MacAddress) && network::mac_at(text) == Some(text.len()) {
        found.push(Span { start: 0, end: text.len(), class: Class::MacAddress });
    }
    let mut at_signs = memchr::memchr_iter(b'@', text).peekable();
    if at_signs.peek().is_none() {
        return;
    }
    if wanted.has(Class::UrlCredentials) {
        let mut free = 0;
        for at in memchr::memmem::find_iter(text, b"://") {
            if let Some((start, end)) = (at >= free).then(|| network::url_around(text, at)).flatten() {
                free = end;
                found.push(Span { start, end, class: Class::UrlCredentials });
            }
        }
    }
    if wanted.has(Class::Email) {
        let mails = at_signs.filter_map(|at| mail::around(text, at));
        found.extend(mails.map(|(start, end)| Span { start, end, class: Class::Email }));
    }
}

/// Log-odds above which something in prose is believed.
const BELIEVED: f32 = 0.5;
/// How far before a number a word may announce it, in bytes.
const ANNOUNCED_WITHIN: usize = 40;
/// Longest address of a machine, in bytes.
const LONGEST_MACHINE: usize = 45;
/// Longest word that may belong to an identifier which goes on behind a separator: `AB 12 34 56 C`.
const LEADING_LETTERS: usize = 4;

struct Walk<'a> {
    text: &'a str,
    wanted: &'a Wanted,
    found: Vec<Span>,
    /// Number of spans found by their marks; the rest are in order.
    taken: usize,
    /// Called for every identifier by its writing, valid or not, and whether words announce it.
    visit: Option<&'a dyn Fn(Sighting, bool)>,
    /// What the words before the place that was asked for last say.
    before: Cell<Option<(usize, Hints)>>,
}

impl Walk<'_> {
    fn words(&mut self) {
        let bytes = self.text.as_bytes();
        let names = self.wanted.has(Class::PersonName);
        let mut at = 0;
        while let Some(next) =
            bytes[at..].iter().position(|byte| byte.is_ascii_digit() || (names && byte.is_ascii_uppercase()))
        {
            let hit = at + next;
            let (start, end) = (word_start(bytes, hit, at), word_end(bytes, hit));
            let digit = bytes[hit..end].iter().position(u8::is_ascii_digit).map(|offset| hit + offset);
            let span = digit.map_or_else(|| self.name(start, hit), |digit| self.number(start, digit));
            at = match span {
                Some(span) => {
                    self.found.push(span);
                    span.end
                }
                None => end,
            };
        }
    }

    /// Whatever has a digit in it, beginning with the word that has it or the short one before.
    fn number(&self, word: usize, hit: usize) -> Option<Span> {
        let bytes = self.text.as_bytes();
        let free_from = self.found.get(self.taken..).and_then(<[Span]>::last).map_or(0, |span| span.end);
        let before = leading_word(bytes, word).filter(|&start| start >= free_from);
        if let Some(start) = before {
            // `AB.CDE.345/01DE-71` has two.
            let dotted = start.checked_sub(1).filter(|&at| at >= free_from && bytes[at] == b'.');
            let earlier = dotted.and_then(|_| leading_word(bytes, start)).filter(|&start| start >= free_from);
            if let Some(span) = earlier.into_iter().chain([start]).find_map(|start| self.identifier(start)) {
                return Some(span);
            }
        }
        if let Some(span) = self.machine_begun_before(word, free_from) {
            return Some(span);
        }
        if part_of_more(bytes, word) {
            return None;
        }
        let span = self.address(word).or_else(|| self.identifier(word));
        if span.is_some() || !self.wanted.has(Class::Phone) || hit != word {
            return span;
        }
        let opening =
            bytes[free_from..word].iter().rev().take(2).take_while(|byte| matches!(byte, b'+' | b'(')).count();
        let start = word - opening;
        let end = start + phone::at(&self.text[start..], self.wanted.named)?;
        (!continues(bytes, end)).then_some(Span { start, end, class: Class::Phone })
    }

    /// An address of a machine whose first groups have no digit.
    fn machine_begun_before(&self, word: usize, free_from: usize) -> Option<Span> {
        let before = &self.text.as_bytes()[free_from..word];
        if !matches!(before.last(), Some(b':' | b'-')) {
            return None;
        }
        let belongs = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-');
        let run = before.iter().rev().take(LONGEST_MACHINE).take_while(belongs).count();
        let begins = run == before.len() || !is_word(before[before.len() - run - 1]);
        begins.then(|| self.machine(word - run)).flatten().filter(|span| span.end > word)
    }

    fn machine(&self, start: usize) -> Option<Span> {
        let rest = &self.text.as_bytes()[start..];
        self.ending(start, Class::MacAddress, network::mac_at(rest))
            .or_else(|| self.ending(start, Class::Ipv6, network::ipv6_at(rest)))
    }

    /// Something of this length, if it is looked for and no word goes on behind it.
    fn ending(&self, start: usize, class: Class, length: Option<usize>) -> Option<Span> {
        let end = start + length.filter(|_| self.wanted.has(class))?;
        let goes_on = self.text.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric);
        (!goes_on).then_some(Span { start, end, class })
    }

    /// Addresses of machines, accounts and wallets.
    fn address(&self, start: usize) -> Option<Span> {
        let rest = &self.text.as_bytes()[start..];
        self.ending(start, Class::Iban, iban::at(rest))
            .or_else(|| self.machine(start))
            .or_else(|| self.ending(start, Class::Ipv4, network::ipv4_at(rest)))
            .or_else(|| self.ending(start, Class::CryptoAddress, crypto::at(rest)))
    }

    /// The longest identifier that begins here.
    fn identifier(&self, start: usize) -> Option<Span> {
        let bytes = self.text.as_bytes();
        let mut shape = Shape::EMPTY;
        let mut best = None;
        for (offset, &byte) in bytes[start..].iter().enumerate() {
            let separates = !byte.is_ascii_alphanumeric();
            if separates && !matches!(byte, b' ' | b'-' | b'.' | b'/' | b'+' | b'(' | b')') || !shape.push(byte) {
                break;
            }
            let end = start + offset + 1;
            let next = bytes.get(end);
            if next.is_some_and(u8::is_ascii_alphanumeric) || (separates && byte != b')') {
                continue;
            }
            if !continues(bytes, end)
                && let Some(class) = self.believed(start, end, &shape)
            {
                best = Some(Span { start, end, class });
            }
        }
        best
    }

    fn believed(&self, start: usize, end: usize, shape: &Shape) -> Option<Class> {
        let text = &self.text.as_bytes()[start..end];
        let mut best: Option<(f32, Class)> = None;
        for candidate in shape.candidates().filter(|it| self.wanted.has(it.class())) {
            let passed = candidate.accepts(text);
            if let Some(visit) = self.visit {
                let announced = if passed { self.announced(start, candidate.class()) } else { 0.0 };
                let one_in = candidate.identifier.one_in;
                visit(Sighting::new(candidate.class(), passed, one_in, shape.odds() + announced), announced > 0.0);
            }
            if !passed {
                continue;
            }
            let mut odds = shape.odds() + (candidate.identifier.one_in as f32 * 0.9).max(1.1).ln();
            if self.wanted.named {
                odds += 5.0;
            } else if odds < BELIEVED {
                odds += self.announced(start, candidate.class());
            } else if shape.odds() < 0.0 && BY_NAME.contains(&candidate.class()) {
                odds = self.announced(start, candidate.class());
            }
            if odds >= BELIEVED && best.is_none_or(|(other, _)| odds > other) {
                best = Some((odds, candidate.class()));
            }
        }
        best.map(|(_, class)| class)
    }

    /// What the words before say.
    fn announced(&self, start: usize, class: Class) -> f32 {
        if let Some((_, hints)) = self.before.get().filter(|(place, _)| *place == start) {
            return hints.odds(class);
        }
        let mut from = start.saturating_sub(ANNOUNCED_WITHIN);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        let hints = Hints::of(&self.text[from..start]);
        self.before.set(Some((start, hints)));
        hints.odds(class)
    }

    /// A given name and a surname beside each other, by dictionary.
    fn name(&self, start: usize, hit: usize) -> Option<Span> {
        if start != hit {
            return None;
        }
        let end = dictionary::full_name(&self.text[start..])?;
        Some(Span { start, end: start + end, class: Class::PersonName })
    }
}

/// Where the word around a byte begins, not before `from`.
fn word_start(text: &[u8], at: usize, from: usize) -> usize {
    text[from..at].iter().rposition(|byte| !is_word(*byte)).map_or(from, |before| from + before + 1)
}

fn word_end(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| !is_word(*byte)).map_or(text.len(), |length| at + length)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || byte == b'_'
}

/// The start of a short word of letters that one separator parts from the word at `start`.
fn leading_word(text: &[u8], start: usize) -> Option<usize> {
    let separator = start.checked_sub(1).filter(|&at| matches!(text[at], b' ' | b'-' | b'.'))?;
    let letters = text[..separator].iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let before = separator - letters;
    let begins = before == 0 || !is_word(text[before - 1]) && !part_of_more(text, before);
    ((1..=LEADING_LETTERS).contains(&letters) && begins).then_some(before)
}

/// Whether what begins here is the middle of something: of a UUID, a path, a decimal number.
fn part_of_more(text: &[u8], start: usize) -> bool {
    match text[..start] {
        [.., before, b'-' | b'.' | b',' | b'_' | b':'] => {
            before.is_ascii_digit() || (before.is_ascii_alphabetic() && text[start - 1] == b'-')
        }
        [.., b'_'] => true,
        _ => false,
    }
}

/// Whether it goes on behind the end: decimals, more groups of a longer number.
fn continues(text: &[u8], end: usize) -> bool {
    match text[end..] {
        [b'-' | b'.' | b',' | b'_' | b':', next, ..] => {
            next.is_ascii_digit() || (next.is_ascii_alphanumeric() && text[end] == b'-')
        }
        [b'_', ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
