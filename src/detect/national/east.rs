//! South-eastern and eastern Europe.

use super::Identifier;
use crate::detect::calendar::{exists, two};
use crate::detect::checksum::{digit, mod_11_10, number, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier { class: Class::RoCnp, forms: &["#############"], one_in: 600, valid: cnp },
    Identifier { class: Class::BgEgn, forms: &["##########"], one_in: 100, valid: egn },
    Identifier { class: Class::HrOib, forms: &["###########"], one_in: 10, valid: oib },
    Identifier { class: Class::SiEmso, forms: &["#############"], one_in: 300, valid: emso },
    Identifier { class: Class::UaRntrc, forms: &["##########"], one_in: 11, valid: rntrc },
    Identifier { class: Class::RuInn, forms: &["############"], one_in: 110, valid: inn },
    Identifier { class: Class::RuSnils, forms: &["###-###-### ##", "###########"], one_in: 100, valid: snils },
];

fn cnp(id: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day), Some(county)) = (two(id, 1), two(id, 3), two(id, 5), two(id, 7)) else {
        return false;
    };
    let century = match id[0] {
        b'0' => return false,
        b'3' | b'4' => 1800,
        b'5' | b'6' => 2000,
        _ => 1900,
    };
    let check =
        weighted(id, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]).map(|sum| if sum % 11 == 10 { 1 } else { sum % 11 });
    id.len() == 13
        && exists(century + year, month, day)
        && matches!(county, 1..=48 | 51 | 52 | 70 | 80..=83)
        && check == digit(id[12])
}

/// The month has 20 more before 1900, 40 more from 2000.
fn egn(id: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    let (year, month) = match month {
        41.. => (2000 + year, month - 40),
        21.. => (1800 + year, month - 20),
        _ => (1900 + year, month),
    };
    id.len() == 10
        && exists(year, month, day)
        && weighted(id, &[2, 4, 8, 5, 10, 9, 7, 3, 6]).is_some_and(|sum| digit(id[9]) == Some(sum % 11 % 10))
}

fn oib(id: &[u8]) -> bool {
    id.len() == 11 && mod_11_10(id)
}

/// The number of all countries of former Yugoslavia.
fn emso(id: &[u8]) -> bool {
    let (Some(day), Some(month), Some(year)) = (two(id, 0), two(id, 2), id.get(4..7).and_then(number)) else {
        return false;
    };
    let year = year as u32 + if year < 800 { 2000 } else { 1000 };
    id.len() == 13
        && exists(year, month, day)
        && weighted(id, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2])
            .is_some_and(|sum| digit(id[12]) == Some((11 - sum % 11) % 11 % 10))
}

/// The first weight is -1, which is 10 modulo 11.
fn rntrc(id: &[u8]) -> bool {
    id.len() == 10
        && weighted(id, &[10, 5, 7, 9, 4, 6, 10, 5, 7]).is_some_and(|sum| digit(id[9]) == Some(sum % 11 % 10))
}

fn inn(id: &[u8]) -> bool {
    let check = |weights: &[u32], place: usize| {
        weighted(id, weights).is_some_and(|sum| digit(id[place]) == Some(sum % 11 % 10))
    };
    id.len() == 12 && check(&[7, 2, 4, 10, 3, 5, 9, 4, 6, 8], 10) && check(&[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8], 11)
}

/// Numbers up to 001-001-998 carry no check and are not accepted.
fn snils(id: &[u8]) -> bool {
    id.len() == 11
        && number(&id[..9]).is_some_and(|body| body > 1_001_998)
        && weighted(id, &[9, 8, 7, 6, 5, 4, 3, 2, 1]).is_some_and(|sum| two(id, 9) == Some(sum % 101 % 100))
}
