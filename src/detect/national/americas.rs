//! North, Central and South America.

use super::Identifier;
use crate::detect::calendar::{exists, two};
use crate::detect::checksum::{digit, luhn, number, weighted};
use crate::detect::class::Class;

pub(super) const TABLE: &[Identifier] = &[
    Identifier { class: Class::UsSsn, forms: &["###-##-####", "### ## ####", "#########"], one_in: 1, valid: ssn },
    Identifier { class: Class::UsItin, forms: &["###-##-####", "### ## ####", "#########"], one_in: 36, valid: itin },
    Identifier { class: Class::UsEin, forms: &["##-#######", "#########"], one_in: 1, valid: ein },
    Identifier { class: Class::CaSin, forms: &["###-###-###", "### ### ###", "#########"], one_in: 13, valid: sin },
    Identifier { class: Class::MxCurp, forms: &["@@@@######@@@@@@?#"], one_in: 9000, valid: curp },
    Identifier {
        class: Class::BrCpf,
        forms: &["###.###.###-##", "#########-##", "###########"],
        one_in: 100,
        valid: cpf,
    },
    Identifier {
        class: Class::BrCnpj,
        forms: &["##.###.###/####-##", "??.???.???/????-##", "##############", "????????????##"],
        one_in: 100,
        valid: cnpj,
    },
    Identifier { class: Class::ArCuit, forms: &["##-########-#", "###########"], one_in: 110, valid: cuit },
    Identifier {
        class: Class::ClRut,
        forms: &["##.###.###-?", "#.###.###-?", "########-?", "#######-?", "########?", "#######?"],
        one_in: 11,
        valid: rut,
    },
    Identifier {
        class: Class::CoNit,
        forms: &["###.###.###-#", "#########-#", "########-#", "##########", "#########"],
        one_in: 11,
        valid: nit,
    },
    Identifier { class: Class::EcCedula, forms: &["##########", "#########-#"], one_in: 55, valid: cedula_ec },
    Identifier { class: Class::DoCedula, forms: &["###-#######-#", "###########"], one_in: 10, valid: luhn },
    Identifier { class: Class::VeRif, forms: &["@-########-#", "@-#########", "@#########"], one_in: 54, valid: rif },
];

/// Issued ranges since the randomisation of June 2011: no area 000, 666 or 9xx, no group 00, no serial 0000; three
/// numbers were printed in advertising and belong to nobody.
fn ssn(id: &[u8]) -> bool {
    id.len() == 9
        && &id[..3] != b"000"
        && &id[..3] != b"666"
        && id[0] != b'9'
        && &id[3..5] != b"00"
        && &id[5..] != b"0000"
        && ![b"078051120", b"457555462", b"219099999"].iter().any(|printed| id == *printed)
}

/// Groups 70 to 88, 90 to 92 and 94 to 99.
fn itin(id: &[u8]) -> bool {
    let group = two(id, 3).unwrap_or(0);
    id.len() == 9 && id[0] == b'9' && (70..=99).contains(&group) && group != 89 && group != 93
}

/// Prefixes that the campuses of the IRS have assigned.
fn ein(id: &[u8]) -> bool {
    let unassigned = [0, 7, 8, 9, 17, 18, 19, 28, 29, 49, 69, 70, 78, 79, 89, 96, 97];
    id.len() == 9 && two(id, 0).is_some_and(|prefix| !unassigned.contains(&prefix))
}

/// 0 and 8 are not issued.
fn sin(id: &[u8]) -> bool {
    id.len() == 9 && id[0] != b'0' && id[0] != b'8' && luhn(id)
}

fn curp(id: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ";
    const STATES: &str = "AS BC BS CC CH CL CM CS DF DG GR GT HG JC MC MN MS NE NL NT OC PL QR QT SL SP SR TC TL TS VZ \
                          YN ZS";
    const WORDS: &str = "BACA BAKA BUEI BUEY CACA CACO CAGA CAGO CAKA CAKO COGE COGI COJA COJE COJI COJO COLA CULO \
                         FALO FETO GETA GUEI GUEY JETA JOTO KACA KACO KAGA KAGO KAKA KAKO KOGE KOGI KOJA KOJE KOJI \
                         KOJO KOLA KULO LILO LOCA LOCO LOKA LOKO MAME MAMO MEAR MEAS MEON MIAR MION MOCO MOKO MULA \
                         MULO NACA NACO PEDA PEDO PENE PIPI PITO POPO PUTA PUTO QULO RATA ROBA ROBE ROBO RUIN SENO \
                         TETA VACA VAGA VAGO VAKA VUEI VUEY WUEI WUEY";
    let listed = |list: &str, part: &[u8]| list.split(' ').any(|word| word.as_bytes() == part);
    if id.len() != 18 || !matches!(id[10], b'H' | b'M') || !listed(STATES, &id[11..13]) || listed(WORDS, &id[..4]) {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (two(id, 4), two(id, 6), two(id, 8)) else { return false };
    let century = if id[16].is_ascii_digit() { 1900 } else { 2000 };
    let sum = id[..17]
        .iter()
        .zip((2..=18).rev())
        .try_fold(0, |sum, (byte, weight)| Some(sum + ALPHABET.iter().position(|letter| letter == byte)? * weight));
    exists(century + year, month, day) && sum.is_some_and(|sum| digit(id[17]) == Some(((10 - sum % 10) % 10) as u32))
}

fn cpf(id: &[u8]) -> bool {
    let check = |weights: &[u32], place: usize| {
        weighted(id, weights).is_some_and(|sum| digit(id[place]) == Some((11 - sum % 11) % 11 % 10))
    };
    id.len() == 11
        && number(id).is_some_and(|number| number > 0)
        && check(&[10, 9, 8, 7, 6, 5, 4, 3, 2], 9)
        && check(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2], 10)
}

/// Letters count by their ASCII code, as in the alphanumeric CNPJ of 2026.
fn cnpj(id: &[u8]) -> bool {
    let check = |weights: &[u32], place: usize| {
        let sum: u32 = id.iter().zip(weights).map(|(&byte, weight)| (u32::from(byte) - 48) * weight).sum();
        digit(id[place]) == Some((11 - sum % 11) % 11 % 10)
    };
    id.len() == 14
        && !id.starts_with(b"000000000000")
        && check(&[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], 12)
        && check(&[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], 13)
}

fn cuit(id: &[u8]) -> bool {
    const KINDS: [u32; 10] = [20, 23, 24, 27, 30, 33, 34, 50, 51, 55];
    let sum = weighted(id, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    id.len() == 11
        && two(id, 0).is_some_and(|kind| KINDS.contains(&kind))
        && sum.is_some_and(|sum| id[10] == b"09987654321"[sum as usize % 11])
}

fn rut(id: &[u8]) -> bool {
    let Some((&check, body)) = id.split_last().filter(|(_, body)| matches!(body.len(), 7 | 8)) else { return false };
    let sum = body
        .iter()
        .rev()
        .zip([2, 3, 4, 5, 6, 7, 2, 3])
        .try_fold(0, |sum, (&byte, weight)| Some(sum + digit(byte)? * weight));
    sum.is_some_and(|sum| check == b"0K987654321"[sum as usize % 11])
}

fn nit(id: &[u8]) -> bool {
    let Some((&check, body)) = id.split_last().filter(|(_, body)| (7..=15).contains(&body.len())) else { return false };
    let weights = [3, 7, 13, 17, 19, 23, 29, 37, 41, 43, 47, 53, 59, 67, 71];
    let sum = body.iter().rev().zip(weights).try_fold(0, |sum, (&byte, weight)| Some(sum + digit(byte)? * weight));
    sum.is_some_and(|sum| check == b"01987654321"[sum as usize % 11])
}

/// Province, a third digit below 7, Luhn over all.
fn cedula_ec(id: &[u8]) -> bool {
    let province = two(id, 0).is_some_and(|it| (1..=24).contains(&it) || it == 30 || it == 50);
    id.len() == 10 && province && id[2] <= b'6' && luhn(id)
}

fn rif(id: &[u8]) -> bool {
    if id.len() != 10 {
        return false;
    }
    let kind = match id[0] {
        b'V' => 4,
        b'E' => 8,
        b'J' => 12,
        b'P' => 16,
        b'G' => 20,
        _ => return false,
    };
    let sum = weighted(&id[1..9], &[3, 2, 7, 6, 5, 4, 3, 2]);
    sum.is_some_and(|sum| id[9] == b"00987654321"[(kind + sum) as usize % 11])
}
