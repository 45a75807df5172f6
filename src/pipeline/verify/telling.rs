//! Which values are distinct enough that one of them, met elsewhere, is no coincidence.
//!
//! Dates, times, amounts, running numbers and words are what they are in any number of columns at once.

/// Values longer than this are texts.
const LONG: usize = 64;
/// Letters and digits of a code that has both.
const CODE: usize = 10;
/// Digits of a number that is written in groups, and of one that is not.
const GROUPED: usize = 9;
const BARE: usize = 15;

/// Words of dates and times, in small letters.
#[rustfmt::skip]
const MOMENTS: [&[u8]; 48] = [
    b"t", b"z", b"am", b"pm", b"utc", b"gmt", b"cet", b"cest", b"est", b"edt", b"pst", b"pdt", b"w", b"q", b"st", b"nd",
    b"rd", b"th", b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
    b"january", b"february", b"march", b"april", b"june", b"july", b"august", b"september", b"october", b"november",
    b"december", b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun",
];

/// Whether a value tells one person, or one thing of theirs, from all others.
pub(super) fn is_telling(value: &[u8]) -> bool {
    let (mut digits, mut letters, mut others) = (0, 0, 0);
    for byte in value {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => letters += 1,
            _ => others += 1,
        }
    }
    if value.len() > LONG {
        return value.iter().any(|byte| *byte != value[0]);
    }
    if memchr::memchr(b'@', value).is_some() {
        return letters >= 3 && value.len() >= 8;
    }
    if letters > 0 {
        return digits >= 4 && digits + letters >= CODE && !is_moment(value);
    }
    if others == 0 {
        return digits >= BARE && longest_run(value) < 4;
    }
    digits >= GROUPED && kinds_of_digits(value) > 3 && !is_moment(value) && !is_amount(value)
}

/// Number of different digits.
fn kinds_of_digits(value: &[u8]) -> u32 {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0_u16, |seen, digit| seen | 1 << (digit - b'0')).count_ones()
}

/// Bytes of the longest stretch of one byte: numbers padded or rounded have long ones.
fn longest_run(value: &[u8]) -> usize {
    value.chunk_by(|a, b| a == b).map(<[u8]>::len).max().unwrap_or(0)
}

/// A date, a time or both: in words only those of the calendar, or groups of digits as dates have them.
fn is_moment(value: &[u8]) -> bool {
    let mut words = value.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty()).peekable();
    if words.peek().is_some() {
        return words.all(|word| MOMENTS.contains(&word.to_ascii_lowercase().as_slice()));
    }
    let groups = value.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len);
    let mut lengths = [0; 3];
    groups.filter(|length| *length > 0).zip(&mut lengths).for_each(|(length, place)| *place = length);
    matches!(lengths, [4, 1..=2, 1..=2] | [1..=2, 1..=2, 4]) || memchr::memchr(b':', value).is_some()
}

/// A number with its sign, decimals and thousands, or a number with points in it.
fn is_amount(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"-").or(value.strip_prefix(b"+")).unwrap_or(value);
    let in_thousands = || value.split(|byte| *byte == b' ' || *byte == b'\'').skip(1).all(|group| group.len() == 3);
    value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b','))
        || (value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b'\'')) && in_thousands())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_and_what_does_not() {
        for telling in [
            "ann.lee@example.com",
            "CUST-000123",
            "123-45-6789",
            "+49 30 1234567",
            "943 476 5870",
            "550e8400-e29b-41d4-a716-446655440000",
            "DE89370400440532013000",
            "4539148803436467",
            "12.531.909-2",
            "Hauptstraße 12, 10115 Berlin",
        ] {
            assert!(is_telling(telling.as_bytes()), "{telling}");
        }
        for not in [
            "",
            "US",
            "yes",
            "Berlin",
            "San Francisco",
            "Müller",
            "1987-04-12",
            "12.04.1987 10:20:30",
            "2024-05-17T10:20:30.123Z",
            "17 May 2024 10:20:30 UTC",
            "Friday 17",
            "2023-Q4",
            "1700000000000",
            "1700000000000000",
            "0000000000001234",
            "123456789",
            "-122.419415",
            "1,234,567,890.12",
            "1 234 567 890",
            "192.168.100.100",
            "Room 1201",
            "000-00-0000",
        ] {
            assert!(!is_telling(not.as_bytes()), "{not}");
        }
    }
}
