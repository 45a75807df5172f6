//! Check digits that several families share. All take ASCII; what is no digit where one is due fails the check.

/// Value of an ASCII digit.
pub(super) fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}

/// The number that digits spell; `None` for anything else and beyond 18 digits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &byte| Some(number * 10 + u64::from(digit(byte)?)))
}

/// Sum of digits times weights; the shorter of the two decides how many.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> Option<u32> {
    digits.iter().zip(weights).try_fold(0, |sum, (&byte, weight)| Some(sum + digit(byte)? * weight))
}

/// Luhn's sum over digits, the last one being the check digit (ISO/IEC 7812-1 annex B).
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum = digits.iter().rev().enumerate().try_fold(0, |sum, (place, &byte)| {
        let value = digit(byte)? << (place % 2);
        Some(sum + if value > 9 { value - 9 } else { value })
    });
    !digits.is_empty() && sum.is_some_and(|sum| sum % 10 == 0)
}

/// The check digit that, behind these digits (as numbers), passes [`luhn`].
pub fn luhn_digit(digits: impl DoubleEndedIterator<Item = u8>) -> u8 {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit) << (1 - place % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    ((10 - sum % 10) % 10) as u8
}

/// ISO/IEC 7064 MOD 11,10 over digits.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let check = digits.iter().try_fold(5, |check, &byte| {
        let doubled = (if check == 0 { 10 } else { check }) * 2 % 11;
        Some((doubled + digit(byte)?) % 10)
    });
    check == Some(1)
}

/// ISO/IEC 7064 MOD 97-10 over digits and upper-case letters, A being 10.
pub fn mod_97(characters: impl IntoIterator<Item = u8>) -> Option<u32> {
    characters.into_iter().try_fold(0, |rest, byte| match byte {
        b'0'..=b'9' => Some((rest * 10 + u32::from(byte - b'0')) % 97),
        b'A'..=b'Z' => Some((rest * 100 + u32::from(byte - b'A') + 10) % 97),
        _ => None,
    })
}

/// Verhoeff's dihedral check over digits.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTED: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    // Multiplication in the dihedral group of order 10.
    let times = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b) % 5,
        (false, true) => 5 + (a - b) % 5,
        (false, false) => (5 + a - b) % 5,
    };
    let check = digits
        .iter()
        .rev()
        .enumerate()
        .try_fold(0, |check, (place, &byte)| Some(times(check, PERMUTED[place % 8][digit(byte)? as usize])));
    check == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_pass_and_their_neighbours_do_not() {
        assert!(luhn(b"4111111111111111") && luhn(b"79927398713") && !luhn(b"79927398710") && !luhn(b""));
        assert!(verhoeff(b"2363") && !verhoeff(b"2364") && verhoeff(b"758722") && !verhoeff(b"758272"));
        assert!(mod_11_10(b"794623") && !mod_11_10(b"794632"));
        assert_eq!(mod_97(*b"3214282912345698765432161182"), Some(1));
        assert_eq!(mod_97(*b"12-4"), None);
    }

    #[test]
    fn the_dihedral_group_is_one() {
        // Every single wrong digit and every swap of neighbours is caught: what the check is for.
        let good = b"758722";
        for place in 0..good.len() {
            for wrong in b'0'..=b'9' {
                let mut bad = *good;
                bad[place] = wrong;
                assert_eq!(verhoeff(&bad), wrong == good[place], "place {place}");
            }
            if place > 0 {
                let mut swapped = *good;
                swapped.swap(place, place - 1);
                assert!(!verhoeff(&swapped) || swapped == *good);
            }
        }
    }
}
