//! Calendar dates as cells and their formats. A date is a day of birth only where its column says so.

use super::calendar::exists;
use super::checksum::number;

/// How dates are written; the name is that of `date`'s parameter `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub strftime: &'static str,
    order: Order,
    separator: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    YearMonthDay,
    DayMonthYear,
    MonthDayYear,
}

/// Formats in the order in which they are believed where a column fits several.
pub(super) const FORMATS: [Format; 9] = [
    Format { strftime: "%Y-%m-%d", order: Order::YearMonthDay, separator: Some(b'-') },
    Format { strftime: "%d.%m.%Y", order: Order::DayMonthYear, separator: Some(b'.') },
    Format { strftime: "%d/%m/%Y", order: Order::DayMonthYear, separator: Some(b'/') },
    Format { strftime: "%m/%d/%Y", order: Order::MonthDayYear, separator: Some(b'/') },
    Format { strftime: "%Y/%m/%d", order: Order::YearMonthDay, separator: Some(b'/') },
    Format { strftime: "%Y.%m.%d", order: Order::YearMonthDay, separator: Some(b'.') },
    Format { strftime: "%d-%m-%Y", order: Order::DayMonthYear, separator: Some(b'-') },
    Format { strftime: "%m-%d-%Y", order: Order::MonthDayYear, separator: Some(b'-') },
    Format { strftime: "%Y%m%d", order: Order::YearMonthDay, separator: None },
];

/// Whether the whole cell is a date of this format, of a year in which someone alive may be born.
pub(super) fn is_date(cell: &[u8], format: Format) -> bool {
    parse(cell, format) == Some(cell.len())
}

/// Length of a date at the beginning of the text, whatever its format, if no digit follows.
pub(super) fn leading_date(text: &[u8]) -> Option<usize> {
    let separated = FORMATS.iter().filter(|format| format.separator.is_some());
    separated.filter_map(|format| parse(text, *format)).find(|&end| !text.get(end).is_some_and(u8::is_ascii_digit))
}

fn parse(text: &[u8], format: Format) -> Option<usize> {
    let mut at = 0;
    let mut part = |longest: usize, last: bool| {
        let digits = text.get(at..)?.iter().take(longest).take_while(|byte| byte.is_ascii_digit()).count();
        let fixed = format.separator.is_none() || longest == 4;
        let value = number(&text[at..at + digits]).filter(|_| digits == longest || !fixed)?;
        at += digits;
        if let (Some(separator), false) = (format.separator, last) {
            (text.get(at) == Some(&separator)).then_some(())?;
            at += 1;
        }
        Some(value as u32)
    };
    let (year, month, day) = match format.order {
        Order::YearMonthDay => (part(4, false)?, part(2, false)?, part(2, true)?),
        Order::DayMonthYear => {
            let (day, month) = (part(2, false)?, part(2, false)?);
            (part(4, true)?, month, day)
        }
        Order::MonthDayYear => {
            let (month, day) = (part(2, false)?, part(2, false)?);
            (part(4, true)?, month, day)
        }
    };
    ((1880..=2100).contains(&year) && exists(year, month, day)).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(cell: &str) -> Vec<&str> {
        FORMATS.iter().filter(|format| is_date(cell.as_bytes(), **format)).map(|format| format.strftime).collect()
    }

    #[test]
    fn a_cell_may_fit_several_formats() {
        assert_eq!(formats("1987-04-12"), ["%Y-%m-%d"]);
        assert_eq!(formats("03/04/1987"), ["%d/%m/%Y", "%m/%d/%Y"]);
        assert_eq!(formats("12/31/1987"), ["%m/%d/%Y"]);
        assert_eq!(formats("1.2.1987"), ["%d.%m.%Y"]);
        assert_eq!(formats("19870412"), ["%Y%m%d"]);
        for no_date in ["1987-02-29", "87-04-12", "1987-04-12T00:00", "19871332", "3.14.1592"] {
            assert!(formats(no_date).is_empty(), "{no_date}");
        }
        assert_eq!(leading_date(b"1987-04-12T00:00"), Some(10));
        assert_eq!(leading_date(b"06 12 34 56 78"), None);
    }
}
