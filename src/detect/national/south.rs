//! The Mediterranean: Portugal, Spain, Italy, Greece, Turkey, Israel.

use super::Identifier;
use crate::detect::calendar::{exists, two};
use crate::detect::checksum::{digit, luhn, number, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier {
        class: Class::EsDni,
        forms: &["########@", "########-@", "######## @", "##.###.###-@", "##.###.###@"],
        one_in: 26,
        valid: dni,
    },
    Identifier {
        class: Class::EsNie,
        forms: &["@#######@", "@-#######-@", "@-#######@", "@#######-@"],
        one_in: 200,
        valid: nie,
    },
    Identifier { class: Class::PtNif, forms: &["#########", "### ### ###"], one_in: 11, valid: nif },
    Identifier { class: Class::PtCc, forms: &["#########@@#", "######## # @@#"], one_in: 10, valid: cc },
    Identifier {
        class: Class::ItCodiceFiscale,
        forms: &["@@@@@@??@??@???@", "@@@ @@@ ??@?? @???@"],
        one_in: 70,
        valid: codice_fiscale,
    },
    Identifier { class: Class::GrAmka, forms: &["###########"], one_in: 270, valid: amka },
    Identifier { class: Class::GrAfm, forms: &["#########"], one_in: 11, valid: afm },
    Identifier { class: Class::TrKimlik, forms: &["###########"], one_in: 110, valid: kimlik },
    Identifier { class: Class::IlId, forms: &["#########", "########-#"], one_in: 10, valid: israeli },
];

/// The letter of the number modulo 23.
fn dni_letter(number: u64) -> u8 {
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize]
}

fn dni(id: &[u8]) -> bool {
    id.len() == 9 && number(&id[..8]).is_some_and(|body| id[8] == dni_letter(body))
}

/// X, Y and Z stand for a leading 0, 1 and 2.
fn nie(id: &[u8]) -> bool {
    let Some(first) = id.first().and_then(|first| b"XYZ".iter().position(|letter| letter == first)) else {
        return false;
    };
    id.len() == 9 && number(&id[1..8]).is_some_and(|body| id[8] == dni_letter(first as u64 * 10_000_000 + body))
}

fn nif(id: &[u8]) -> bool {
    id.len() == 9
        && id[0] != b'0'
        && weighted(id, &[9, 8, 7, 6, 5, 4, 3, 2]).is_some_and(|sum| digit(id[8]) == Some((11 - sum % 11) % 11 % 10))
}

/// Luhn over digits and letters, A being 10.
fn cc(id: &[u8]) -> bool {
    let sum = id.iter().rev().enumerate().try_fold(0, |sum, (place, &byte)| {
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A'..=b'Z' => u32::from(byte - b'A') + 10,
            _ => return None,
        };
        let value = if place % 2 == 1 { value * 2 } else { value };
        Some(sum + if place % 2 == 1 && value > 9 { value - 9 } else { value })
    });
    id.len() == 12 && sum.is_some_and(|sum| sum % 10 == 0)
}

/// With omocodia: letters may stand for digits. Sixteen characters, a day of birth, a check letter.
fn codice_fiscale(id: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let homocode = |byte: u8| {
        digit(byte).or_else(|| b"LMNPQRSTUV".iter().position(|&letter| letter == byte).map(|place| place as u32))
    };
    if id.len() != 16 || [6, 7, 9, 10, 12, 13, 14].iter().any(|&place| homocode(id[place]).is_none()) {
        return false;
    }
    let pair = |place: usize| Some(homocode(id[place])? * 10 + homocode(id[place + 1])?);
    let month = b"ABCDEHLMPRST".iter().position(|&letter| letter == id[8]);
    let (Some(year), Some(month), Some(day)) = (pair(6), month, pair(9)) else { return false };
    let year = if year < 20 { 2000 + year } else { 1900 + year };
    let sum = id[..15].iter().enumerate().try_fold(0, |sum, (place, &byte)| {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A',
            _ => return None,
        };
        Some(sum + if place % 2 == 0 { ODD[usize::from(value)] } else { u32::from(value) })
    });
    exists(year, month as u32 + 1, day % 40) && sum.is_some_and(|sum| u32::from(id[15] - b'A') == sum % 26)
}

fn amka(id: &[u8]) -> bool {
    let (Some(day), Some(month), Some(year)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    id.len() == 11 && luhn(id) && (exists(1900 + year, month, day) || exists(2000 + year, month, day))
}

fn afm(id: &[u8]) -> bool {
    id.len() == 9
        && weighted(id, &[256, 128, 64, 32, 16, 8, 4, 2]).is_some_and(|sum| digit(id[8]) == Some(sum % 11 % 10))
}

fn kimlik(id: &[u8]) -> bool {
    if id.len() != 11 || id[0] == b'0' {
        return false;
    }
    let (Some(mixed), Some(plain)) = (weighted(id, &[3, 1, 3, 1, 3, 1, 3, 1, 3]), weighted(id, &[1; 9])) else {
        return false;
    };
    let first = (10 - mixed % 10) % 10;
    digit(id[9]) == Some(first) && digit(id[10]) == Some((first + plain) % 10)
}

fn israeli(id: &[u8]) -> bool {
    id.len() == 9 && number(id).is_some_and(|number| number > 0) && luhn(id)
}
