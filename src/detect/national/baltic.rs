//! Estonia, Latvia and Lithuania.

use super::Identifier;
use crate::detect::calendar::{exists, two};
use crate::detect::checksum::{digit, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier { class: Class::EeIsikukood, forms: &["###########"], one_in: 340, valid: isikukood },
    Identifier { class: Class::LtAsmensKodas, forms: &["###########"], one_in: 90, valid: asmens_kodas },
    Identifier {
        class: Class::LvPersonasKods,
        forms: &["######-#####", "###########"],
        one_in: 140,
        valid: personas_kods,
    },
];

/// The check digit that both countries share: a second round of weights where the first gives ten.
fn checked(id: &[u8]) -> bool {
    let first = weighted(id, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]).map(|sum| sum % 11);
    let check = match first {
        Some(10) => weighted(id, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]).map(|sum| sum % 11 % 10),
        first => first,
    };
    id.len() == 11 && check.is_some() && check == digit(id[10])
}

fn isikukood(id: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day)) = (two(id, 1), two(id, 3), two(id, 5)) else { return false };
    let century = match id[0] {
        b'1' | b'2' => 1800,
        b'3' | b'4' => 1900,
        b'5' | b'6' => 2000,
        b'7' | b'8' => 2100,
        _ => return false,
    };
    exists(century + year, month, day) && checked(id)
}

/// Those of 9 were given to people whose day of birth was taken or unknown.
fn asmens_kodas(id: &[u8]) -> bool {
    isikukood(id) || (id.first() == Some(&b'9') && checked(id))
}

/// Since 2017 numbers start with 32 and tell no birth.
fn personas_kods(id: &[u8]) -> bool {
    let (Some(day), Some(month), Some(year)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    let century = id.get(6).and_then(|&byte| digit(byte)).map_or(0, |digit| 1800 + digit * 100);
    let check = weighted(id, &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9]).map(|sum| (1 + sum) % 11 % 10);
    id.len() == 11 && (day == 32 || exists(century + year, month, day)) && check.is_some() && check == digit(id[10])
}
