//! Dates inside identifiers: whether a day exists, without a clock.

/// Whether year, month and day name a day of the Gregorian calendar.
pub(super) fn exists(year: u32, month: u32, day: u32) -> bool {
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// Two ASCII digits as a number.
pub(super) fn two(digits: &[u8], at: usize) -> Option<u32> {
    super::checksum::number(digits.get(at..at + 2)?).map(|number| number as u32)
}
