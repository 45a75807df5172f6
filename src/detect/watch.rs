//! Every cell of a column that is passed on unmasked, looked at for what can be proved: marks and checksums, not words.
//!
//! What a name, an address, a date or a place is, nothing proves; these are for [`super::Survey`]. A number written in
//! digits alone that passes a check of one in ten proves nothing by itself either: the share of the column's cells that
//! pass decides, and what the column is called. What tells itself by a mark, or has a check that hardly anything else
//! passes, counts alone.

use std::collections::{BTreeMap, HashSet};

use super::class::Class;
use super::form::Shape;
use super::header::Hints;
use super::sight::{BY_NAME, Sighting};
use super::tally::Tally;
use super::{crypto, iban, mail, network, phone, secret, text};

/// Shortest cell that can hold anything: `a@b.de`.
const SHORTEST: usize = 6;
/// Fewest digits of an identifier.
const FEWEST_DIGITS: usize = 6;
/// Longest cell that is one thing and no text.
const LONGEST_WHOLE: usize = 44;
/// Shortest key or token of a cloud, and shorter than any wallet.
const SHORTEST_SECRET: usize = 20;
/// Cells in digits alone of a block and column that are looked at for what only their share can prove.
const DIGITS_A_BLOCK: u16 = 64;
/// Glimpses of a block, column and class that are kept, of others the number alone: of cells, of names, each of which
/// stands there once, and beyond that of those that tell themselves, of all classes.
const KEPT_A_BLOCK: usize = 32;
const NAMES_A_BLOCK: usize = 4096;
const TELLING_A_BLOCK: usize = 128;
/// Fewest names in digits alone that tell anything together.
const BARE_NAMES: u32 = 6;
/// Cells of a class that are taken for different ones when no more can be remembered.
const UNREMEMBERED: u32 = 8;
/// Distinct cells that are remembered of a column, and of all columns of a file.
const REMEMBERED: usize = 4096;
const REMEMBERED_BY_ALL: usize = 1 << 18;
/// Least confidence in a column as a whole.
const BELIEVED: f32 = 0.8;
/// Log-odds above which one cell is enough.
const PROVED: f32 = 4.6;
/// What it says that something is called by a number written like a payment card's or one of [`BY_FORM`], in log-odds:
/// nothing else is called so.
const CALLED_SO: f32 = 3.0;
/// Of cells written like a class by their form alone one in so many must be valid: a date and a check digit pass more
/// often in numbers made of dates than in others.
const VALID_ONE_IN: u64 = 3;

/// Written distinctively, these are believed without the column's name saying so; in digits alone they have no check.
const BY_FORM: [Class; 2] = [Class::UsSsn, Class::GbNino];
/// Of firms, not of people.
const PASSED_OVER: [Class; 1] = [Class::UsEin];

/// One column's name, read once.
pub struct Watch {
    hints: Hints,
    /// What is looked at are names.
    of_names: bool,
}

/// A cell written like a class, in a block.
#[derive(Clone, Copy, Debug)]
pub struct Glimpse {
    sighting: Sighting,
    is_within: bool,
    /// A mark tells it, or the words before it.
    is_marked: bool,
    /// Digits alone.
    is_bare: bool,
    /// It is counted among the others, and kept for what it tells.
    is_counted: bool,
    digest: u64,
    row: u32,
}

impl Glimpse {
    /// Whether hardly anything else is written so and passes.
    fn tells_itself(&self) -> bool {
        self.is_marked || (self.sighting.passed && self.sighting.odds + self.sighting.evidence() >= PROVED)
    }
}

/// What was seen in one column of one block.
#[derive(Debug)]
pub struct Glimpses {
    kept: Vec<Glimpse>,
    /// How many there are of each class, and how many beyond the kept ones.
    counts: Vec<Count>,
    /// How many are kept because they tell themselves.
    telling: usize,
    digits_left: u16,
}

/// Glimpses of one class.
#[derive(Debug)]
struct Count {
    class: Class,
    is_within: bool,
    kept: usize,
    /// Not kept, and valid ones among them.
    more: u32,
    more_passed: u32,
}

impl Default for Glimpses {
    fn default() -> Glimpses {
        Glimpses { kept: Vec::new(), counts: Vec::new(), telling: 0, digits_left: DIGITS_A_BLOCK }
    }
}

impl Glimpses {
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    fn push(&mut self, mut glimpse: Glimpse, of_names: bool) {
        let Sighting { class, passed, .. } = glimpse.sighting;
        let key = (class, glimpse.is_within);
        let place = self.counts.iter().position(|count| (count.class, count.is_within) == key);
        let place = place.unwrap_or_else(|| {
            self.counts.push(Count { class, is_within: glimpse.is_within, kept: 0, more: 0, more_passed: 0 });
            self.counts.len() - 1
        });
        let count = &mut self.counts[place];
        if count.kept < if of_names { NAMES_A_BLOCK } else { KEPT_A_BLOCK } {
            count.kept += 1;
            return self.kept.push(glimpse);
        }
        count.more += 1;
        count.more_passed += u32::from(passed);
        if glimpse.tells_itself() && self.telling < TELLING_A_BLOCK {
            self.telling += 1;
            glimpse.is_counted = true;
            self.kept.push(glimpse);
        }
    }
}

impl Watch {
    /// Reads a column's name, or the last key of a path.
    pub fn new(name: &str) -> Watch {
        Watch { hints: Hints::of(name), of_names: false }
    }

    /// For the names of columns, or the keys of objects, at a path.
    pub fn of_names(path: &str) -> Watch {
        Watch { hints: Hints::of(path), of_names: true }
    }

    /// What the column's name says of a class, in log-odds.
    fn named(&self, class: Class) -> f32 {
        let is_called_so = self.of_names && (class == Class::PaymentCard || BY_FORM.contains(&class));
        self.hints.odds(class) + if is_called_so { CALLED_SO } else { 0.0 }
    }

    /// Looks at one cell; `digest` tells it from others, `row` is its row in the block.
    pub fn look(&self, cell: &str, digest: u64, row: u32, into: &mut Glimpses) {
        let cell = cell.trim_ascii();
        let bytes = cell.as_bytes();
        if bytes.len() < SHORTEST {
            return;
        }
        match kinds(bytes) {
            Kinds::Nothing => return,
            // Of so many nothing but a sample is looked at.
            Kinds::Digits if into.digits_left == 0 && !self.of_names => return,
            Kinds::Digits | Kinds::Mixed => {}
        }
        let mut found = false;
        if bytes.len() <= LONGEST_WHOLE {
            found = self.whole(cell, digest, row, into);
        }
        let is_text = bytes.len() > LONGEST_WHOLE
            || (bytes.iter().any(u8::is_ascii_alphabetic)
                && bytes.iter().any(|byte| matches!(byte, b' ' | b'\n' | b'"' | b':' | b'=' | b'<' | b',' | b';')));
        if is_text && !found {
            text::sightings(cell, &mut |sighting, is_marked| {
                if self.is_watched(&sighting) {
                    let glimpse = Glimpse {
                        sighting,
                        is_within: true,
                        is_marked,
                        is_bare: false,
                        is_counted: false,
                        digest,
                        row,
                    };
                    into.push(glimpse, self.of_names);
                }
            });
        }
    }

    /// A cell that is one thing; whether it is.
    fn whole(&self, cell: &str, digest: u64, row: u32, into: &mut Glimpses) -> bool {
        let bytes = cell.as_bytes();
        let is_bare = bytes.iter().all(u8::is_ascii_digit);
        let mut found = false;
        let mut see = |into: &mut Glimpses, sighting: Sighting, is_marked| {
            found |= sighting.passed;
            let glimpse = Glimpse { sighting, is_within: false, is_marked, is_bare, is_counted: false, digest, row };
            into.push(glimpse, self.of_names);
        };
        marked(bytes, &mut |sighting| see(into, sighting, true));
        let mut is_written_so = false;
        if let Some(shape) = Shape::of(bytes) {
            for candidate in shape.candidates().filter(|it| !self.is_else(it.class(), bytes)) {
                let passed = candidate.accepts(bytes);
                let sighting = Sighting::new(candidate.class(), passed, candidate.identifier.one_in, shape.odds());
                if self.is_watched(&sighting) {
                    is_written_so = true;
                    see(into, sighting, false);
                }
            }
        }
        if is_written_so && is_bare {
            into.digits_left = into.digits_left.saturating_sub(1);
        }
        if bytes[0] == b'+' && phone::writing(cell) == Some(phone::Writing::International) {
            see(into, Sighting::new(Class::Phone, phone::is_international(cell), phone::ONE_IN, 0.0), false);
        }
        found
    }

    /// Whether a number is a time in milliseconds rather than of somebody born from 2010 on, or the name of an article rather
    /// than an old card. Times of one day begin with one date, and those at even steps pass a check digit together.
    fn is_else(&self, class: Class, cell: &[u8]) -> bool {
        let is_time = class == Class::ZaId && matches!(cell, [b'1', rest @ ..] if rest.len() == 12);
        let is_article = self.of_names && class == Class::PaymentCard && cell.len() == 13;
        (is_time || is_article) && !self.hints.says(class)
    }

    fn is_watched(&self, sighting: &Sighting) -> bool {
        let class = sighting.class;
        match () {
            () if PASSED_OVER.contains(&class) => false,
            () if BY_FORM.contains(&class) => sighting.odds > 0.0 || self.hints.says(class),
            () if BY_NAME.contains(&class) => self.hints.says(class) || sighting.odds > PROVED,
            () => true,
        }
    }
}

/// What tells itself by a mark: an `@`, a prefix, a scheme.
fn marked(cell: &[u8], see: &mut impl FnMut(Sighting)) {
    let first = cell[0];
    if let Some(at) = memchr::memchr(b'@', cell) {
        if mail::around(cell, at) == Some((0, cell.len())) {
            see(Sighting::new(Class::Email, true, mail::ONE_IN, 0.0));
        }
        let scheme = memchr::memmem::find(cell, b"://");
        if scheme.is_some_and(|at| network::url_around(cell, at).is_some()) {
            see(Sighting::new(Class::UrlCredentials, true, secret::ONE_IN, 0.0));
        }
    }
    if first.is_ascii_alphabetic() && iban::at(cell) == Some(cell.len()) {
        see(Sighting::new(Class::Iban, true, iban::ONE_IN, 0.0));
    }
    if cell.len() >= SHORTEST_SECRET {
        if secret::at(cell).is_some() {
            see(Sighting::new(Class::Secret, true, secret::ONE_IN, 0.0));
        }
        if first.is_ascii_alphanumeric() && crypto::at(cell) == Some(cell.len()) {
            see(Sighting::new(Class::CryptoAddress, true, crypto::ONE_IN, 0.0));
        }
    }
}

/// What a cell consists of.
enum Kinds {
    /// Too few digits, and no `@`.
    Nothing,
    /// Digits alone.
    Digits,
    Mixed,
}

fn kinds(cell: &[u8]) -> Kinds {
    if cell.len() <= LONGEST_WHOLE {
        let (mut digits, mut at) = (0_u8, false);
        for &byte in cell {
            digits += u8::from(byte.is_ascii_digit());
            at |= byte == b'@';
        }
        return match usize::from(digits) {
            digits if digits == cell.len() => Kinds::Digits,
            digits if at || digits >= FEWEST_DIGITS => Kinds::Mixed,
            _ => Kinds::Nothing,
        };
    }
    // Without a way out of the inner loop many bytes are looked at at once.
    let holds = |chunk: &[u8]| chunk.iter().fold(false, |any, byte| any | byte.is_ascii_digit() | (*byte == b'@'));
    if cell.chunks(64).any(holds) { Kinds::Mixed } else { Kinds::Nothing }
}

/// What one column has shown of one class.
#[derive(Debug, Default)]
struct Shown {
    tally: Tally,
    /// Distinct cells of which one is enough, and whether they tell themselves by a mark.
    proved: u32,
    is_marked: bool,
    /// Not all are names in digits alone.
    tells_alone: bool,
    /// Cells beyond those that are tallied, and valid ones among them.
    more: u64,
    more_passed: u64,
    /// Row of the first valid cell in the file, from 1.
    row: u64,
}

/// What all blocks have shown of one column.
#[derive(Default)]
pub struct Evidence {
    shown: BTreeMap<(Class, bool), Shown>,
    remembered: usize,
}

/// Cells that were seen in any column of a file.
#[derive(Default)]
pub struct Remembered(HashSet<(u64, usize, Class)>);

/// A class that a column holds unmasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub class: Class,
    /// Row of the first cell that was seen to hold it, from 1.
    pub row: u64,
    /// Cells that were seen to hold it.
    pub cells: u64,
}

impl Evidence {
    /// Adds a block's of the column with this number; blocks must come in their order.
    pub fn add(
        &mut self,
        (watch, column): (&Watch, usize),
        glimpses: &Glimpses,
        first_row: u64,
        remembered: &mut Remembered,
    ) {
        for glimpse in &glimpses.kept {
            let Glimpse { sighting, is_within, is_marked, is_bare, is_counted, digest, row } = *glimpse;
            // Things are called by numbers of all kinds; by those of payment cards nothing is.
            let tells_alone = !(watch.of_names && is_bare && sighting.class != Class::PaymentCard);
            let has_room = self.remembered < REMEMBERED && remembered.0.len() < REMEMBERED_BY_ALL;
            let is_new = has_room && remembered.0.insert((digest, column, sighting.class));
            self.remembered += usize::from(is_new);
            let shown = self.shown.entry((sighting.class, is_within)).or_default();
            let may_be_new = is_new || !has_room;
            if sighting.passed && shown.row == 0 {
                shown.row = first_row + u64::from(row);
            }
            if !is_counted {
                shown.tally.see(sighting, is_new || (may_be_new && shown.tally.written < UNREMEMBERED));
            }
            shown.is_marked |= is_marked && sighting.passed;
            shown.tells_alone |= tells_alone && sighting.passed;
            shown.proved += u32::from(tells_alone && may_be_new && sighting.passed && watch.proves(&sighting));
        }
        for Count { class, is_within, more, more_passed, .. } in &glimpses.counts {
            if let Some(shown) = self.shown.get_mut(&(*class, *is_within)) {
                shown.tally.cells += u64::from(*more_passed);
                shown.more += u64::from(*more);
                shown.more_passed += u64::from(*more_passed);
            }
        }
    }

    /// What the column holds, once for each class.
    pub fn held(&self, watch: &Watch) -> Vec<Held> {
        let mut held: Vec<Held> = Vec::new();
        for ((class, _), shown) in &self.shown {
            let passed = u64::from(shown.tally.passed) + shown.more_passed;
            let is_usual = passed * VALID_ONE_IN >= u64::from(shown.tally.written) + shown.more;
            let is_proved = shown.proved > 0 && (shown.is_marked || is_usual);
            let are_enough = shown.tells_alone || shown.tally.passed >= BARE_NAMES;
            let is_believed = || are_enough && shown.tally.confidence(watch.named(*class)) >= BELIEVED;
            if shown.tally.cells == 0 || !(is_proved || is_believed()) {
                continue;
            }
            let Shown { tally, row, .. } = shown;
            match held.last_mut().filter(|last| last.class == *class) {
                Some(last) => (last.row, last.cells) = (last.row.min(*row), last.cells + tally.cells),
                None => held.push(Held { class: *class, row: *row, cells: tally.cells }),
            }
        }
        held
    }
}

impl Watch {
    /// Whether one such cell is enough.
    fn proves(&self, sighting: &Sighting) -> bool {
        let named = self.named(sighting.class);
        // A name that speaks of something else matters for what could be that.
        let named = if sighting.odds < 0.0 { named } else { named.max(0.0) };
        sighting.odds + named + sighting.evidence() >= PROVED
    }
}

#[cfg(test)]
mod tests;
