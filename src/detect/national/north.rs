//! The Nordic countries.

use super::Identifier;
use crate::detect::calendar::{exists, two};
use crate::detect::checksum::{digit, luhn, number, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier {
        class: Class::SePersonnummer,
        forms: &["######-####", "######+####", "########-####", "##########", "############"],
        one_in: 140,
        valid: personnummer,
    },
    Identifier {
        class: Class::NoFodselsnummer,
        forms: &["###########", "###### #####"],
        one_in: 1000,
        valid: fodselsnummer,
    },
    Identifier { class: Class::DkCpr, forms: &["######-####", "##########"], one_in: 27, valid: cpr },
    Identifier {
        class: Class::FiHetu,
        forms: &["######-###?", "######+###?", "######@###?"],
        one_in: 1000,
        valid: hetu,
    },
    Identifier { class: Class::IsKennitala, forms: &["######-####", "##########"], one_in: 800, valid: kennitala },
];

/// Ten or twelve digits, with the coordination numbers (day + 60) of those who are not registered.
fn personnummer(id: &[u8]) -> bool {
    let digits = if id.len() == 12 { &id[2..] } else { id };
    let (Some(year), Some(month), Some(day)) = (two(digits, 0), two(digits, 2), two(digits, 4)) else { return false };
    let year = if id.len() == 12 { two(id, 0).map_or(0, |century| century * 100) + year } else { 2000 + year };
    let day = if day > 60 { day - 60 } else { day };
    digits.len() == 10 && year > 0 && exists(year, month, day) && luhn(digits)
}

/// D-numbers have 40 more in the day, H-numbers 40 more in the month; the individual digits tell the century.
fn fodselsnummer(id: &[u8]) -> bool {
    let (Some(day), Some(month), Some(year), Some(individual)) =
        (two(id, 0), two(id, 2), two(id, 4), id.get(6..9).and_then(number))
    else {
        return false;
    };
    let year = match individual {
        ..500 => 1900 + year,
        500..750 if year >= 54 => 1800 + year,
        500.. if year < 40 => 2000 + year,
        900.. => 1900 + year,
        _ => return false,
    };
    let less_40 = |number: u32| if number > 40 { number - 40 } else { number };
    let check = |weights: &[u32], place: usize| {
        weighted(id, weights).is_some_and(|sum| digit(id[place]) == Some((11 - sum % 11) % 11))
    };
    id.len() == 11
        && day < 80
        && exists(year, less_40(month), less_40(day))
        && check(&[3, 7, 6, 1, 8, 9, 4, 5, 2], 9)
        && check(&[5, 4, 3, 2, 7, 6, 5, 4, 3, 2], 10)
}

/// Its check was given up in 2007: only the day of birth is left to see.
fn cpr(id: &[u8]) -> bool {
    let (Some(day), Some(month), Some(year)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    let century = match id.get(6) {
        Some(b'5'..=b'8') if year >= 58 => 1800,
        Some(b'0'..=b'3') => 1900,
        Some(b'4' | b'9') if year >= 37 => 1900,
        _ => 2000,
    };
    id.len() == 10 && exists(century + year, month, day)
}

/// The century's sign may be missing here, where separators are taken out: `-` and `+` both leave ten characters.
fn hetu(id: &[u8]) -> bool {
    const CHECKS: &[u8] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let (Some(day), Some(month), Some(year)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    let (century, rest) = match (id.len(), id.get(6)) {
        (10, _) => (1900, &id[6..]),
        (11, Some(b'Y' | b'X' | b'W' | b'V' | b'U')) => (1900, &id[7..]),
        (11, Some(b'A'..=b'F')) => (2000, &id[7..]),
        _ => return false,
    };
    let (Some(birth), Some(individual)) = (number(&id[..6]), number(&rest[..3])) else { return false };
    exists(century + year, month, day)
        && (2..900).contains(&individual)
        && rest[3] == CHECKS[((birth * 1000 + individual) % 31) as usize]
}

/// Companies have 40 more in the day and are taken along.
fn kennitala(id: &[u8]) -> bool {
    let (Some(day), Some(month), Some(year)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    let century = match id.last() {
        Some(b'9') => 1900,
        Some(b'0') => 2000,
        _ => return false,
    };
    id.len() == 10
        && day < 80
        && exists(century + year, month, if day >= 40 { day - 40 } else { day })
        && weighted(id, &[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_some_and(|sum| sum % 11 == 0)
}
