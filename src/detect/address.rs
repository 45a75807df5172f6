//! Postal addresses and codes: words for streets in several languages beside a number.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::fold::folded;

/// Longest cell that is looked at, in bytes.
const LONGEST: usize = 200;

/// Words that stand alone in the name of a street or of a building.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "street", "st", "road", "rd", "avenue", "ave", "av", "lane", "ln", "drive", "dr", "court", "ct", "boulevard",
    "blvd", "highway", "hwy", "square", "terrace", "crescent", "parkway", "pkwy", "plaza", "mews", "grove", "apt", "suite",
    "alley", "circle", "cove", "creek", "trail", "turnpike", "walk", "way", "place", "box", "unit", "camp", "close",
    "calle", "avenida", "avda", "paseo", "camino", "carrera", "cl", "cra", "ronda", "glorieta", "pasaje", "via", "urbanizacion",
    "callejon", "cuesta", "acceso", "alameda", "rambla", "vial", "circunvalacion", "privada", "peatonal", "boulevar",
    "rue", "chemin", "impasse", "allee", "quai", "bd", "cours", "route", "faubourg",
    "strasse", "str", "weg", "platz", "gasse", "allee", "ring", "damm", "ufer", "steig",
    "rua", "travessa", "praca", "rodovia", "alameda", "largo", "estrada", "r", "trevo", "viela", "setor", "condominio",
    "conjunto", "fazenda", "loteamento", "passarela", "recanto", "residencial", "vila", "viaduto", "vereda", "esplanada",
    "viale", "piazza", "corso", "vicolo", "strada", "canale", "contrada", "rotonda", "borgo", "incrocio", "stretto",
    "laan", "plein", "gracht", "kade", "ul", "ulica", "ulice", "aleja", "os", "plac", "namesti", "ulitsa", "sokak", "sok",
    "cad", "caddesi", "mahallesi", "mah", "vej", "gade", "gata", "vagen", "katu", "tie", "utca", "ut", "bulevardul", "strada",
    "aleea", "marg", "nagar", "jalan", "jl", "gang", "gg", "odos", "prospekt",
];

/// Endings of street names that are written as one word.
const ENDINGS: &[&str] = &[
    "strasse",
    "str",
    "weg",
    "platz",
    "gasse",
    "allee",
    "ring",
    "damm",
    "straat",
    "laan",
    "plein",
    "gracht",
    "vagen",
    "gatan",
    "vegen",
    "veien",
    "gata",
    "vej",
    "gade",
    "katu",
    "tie",
    "kuja",
    "polku",
    "steeg",
    "dreef",
    "kade",
    "utca",
    "hof",
    "pad",
    "singel",
    "boulevard",
    "stien",
    "grand",
    "stigen",
    "grand",
    "vag",
    "gata",
    "backe",
];

static STREETS: LazyLock<HashSet<&str>> = LazyLock::new(|| WORDS.iter().copied().collect());

/// Whether a cell is an address: a number and a word for a street; `None` when it has not both letters and digits.
pub(super) fn is_address(cell: &str) -> Option<bool> {
    let digits = cell.bytes().any(|byte| byte.is_ascii_digit());
    let spaced = cell.contains([' ', '\n', ',']);
    if cell.len() > LONGEST || !digits || !spaced || !cell.chars().any(char::is_alphabetic) {
        return None;
    }
    let folded = folded(cell);
    let mut words = folded.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    Some(
        words.any(|word| {
            STREETS.contains(word) || (word.len() > 6 && ENDINGS.iter().any(|ending| word.ends_with(ending)))
        }),
    )
}

/// Length of a US ZIP code, `12345` or `12345-6789`.
pub(super) fn us_zip(cell: &str) -> Option<usize> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match (cell.len(), cell.split_once('-')) {
        (5, None) => digits(cell).then_some(5),
        (10, Some((first, last))) => (first.len() == 5 && digits(first) && digits(last)).then_some(10),
        _ => None,
    }
}

/// Whether a cell is written like a postal code somewhere: 3 to 10 letters, digits, spaces and hyphens with a digit.
pub(super) fn is_postal_code(cell: &str) -> bool {
    (3..=10).contains(&cell.len())
        && cell.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-'))
        && cell.bytes().filter(u8::is_ascii_digit).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_several_languages() {
        for address in [
            "221B Baker Street, London",
            "Lange Straße 5a",
            "Hauptstr. 17, 10115 Berlin",
            "12, rue de la Paix",
            "Calle de Alcalá 45, 3º B",
            "Rua Augusta, 1500",
            "Via Roma 1",
            "Keizersgracht 123",
        ] {
            assert_eq!(is_address(address), Some(true), "{address}");
        }
        assert_eq!(is_address("Order 17 of 20"), Some(false));
        assert_eq!(is_address("12345"), None);
        assert!(is_postal_code("SW1A 1AA") && is_postal_code("10115") && is_postal_code("1234-567"));
        assert!(!is_postal_code("Berlin") && !is_postal_code("12"));
    }
}
