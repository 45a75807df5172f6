//! IBAN: ISO 13616, each country's structure as in the SWIFT registry, release 101.

use super::checksum::mod_97;

/// Country and structure of its basic account number: `n` digits, `a` capital letters, `c` either.
#[rustfmt::skip]
const STRUCTURES: &[(&[u8; 2], &str)] = &[
    (b"AD", "8n12c"), (b"AE", "19n"), (b"AL", "8n16c"), (b"AT", "16n"), (b"AZ", "4a20c"), (b"BA", "16n"),
    (b"BE", "12n"), (b"BG", "4a6n8c"), (b"BH", "4a14c"), (b"BI", "23n"), (b"BR", "23n1a1c"), (b"BY", "4c4n16c"),
    (b"CH", "5n12c"), (b"CR", "18n"), (b"CY", "8n16c"), (b"CZ", "20n"), (b"DE", "18n"), (b"DJ", "23n"),
    (b"DK", "14n"), (b"DO", "4c20n"), (b"EE", "16n"), (b"EG", "25n"), (b"ES", "20n"), (b"FI", "14n"),
    (b"FK", "2a12n"), (b"FO", "14n"), (b"FR", "10n11c2n"), (b"GB", "4a14n"), (b"GE", "2a16n"), (b"GI", "4a15c"),
    (b"GL", "14n"), (b"GR", "7n16c"), (b"GT", "24c"), (b"HN", "4a20n"), (b"HR", "17n"), (b"HU", "24n"),
    (b"IE", "4a14n"), (b"IL", "19n"), (b"IQ", "4a15n"), (b"IS", "22n"), (b"IT", "1a10n12c"), (b"JO", "4a4n18c"),
    (b"KW", "4a22c"), (b"KZ", "3n13c"), (b"LB", "4n20c"), (b"LC", "4a24c"), (b"LI", "5n12c"), (b"LT", "16n"),
    (b"LU", "3n13c"), (b"LV", "4a13c"), (b"LY", "21n"), (b"MC", "10n11c2n"), (b"MD", "20c"), (b"ME", "18n"),
    (b"MK", "3n10c2n"), (b"MN", "16n"), (b"MR", "23n"), (b"MT", "4a5n18c"), (b"MU", "4a19n3a"), (b"NI", "4a20n"),
    (b"NL", "4a10n"), (b"NO", "11n"), (b"OM", "3n16c"), (b"PK", "4a16c"), (b"PL", "24n"), (b"PS", "4a21c"),
    (b"PT", "21n"), (b"QA", "4a21c"), (b"RO", "4a16c"), (b"RS", "18n"), (b"RU", "14n15c"), (b"SA", "2n18c"),
    (b"SC", "4a20n3a"), (b"SD", "14n"), (b"SE", "20n"), (b"SI", "15n"), (b"SK", "20n"), (b"SM", "1a10n12c"),
    (b"SO", "19n"), (b"ST", "21n"), (b"SV", "4a20n"), (b"TL", "19n"), (b"TN", "20n"), (b"TR", "6n16c"),
    (b"UA", "6n19c"), (b"VA", "18n"), (b"VG", "4a16n"), (b"XK", "16n"), (b"YE", "4a4n18c"),
];
/// Malta's and Saint Lucia's, with country and check digits.
const LONGEST: usize = 33;
/// One in how many cells that begin like an IBAN and are as long passes by chance.
pub(super) const ONE_IN: u32 = 2000;

/// Whether a text is an IBAN with the right check digits, and nothing else.
pub fn is_iban(text: &str) -> bool {
    at(text.as_bytes()) == Some(text.len())
}

/// Length of the IBAN at the beginning of the text, single spaces or hyphens between its groups included.
pub(super) fn at(text: &[u8]) -> Option<usize> {
    if !matches!(text, [a, b, c, d, ..] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic()
        && (c.is_ascii_digit() && d.is_ascii_digit()))
    {
        return None;
    }
    let country = [text[0].to_ascii_uppercase(), text[1].to_ascii_uppercase()];
    let (_, structure) = STRUCTURES.iter().find(|(name, _)| **name == country)?;
    let length = 4 + blocks(structure).map(|(count, _)| count).sum::<usize>();
    let (mut compact, mut len, mut end) = ([0_u8; LONGEST + 1], 0, 0);
    while len < length {
        let byte = *text.get(end)?;
        if byte.is_ascii_alphanumeric() {
            compact[len] = byte.to_ascii_uppercase();
            len += 1;
        } else if !matches!(byte, b' ' | b'-') || !text.get(end + 1).is_some_and(u8::is_ascii_alphanumeric) {
            return None;
        }
        end += 1;
    }
    let compact = &compact[..length];
    (structured(&compact[4..], structure) && mod_97(compact[4..].iter().chain(&compact[..4]).copied()) == Some(1))
        .then_some(end)
}

fn structured(account: &[u8], structure: &str) -> bool {
    let mut at = 0;
    blocks(structure).all(|(count, kind)| {
        let block = &account[at..at + count];
        at += count;
        match kind {
            b'n' => block.iter().all(u8::is_ascii_digit),
            b'a' => block.iter().all(u8::is_ascii_uppercase),
            _ => true,
        }
    })
}

fn blocks(structure: &str) -> impl Iterator<Item = (usize, u8)> {
    structure.split_inclusive(['n', 'a', 'c']).map(|block| {
        let (count, kind) = block.split_at(block.len() - 1);
        (count.parse().expect("the table has a count before each kind"), kind.as_bytes()[0])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_registry_pass_and_changed_ones_do_not() {
        for iban in [
            "DE89370400440532013000",
            "GB29 NWBK 6016 1331 9268 19",
            "fr14-2004-1010-0505-0001-3M02-606",
            "MT84MALT011000012345MTLCAST001S",
            "NO9386011117947",
            "LC55HEMM000100010012001200023015",
            "RU0304452522540817810538091310419",
        ] {
            assert_eq!(at(iban.as_bytes()), Some(iban.len()), "{iban}");
        }
        assert_eq!(at(b"DE89370400440532013001"), None);
        assert_eq!(at(b"DE89 3704 0044 0532 0130 00 and more"), Some(27));
        assert_eq!(at(b"DE89"), None);
        assert_eq!(at(b"XX89370400440532013000"), None);
    }

    #[test]
    fn no_structure_is_longer_than_the_room_for_it() {
        assert!(STRUCTURES.iter().all(|(_, it)| 4 + blocks(it).map(|(count, _)| count).sum::<usize>() <= LONGEST + 1));
    }
}
