//! Australia, New Zealand and South Africa.

use super::Identifier;
use crate::detect::calendar::{exists, two};
use crate::detect::checksum::{digit, luhn, number, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier {
        class: Class::AuTfn,
        forms: &["#########", "### ### ###", "########", "### ### ##"],
        one_in: 11,
        valid: tfn,
    },
    Identifier {
        class: Class::NzIrd,
        forms: &["########", "#########", "##-###-###", "###-###-###"],
        one_in: 20,
        valid: ird,
    },
    Identifier { class: Class::ZaId, forms: &["#############", "###### #### ###"], one_in: 1370, valid: south_african },
];

fn tfn(id: &[u8]) -> bool {
    matches!(id.len(), 8 | 9) && weighted(id, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_some_and(|sum| sum % 11 == 0)
}

/// A second round of weights where the first gives ten.
fn ird(id: &[u8]) -> bool {
    let mut padded = *b"000000000";
    let Some(start) = matches!(id.len(), 8 | 9).then(|| 9 - id.len()) else { return false };
    padded[start..].copy_from_slice(id);
    let check = |weights: &[u32]| weighted(&padded, weights).map(|sum| (11 - sum % 11) % 11);
    let check = match check(&[3, 2, 7, 6, 5, 4, 3, 2]) {
        Some(10) => check(&[7, 4, 3, 2, 5, 2, 7, 6]),
        check => check,
    };
    number(id).is_some_and(|number| number > 10_000_000 && number < 150_000_000)
        && check.is_some()
        && check == digit(padded[8])
}

/// A day of birth, citizenship 0 or 1, Luhn.
fn south_african(id: &[u8]) -> bool {
    let (Some(year), Some(month), Some(day)) = (two(id, 0), two(id, 2), two(id, 4)) else { return false };
    id.len() == 13 && matches!(id[10], b'0' | b'1') && exists(2000 + year, month, day) && luhn(id)
}
