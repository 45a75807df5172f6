//! Asia.

use super::Identifier;
use crate::detect::calendar::{exists, two};
use crate::detect::checksum::{digit, number, verhoeff, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier {
        class: Class::InAadhaar,
        forms: &["############", "#### #### ####", "####-####-####"],
        one_in: 12,
        valid: aadhaar,
    },
    Identifier { class: Class::InPan, forms: &["@@@@@####@"], one_in: 2, valid: pan },
    Identifier { class: Class::PkCnic, forms: &["#####-#######-#", "#############"], one_in: 1, valid: cnic },
    Identifier {
        class: Class::CnResidentId,
        forms: &["##################", "#################@"],
        one_in: 3000,
        valid: resident_id,
    },
    Identifier { class: Class::TwId, forms: &["@#########"], one_in: 25, valid: taiwanese },
    Identifier {
        class: Class::HkId,
        forms: &["@######(?)", "@@######(?)", "@######?", "@@######?"],
        one_in: 11,
        valid: hong_kong,
    },
    Identifier {
        class: Class::JpMyNumber,
        forms: &["############", "#### #### ####", "####-####-####"],
        one_in: 11,
        valid: my_number,
    },
    Identifier { class: Class::KrRrn, forms: &["######-#######", "#############"], one_in: 280, valid: rrn },
    Identifier { class: Class::SgNric, forms: &["@#######@"], one_in: 130, valid: singaporean },
    Identifier { class: Class::MyNric, forms: &["######-##-####", "############"], one_in: 30, valid: malaysian },
    Identifier { class: Class::ThPin, forms: &["#############", "#-####-#####-##-#"], one_in: 13, valid: thai },
    Identifier { class: Class::IdNik, forms: &["################"], one_in: 40, valid: nik },
];

/// No palindromes, none that start with 0 or 1.
fn aadhaar(id: &[u8]) -> bool {
    id.len() == 12 && id[0] >= b'2' && !id.iter().eq(id.iter().rev()) && verhoeff(id)
}

/// The fourth letter tells the kind of holder.
fn pan(id: &[u8]) -> bool {
    id.len() == 10 && b"ABCFGHLJPTK".contains(&id[3]) && &id[5..9] != b"0000"
}

fn cnic(id: &[u8]) -> bool {
    id.len() == 13 && (b'1'..=b'7').contains(&id[0]) && id[12] != b'0'
}

/// Province, a day of birth, ISO 7064 MOD 11-2 with X for ten. Counties are not looked up: they were renamed too often.
fn resident_id(id: &[u8]) -> bool {
    if id.len() != 18 {
        return false;
    }
    let province = two(id, 0)
        .is_some_and(|it| matches!(it, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81 | 82));
    let (Some(year), Some(month), Some(day)) = (number(&id[6..10]), two(id, 10), two(id, 12)) else { return false };
    let sum = weighted(id, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    province
        && (1800..2100).contains(&year)
        && exists(year as u32, month, day)
        && sum.is_some_and(|sum| id[17] == b"10X98765432"[sum as usize % 11])
}

/// The place's letter counts as two digits; the first digit is 1 or 2 for citizens, 8 or 9 for residents.
fn taiwanese(id: &[u8]) -> bool {
    const PLACES: &[u8] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let Some(place) = id.first().and_then(|first| PLACES.iter().position(|letter| letter == first)) else {
        return false;
    };
    let place = place as u32 + 10;
    id.len() == 10
        && matches!(id[1], b'1' | b'2' | b'8' | b'9')
        && weighted(&id[1..], &[8, 7, 6, 5, 4, 3, 2, 1, 1])
            .is_some_and(|sum| (place / 10 + place % 10 * 9 + sum).is_multiple_of(10))
}

/// One or two letters, a missing one counting as a space (36); the check may be A for ten.
fn hong_kong(id: &[u8]) -> bool {
    let letters = match id.len() {
        8 => 1,
        9 => 2,
        _ => return false,
    };
    if !id[..letters].iter().all(u8::is_ascii_uppercase) {
        return false;
    }
    let value = |byte: u8| u32::from(byte - b'A') + 10;
    let head = if letters == 1 { 36 * 9 + value(id[0]) * 8 } else { value(id[0]) * 9 + value(id[1]) * 8 };
    let check = match id[id.len() - 1] {
        b'A' => Some(10),
        byte => digit(byte),
    };
    let sum = weighted(&id[letters..letters + 6], &[7, 6, 5, 4, 3, 2]);
    matches!((sum, check), (Some(sum), Some(check)) if (head + sum + check).is_multiple_of(11))
}

fn my_number(id: &[u8]) -> bool {
    id.len() == 12
        && weighted(id, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2])
            .is_some_and(|sum| digit(id[11]) == Some((11 - sum % 11) % 11 % 10))
}

/// Numbers given since October 2020 carry no check digit and are not accepted.
fn rrn(id: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day), Some(place)) = (two(id, 0), two(id, 2), two(id, 4), two(id, 7)) else {
        return false;
    };
    let century = match id[6] {
        b'1' | b'2' | b'5' | b'6' => 1900,
        b'3' | b'4' | b'7' | b'8' => 2000,
        _ => 1800,
    };
    id.len() == 13
        && exists(century + year, month, day)
        && place <= 96
        && weighted(id, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5])
            .is_some_and(|sum| digit(id[12]) == Some((11 - sum % 11) % 10))
}

fn singaporean(id: &[u8]) -> bool {
    if id.len() != 9 {
        return false;
    }
    let (offset, letters) = match id[0] {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"XWUTRQPNJLK"),
        _ => return false,
    };
    let sum = weighted(&id[1..8], &[2, 7, 6, 5, 4, 3, 2]);
    sum.is_some_and(|sum| id[8] == letters[(offset + sum) as usize % 11])
}

/// A day of birth and a code of the place of birth.
fn malaysian(id: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day), Some(place)) = (two(id, 0), two(id, 2), two(id, 4), two(id, 6)) else {
        return false;
    };
    id.len() == 12
        && (exists(1900 + year, month, day) || exists(2000 + year, month, day))
        && !matches!(place, 0 | 17..=20 | 69..=70 | 73 | 80..=81 | 94..=97)
}

fn thai(id: &[u8]) -> bool {
    id.len() == 13
        && (b'1'..=b'8').contains(&id[0])
        && weighted(id, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2])
            .is_some_and(|sum| digit(id[12]) == Some((11 - sum % 11) % 10))
}

/// Province and a day of birth, women's with 40 more; no check digit.
fn nik(id: &[u8]) -> bool {
    let (Some(province), Some(day), Some(month), Some(year)) = (two(id, 0), two(id, 6), two(id, 8), two(id, 10)) else {
        return false;
    };
    id.len() == 16
        && matches!(province, 11..=19 | 21 | 31..=36 | 51..=53 | 61..=65 | 71..=76 | 81 | 82 | 91..=97)
        && (exists(1900 + year, month, day % 40) || exists(2000 + year, month, day % 40))
}
