//! Spans of time on the command line: days (UTC) or instants, both ends included.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const ACCEPTED: &str = "expected a day like 2026-01-31 (UTC) or an instant like 2026-01-31T12:00:00Z";

#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Window {
    /// Not before this day (UTC) or instant
    #[arg(long, value_name = "WHEN", value_parser = beginning)]
    pub from: Option<Timestamp>,
    /// Not after this day (UTC) or instant
    #[arg(long, value_name = "WHEN", value_parser = end)]
    pub to: Option<Timestamp>,
}

impl Window {
    /// Whether it leaves anything out.
    pub fn is_any(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    pub fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at <= to)
    }
}

/// The same where `--to` means something else.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Sealed {
    /// Not sealed before this day (UTC) or instant
    #[arg(long, value_name = "WHEN", value_parser = beginning)]
    sealed_from: Option<Timestamp>,
    /// Not sealed after this day (UTC) or instant
    #[arg(long, value_name = "WHEN", value_parser = end)]
    sealed_to: Option<Timestamp>,
}

impl From<Sealed> for Window {
    fn from(sealed: Sealed) -> Window {
        Window { from: sealed.sealed_from, to: sealed.sealed_to }
    }
}

/// One that stands for itself.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    let expected = "expected an instant like 2026-01-31T12:00:00Z, before 9999-12-30T22:00:00Z";
    text.parse().map_err(|_| expected.to_owned())
}

fn beginning(text: &str) -> Result<Timestamp, String> {
    match text.parse::<Timestamp>() {
        Ok(at) => Ok(at),
        Err(_) => midnight(text).ok_or_else(|| ACCEPTED.to_owned()),
    }
}

fn end(text: &str) -> Result<Timestamp, String> {
    match text.parse::<Timestamp>() {
        Ok(at) => Ok(at),
        Err(_) => {
            let next = midnight(text).and_then(|day| day.checked_add(SignedDuration::from_hours(24)).ok());
            let last = next.and_then(|next| next.checked_sub(SignedDuration::from_nanos(1)).ok());
            last.ok_or_else(|| ACCEPTED.to_owned())
        }
    }
}

fn midnight(text: &str) -> Option<Timestamp> {
    let day = (text.len() == 10).then(|| text.parse::<Date>().ok()).flatten()?;
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_whole_and_an_instant_is_itself() {
        let day = Window { from: beginning("2026-01-31").ok(), to: end("2026-01-31").ok() };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(day.holds(at("2026-01-31T00:00:00Z")) && day.holds(at("2026-01-31T23:59:59.9Z")));
        assert!(!day.holds(at("2026-02-01T00:00:00Z")) && !day.holds(at("2026-01-30T23:59:59.9Z")));
        assert_eq!(end("2026-01-31T12:00:00+01:00").unwrap(), at("2026-01-31T11:00:00Z"));
        assert!(beginning("31.1.2026").is_err() && end("soon").is_err());
    }
}
