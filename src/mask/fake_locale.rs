//! What [`super::fake`] chooses from. A locale has a kind only where its list is of its own language and country.

use fake::locales::{AR_SA, CY_GB, DE_DE, Data, EN, FA_IR, FR_FR, IT_IT, JA_JP, NL_NL, PT_BR, PT_PT, ZH_CN, ZH_TW};

type List = &'static [&'static str];

pub struct Locale {
    /// As the configuration spells it.
    pub name: &'static str,
    pub first: List,
    pub last: List,
    /// With `{first}` and `{last}`.
    pub name_form: &'static str,
    /// Names are of Latin letters, of which addresses of mail can be made.
    pub is_latin: bool,
    pub place: Option<Place>,
    /// What stands behind a company's name; empty: none are made.
    pub companies: List,
    pub phone: Option<Phone>,
}

/// Streets and cities have names of persons.
pub struct Place {
    /// With `{name}`, `{suffix}` and `{number}`.
    pub street_form: &'static str,
    pub street_suffixes: List,
    /// With `{name}` and `{suffix}`.
    pub city_form: &'static str,
    pub city_suffixes: List,
}

/// Numbers that no subscriber has or will have.
#[derive(Clone, Copy)]
pub enum Phone {
    /// 555-0100 to 555-0199 of every area code (ATIS-0300115, North American Numbering Plan).
    Us,
    /// Ranges with `#` for any digit.
    Ranges(List),
}

/// Bundesnetzagentur, Mitteilung 148/2021, Amtsblatt 7/2021.
const GERMAN_PHONES: List =
    &["+49 30 23125 ###", "+49 69 90009 ###", "+49 40 66969 ###", "+49 221 4710 ###", "+49 89 99998 ###"];
/// Arcep, décision 2018-0881, numéros pour œuvres audiovisuelles.
const FRENCH_PHONES: List = &[
    "+33 1 99 00 ## ##",
    "+33 2 61 91 ## ##",
    "+33 3 53 01 ## ##",
    "+33 4 65 71 ## ##",
    "+33 5 36 49 ## ##",
    "+33 6 39 98 ## ##",
];
const NO_SUFFIX: List = &[""];
const FIRST_LAST: &str = "{first} {last}";
const LAST_FIRST: &str = "{last}{first}";

pub static LOCALES: [Locale; 13] = [
    Locale {
        name: "en",
        place: Some(Place {
            street_form: "{number} {name} {suffix}",
            street_suffixes: EN::ADDRESS_STREET_SUFFIX,
            city_form: "{name}{suffix}",
            city_suffixes: EN::ADDRESS_CITY_SUFFIX,
        }),
        companies: EN::COMPANY_SUFFIX,
        phone: Some(Phone::Us),
        ..names::<EN>(FIRST_LAST, true)
    },
    Locale {
        name: "de",
        place: Some(Place {
            street_form: "{name} {suffix} {number}",
            street_suffixes: DE_DE::ADDRESS_STREET_SUFFIX,
            city_form: "{name}{suffix}",
            city_suffixes: DE_DE::ADDRESS_CITY_SUFFIX,
        }),
        companies: DE_DE::COMPANY_SUFFIX,
        phone: Some(Phone::Ranges(GERMAN_PHONES)),
        ..names::<DE_DE>(FIRST_LAST, true)
    },
    Locale {
        name: "fr",
        place: Some(Place {
            street_form: "{number} {suffix} {name}",
            street_suffixes: FR_FR::ADDRESS_STREET_SUFFIX,
            city_form: "{name}{suffix}",
            city_suffixes: NO_SUFFIX,
        }),
        phone: Some(Phone::Ranges(FRENCH_PHONES)),
        ..names::<FR_FR>(FIRST_LAST, true)
    },
    Locale {
        name: "it",
        place: Some(Place {
            street_form: "{suffix} {name} {number}",
            street_suffixes: IT_IT::ADDRESS_STREET_SUFFIX,
            city_form: "{name} {suffix}",
            city_suffixes: IT_IT::ADDRESS_CITY_SUFFIX,
        }),
        companies: IT_IT::COMPANY_SUFFIX,
        ..names::<IT_IT>(FIRST_LAST, true)
    },
    Locale {
        name: "nl",
        place: Some(Place {
            street_form: "{name} {suffix} {number}",
            street_suffixes: NL_NL::ADDRESS_STREET_SUFFIX,
            city_form: "{name}{suffix}",
            city_suffixes: NL_NL::ADDRESS_CITY_SUFFIX,
        }),
        companies: NL_NL::COMPANY_SUFFIX,
        ..names::<NL_NL>(FIRST_LAST, true)
    },
    Locale {
        name: "pt-PT",
        place: Some(Place {
            street_form: "{suffix} {name}, {number}",
            street_suffixes: PT_PT::ADDRESS_STREET_SUFFIX,
            city_form: "{name} {suffix}",
            city_suffixes: PT_PT::ADDRESS_CITY_SUFFIX,
        }),
        companies: PT_PT::COMPANY_SUFFIX,
        ..names::<PT_PT>(FIRST_LAST, true)
    },
    Locale { name: "pt-BR", companies: PT_BR::COMPANY_SUFFIX, ..names::<PT_BR>(FIRST_LAST, true) },
    Locale { name: "cy", ..names::<CY_GB>(FIRST_LAST, true) },
    Locale { name: "ja", ..names::<JA_JP>("{last} {first}", false) },
    Locale { name: "zh-CN", ..names::<ZH_CN>(LAST_FIRST, false) },
    Locale { name: "zh-TW", ..names::<ZH_TW>(LAST_FIRST, false) },
    Locale { name: "ar", ..names::<AR_SA>(FIRST_LAST, false) },
    Locale { name: "fa", ..names::<FA_IR>(FIRST_LAST, false) },
];

const fn names<L: Data>(name_form: &'static str, is_latin: bool) -> Locale {
    Locale {
        name: "",
        first: L::NAME_FIRST_NAME,
        last: L::NAME_LAST_NAME,
        name_form,
        is_latin,
        place: None,
        companies: &[],
        phone: None,
    }
}
