//! One cell as a field of delimited text.

use std::fmt::Write as _;

use calamine::{Data, ExcelDateTime};

/// Numbers below this are written without a fraction where they have none.
const EXACT: f64 = 1e15;

/// Appends a cell's text, in quotes where it needs them.
pub(super) fn push(value: &Data, out: &mut String) {
    let start = out.len();
    let _ = match value {
        Data::Empty => Ok(()),
        Data::Int(number) => write!(out, "{number}"),
        Data::Float(number) if number.fract() == 0.0 && number.abs() < EXACT => write!(out, "{number:.0}"),
        Data::Float(number) => write!(out, "{number}"),
        Data::Bool(truth) => write!(out, "{truth}"),
        Data::DateTime(moment) => push_moment(*moment, out),
        Data::Error(error) => write!(out, "{error}"),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => out.write_str(text),
    };
    if out[start..].contains([',', '"', '\r', '\n']) {
        let quoted = out[start..].replace('"', "\"\"");
        out.truncate(start);
        let _ = write!(out, "\"{quoted}\"");
    }
}

/// A date alone, a time alone, both, or a duration in hours, minutes and seconds.
fn push_moment(moment: ExcelDateTime, out: &mut String) -> std::fmt::Result {
    let serial = moment.as_f64();
    if moment.is_duration() {
        let seconds = (serial * 86_400.0).round() as i64;
        let (sign, seconds) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
        return write!(out, "{sign}{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    let (year, month, day, hour, minute, second, milli) = moment.to_ymd_hms_milli();
    let has_date = !(0.0..1.0).contains(&serial);
    let has_time = !has_date || (hour, minute, second, milli) != (0, 0, 0, 0);
    if has_date {
        write!(out, "{year:04}-{month:02}-{day:02}")?;
    }
    if has_date && has_time {
        out.push('T');
    }
    if has_time {
        write!(out, "{hour:02}:{minute:02}:{second:02}")?;
    }
    if has_time && milli > 0 {
        write!(out, ".{milli:03}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use calamine::ExcelDateTimeType;

    use super::*;

    fn text(value: &Data) -> String {
        let mut out = String::new();
        push(value, &mut out);
        out
    }

    #[test]
    fn cells_are_written_plainly() {
        let moment = |serial, kind| Data::DateTime(ExcelDateTime::new(serial, kind, false));
        for (value, expected) in [
            (Data::Float(7.0), "7"),
            (Data::Float(-0.5), "-0.5"),
            (Data::Float(1e20), "100000000000000000000"),
            (Data::String("007".to_owned()), "007"),
            (Data::String("a \"b\", c".to_owned()), "\"a \"\"b\"\", c\""),
            (Data::Bool(true), "true"),
            (moment(45943.0, ExcelDateTimeType::DateTime), "2025-10-13"),
            (moment(45943.541, ExcelDateTimeType::DateTime), "2025-10-13T12:59:02.400"),
            (moment(0.5, ExcelDateTimeType::DateTime), "12:00:00"),
            (moment(1.5, ExcelDateTimeType::TimeDelta), "36:00:00"),
            (Data::Error(calamine::CellErrorType::NA), "#N/A"),
            (Data::Empty, ""),
        ] {
            assert_eq!(text(&value), expected);
        }
    }
}
