//! Germany, Austria, Switzerland, Poland, Czechia, Slovakia and Hungary.

use super::Identifier;
use crate::detect::calendar::{exists, two};
use crate::detect::checksum::{digit, mod_11_10, number, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier { class: Class::DeSteuerId, forms: &["###########", "## ### ### ###"], one_in: 350, valid: steuer_id },
    Identifier { class: Class::AtSvnr, forms: &["##########", "#### ######"], one_in: 12, valid: svnr },
    Identifier { class: Class::ChAhv, forms: &["#############", "###.####.####.##"], one_in: 10000, valid: ahv },
    Identifier { class: Class::PlPesel, forms: &["###########"], one_in: 55, valid: pesel },
    Identifier {
        class: Class::CzRodneCislo,
        forms: &["######/####", "######/###", "##########"],
        one_in: 27,
        valid: rodne_cislo,
    },
    Identifier { class: Class::HuTaj, forms: &["#########", "### ### ###", "###-###-###"], one_in: 10, valid: taj },
];

/// Of the first ten digits exactly one occurs twice or three times, and none more often.
fn steuer_id(id: &[u8]) -> bool {
    if id.len() != 11 || id[0] == b'0' {
        return false;
    }
    let mut counts = [0_u8; 10];
    for &byte in &id[..10] {
        let Some(digit) = digit(byte) else { return false };
        counts[digit as usize] += 1;
    }
    let mut repeated = counts.iter().filter(|&&count| count > 1);
    matches!((repeated.next(), repeated.next()), (Some(2 | 3), None)) && mod_11_10(id)
}

fn svnr(id: &[u8]) -> bool {
    id.len() == 10
        && id[0] != b'0'
        && weighted(id, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]).is_some_and(|sum| digit(id[3]) == Some(sum % 11))
}

/// An EAN-13 of the prefix 756.
fn ahv(id: &[u8]) -> bool {
    id.len() == 13
        && id.starts_with(b"756")
        && weighted(id, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_some_and(|sum| sum % 10 == 0)
}

/// The month tells the century: 80 more for 18xx, 20 for 20xx, 40 for 21xx, 60 for 22xx.
fn pesel(id: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    let century = [1900, 2000, 2100, 2200, 1800][month as usize / 20];
    id.len() == 11
        && exists(century + year, month % 20, day)
        && weighted(id, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_some_and(|sum| sum % 10 == 0)
}

/// Nine digits without a check until 1953; women's months have 50 more, and 20 more once a day is full.
fn rodne_cislo(id: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    let (year, checked) = match id.len() {
        9 if year >= 80 => (1800 + year, true),
        9 => (1900 + year, year <= 53),
        10 => {
            let check = number(&id[..9]).map(|body| (body % 11 % 10) as u32);
            (if year < 54 { 2000 + year } else { 1900 + year }, check.is_some() && check == digit(id[9]))
        }
        _ => return false,
    };
    checked && exists(year, month % 50 % 20, day)
}

fn taj(id: &[u8]) -> bool {
    id.len() == 9 && weighted(id, &[3, 7, 3, 7, 3, 7, 3, 7]).is_some_and(|sum| digit(id[8]) == Some(sum % 10))
}
