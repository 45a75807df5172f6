//! What a column's name says, in English, Spanish, French, German and Portuguese.

use std::collections::HashMap;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::class::Class;
use super::fold;
use super::phrases::{NAMED_OTHERS, OTHER, PHRASES};

/// What a name says of a class, in log-odds.
const SAYS_SO: f32 = 5.0;
/// Words that name something else: an order, a time, a checksum.
const SAYS_OTHER: f32 = -2.5;

/// A column's name, read once.
#[derive(Clone, Copy)]
pub(super) struct Hints {
    said: Classes,
    other: bool,
}

/// A set of classes, one bit for each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Classes(u128);

impl Classes {
    const fn of(classes: &[Class]) -> Classes {
        let (mut bits, mut at) = (0, 0);
        while at < classes.len() {
            bits |= 1 << classes[at] as u32;
            at += 1;
        }
        Classes(bits)
    }

    fn add(&mut self, more: Classes) {
        self.0 |= more.0;
    }

    fn remove(&mut self, class: Class) {
        self.0 &= !(1 << class as u32);
    }

    fn has_any(self, others: Classes) -> bool {
        self.0 & others.0 != 0
    }

    fn has(self, class: Class) -> bool {
        self.has_any(Classes::of(&[class]))
    }
}

/// What a word tells by itself.
#[derive(Clone, Copy, Default)]
struct Word {
    /// Words of the longest phrase that begins with it.
    longest: usize,
    other: bool,
    named_other: bool,
}

/// [`PHRASES`] and the words beside them, arranged for looking up: texts ask for the words before every number.
struct Phrasebook {
    words: HashMap<&'static str, Word, ahash::RandomState>,
    phrases: HashMap<&'static str, Classes, ahash::RandomState>,
    /// Phrases without their spaces.
    squeezed: HashMap<String, Classes, ahash::RandomState>,
    /// The longer ones of these, which may stand within a longer word.
    within: AhoCorasick,
    within_classes: Vec<Classes>,
}

static PHRASEBOOK: LazyLock<Phrasebook> = LazyLock::new(Phrasebook::new);

impl Phrasebook {
    /// Shorter phrases stand in many a word by chance.
    const LEAST_WITHIN: usize = 7;

    fn new() -> Phrasebook {
        let (mut words, mut phrases, mut squeezed) = (HashMap::default(), HashMap::default(), HashMap::default());
        for (classes, spelled) in PHRASES {
            for phrase in *spelled {
                let classes = Classes::of(classes);
                phrases.entry(*phrase).or_insert_with(Classes::default).add(classes);
                squeezed.entry(phrase.replace(' ', "")).or_insert_with(Classes::default).add(classes);
                let first: &mut Word = words.entry(phrase.split(' ').next().unwrap_or(phrase)).or_default();
                first.longest = first.longest.max(phrase.split(' ').count());
            }
        }
        OTHER.iter().for_each(|word| words.entry(word).or_default().other = true);
        NAMED_OTHERS.iter().for_each(|word| words.entry(word).or_default().named_other = true);
        let long: Vec<(&String, &Classes)> =
            squeezed.iter().filter(|(phrase, _)| phrase.len() >= Phrasebook::LEAST_WITHIN).collect();
        let within = AhoCorasick::new(long.iter().map(|(phrase, _)| phrase)).expect("the phrases are few and short");
        let within_classes = long.into_iter().map(|(_, classes)| *classes).collect();
        Phrasebook { words, phrases, squeezed, within, within_classes }
    }
}

impl Hints {
    pub(super) fn of(name: &str) -> Hints {
        let (spaced, book) = (words(name), &*PHRASEBOOK);
        let (mut said, mut other, mut named_other) = (Classes::default(), false, false);
        let mut start = 0;
        for word in spaced.split(' ') {
            if let Some(known) = book.words.get(word) {
                (other, named_other) = (other | known.other, named_other | known.named_other);
                let ends = memchr::memchr_iter(b' ', &spaced.as_bytes()[start..]).map(|end| start + end);
                for end in ends.chain([spaced.len()]).take(known.longest) {
                    said.add(book.phrases.get(&spaced[start..end]).copied().unwrap_or_default());
                }
            }
            start += word.len() + 1;
        }
        let joined = spaced.replace(' ', "");
        said.add(book.squeezed.get(&joined).copied().unwrap_or_default());
        if joined.len() >= Phrasebook::LEAST_WITHIN {
            book.within.find_overlapping_iter(&joined).for_each(|hit| said.add(book.within_classes[hit.pattern()]));
        }
        // An e-mail address is no postal one, and a company's name no person's.
        const ADDRESSES: Classes = Classes::of(&[Class::Email, Class::Ipv4, Class::MacAddress, Class::CryptoAddress]);
        if said.has_any(ADDRESSES) {
            said.remove(Class::PostalAddress);
        }
        if other || named_other {
            said.remove(Class::PersonName);
        }
        Hints { said, other }
    }

    /// Log-odds for a class.
    pub(super) fn odds(&self, class: Class) -> f32 {
        if self.said.has(class) {
            SAYS_SO
        } else if self.other || self.said != Classes::default() {
            SAYS_OTHER
        } else {
            0.0
        }
    }

    /// Whether the name says that it is this class.
    pub(super) fn says(&self, class: Class) -> bool {
        self.said.has(class)
    }
}

/// Whether a column's name says that it holds this class; also in one word with others, whose case it may have lost:
/// `useremail`.
pub fn name_says(name: &str, class: Class) -> bool {
    /// Shorter endings are those of other words, too.
    const LEAST_ENDING: usize = 5;
    let ends = || {
        let joined = words(name).replace(' ', "");
        let of_class = PHRASES.iter().filter(|(classes, _)| classes.contains(&class));
        of_class.flat_map(|(_, phrases)| phrases.iter()).any(|phrase| {
            let squeezed = phrase.replace(' ', "");
            squeezed.len() >= LEAST_ENDING && joined.ends_with(&squeezed)
        })
    };
    let hints = Hints::of(name);
    hints.says(class) || (hints.said == Classes::default() && !hints.other && ends())
}

/// The words of a column's name with a space between two: folded, split where letters, digits and case change.
pub(super) fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    let (mut last, mut letters) = (' ', name.chars().peekable());
    while let Some(letter) = letters.next() {
        let mut next_is_lower = || letters.peek().is_some_and(|next| next.is_lowercase());
        let begins = letter.is_uppercase() && (last.is_lowercase() || (last.is_uppercase() && next_is_lower()));
        let turns = letter.is_numeric() != last.is_numeric() && last.is_alphanumeric();
        if (begins || turns || !letter.is_alphanumeric()) && !words.is_empty() && !words.ends_with(' ') {
            words.push(' ');
        }
        if letter.is_alphanumeric() || !letter.is_ascii() {
            fold::push(letter, &mut words);
        }
        last = letter;
    }
    words.truncate(words.trim_end_matches(' ').len());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_five_languages() {
        for (class, names) in [
            (Class::Email, ["email", "correo_electronico", "Courriel", "E-Mail-Adresse", "endereço eletrônico"]),
            (Class::Phone, ["phoneNumber", "Teléfono", "Numéro de téléphone", "Telefonnummer", "telemóvel"]),
            (
                Class::DateOfBirth,
                ["DateOfBirth", "FECHA_NACIMIENTO", "date de naissance", "Geburtsdatum", "dataNascimento"],
            ),
            (Class::PersonName, ["first_name", "Apellidos", "Prénom", "NACHNAME", "sobrenome"]),
            (Class::PostalAddress, ["StreetAddress", "dirección", "adresse", "Straße", "endereço"]),
            (Class::PlaceName, ["city", "ciudad", "ville", "Wohnort", "cidade"]),
            (Class::PostalCode, ["ZIP", "código postal", "code_postal", "PLZ", "CEP"]),
            (Class::Passport, ["passport_no", "pasaporte", "passeport", "Reisepassnummer", "passaporte"]),
            (
                Class::PaymentCard,
                ["cardNumber", "numero_tarjeta", "carte bancaire", "Kreditkartennummer", "cartão de crédito"],
            ),
            (Class::Secret, ["password", "contraseña", "mot de passe", "Passwort", "senha"]),
        ] {
            for name in names {
                assert!(Hints::of(name).says(class), "{name} says nothing of {class:?}");
            }
        }
    }

    #[test]
    fn names_that_have_lost_their_case_still_say_so() {
        for name in ["useremail", "homephone", "user_email", "Phone Number", "customerfirstname"] {
            let class = if name.to_lowercase().contains("name") {
                Class::PersonName
            } else if name.contains("mail") {
                Class::Email
            } else {
                Class::Phone
            };
            assert!(name_says(name, class), "{name}");
        }
        assert!(!name_says("order_id", Class::Email) && !name_says("email", Class::Phone));
    }

    #[test]
    fn names_of_other_things_speak_against() {
        assert!(Hints::of("order_id").odds(Class::NlBsn) < 0.0);
        assert!(Hints::of("created_ts").odds(Class::PaymentCard) < 0.0);
        assert!(!Hints::of("product_name").says(Class::PersonName));
        assert!(!Hints::of("email_address").says(Class::PostalAddress));
        assert_eq!(Hints::of("value").odds(Class::NlBsn), 0.0);
    }
}
