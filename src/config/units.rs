//! Sizes and durations with their units in the value.

use std::borrow::Cow;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};

const A_SIZE: &str = "expected a size like \"64MiB\", with the unit B, KB, MB, GB, TB, KiB, MiB, GiB or TiB";
const A_SPAN: &str = "expected a duration like \"30s\", with the unit ms, s, m, h or d";

/// A size in bytes, as the configuration spells it.
pub fn parse_byte_size(text: &str) -> Result<u64, &'static str> {
    byte_size(text).ok_or(A_SIZE)
}

/// A duration, as the configuration spells it.
pub fn parse_span(text: &str) -> Result<Duration, &'static str> {
    span(text).ok_or(A_SPAN)
}

/// `"64MiB"`; in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// `"30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// `"2027-01-31"`, a day (UTC) that still counts, or `"2027-01-31T12:00:00Z"`; the moment from which on it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Timestamp);

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        let size = String::deserialize(deserializer).ok().and_then(|text| byte_size(&text));
        size.map(ByteSize).ok_or_else(|| D::Error::custom(A_SIZE))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let time = String::deserialize(deserializer).ok().and_then(|text| span(&text));
        time.map(Span).ok_or_else(|| D::Error::custom(A_SPAN))
    }
}

impl<'de> Deserialize<'de> for Deadline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Deadline, D::Error> {
        let moment = String::deserialize(deserializer).ok().and_then(|text| deadline(&text));
        moment.map(Deadline).ok_or_else(|| {
            D::Error::custom("expected a day like \"2027-01-31\" (UTC) or a moment like \"2027-01-31T12:00:00Z\"")
        })
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+([KMGT]i?)?B$",
            "examples": ["64MiB", "10GB"],
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "examples": ["30s", "400d"],
        })
    }
}

impl JsonSchema for Deadline {
    fn schema_name() -> Cow<'static, str> {
        "Deadline".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+)?$",
            "examples": ["2027-01-31", "2027-01-31T12:00:00Z"],
        })
    }
}

fn deadline(text: &str) -> Option<Timestamp> {
    if text.len() != 10 {
        return text.parse().ok();
    }
    let midnight = text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    midnight.checked_add(SignedDuration::from_hours(24)).ok()
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn byte_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn span(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_part_of_the_value() {
        assert_eq!(byte_size("64MiB"), Some(64 << 20));
        assert_eq!(byte_size("1GB"), Some(1_000_000_000));
        assert_eq!(byte_size("64"), None);
        assert_eq!(byte_size("64 MiB"), None);
        assert_eq!(byte_size("99999999999TiB"), None);
        assert_eq!(span("0s"), Some(Duration::ZERO));
        assert_eq!(span("400d"), Some(Duration::from_secs(400 * 86_400)));
        assert_eq!(span("-1s"), None);
        let moment = |text: &str| deadline(text).map(|at| at.to_string());
        assert_eq!(moment("2027-01-31").as_deref(), Some("2027-02-01T00:00:00Z"));
        assert_eq!(moment("2027-01-31T12:00:00+01:00").as_deref(), Some("2027-01-31T11:00:00Z"));
        assert_eq!((moment("31.1.2027"), moment("2027-02-30"), moment("2027-01-31T12:00:00")), (None, None, None));
    }
}
