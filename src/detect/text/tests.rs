use super::*;

fn found(text: &str) -> Vec<(Class, &str)> {
    spans(text, &Wanted::all()).into_iter().map(|span| (span.class, &text[span.start..span.end])).collect()
}

#[test]
fn everything_that_prose_can_show() {
    let text = "Maria Gonzalez (maria.g@example.org) lives at 10.1.2.3, SSN 536-90-4399, IBAN DE89 3704 0044 0532 0130 00, \
                card 5500-0055-5555-5559. Her NINO: AB 12 34 56 C; CPF 390.533.447-05; (415) 555-2671 or +33 6 12 34 56 78. \
                From 2001:db8::1 and 00:1b:63:84:45:e6 with bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4, \
                redis://u:p4ss@db:6379/0 and DNI 54362315-K.";
    assert_eq!(
        found(text),
        [
            (Class::PersonName, "Maria Gonzalez"),
            (Class::Email, "maria.g@example.org"),
            (Class::Ipv4, "10.1.2.3"),
            (Class::UsSsn, "536-90-4399"),
            (Class::Iban, "DE89 3704 0044 0532 0130 00"),
            (Class::PaymentCard, "5500-0055-5555-5559"),
            (Class::GbNino, "AB 12 34 56 C"),
            (Class::BrCpf, "390.533.447-05"),
            (Class::Phone, "(415) 555-2671"),
            (Class::Phone, "+33 6 12 34 56 78"),
            (Class::Ipv6, "2001:db8::1"),
            (Class::MacAddress, "00:1b:63:84:45:e6"),
            (Class::CryptoAddress, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
            (Class::UrlCredentials, "redis://u:p4ss@db:6379/0"),
            (Class::EsDni, "54362315-K"),
        ]
    );
}

#[test]
fn what_is_no_personal_data_stays() {
    for text in [
        "order 1234567890 of 2024-05-17T10:20:30.123Z at 1715941230123",
        "id 550e8400-e29b-41d4-a716-446655440000, sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "version 1.2.3.4.5 costs 1,234,567.89 (3.14159265)",
        "The Rose in May was of the Summer of 100 200 300",
        "12:30:45 to 13:00, see page 17/23, 50% off, #42, A4",
        "SKU 978-3-16-148410-0, lot 20240517-0001",
        "price 123456782.50 and 4111111111111111.25",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn a_weak_check_needs_a_word_before_it_or_to_be_asked_for() {
    assert_eq!(found("number 111222333 came"), []);
    assert_eq!(found("BSN 111222333"), [(Class::NlBsn, "111222333")]);
    assert_eq!(found("his bsn is 111222333."), [(Class::NlBsn, "111222333")]);
    let asked = spans("number 111222333 came", &Wanted::only(&[Class::NlBsn]));
    assert_eq!(asked, [Span { start: 7, end: 16, class: Class::NlBsn }]);
    assert_eq!(spans("a@b.de", &Wanted::only(&[Class::NlBsn])), []);
}

#[test]
fn hostile_text_is_only_text() {
    for piece in ["@", "1", "a1", "+", "(", "1 ", "1-", "AB1", "é1", "::", "0x", "Ä", "://", "://a:b@", "eyJ", "4111 "]
    {
        let text = piece.repeat(3000);
        let spans = spans(&text, &Wanted::all());
        assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(spans.iter().all(|it| text.is_char_boundary(it.start) && text.is_char_boundary(it.end)), "{piece}");
    }
}

#[test]
fn long_runs_are_read_once() {
    // Each of these would be read from every one of its pieces to its end: for many minutes.
    for piece in ["sk-", "sk-AKIA", "eyJ-", "eyJ.", "A-", "Aa-", "://a", "://a:@b", "x://a:b@"] {
        let text = format!("@ {}", piece.repeat((1 << 17) / piece.len()));
        assert!(spans(&text, &Wanted::all()).len() < 2, "{piece}");
    }
}

proptest::proptest! {
    #[test]
    fn spans_are_in_order_and_on_boundaries(text in "[-0-9A-Za-z@:. ()+/é山\n]{0,80}") {
        let spans = spans(&text, &Wanted::all());
        proptest::prop_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
        for span in spans {
            proptest::prop_assert!(span.start < span.end && text.get(span.start..span.end).is_some());
        }
    }
}

#[test]
fn machines_may_begin_with_letters() {
    assert_eq!(found("from fa:ce:12:34:56:78 to"), [(Class::MacAddress, "fa:ce:12:34:56:78")]);
    assert_eq!(found("(fa-ce-12-34-56-78)"), [(Class::MacAddress, "fa-ce-12-34-56-78")]);
    assert_eq!(found("fe:80::12 or face::7"), [(Class::Ipv6, "fe:80::12"), (Class::Ipv6, "face::7")]);
    assert_eq!(found("fa-aa-ae-af-ea-fd"), [(Class::MacAddress, "fa-aa-ae-af-ea-fd")]);
    assert!(found("cafe: 12, a-12, de-ad-12").is_empty());
}

#[test]
fn two_groups_may_go_before_the_first_digit() {
    assert_eq!(found("CNPJ AB.CDE.345/01DE-71 paid"), [(Class::BrCnpj, "AB.CDE.345/01DE-71")]);
}

#[test]
fn dates_with_a_number_behind_are_announced_in_prose() {
    assert!(found("ref 1700000101010101 done").is_empty());
    assert_eq!(found("NIK 3171010101900001"), [(Class::IdNik, "3171010101900001")]);
}
