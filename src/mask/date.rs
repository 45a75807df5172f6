//! Dates to coarser dates (ISO/IEC 20889: generalization).

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// From this age on, ages are one class (HIPAA's safe harbor, 45 CFR 164.514(b)(2)(i)(C)).
const OLDEST_BAND: i32 = 90;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateMask {
    pub to: DateTo,
    /// strftime-like input format; absent: YYYY-MM-DD, with or without a time behind it.
    pub format: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateTo {
    Year,
    Quarter,
    Month,
    Week,
    Decade,
    AgeBand { as_of: Date, width: u32 },
}

impl DateMask {
    /// What it reads, for messages.
    pub fn expected(&self) -> &'static str {
        if self.format.is_some() { "a date in the rule's format" } else { "a date as YYYY-MM-DD" }
    }

    /// Appends the coarser date; false when the value is no date or, for an age band, lies after `as_of`.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        let date = match &self.format {
            Some(format) => Date::strptime(format, value).ok(),
            None => iso_date(value),
        };
        let Some(date) = date else { return false };
        let (year, month) = (date.year(), date.month());
        let written = match &self.to {
            DateTo::Year if year >= 0 => {
                // Formatting machinery would cost more than all the rest of this mask.
                let digits = [1000, 100, 10, 1].map(|unit| char::from(b'0' + (year / unit % 10) as u8));
                out.extend(digits);
                Ok(())
            }
            DateTo::Year => write!(out, "{year:04}"),
            DateTo::Quarter => write!(out, "{year:04}-Q{}", (month + 2) / 3),
            DateTo::Month => write!(out, "{year:04}-{month:02}"),
            DateTo::Week => {
                let week = date.iso_week_date();
                write!(out, "{:04}-W{:02}", week.year(), week.week())
            }
            DateTo::Decade => write!(out, "{:04}s", year - year.rem_euclid(10)),
            DateTo::AgeBand { as_of, width } => {
                let had_birthday = (as_of.month(), as_of.day()) >= (month, date.day());
                let age = i32::from(as_of.year()) - i32::from(year) - i32::from(!had_birthday);
                if age < 0 {
                    return false;
                }
                write_band(age, i32::try_from(*width).unwrap_or(10), out)
            }
        };
        written.is_ok()
    }
}

fn write_band(age: i32, width: i32, out: &mut String) -> std::fmt::Result {
    if age >= OLDEST_BAND {
        return write!(out, "{OLDEST_BAND}+");
    }
    let low = age - age % width;
    write!(out, "{low}-{}", (low + width - 1).min(OLDEST_BAND - 1))
}

/// YYYY-MM-DD, alone or with `T` or a space and a time behind it.
pub(super) fn iso_date(value: &str) -> Option<Date> {
    let bytes = value.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        bytes
            .get(range)?
            .iter()
            .try_fold(0_i16, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i16::from(byte - b'0')))
    };
    if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let time_follows = match bytes.get(10) {
        None => true,
        Some(b'T' | b' ') => is_time(&value[11..]),
        Some(_) => false,
    };
    if !time_follows {
        return None;
    }
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// HH:MM, with seconds, fraction and zone (`Z`, `+02:00`) where there are any.
fn is_time(text: &str) -> bool {
    let zone = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone);
    let digits = |text: &str| text.bytes().filter(|byte| *byte != b':').all(|byte| byte.is_ascii_digit());
    let clock = clock.trim_end();
    // jiff would also take annotations and a date of its own, and `date_shift` passes on what stands here.
    clock.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b','))
        && clock.len() >= 5
        && clock.parse::<jiff::civil::Time>().is_ok()
        && (matches!(zone, "" | "Z") || (matches!(zone.len(), 3 | 5 | 6) && digits(&zone[1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(to: DateTo, value: &str) -> Option<String> {
        let mut out = String::new();
        DateMask { to, format: None }.mask_into(value, &mut out).then_some(out)
    }

    #[test]
    fn dates_become_coarser() {
        let day = "1987-04-12";
        assert_eq!(masked(DateTo::Year, day).as_deref(), Some("1987"));
        assert_eq!(masked(DateTo::Quarter, day).as_deref(), Some("1987-Q2"));
        assert_eq!(masked(DateTo::Month, "1987-04-12T09:30:00Z").as_deref(), Some("1987-04"));
        assert_eq!(masked(DateTo::Week, "2021-01-01").as_deref(), Some("2020-W53"));
        assert_eq!(masked(DateTo::Decade, day).as_deref(), Some("1980s"));
        assert_eq!(masked(DateTo::Year, "1987-02-30"), None);
        assert_eq!(masked(DateTo::Year, "12.04.1987"), None);
        assert_eq!(masked(DateTo::Year, "1987-04-12 Alice"), None);
        assert_eq!(masked(DateTo::Year, "1987-04-12 6789012345"), None);
        assert_eq!(masked(DateTo::Year, "1987-04-12T:::::"), None);
        assert_eq!(masked(DateTo::Year, "1987-04-12 23:59:59.123+02:00").as_deref(), Some("1987"));
    }

    #[test]
    fn age_bands_end_at_ninety() {
        let band = DateTo::AgeBand { as_of: jiff::civil::date(2026, 6, 1), width: 10 };
        assert_eq!(masked(band.clone(), "1987-06-01").as_deref(), Some("30-39"));
        assert_eq!(masked(band.clone(), "1986-06-02").as_deref(), Some("30-39"));
        assert_eq!(masked(band.clone(), "1986-06-01").as_deref(), Some("40-49"));
        assert_eq!(masked(band.clone(), "1930-01-01").as_deref(), Some("90+"));
        assert_eq!(masked(band, "2027-01-01"), None);
    }
}
