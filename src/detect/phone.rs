//! Phone numbers: the grammar here, the numbering plans of the world through libphonenumber's metadata.

use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};

/// A numbering plan in which national numbers are tried.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub region: Region,
    /// National numbers are written with a leading 0.
    trunk: bool,
}

const fn plan(region: Region, trunk: bool) -> Plan {
    Plan { region, trunk }
}

/// Plans for national numbers, most populous first among those with one leading form.
pub(super) const PLANS: [Plan; 62] = [
    plan(Region::US, false),
    plan(Region::GB, true),
    plan(Region::DE, true),
    plan(Region::FR, true),
    plan(Region::ES, false),
    plan(Region::IT, false),
    plan(Region::PT, false),
    plan(Region::BR, false),
    plan(Region::MX, false),
    plan(Region::NL, true),
    plan(Region::BE, true),
    plan(Region::AT, true),
    plan(Region::CH, true),
    plan(Region::PL, false),
    plan(Region::CZ, false),
    plan(Region::SE, true),
    plan(Region::NO, false),
    plan(Region::DK, false),
    plan(Region::FI, true),
    plan(Region::IE, true),
    plan(Region::GR, false),
    plan(Region::HU, true),
    plan(Region::RO, true),
    plan(Region::BG, true),
    plan(Region::HR, true),
    plan(Region::TR, true),
    plan(Region::UA, true),
    plan(Region::RU, false),
    plan(Region::IL, true),
    plan(Region::IN, false),
    plan(Region::CN, false),
    plan(Region::JP, true),
    plan(Region::KR, true),
    plan(Region::AU, true),
    plan(Region::NZ, true),
    plan(Region::ZA, true),
    plan(Region::AR, true),
    plan(Region::CO, false),
    plan(Region::CA, false),
    plan(Region::SK, true),
    plan(Region::SI, true),
    plan(Region::EE, false),
    plan(Region::LT, true),
    plan(Region::LV, false),
    plan(Region::IS, false),
    plan(Region::CL, false),
    plan(Region::VE, true),
    plan(Region::PE, true),
    plan(Region::EC, true),
    plan(Region::TW, true),
    plan(Region::TH, true),
    plan(Region::ID, true),
    plan(Region::MY, true),
    plan(Region::SG, false),
    plan(Region::HK, false),
    plan(Region::PH, true),
    plan(Region::VN, true),
    plan(Region::PK, true),
    plan(Region::EG, true),
    plan(Region::SA, true),
    plan(Region::NG, true),
    plan(Region::KE, true),
];

/// One in how many unrelated texts that are written like an international number is one.
pub(super) const ONE_IN: u32 = 30;

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// With `+` or `00` and a country.
    International,
    /// With `00`, and all in one: as any long number that begins so.
    BareInternational,
    /// With brackets, spaces or hyphens, as people write national numbers.
    Spelled,
    /// Digits alone.
    Bare,
}

/// What the text could be if a numbering plan agrees; `None` when no phone number is written so.
pub(super) fn writing(text: &str) -> Option<Writing> {
    let number = without_extension(text);
    let (mut digits, mut separators, mut points, mut last) = (0, 0, 0, b' ');
    for byte in number.bytes() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'+' if digits == 0 && last != b'+' => {}
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' if separators < 8 => {
                separators += 1;
                points += u32::from(byte == b'.');
            }
            _ => return None,
        }
        last = byte;
    }
    let international = number.starts_with('+') || number.starts_with("(+") || number.starts_with("00");
    // 123456.78 is a decimal number, and so is -12.345678.
    if is_date(number) || (points == 1 && separators == 1) || number.starts_with(['-', '.']) {
        return None;
    }
    match digits {
        7..=17 if separators == 0 && number.starts_with("00") => Some(Writing::BareInternational),
        7..=15 if international => Some(Writing::International),
        16..=17 if number.starts_with("00") => Some(Writing::International),
        7..=13 if separators > 0 => Some(Writing::Spelled),
        7..=12 => Some(Writing::Bare),
        _ => None,
    }
}

/// `2024-01-31` and `31.01.2024 12` are written like numbers, too.
fn is_date(text: &str) -> bool {
    super::birth::leading_date(text.as_bytes()).is_some()
}

/// Without `x123`, `ext. 123` and the like at its end.
fn without_extension(text: &str) -> &str {
    let cut = text.trim_end_matches(|letter: char| letter.is_ascii_digit());
    if cut.len() == text.len() || text.len() - cut.len() > 6 {
        return text;
    }
    let marks = ["ext.", "ext", "x", "#", "extn", "durchwahl"];
    let cut = cut.trim_end();
    let marked = marks.iter().filter_map(|mark| cut.strip_suffix(mark)).map(str::trim_end).min_by_key(|it| it.len());
    marked.unwrap_or(text)
}

/// Whether a number with its country in it exists in that country's plan.
pub(super) fn is_international(text: &str) -> bool {
    let text = without_extension(text);
    let with_plus;
    let text = match text.strip_prefix("00") {
        Some(rest) => {
            with_plus = format!("+{rest}");
            with_plus.as_str()
        }
        None => text,
    };
    let number = PHONE_NUMBER_UTIL.parse(text, None);
    number.is_ok_and(|number| PHONE_NUMBER_UTIL.is_valid_number(&number))
}

/// Whether a number without its country exists in a plan, written as it is written there.
pub(super) fn is_national(text: &str, plan: Plan) -> bool {
    let text = without_extension(text);
    let leads = text.bytes().find(u8::is_ascii_digit) == Some(b'0');
    let may_lead = matches!(plan.region, Region::IT | Region::IN | Region::CN | Region::VE);
    if leads != plan.trunk && !(leads && may_lead) {
        return false;
    }
    let number = PHONE_NUMBER_UTIL.parse(text, Some(plan.region));
    number.is_ok_and(|number| PHONE_NUMBER_UTIL.is_valid_number_for_region(&number, plan.region))
}

/// Plans in which national numbers are looked for in prose, where no column tells the country.
const IN_PROSE: usize = 9;

/// Length of the number at the beginning of the text, which begins a word; with `loose` also bare national digits.
pub(super) fn at(text: &str, loose: bool) -> Option<usize> {
    let belongs = |byte: &u8| byte.is_ascii_digit() || b" +-.()/".contains(byte);
    let run = text.bytes().take(26).take_while(belongs).count();
    let mut number = text[..run].trim_end_matches(|letter: char| !letter.is_ascii_digit());
    // The longest that is a number; what follows it may be the next one.
    for _ in 0..4 {
        let found = match writing(number)? {
            Writing::International | Writing::BareInternational => is_international(number),
            Writing::Spelled => PLANS[..IN_PROSE].iter().any(|plan| is_national(number, *plan)),
            Writing::Bare => loose && PLANS[..IN_PROSE].iter().any(|plan| is_national(number, *plan)),
        };
        let behind = text.as_bytes().get(number.len());
        if found && !behind.is_some_and(u8::is_ascii_alphanumeric) {
            return Some(number.len());
        }
        number =
            number.rsplit_once([' ', '/']).map(|(rest, _)| rest.trim_end_matches(|it: char| !it.is_ascii_digit()))?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_many_plans() {
        for number in
            ["+49 1512 3456789", "+14155552671", "0033 6 12 34 56 78", "+44 20 7946 0958", "+1 (415) 555-2671"]
        {
            assert_eq!(writing(number), Some(Writing::International), "{number}");
            assert!(is_international(number), "{number}");
        }
        let national = |number: &str, region: Region| {
            is_national(number, PLANS.into_iter().find(|plan| plan.region == region).unwrap())
        };
        assert!(national("(415) 555-2671", Region::US));
        assert!(national("415-555-2671 x123", Region::US));
        assert!(national("06 12 34 56 78", Region::FR));
        assert!(national("030/901820", Region::DE));
        assert!(national("612 345 678", Region::ES));
        assert!(!national("1234567890", Region::DE));
        assert!(!national("123-456-7890", Region::US));
    }

    #[test]
    fn what_is_written_otherwise_is_none() {
        for other in
            ["2024-01-31", "31.01.2024", "12345", "-12.345678", "1699999999999", "a123456789", "3.14159265358979323846"]
        {
            assert_eq!(writing(other), None, "{other}");
        }
        assert_eq!(at("+49 1512 3456789, call", false), Some(16));
        assert_eq!(at("1234567890", false), None);
    }
}
