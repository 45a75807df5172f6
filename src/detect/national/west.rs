//! The British Isles, France and the Low Countries.

use super::Identifier;
use crate::detect::calendar::two;
use crate::detect::checksum::{digit, number, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier { class: Class::GbNhs, forms: &["### ### ####", "###-###-####", "##########"], one_in: 11, valid: nhs },
    Identifier { class: Class::GbNino, forms: &["@@######@", "@@ ## ## ## @", "@@ ###### @"], one_in: 12, valid: nino },
    Identifier { class: Class::IePps, forms: &["#######@", "#######@@"], one_in: 30, valid: pps },
    Identifier {
        class: Class::FrNir,
        forms: &[
            "###############",
            "############# ##",
            "# ## ## ## ### ### ##",
            "#####?@########",
            "# ## ## #@ ### ### ##",
        ],
        one_in: 97,
        valid: nir,
    },
    Identifier { class: Class::FrSpi, forms: &["#############", "## ## ### ### ###"], one_in: 1280, valid: spi },
    Identifier { class: Class::NlBsn, forms: &["#########", "####.##.###", "#### ## ###"], one_in: 11, valid: bsn },
    Identifier {
        class: Class::BeNationalNumber,
        forms: &["###########", "##.##.##-###.##", "##.##.##-###-##", "###### ### ##"],
        one_in: 200,
        valid: national_number,
    },
];

fn nhs(id: &[u8]) -> bool {
    id.len() == 10 && weighted(id, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]).is_some_and(|sum| sum % 11 == 0)
}

/// Prefix letters as HMRC assigns them, suffix A to D.
fn nino(id: &[u8]) -> bool {
    let unused = [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"];
    id.len() == 9
        && !b"DFIQUV".contains(&id[0])
        && !b"DFIOQUV".contains(&id[1])
        && !unused.iter().any(|prefix| id.starts_with(*prefix))
        && (b'A'..=b'D').contains(&id[8])
}

fn pps(id: &[u8]) -> bool {
    const LETTERS: &[u8] = b"WABCDEFGHIJKLMNOPQRSTUV";
    let second = match id.get(8) {
        None | Some(b'W' | b'T' | b'X') => 0,
        Some(letter @ (b'A' | b'B' | b'H')) => u32::from(letter - b'A') + 1,
        Some(_) => return false,
    };
    matches!(id.len(), 8 | 9)
        && weighted(&id[..7], &[8, 7, 6, 5, 4, 3, 2])
            .is_some_and(|sum| id[7] == LETTERS[(sum + 9 * second) as usize % 23])
}

/// Corsica's departments 2A and 2B count as 19 and 18.
fn nir(id: &[u8]) -> bool {
    if id.len() != 15 {
        return false;
    }
    let mut body = [0; 13];
    body.copy_from_slice(&id[..13]);
    match &id[5..7] {
        b"2A" => body[5..7].copy_from_slice(b"19"),
        b"2B" => body[5..7].copy_from_slice(b"18"),
        _ => {}
    }
    number(&body).is_some_and(|body| two(id, 13).map(u64::from) == Some(97 - body % 97))
}

fn spi(id: &[u8]) -> bool {
    id.len() == 13 && id[0] <= b'3' && number(&id[..10]).is_some_and(|body| number(&id[10..]) == Some(body % 511))
}

fn bsn(id: &[u8]) -> bool {
    id.len() == 9
        && number(id).is_some_and(|number| number > 0)
        && weighted(id, &[9, 8, 7, 6, 5, 4, 3, 2]).is_some_and(|sum| sum % 11 == digit(id[8]).unwrap_or(11) % 11)
}

/// Born before 2000, or after with a 2 put before; month 0 to 12, and 20 or 40 more in BIS numbers.
fn national_number(id: &[u8]) -> bool {
    if id.len() != 11 {
        return false;
    }
    let (Some(body), Some(check), Some(month), Some(day)) =
        (number(&id[..9]), number(&id[9..]), two(id, 2), two(id, 4))
    else {
        return false;
    };
    let checks = 97 - body % 97 == check || 97 - (body + 2_000_000_000) % 97 == check;
    // Where the day of birth is unknown, the place of the day counts on.
    checks && body > 0 && month % 20 <= 12 && month < 60 && day <= 99
}
