//! Dates shifted by days that depend on the key and the subject only: order and intervals within a subject stay.

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

use super::MaskParams;
use super::date::iso_date;
use super::normalize::Normalize;
use crate::keys::MaskingKeys;
use crate::keys::hmac::ErasedHmac;
use crate::policy::normalise;

/// Fewer possible shifts could be tried one by one against a date that is known anyway.
const LEAST_DAYS: u32 = 30;
const MOST_DAYS: u32 = 36_525;
const DEFAULT_DAYS: u32 = 365;
/// Years that are written with four digits.
const YEARS: std::ops::RangeInclusive<i16> = 0..=9999;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateShiftMask {
    /// Column or path of the subject, as the rule spells it.
    pub subject: String,
    /// Most days of a shift, back and forth; never 0 days.
    pub max_days: u32,
    /// strftime-like format; absent: YYYY-MM-DD, with or without a time behind it.
    pub format: Option<String>,
    /// Of the subject; absent: its column's name. All dates of one subject are shifted alike.
    pub namespace: Option<String>,
    /// Of the subject.
    pub normalize: Normalize,
}

impl DateShiftMask {
    pub fn from_params(params: &MaskParams) -> Result<DateShiftMask, String> {
        let subject = params.subject.clone().filter(|subject| !normalise(subject).is_empty()).ok_or(
            "mask \"date_shift\" needs `subject`, the column that says whose date it is: all dates of one subject are \
             shifted alike",
        )?;
        let max_days = params.max_days.unwrap_or(DEFAULT_DAYS);
        if !(LEAST_DAYS..=MOST_DAYS).contains(&max_days) {
            return Err(format!(
                "`max_days` must be {LEAST_DAYS} to {MOST_DAYS}: fewer shifts could be tried one by one"
            ));
        }
        if let Some(format) = &params.format {
            let moment = jiff::civil::date(2001, 12, 31).at(23, 59, 58, 0);
            let there = strtime::format(format, moment).ok();
            let back = there.as_deref().and_then(|text| read(format, text));
            if back.map(DateTime::date) != Some(moment.date())
                || back.and_then(|back| strtime::format(format, back).ok()) != there
            {
                return Err(
                    "`format` must spell year, month and day, and no zone, for example \"%d.%m.%Y %H:%M\"".to_owned()
                );
            }
        }
        Ok(DateShiftMask {
            subject,
            max_days,
            format: params.format.clone(),
            namespace: super::params::namespace(params)?,
            normalize: Normalize::parse(params.normalize.as_deref())?,
        })
    }

    /// What it reads, for messages.
    pub fn expected(&self) -> &'static str {
        if self.format.is_some() {
            "a date in the rule's format, with its subject beside it,"
        } else {
            "a date as YYYY-MM-DD, with its subject beside it,"
        }
    }
}

/// The moment that a text of the format spells; midnight where the format has no time.
fn read(format: &str, text: &str) -> Option<DateTime> {
    let parsed = BrokenDownTime::parse(format, text).ok()?;
    let date = parsed.to_date().ok()?;
    Some(date.to_datetime(parsed.to_time().unwrap_or(jiff::civil::Time::midnight())))
}

/// A [`DateShiftMask`] ready to work under one version of the key.
pub struct Shifter {
    mask: DateShiftMask,
    hmac: ErasedHmac,
    version: u32,
}

impl Shifter {
    pub fn new(mask: &DateShiftMask, keys: &MaskingKeys) -> Shifter {
        let of_subject = normalise(&mask.subject);
        let key = keys.derive("mask/date_shift", mask.namespace.as_deref().unwrap_or(&of_subject));
        Shifter { mask: mask.clone(), hmac: ErasedHmac::new(&key), version: keys.current_version() }
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn expected(&self) -> &'static str {
        self.mask.expected()
    }

    /// Days by which this subject's dates are shifted; `None` for no subject.
    fn days_of(&self, subject: &str) -> Option<i64> {
        let subject = self.mask.normalize.apply(subject);
        if subject.trim().is_empty() {
            return None;
        }
        let digest = self.hmac.digest(&[subject.as_bytes()]);
        let number = u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"));
        // The bias of the remainder is below one in 2^47.
        let most = u64::from(self.mask.max_days);
        let step = (number % (2 * most)) as i64;
        let most = most as i64;
        Some(if step < most { step - most } else { step - most + 1 })
    }

    /// Appends the shifted date; false without a subject, and when the value is no date or leaves the calendar.
    pub fn mask_into(&self, value: &str, subject: Option<&str>, out: &mut String) -> bool {
        let Some(days) = subject.and_then(|subject| self.days_of(subject)) else { return false };
        let shift = |date: Date| date.checked_add(days.days()).ok().filter(|date| YEARS.contains(&date.year()));
        match &self.mask.format {
            None => {
                let Some(date) = iso_date(value).and_then(shift) else { return false };
                // Behind the ten characters of a date stands its time, if any.
                let written = write!(out, "{:04}-{:02}-{:02}{}", date.year(), date.month(), date.day(), &value[10..]);
                written.is_ok()
            }
            Some(format) => {
                let shifted =
                    read(format, value).and_then(|moment| Some(shift(moment.date())?.to_datetime(moment.time())));
                let text = shifted.and_then(|moment| strtime::format(format, moment).ok());
                text.map(|text| out.push_str(&text)).is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shifter(params: MaskParams) -> Shifter {
        let keys = "veild-masking-key 1\n1 2026-01-01T00:00:00Z BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
        let params = MaskParams { subject: Some("Patient".to_owned()), ..params };
        Shifter::new(&DateShiftMask::from_params(&params).unwrap(), &MaskingKeys::parse(keys).unwrap())
    }

    fn shifted(shifter: &Shifter, value: &str, subject: &str) -> Option<String> {
        let mut out = String::new();
        shifter.mask_into(value, Some(subject), &mut out).then_some(out)
    }

    #[test]
    fn times_and_formats_stay() {
        let iso = shifter(MaskParams::default());
        // May never change: intervals hold across outputs of all times.
        assert_eq!(shifted(&iso, "1987-04-12", "p1").as_deref(), Some("1988-03-24"));
        assert_eq!(shifted(&iso, "1987-04-12T09:30:00Z", "p1").as_deref(), Some("1988-03-24T09:30:00Z"));
        let german = shifter(MaskParams { format: Some("%d.%m.%Y %H:%M".to_owned()), ..MaskParams::default() });
        assert_eq!(shifted(&german, "12.04.1987 09:30", "p1").as_deref(), Some("24.03.1988 09:30"));
        for bad in [
            "12.04.1987",
            "1987-02-30",
            "1987-04-12 Ann",
            "",
            "9999-12-31T",
            "1987-04-12T09:30[Ann/Lee]",
            "1987-04-12T20240101T09:30",
        ] {
            assert_eq!(shifted(&iso, bad, "p1"), None, "{bad}");
        }
        assert_eq!(shifted(&iso, "1987-04-12", ""), None);
        assert_eq!(shifted(&iso, "1987-04-12", "  "), None);
        let mut out = String::new();
        assert!(!iso.mask_into("1987-04-12", None, &mut out) && out.is_empty());
    }

    #[test]
    fn normal_forms_of_a_subject_are_one() {
        let params = MaskParams { normalize: Some(vec!["digits".to_owned()]), ..MaskParams::default() };
        let digits = shifter(params);
        assert_eq!(shifted(&digits, "1987-04-12", "P-17"), shifted(&digits, "1987-04-12", "p17 "));
        assert_eq!(shifted(&digits, "1987-04-12", "none"), None);
    }

    #[test]
    fn small_shifts_and_unusable_formats_are_refused() {
        let refusal = |params: MaskParams| DateShiftMask::from_params(&params).unwrap_err();
        let of = |params| MaskParams { subject: Some("id".to_owned()), ..params };
        assert!(refusal(MaskParams::default()).contains("needs `subject`"));
        let days = |days| of(MaskParams { max_days: Some(days), ..MaskParams::default() });
        assert!(refusal(days(29)).contains("30 to 36525"));
        for format in ["%Y-%m", "%Y-%m-%d %z", "%H:%M", "%Q"] {
            let params = of(MaskParams { format: Some(format.to_owned()), ..MaskParams::default() });
            assert!(refusal(params).contains("for example"), "{format}");
        }
    }

    proptest! {
        #[test]
        fn order_and_intervals_stay_and_no_date_stays(
            days in proptest::collection::vec(0..60_000_i64, 2..10),
            subject in "[a-z0-9]{1,8}",
            max_days in 30..4000_u32,
        ) {
            let shifter = shifter(MaskParams { max_days: Some(max_days), ..MaskParams::default() });
            let first = jiff::civil::date(1900, 1, 1);
            let dates: Vec<Date> = days.iter().map(|days| first.checked_add(days.days()).unwrap()).collect();
            let moved: Vec<Date> = dates
                .iter()
                .map(|date| shifted(&shifter, &date.to_string(), &subject).unwrap().parse().unwrap())
                .collect();
            let by = (moved[0] - dates[0]).get_days();
            prop_assert!(by != 0 && by.unsigned_abs() <= max_days);
            for (date, moved) in dates.iter().zip(&moved) {
                prop_assert_eq!((*moved - *date).get_days(), by);
            }
        }
    }

    #[test]
    fn shifts_are_spread_evenly() {
        let shifter = shifter(MaskParams { max_days: Some(50), ..MaskParams::default() });
        let mut counts = std::collections::BTreeMap::new();
        (0..10_000).for_each(|id| *counts.entry(shifter.days_of(&id.to_string()).unwrap()).or_insert(0) += 1);
        assert_eq!((counts.len(), counts.contains_key(&0)), (100, false));
        assert!(counts.values().all(|count| (50..=150).contains(count)), "{counts:?}");
    }
}
