//! Typed values as the text that masks read, and numbers back from it.

use std::fmt::Write as _;

use arrow_buffer::i256;
use jiff::civil::Date;

/// Days since 1970-01-01 as `YYYY-MM-DD`; false beyond the years 0 to 9999.
pub(super) fn push_date(days: i64, out: &mut String) -> bool {
    let Some(date) = date(days) else { return false };
    write!(out, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day()).is_ok()
}

fn date(days: i64) -> Option<Date> {
    const EPOCH: Date = jiff::civil::date(1970, 1, 1);
    let span = jiff::Span::new().try_days(days).ok()?;
    EPOCH.checked_add(span).ok().filter(|date| date.year() >= 0)
}

/// A time of day in units of which a second has `per_second`.
pub(super) fn push_time(value: i64, per_second: i64, out: &mut String) -> bool {
    if !(0..86_400 * per_second).contains(&value) {
        return false;
    }
    let (seconds, part) = (value / per_second, value % per_second);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    push_fraction(part, per_second, out);
    true
}

/// A moment since 1970 in units of which a second has `per_second`, as `YYYY-MM-DDTHH:MM:SS.ffffff`; `Z` behind it where
/// it is UTC and no local time.
pub(super) fn push_timestamp(value: i64, per_second: i64, utc: bool, out: &mut String) -> bool {
    let day = 86_400 * per_second;
    if !push_date(value.div_euclid(day), out) {
        return false;
    }
    out.push('T');
    let done = push_time(value.rem_euclid(day), per_second, out);
    if utc {
        out.push('Z');
    }
    done
}

fn push_fraction(part: i64, per_second: i64, out: &mut String) {
    let digits = match per_second {
        1_000 => 3,
        1_000_000 => 6,
        1_000_000_000 => 9,
        _ => return,
    };
    let _ = write!(out, ".{part:0digits$}");
}

/// A length of time in units of which a second has `per_second`, in ISO 8601: `-PT90.500S`.
pub(super) fn push_duration(value: i64, per_second: i64, out: &mut String) {
    let (sign, value, unit) = (if value < 0 { "-" } else { "" }, value.unsigned_abs(), per_second.unsigned_abs());
    let _ = write!(out, "{sign}PT{}", value / unit);
    push_fraction((value % unit).cast_signed(), per_second, out);
    out.push('S');
}

/// A decimal number with `scale` digits behind the point.
pub(super) fn push_decimal(value: i256, scale: i32, out: &mut String) {
    let number = value.to_string();
    let digits = number.strip_prefix('-').unwrap_or(&number);
    if digits.len() < number.len() {
        out.push('-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        out.push_str(digits);
        out.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
        return;
    };
    if scale == 0 {
        out.push_str(digits);
    } else {
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let _ = write!(out, "{whole}.{fraction}");
    }
}

/// Reads a decimal number; `None` for what does not fit the scale or the precision, at most 38 digits.
pub(super) fn decimal(text: &str, precision: i32, scale: i32) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = usize::try_from(scale).ok()?;
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if fraction.len() > scale || whole.is_empty() || !all_digits {
        return None;
    }
    let number: i128 = format!("{whole}{fraction}{}", "0".repeat(scale - fraction.len())).parse().ok()?;
    let fits = number.unsigned_abs() < 10_u128.pow(precision.clamp(1, 38).unsigned_abs());
    fits.then_some(if negative { -number } else { number })
}

/// A big-endian number in two's complement, as decimals are stored; `None` when it is longer than 32 bytes.
pub(super) fn big_endian(bytes: &[u8]) -> Option<i256> {
    let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let start = 32_usize.checked_sub(bytes.len())?;
    let mut number = [fill; 32];
    number[start..].copy_from_slice(bytes);
    Some(i256::from_be_bytes(number))
}

/// The other way round: `None` when the number needs more bytes.
pub(super) fn to_big_endian(number: i128, length: usize) -> Option<Vec<u8>> {
    let bytes = number.to_be_bytes();
    let start = bytes.len().checked_sub(length)?;
    let kept = &bytes[start..];
    (big_endian(kept) == Some(i256::from_i128(number))).then(|| kept.to_vec())
}

pub(super) fn push_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// 16 bytes as `8-4-4-4-12` hexadecimal digits.
pub(super) fn push_uuid(bytes: &[u8], out: &mut String) -> bool {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    bytes.len() == 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut String) -> bool) -> Option<String> {
        let mut out = String::new();
        write(&mut out).then_some(out)
    }

    #[test]
    fn dates_and_times_are_iso_8601() {
        assert_eq!(text(|out| push_date(19_000, out)).as_deref(), Some("2022-01-08"));
        assert_eq!(text(|out| push_date(-1, out)).as_deref(), Some("1969-12-31"));
        assert_eq!(text(|out| push_date(i64::from(i32::MAX), out)), None);
        assert_eq!(text(|out| push_time(3_723_004, 1000, out)).as_deref(), Some("01:02:03.004"));
        assert_eq!(text(|out| push_time(86_400_000, 1000, out)), None);
        let before = text(|out| push_timestamp(-1, 1_000_000, true, out));
        assert_eq!(before.as_deref(), Some("1969-12-31T23:59:59.999999Z"));
        assert_eq!(text(|out| push_timestamp(0, 1, false, out)).as_deref(), Some("1970-01-01T00:00:00"));
        assert_eq!(text(|out| push_timestamp(i64::MIN, 1000, false, out)), None);
        let duration = |value, per_second| {
            let mut out = String::new();
            push_duration(value, per_second, &mut out);
            out
        };
        assert_eq!((duration(90, 1), duration(-1500, 1000)), ("PT90S".to_owned(), "-PT1.500S".to_owned()));
        assert_eq!(duration(i64::MIN, 1_000_000_000), "-PT9223372036.854775808S");
    }

    #[test]
    fn decimals_go_to_text_and_back() {
        for (number, scale, expected) in [(12345, 2, "123.45"), (-5, 3, "-0.005"), (7, 0, "7"), (0, 2, "0.00")] {
            let written = text(|out| {
                push_decimal(i256::from_i128(number), scale, out);
                true
            });
            assert_eq!(written.as_deref(), Some(expected));
            assert_eq!(decimal(expected, 5, scale), Some(number));
        }
        assert_eq!(
            (decimal("1.2300", 3, 2), decimal("1.234", 9, 2), decimal("12.3", 2, 2), decimal("x", 9, 2)),
            (Some(123), None, None, None)
        );
        for number in [0, -1, 127, 128, -129, i128::from(i64::MAX), -i128::from(i64::MAX)] {
            let bytes = to_big_endian(number, 12).unwrap();
            assert_eq!(big_endian(&bytes), Some(i256::from_i128(number)));
        }
        let (mut least, mut text) = ([0; 32], String::new());
        least[0] = 0x80;
        push_decimal(big_endian(&least).unwrap(), 2, &mut text);
        assert_eq!(text, "-578960446186580977117854925043439539266349923328202820197287920039565648199.68");
        assert_eq!(big_endian(&[0; 33]), None);
        assert_eq!((to_big_endian(128, 1), to_big_endian(-128, 1)), (None, Some(vec![0x80])));
    }
}
