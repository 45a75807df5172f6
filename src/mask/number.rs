//! Rounding, and top and bottom coding, in exact decimal arithmetic.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What the masks of numbers read, for messages.
pub const NUMBER: &str = "a decimal number";
/// Most digits of a number; more do not fit the arithmetic.
const MAX_DIGITS: usize = 36;

/// `digits × 10^-scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decimal {
    pub digits: i128,
    pub scale: u32,
}

impl Decimal {
    /// Reads `[+-]digits[.digits]`; exponents and thousands separators are refused.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (negative, unsigned) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        if whole.len() + fraction.len() > MAX_DIGITS
            || whole.is_empty()
            || (fraction.is_empty() && unsigned.contains('.'))
        {
            return None;
        }
        let digits = whole
            .bytes()
            .chain(fraction.bytes())
            .try_fold(0_i128, |digits, byte| byte.is_ascii_digit().then(|| digits * 10 + i128::from(byte - b'0')))?;
        let scale = u32::try_from(fraction.len()).ok()?;
        Some(Decimal { digits: if negative { -digits } else { digits }, scale })
    }

    pub(super) fn at_scale(self, scale: u32) -> Option<i128> {
        self.digits.checked_mul(10_i128.checked_pow(scale.checked_sub(self.scale)?)?)
    }

    /// The nearest floating-point number.
    pub(super) fn to_f64(self) -> f64 {
        self.digits as f64 / 10_f64.powi(self.scale as i32)
    }

    /// Compares two numbers; `None` when they are too far apart in scale for the arithmetic.
    pub fn compare(&self, other: &Decimal) -> Option<Ordering> {
        let scale = self.scale.max(other.scale);
        Some(self.at_scale(scale)?.cmp(&other.at_scale(scale)?))
    }

    /// The multiples of `width` around the number: the last one that it has reached, and the next; `None` when they are
    /// out of the arithmetic's reach.
    pub fn interval(&self, width: &Decimal) -> Option<(Decimal, Decimal)> {
        let scale = self.scale.max(width.scale);
        let steps = self.at_scale(scale)?.checked_div_euclid(width.at_scale(scale)?)?;
        let multiple = |steps: i128| Some(Decimal { digits: steps.checked_mul(width.digits)?, scale: width.scale });
        Some((multiple(steps)?, multiple(steps.checked_add(1)?)?))
    }

    pub(super) fn push_to(self, out: &mut String) {
        use fmt::Write;
        write!(out, "{self}").expect("a String takes every text");
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:0width$}", self.digits.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, fraction) = text.split_at(text.len() - self.scale as usize);
        let sign = if self.digits < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

/// Rounds to multiples of `to`, halves away from zero; the output has the scale of `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundMask {
    pub to: Decimal,
}

impl RoundMask {
    /// Appends the rounded number; false when the value is no number.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        let rounded = Decimal::parse(value).and_then(|number| {
            let scale = number.scale.max(self.to.scale);
            let (number, step) = (number.at_scale(scale)?, self.to.at_scale(scale)?);
            let half_up = number.unsigned_abs().checked_add(step.unsigned_abs() / 2)?;
            // An odd step has no exact half: adding its floor rounds the two neighbours of the half correctly.
            let steps = i128::try_from(half_up / step.unsigned_abs()).ok()? * number.signum();
            Some(Decimal { digits: steps.checked_mul(self.to.digits)?, scale: self.to.scale })
        });
        rounded.map(|rounded| rounded.push_to(out)).is_some()
    }
}

/// Replaces what lies below `min` or above `max` by the bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClampMask {
    pub min: Option<Decimal>,
    pub max: Option<Decimal>,
}

impl ClampMask {
    /// Appends the clamped number, spelled as it came when it lies inside; false when the value is no number.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        let Some(number) = Decimal::parse(value) else { return false };
        for (bound, beyond) in [(&self.min, Ordering::Less), (&self.max, Ordering::Greater)] {
            let Some(bound) = bound else { continue };
            match number.compare(bound) {
                None => return false,
                Some(order) if order == beyond => {
                    bound.push_to(out);
                    return true;
                }
                Some(_) => {}
            }
        }
        out.push_str(value);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn rounded(to: &str, value: &str) -> Option<String> {
        let mut out = String::new();
        RoundMask { to: decimal(to) }.mask_into(value, &mut out).then_some(out)
    }

    #[test]
    fn rounding_is_exact() {
        assert_eq!(rounded("10", "14.99").as_deref(), Some("10"));
        assert_eq!(rounded("10", "-15").as_deref(), Some("-20"));
        assert_eq!(rounded("0.5", "1.25").as_deref(), Some("1.5"));
        assert_eq!(rounded("0.05", "0.1249").as_deref(), Some("0.10"));
        assert_eq!(rounded("5", "2.4").as_deref(), Some("0"));
        assert_eq!(rounded("5", "2.5").as_deref(), Some("5"));
        assert_eq!(rounded("3", "1").as_deref(), Some("0"));
        assert_eq!(rounded("3", "2").as_deref(), Some("3"));
        for no_number in ["1e3", "1,000", "", ".", "5.", "--1", "٣"] {
            assert_eq!(rounded("10", no_number), None, "{no_number}");
        }
    }

    #[test]
    fn clamping_leaves_the_inside_as_it_was_spelled() {
        let clamp = ClampMask { min: Some(decimal("0")), max: Some(decimal("99.5")) };
        let clamped = |value| {
            let mut out = String::new();
            clamp.mask_into(value, &mut out).then_some(out)
        };
        assert_eq!(clamped("007.10").as_deref(), Some("007.10"));
        assert_eq!(clamped("-3").as_deref(), Some("0"));
        assert_eq!(clamped("99.51").as_deref(), Some("99.5"));
        assert_eq!(clamped("many"), None);
    }
}
