//! Synthetic names, addresses, mails, phones and companies: a keyed choice among a locale's lists.
//!
//! The lists are those of the `fake` crate, whose version is pinned: with other lists every value would have another
//! pseudonym. Nothing made here reaches a person: mails end in example.com and its like (RFC 2606), phone numbers are of
//! ranges that regulators set apart for fiction.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::MaskParams;
use super::fake_locale::{LOCALES, Locale, Phone, Place};
use super::normalize::Normalize;
use crate::keys::MaskingKeys;
use crate::keys::hmac::ErasedHmac;

/// A choice that is equal to its input is made again; so often by chance it never is.
const MOST_ATTEMPTS: u8 = 64;
const MAIL_DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeMask {
    pub kind: Kind,
    /// The name of one of [`LOCALES`].
    pub locale: String,
    pub namespace: Option<String>,
    pub normalize: Normalize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    FirstName,
    LastName,
    Name,
    Email,
    Username,
    Phone,
    Street,
    City,
    Address,
    Company,
}

const KINDS: [(&str, Kind); 10] = [
    ("name", Kind::Name),
    ("first_name", Kind::FirstName),
    ("last_name", Kind::LastName),
    ("email", Kind::Email),
    ("username", Kind::Username),
    ("phone", Kind::Phone),
    ("street", Kind::Street),
    ("city", Kind::City),
    ("address", Kind::Address),
    ("company", Kind::Company),
];

impl FakeMask {
    pub fn from_params(params: &MaskParams) -> Result<FakeMask, String> {
        let names = || KINDS.map(|(name, _)| format!("{name:?}")).join(", ");
        let given = params.kind.as_deref();
        let found = KINDS.iter().find(|(name, _)| Some(*name) == given);
        let &(name, kind) = found.ok_or_else(|| format!("mask \"fake\" needs `kind`, one of {}", names()))?;
        let wanted = params.locale.as_deref().unwrap_or("en");
        let has = |locale: &&Locale| locale.has(kind);
        match LOCALES.iter().find(|locale| locale.name == wanted) {
            Some(locale) if locale.has(kind) => Ok(FakeMask {
                kind,
                locale: locale.name.to_owned(),
                namespace: super::params::namespace(params)?,
                normalize: Normalize::parse(params.normalize.as_deref())?,
            }),
            found => {
                let known: Vec<&str> = LOCALES.iter().filter(has).map(|locale| locale.name).collect();
                let why = match (found, kind) {
                    (Some(_), Kind::Phone) => {
                        "has no numbers that are set apart for fiction: use \"fpe\", or another of"
                    }
                    (Some(_), _) => "has no list for it; those that do are",
                    (None, _) => "is none of the locales that have it:",
                };
                Err(format!("`locale = {wanted:?}` with `kind = {name:?}` {why} {}", known.join(", ")))
            }
        }
    }
}

impl Locale {
    fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::FirstName | Kind::LastName | Kind::Name => true,
            Kind::Email | Kind::Username => self.is_latin,
            Kind::Phone => self.phone.is_some(),
            Kind::Street | Kind::City | Kind::Address => self.place.is_some(),
            Kind::Company => !self.companies.is_empty(),
        }
    }
}

/// A [`FakeMask`] ready to work under one version of the key.
pub struct Faker {
    kind: Kind,
    locale: &'static Locale,
    hmac: ErasedHmac,
    version: u32,
    pub(super) normalize: Normalize,
}

impl Faker {
    pub fn new(mask: &FakeMask, namespace: &str, keys: &MaskingKeys) -> Faker {
        let key = keys.derive("mask/fake", namespace);
        let locale = LOCALES.iter().find(|locale| locale.name == mask.locale).unwrap_or(&LOCALES[0]);
        let hmac = ErasedHmac::new(&key);
        Faker { kind: mask.kind, locale, hmac, version: keys.current_version(), normalize: mask.normalize }
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    /// Appends what stands for `value`, which is never the value itself in whatever case and spacing.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        let start = out.len();
        for attempt in 0..MOST_ATTEMPTS {
            let mut dice = Dice { hmac: &self.hmac, value, attempt, rolled: 0 };
            self.make(&mut dice, out);
            if !is_same(&out[start..], value) {
                return true;
            }
            out.truncate(start);
        }
        false
    }

    fn make(&self, dice: &mut Dice<'_>, out: &mut String) {
        let locale = self.locale;
        let written = match (self.kind, &locale.place, &locale.phone) {
            (Kind::FirstName, ..) => out.write_str(dice.pick(locale.first)),
            (Kind::LastName, ..) => out.write_str(dice.pick(locale.last)),
            (Kind::Email, ..) => {
                let domain = dice.pick(&MAIL_DOMAINS);
                let (first, last) = (ascii(dice.pick(locale.first)), ascii(dice.pick(locale.last)));
                write!(out, "{first}.{last}.{}@{domain}", dice.tail())
            }
            (Kind::Username, ..) => {
                let first = ascii(dice.pick(locale.first));
                write!(out, "{first}{}", dice.tail())
            }
            (Kind::Phone, _, Some(phone)) => make_phone(*phone, dice, out),
            (Kind::Street, Some(place), _) => out.write_str(&street(locale, place, dice)),
            (Kind::City, Some(place), _) => out.write_str(&city(locale, place, dice)),
            (Kind::Address, Some(place), _) => {
                let street = street(locale, place, dice);
                write!(out, "{street}, {}", city(locale, place, dice))
            }
            (Kind::Company, ..) => {
                let (one, suffix) = (dice.pick(locale.last), dice.pick(locale.companies));
                let other = dice.pick(locale.last);
                if other == one { write!(out, "{one} {suffix}") } else { write!(out, "{one} & {other} {suffix}") }
            }
            _ => {
                let (first, last) = (dice.pick(locale.first), dice.pick(locale.last));
                out.write_str(&locale.name_form.replace("{first}", first).replace("{last}", last))
            }
        };
        written.expect("a String takes every text");
    }
}

fn street(locale: &Locale, place: &Place, dice: &mut Dice<'_>) -> String {
    let (name, suffix) = (dice.pick(locale.last), dice.pick(place.street_suffixes));
    let number = dice.below(199) + 1;
    place.street_form.replace("{name}", name).replace("{suffix}", suffix).replace("{number}", &number.to_string())
}

fn city(locale: &Locale, place: &Place, dice: &mut Dice<'_>) -> String {
    let (name, suffix) = (dice.pick(locale.last), dice.pick(place.city_suffixes));
    place.city_form.replace("{name}", name).replace("{suffix}", suffix)
}

fn make_phone(phone: Phone, dice: &mut Dice<'_>, out: &mut String) -> std::fmt::Result {
    match phone {
        Phone::Us => {
            // Area codes do not have 9 in the middle, nor 1 twice at their end.
            let (first, middle) = (dice.below(8) + 2, dice.below(9));
            let last = dice.below(if middle == 1 { 9 } else { 10 });
            let last = last + u64::from(middle == 1 && last >= 1);
            write!(out, "+1 {first}{middle}{last}-555-01{:02}", dice.below(100))
        }
        Phone::Ranges(ranges) => {
            let form = dice.pick(ranges);
            form.chars().for_each(|character| match character {
                '#' => out.push(char::from(b'0' + dice.below(10) as u8)),
                other => out.push(other),
            });
            Ok(())
        }
    }
}

/// Lower-case letters of a Latin name.
fn ascii(name: &str) -> String {
    let folded = name.to_lowercase().replace('ß', "ss").replace('ø', "o").replace('ł', "l").replace('æ', "ae");
    folded.nfd().filter(char::is_ascii_alphabetic).collect()
}

fn is_same(made: &str, value: &str) -> bool {
    let letters =
        |text: &str| text.nfc().flat_map(char::to_lowercase).filter(|it| it.is_alphanumeric()).collect::<String>();
    made == value || letters(made) == letters(value)
}

/// Numbers that depend on key, value, attempt and their place only.
struct Dice<'v> {
    hmac: &'v ErasedHmac,
    value: &'v str,
    attempt: u8,
    rolled: u8,
}

impl Dice<'_> {
    fn roll(&mut self) -> u64 {
        // 0xff is in no UTF-8, so no value has another one's numbers.
        let place = [0xff, self.attempt, self.rolled];
        self.rolled += 1;
        let digest = self.hmac.digest(&[self.value.as_bytes(), &place]);
        u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
    }

    /// A number from 0; the bias of the remainder is below one in 2^50.
    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// Five characters that tell namesakes apart.
    fn tail(&mut self) -> String {
        let number = self.roll();
        let alphabet = b"abcdefghijkmnpqrstuvwxyz23456789";
        (0..5).map(|at| char::from(alphabet[(number >> (5 * at)) as usize & 31])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn faker(kind: &str, locale: &str) -> Faker {
        let keys = "veild-masking-key 1\n1 2026-01-01T00:00:00Z BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
        let mask = FakeMask::from_params(&params(kind, locale)).unwrap();
        Faker::new(&mask, "column", &MaskingKeys::parse(keys).unwrap())
    }

    fn params(kind: &str, locale: &str) -> MaskParams {
        MaskParams { kind: Some(kind.to_owned()), locale: Some(locale.to_owned()), ..MaskParams::default() }
    }

    fn made(faker: &Faker, value: &str) -> String {
        let mut out = String::new();
        assert!(faker.mask_into(value, &mut out));
        out
    }

    #[test]
    fn every_kind_of_every_locale_is_what_it_always_was() {
        let mut all = String::new();
        for locale in &LOCALES {
            for (name, kind) in KINDS.iter().filter(|(_, kind)| locale.has(*kind)) {
                let faker = faker(name, locale.name);
                assert_eq!(faker.kind, *kind);
                writeln!(all, "{} {name}: {}", locale.name, made(&faker, "Ann Lee")).unwrap();
            }
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn lists_hold_no_blanks_and_mails_no_letters_of_their_own() {
        for locale in &LOCALES {
            let place = locale.place.iter().flat_map(|place| place.street_suffixes.iter());
            for word in locale.first.iter().chain(locale.last).chain(locale.companies).chain(place) {
                assert!(!word.trim().is_empty(), "{}", locale.name);
            }
            let latin = |word: &&str| !ascii(word).is_empty();
            assert!(!locale.is_latin || locale.first.iter().chain(locale.last).all(latin), "{}", locale.name);
        }
        let mail = made(&faker("email", "de"), "x");
        assert!(mail.is_ascii() && mail.matches('@').count() == 1);
    }

    #[test]
    fn phones_are_of_ranges_for_fiction() {
        let (us, de, fr) = (faker("phone", "en"), faker("phone", "de"), faker("phone", "fr"));
        let us_form = regex::Regex::new(r"^\+1 [2-9][0-8][0-9]-555-01\d\d$").unwrap();
        for value in 0..500 {
            let phone = made(&us, &value.to_string());
            assert!(us_form.is_match(&phone) && &phone[4..6] != "11", "{phone}");
            let of = |faker, digits| {
                let phone = made(faker, &value.to_string());
                assert_eq!(phone.chars().filter(char::is_ascii_digit).count(), digits, "{phone}");
                phone
            };
            assert!(of(&fr, 11).starts_with("+33 "));
            let german = made(&de, &value.to_string());
            assert!(german.starts_with("+49 ") && !german.contains('#'), "{german}");
        }
    }

    #[test]
    fn what_a_locale_has_not_is_refused_with_those_that_have() {
        let refusal = |kind, locale| FakeMask::from_params(&params(kind, locale)).unwrap_err();
        assert!(refusal("nickname", "en").contains("one of \"name\", \"first_name\""));
        assert!(refusal("name", "xx").contains("is none of the locales that have it: en, de"));
        assert!(refusal("phone", "it").contains("set apart for fiction: use \"fpe\", or another of en, de, fr"));
        assert!(refusal("address", "ja").contains("has no list for it; those that do are en, de"));
        assert!(FakeMask::from_params(&MaskParams::default()).unwrap_err().contains("needs `kind`"));
    }

    #[test]
    fn a_name_that_was_chosen_for_another_is_never_its_own() {
        let faker = faker("first_name", "cy");
        for name in faker.locale.first {
            for value in [(*name).to_owned(), name.to_uppercase(), format!(" {name} ")] {
                assert!(!is_same(&made(&faker, &value), &value));
            }
        }
    }

    proptest! {
        #[test]
        fn no_output_is_its_input_and_none_changes(value in "\\PC{1,20}", index in 0..60_usize) {
            let all: Vec<_> = LOCALES.iter().flat_map(|locale| {
                KINDS.iter().filter(|(_, kind)| locale.has(*kind)).map(|(name, _)| (*name, locale.name))
            }).collect();
            let (kind, locale) = all[index % all.len()];
            let faker = faker(kind, locale);
            let once = made(&faker, &value);
            prop_assert_ne!(&once, &value);
            prop_assert_eq!(once, made(&faker, &value));
        }
    }
}
