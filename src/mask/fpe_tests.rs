use super::*;
use proptest::prelude::*;

fn keys() -> MaskingKeys {
    MaskingKeys::parse("veild-masking-key 1\n1 2026-01-01T00:00:00Z BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n")
        .unwrap()
}

fn encryptor(params: MaskParams) -> Encryptor {
    Encryptor::new(&FpeMask::from_params(&params).unwrap(), "column", &keys())
}

fn kind(kind: &str) -> MaskParams {
    MaskParams { kind: Some(kind.to_owned()), ..MaskParams::default() }
}

fn alphabet(alphabet: &str) -> MaskParams {
    MaskParams { alphabet: Some(alphabet.to_owned()), ..MaskParams::default() }
}

fn masked(encryptor: &Encryptor, value: &str) -> Option<String> {
    let mut out = String::new();
    encryptor.mask_into(value, &mut out).then_some(out)
}

/// Everything but letters and digits, each of which shows as what it is.
fn shape(value: &str) -> String {
    value
        .chars()
        .map(|character| match character {
            '0'..='9' => '9',
            'a'..='z' => 'a',
            'A'..='Z' => 'A',
            other => other,
        })
        .collect()
}

#[test]
fn shapes_stay_and_spellings_of_one_number_stay_one() {
    let digits = encryptor(MaskParams::default());
    for value in ["123-45-6789", "+49 (171) 123/4567", "00000000", " 1234567 "] {
        let sealed = masked(&digits, value).unwrap();
        assert_eq!(shape(&sealed), shape(value));
        assert_ne!(sealed, value);
        assert_eq!(digits.reveal(&sealed).unwrap().as_str(), value);
    }
    let plain = masked(&digits, "123456789").unwrap();
    assert_eq!(masked(&digits, "123-45-6789").unwrap().replace('-', ""), plain);
    let kept = encryptor(MaskParams { keep_first: Some(2), keep_last: Some(1), ..MaskParams::default() });
    let sealed = masked(&kept, "+49 171 1234567").unwrap();
    assert!(sealed.starts_with("+49 ") && sealed.ends_with('7'), "{sealed}");
    assert_eq!(kept.reveal(&sealed).unwrap().as_str(), "+49 171 1234567");
    let letters = encryptor(alphabet("ACGTÄ"));
    let sealed = masked(&letters, "ACGTÄACGTÄ").unwrap();
    assert!(sealed.chars().all(|character| "ACGTÄ".contains(character)) && sealed != "ACGTÄACGTÄ");
}

#[test]
fn what_does_not_fit_is_as_the_rule_says() {
    let digits = encryptor(MaskParams::default());
    for value in ["12345", "1234567x", "١٢٣٤٥٦٧", "", &"1".repeat(73)] {
        assert_eq!(masked(&digits, value), None, "{value}");
        assert!(digits.reveal(value).is_none());
    }
    let short = |short: &str| encryptor(MaskParams { short: Some(short.to_owned()), ..MaskParams::default() });
    assert_eq!(masked(&short("redact"), "12345").as_deref(), Some(REDACTED));
    let hashed = masked(&short("hash"), "12345").unwrap();
    assert_eq!(hashed.len(), 32);
    let as_hash = Keyed::new(&HashMask::default(), &keys().derive("mask/hash", "column"));
    let mut expected = String::new();
    as_hash.hash_into("12345", &mut expected);
    assert_eq!(hashed, expected);
    let nine = encryptor(MaskParams { length: Some(9), ..MaskParams::default() });
    assert!(masked(&nine, "123-45-6789").is_some() && masked(&nine, "12345678").is_none());
}

#[test]
fn cards_keep_a_valid_check_digit_and_their_issuer_if_wanted() {
    let card = encryptor(kind("card"));
    let issuer = encryptor(MaskParams { keep_first: Some(6), ..kind("card") });
    for value in ["4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444", "6759649826438453000"] {
        let value = &value.replace("6759649826438453000", "6759649826438453");
        for encryptor in [&card, &issuer] {
            let sealed = masked(encryptor, value).unwrap();
            let digits: Vec<u8> = sealed.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect();
            let (check, rest) = digits.split_last().unwrap();
            assert_eq!(luhn_digit(rest.iter().copied()), *check, "{sealed}");
            assert_eq!(shape(&sealed), shape(value));
            assert_ne!(&sealed, value);
            assert_eq!(encryptor.reveal(&sealed).unwrap().as_str(), value);
        }
        let first = |text: &str| text.bytes().filter(u8::is_ascii_digit).take(6).collect::<Vec<_>>();
        assert_eq!(first(&masked(&issuer, value).unwrap()), first(value));
    }
    for value in ["4111 1111 1111 1112", "0", "", "4111x1111111111111", "00000000000"] {
        assert_eq!(masked(&card, value), None, "{value}");
    }
}

#[test]
fn ibans_keep_country_letters_and_spaces_and_stay_valid() {
    let iban = encryptor(kind("iban"));
    for value in ["DE89 3704 0044 0532 0130 00", "gb29nwbk60161331926819", "MT84MALT011000012345MTLCAST001S"] {
        let sealed = masked(&iban, value).unwrap();
        assert!(is_iban(&sealed), "{sealed}");
        assert_eq!(shape(&sealed), shape(value));
        assert_eq!(sealed[..2], value[..2]);
        assert_ne!(sealed, value);
        assert_eq!(iban.reveal(&sealed).unwrap().as_str(), value);
    }
    assert_eq!(masked(&iban, "DE88 3704 0044 0532 0130 00"), None);
    assert_eq!(masked(&iban, "DE89 3704 0044 0532 0130 00 "), None);
}

#[test]
fn small_domains_and_odd_parameters_are_refused_with_a_remedy() {
    let refusal = |params: MaskParams| FpeMask::from_params(&params).unwrap_err();
    let length = |length, params: MaskParams| refusal(MaskParams { length: Some(length), ..params });
    assert!(length(5, MaskParams::default()).contains("at least 6 are needed; use \"token\" or \"hash\""));
    assert!(length(9, MaskParams { keep_last: Some(4), ..MaskParams::default() }).contains("at least 10"));
    assert!(length(16, kind("card")).contains("does not go"));
    assert!(refusal(alphabet("x")).contains("at least two"));
    assert!(refusal(alphabet("aba")).contains("each once"));
    assert!(refusal(kind("ssn")).contains("\"iban\""));
    assert!(refusal(MaskParams { keep_first: Some(9), ..kind("card") }).contains("8 digits"));
    assert!(refusal(MaskParams { keep_first: Some(2), ..kind("iban") }).contains("take `keep_first` out"));
    assert!(refusal(MaskParams { short: Some("keep".to_owned()), ..MaskParams::default() }).contains("\"redact\""));
}

#[test]
fn pseudonyms_are_what_they_always_were() {
    // Outputs of all times must join and be revealed: these texts may never change.
    let issuer = MaskParams { keep_first: Some(6), ..kind("card") };
    for (params, value, sealed) in [
        (MaskParams::default(), "123-45-6789", "943-41-5265"),
        (kind("card"), "4111 1111 1111 1111", "4825 9463 9242 0773"),
        (issuer, "4111 1111 1111 1111", "4111 1134 1980 2102"),
        (kind("iban"), "DE89 3704 0044 0532 0130 00", "DE53 2285 2850 8195 2145 22"),
    ] {
        assert_eq!(masked(&encryptor(params), value).as_deref(), Some(sealed));
    }
}

proptest! {
    #[test]
    fn every_text_of_the_alphabet_comes_back(value in "[0-9A-Za-z]{4,40}", first in 0..3_u32, last in 0..3_u32) {
        let params = MaskParams { keep_first: Some(first), keep_last: Some(last), ..alphabet("alphanumeric") };
        let encryptor = encryptor(params);
        match masked(&encryptor, &value) {
            None => prop_assert!(value.len() < 4 + (first + last) as usize),
            Some(sealed) => {
                prop_assert_eq!(sealed.len(), value.len());
                let revealed = encryptor.reveal(&sealed).unwrap();
                prop_assert_eq!(revealed.as_str(), value);
            }
        }
    }

    #[test]
    fn two_values_never_share_a_pseudonym(a in "[0-9]{6}", b in "[0-9]{6}") {
        let digits = encryptor(MaskParams::default());
        prop_assert_eq!(masked(&digits, &a) == masked(&digits, &b), a == b);
    }
}
