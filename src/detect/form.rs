//! How identifiers are written, as an index: a cell's shape finds the kinds it may be in one look.
//!
//! A shape has `#` for a digit and `@` for a letter; everything else stands for itself. Forms with places that take
//! either (`?`) are kept under a coarser shape, in which letters and digits are one.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::national::{self, Identifier};
use super::{card, class::Class};

/// Longest form in bytes.
pub(super) const LONGEST: usize = 32;

/// Groups of three, two and four digits are nobody else's, even without hyphens.
const SPACED_SSN: &[u8] = b"### ## ####";

/// A shape while it grows, with the hashes under which forms are found.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    bytes: [u8; LONGEST],
    len: usize,
    exact: u64,
    coarse: u64,
}

impl Shape {
    pub(super) const EMPTY: Shape = Shape { bytes: [0; LONGEST], len: 0, exact: SEED, coarse: SEED };

    /// The shape of a whole cell; `None` when no form is as long.
    pub(super) fn of(text: &[u8]) -> Option<Shape> {
        let mut shape = Shape::EMPTY;
        text.iter().all(|&byte| shape.push(byte)).then_some(shape)
    }

    /// Appends one byte of text; false when no form is as long or has such a byte.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        if self.len == LONGEST || !byte.is_ascii() {
            return false;
        }
        let (exact, coarse) = match byte {
            b'0'..=b'9' => (b'#', b'?'),
            b'a'..=b'z' | b'A'..=b'Z' => (b'@', b'?'),
            _ => (byte, byte),
        };
        self.bytes[self.len] = exact;
        self.len += 1;
        self.exact = step(self.exact, exact);
        self.coarse = step(self.coarse, coarse);
        true
    }

    /// What the writing alone says, in log-odds: few unrelated things have separators or letters at the same places.
    pub(super) fn odds(&self) -> f32 {
        let written = &self.bytes[..self.len];
        if written == SPACED_SSN || written.iter().any(|byte| !matches!(byte, b'#' | b'@' | b' ')) {
            1.0
        } else if written.contains(&b' ') {
            if written.contains(&b'@') { 1.0 } else { -2.0 }
        } else if written.contains(&b'@') {
            -1.0
        } else {
            -3.0
        }
    }

    /// The identifiers that are written so.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &'static Candidate> + use<> {
        let shape = *self;
        let under = |hash| FORMS.get(&hash).map_or(&[][..], Vec::as_slice).iter();
        under(shape.exact)
            .chain(under(shape.coarse).filter(move |_| shape.exact != shape.coarse))
            .filter(move |candidate| candidate.fits(&shape.bytes[..shape.len]))
    }
}

/// FNV-1a.
const SEED: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// One way to write one identifier.
pub(super) struct Candidate {
    pub identifier: &'static Identifier,
    form: &'static str,
}

impl Candidate {
    fn fits(&self, shape: &[u8]) -> bool {
        let place = |(form, shape): (u8, &u8)| match form {
            b'?' => matches!(shape, b'#' | b'@'),
            // A letter that stands for itself would need the text, and no form has one.
            form => form == *shape,
        };
        self.form.len() == shape.len() && self.form.bytes().zip(shape).all(place)
    }

    pub(super) fn class(&self) -> Class {
        self.identifier.class
    }

    /// Whether the text, which has this form, is valid: separators go, letters become capitals.
    pub(super) fn accepts(&self, text: &[u8]) -> bool {
        let mut compact = [0; LONGEST];
        let mut len = 0;
        for byte in text.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            compact[len] = byte.to_ascii_uppercase();
            len += 1;
        }
        let compact = &compact[..len];
        // 000000000 and 111111111 pass many a checksum and are nobody's number.
        let varied = compact.iter().filter(|byte| byte.is_ascii_digit());
        let first = varied.clone().next();
        varied.clone().any(|byte| Some(byte) != first) && (self.identifier.valid)(compact)
    }
}

/// Asked for at every number of a text.
static FORMS: LazyLock<HashMap<u64, Vec<Candidate>, ahash::RandomState>> = LazyLock::new(|| {
    let mut forms: HashMap<u64, Vec<Candidate>, ahash::RandomState> = HashMap::default();
    for identifier in national::identifiers().chain([&card::CARD]) {
        for &form in identifier.forms {
            let coarse = form.contains('?');
            let key = form.bytes().map(|byte| match byte {
                b'#' | b'@' if coarse => b'?',
                byte => byte,
            });
            forms.entry(key.fold(SEED, step)).or_default().push(Candidate { identifier, form });
        }
    }
    forms
});

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(text: &str) -> Vec<Class> {
        let candidates = Shape::of(text.as_bytes()).unwrap().candidates().filter(|it| it.accepts(text.as_bytes()));
        candidates.map(Candidate::class).collect()
    }

    #[test]
    fn published_numbers_are_found_in_every_spelling() {
        for (class, numbers) in [
            (Class::UsSsn, &["536-90-4399", "536904399", "772-12-3456", "899 45 6789"][..]),
            (Class::UsItin, &["912-90-3456", "900-70-0000"]),
            (Class::GbNhs, &["943 476 5870", "9434765870"]),
            (Class::GbNino, &["AB123456C", "ab 12 34 56 c"]),
            (Class::EsDni, &["54362315-K", "54362315k", "54.362.315-K"]),
            (Class::EsNie, &["X2482300W", "x-2482300-w"]),
            (Class::ItCodiceFiscale, &["RCCMNL83S18D969H", "CNTCHR83T41D969D"]),
            (Class::FrNir, &["2 95 10 99 126 111 93", "295109912611193", "253072B07300470"]),
            (Class::DeSteuerId, &["36 574 261 809", "36574261809"]),
            (Class::NlBsn, &["111222333", "1112.22.333"]),
            (Class::BeNationalNumber, &["85.07.30-033.28", "17073003384"]),
            (Class::PtCc, &["00000000 0 ZZ4", "000000000ZZ4"]),
            (Class::FiHetu, &["131052-308T", "131052A308T"]),
            (Class::SePersonnummer, &["880320-0016", "198803200016", "701063-2391"]),
            (Class::CnResidentId, &["360426199101010071", "11010519491231002X"]),
            (Class::BrCpf, &["390.533.447-05", "39053344705"]),
            (Class::BrCnpj, &["16.727.230/0001-97", "12.ABC.345/01DE-35"]),
            (Class::MxCurp, &["BOXW310820HNERXN09"]),
            (Class::ClRut, &["12.531.909-2", "7317855-K"]),
            (Class::ChAhv, &["756.9217.0769.85"]),
            (Class::RuSnils, &["112-233-445 95"]),
            (Class::HuTaj, &["111 111 110"]),
            (Class::TwId, &["A123456789"]),
            (Class::HkId, &["A123456(3)", "AB987654(3)"]),
            (Class::SgNric, &["S1234567D", "T1234567J", "F1234567N"]),
        ] {
            for number in numbers {
                assert!(classes(number).contains(&class), "{number} is no {class:?}");
            }
        }
    }

    #[test]
    fn what_others_get_wrong() {
        for milliseconds in (1_500_000_000_000_u64..1_900_000_000_000).step_by(7_777_777) {
            assert!(!classes(&milliseconds.to_string()).contains(&Class::PaymentCard), "{milliseconds}");
        }
        assert!(classes("2221000000000009").contains(&Class::PaymentCard), "2-series Mastercard");
        assert!(classes("2720 9999 9999 9996").contains(&Class::PaymentCard), "2-series Mastercard");
        assert!(!classes("2721000000000004").contains(&Class::PaymentCard));
        for no_ssn in ["900-12-3456", "666-12-3456", "000-12-3456", "123-00-4567", "123-45-0000", "078-05-1120"] {
            assert!(!classes(no_ssn).contains(&Class::UsSsn), "{no_ssn}");
        }
        for ssn in ["123-45-6789", "219-09-9998", "734-12-3456", "765-43-2100", "001-01-0001"] {
            assert!(classes(ssn).contains(&Class::UsSsn), "{ssn}");
        }
        assert!(classes("000000000").is_empty() && classes("1111111111111111").is_empty());
    }

    #[test]
    fn forms_are_no_longer_than_shapes() {
        for identifier in national::identifiers().chain([&card::CARD]) {
            assert!(identifier.forms.iter().all(|form| form.len() <= LONGEST));
            assert!(identifier.forms.iter().all(|form| !form.bytes().any(|byte| byte.is_ascii_alphanumeric())));
        }
    }
}
