//! One cell looked at as a whole: which classes it could be, and which it is.

use super::class::Class;
use super::form::Shape;
use super::header::Hints;
use super::{address, birth, crypto, dictionary, iban, mail, network, secret};

/// Dates and places with a number behind: order numbers and times are made alike.
pub(super) const BY_NAME: [Class; 5] = [Class::DkCpr, Class::MyNric, Class::IdNik, Class::InPan, Class::PkCnic];

/// A class whose writing a cell has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub class: Class,
    /// Whether the cell is valid, too: checksum, ranges, dictionary.
    pub passed: bool,
    /// How often an unrelated cell that is written so passes.
    pub chance: f32,
    /// What the writing alone says, in log-odds.
    pub odds: f32,
}

/// How much of what passes is due to validity: no check is worth nothing, and none is believed without limit.
const CHANCES: std::ops::RangeInclusive<f32> = 1e-5..=0.8;

impl Sighting {
    pub(super) fn new(class: Class, passed: bool, one_in: u32, odds: f32) -> Sighting {
        let chance = (1.0 / one_in as f32).clamp(*CHANCES.start(), *CHANCES.end());
        Sighting { class, passed, chance, odds }
    }
}

/// Calls `visit` for every class whose writing the trimmed cell has.
pub(super) fn look(cell: &str, hints: &Hints, mut visit: impl FnMut(Sighting)) {
    let bytes = cell.as_bytes();
    if let Some(shape) = Shape::of(bytes) {
        for candidate in shape.candidates() {
            let passed = candidate.accepts(bytes);
            visit(Sighting::new(candidate.class(), passed, candidate.identifier.one_in, shape.odds()));
        }
    }
    marked(bytes, &mut visit);
    by_dictionary(cell, &mut visit);
    by_name(cell, hints, &mut visit);
}

/// What tells itself by a mark: an `@`, colons, a prefix.
fn marked(cell: &[u8], visit: &mut impl FnMut(Sighting)) {
    let whole = |length: Option<usize>| length == Some(cell.len());
    if let Some(at) = memchr::memchr(b'@', cell) {
        visit(Sighting::new(Class::Email, mail::around(cell, at) == Some((0, cell.len())), mail::ONE_IN, 0.0));
    }
    if let Some(at) = memchr::memmem::find(cell, b"://") {
        let passed = network::url_around(cell, at).is_some();
        visit(Sighting::new(Class::UrlCredentials, passed, network::ONE_IN, 0.0));
    }
    let Some(&first) = cell.first() else { return };
    if first.is_ascii_alphabetic() && matches!(cell.get(2..4), Some([b'0'..=b'9', b'0'..=b'9'])) {
        visit(Sighting::new(Class::Iban, whole(iban::at(cell)), iban::ONE_IN, -1.0));
    }
    if first.is_ascii_digit() && cell.iter().filter(|&&byte| byte == b'.').count() == 3 {
        visit(Sighting::new(Class::Ipv4, whole(network::ipv4_at(cell)), network::ONE_IN, 0.0));
    }
    if cell.iter().take(46).filter(|&&byte| byte == b':').count() >= 2 {
        visit(Sighting::new(Class::Ipv6, whole(network::ipv6_at(cell)), network::ONE_IN, 0.0));
    }
    if matches!(cell.len(), 14 | 17) && network::mac_at(cell).is_some() {
        visit(Sighting::new(Class::MacAddress, true, network::ONE_IN, 0.0));
    }
    if let Some(length) = crypto::at(cell) {
        visit(Sighting::new(Class::CryptoAddress, length == cell.len(), crypto::ONE_IN, 0.0));
    }
    if secret::at(cell).is_some() {
        visit(Sighting::new(Class::Secret, true, secret::ONE_IN, 0.0));
    }
}

fn by_dictionary(cell: &str, visit: &mut impl FnMut(Sighting)) {
    use dictionary::Known;
    if let Some(known) = dictionary::person(cell) {
        let one_in = if known == Known::Several { 8 } else { 3 };
        visit(Sighting::new(Class::PersonName, known != Known::Nothing, one_in, -2.0));
    }
    if let Some(known) = dictionary::place(cell) {
        visit(Sighting::new(Class::PlaceName, known != Known::Nothing, 6, -2.5));
    }
    if let Some(passed) = address::is_address(cell) {
        visit(Sighting::new(Class::PostalAddress, passed, 20, -1.5));
    }
}

/// What only a column's name can tell from anything else.
fn by_name(cell: &str, hints: &Hints, visit: &mut impl FnMut(Sighting)) {
    let bytes = cell.as_bytes();
    let mut see = |class: Class, passed: &dyn Fn() -> bool| {
        if hints.says(class) {
            visit(Sighting::new(class, passed(), 1, -3.0));
        }
    };
    let digits = || bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let documented = || bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-' | b'/'));
    see(Class::Passport, &|| (6..=12).contains(&bytes.len()) && documented() && digits() >= 4);
    see(Class::DrivingLicence, &|| (5..=20).contains(&bytes.len()) && documented() && digits() >= 4);
    see(Class::DateOfBirth, &|| {
        birth::leading_date(bytes).is_some() || birth::FORMATS.iter().any(|format| birth::is_date(bytes, *format))
    });
    see(Class::PostalCode, &|| address::is_postal_code(cell));
    see(Class::Secret, &|| bytes.len() >= 4);
}
