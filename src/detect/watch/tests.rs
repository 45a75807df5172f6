use super::*;

/// What a column of that name with these cells holds.
fn held<'c>(name: &str, cells: impl IntoIterator<Item = &'c str>) -> Vec<(Class, u64, u64)> {
    let watch = Watch::new(name);
    let (mut evidence, mut remembered) = (Evidence::default(), Remembered::default());
    let cells: Vec<&str> = cells.into_iter().collect();
    for (block, cells) in cells.chunks(1000).enumerate() {
        let mut glimpses = Glimpses::default();
        for (row, cell) in cells.iter().enumerate() {
            let digest =
                cell.bytes().fold(7, |digest: u64, byte| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
            watch.look(cell, digest, row as u32, &mut glimpses);
        }
        evidence.add((&watch, 0), &glimpses, block as u64 * 1000 + 1, &mut remembered);
    }
    evidence.held(&watch).into_iter().map(|held| (held.class, held.row, held.cells)).collect()
}

fn numbers(count: u64, of: impl Fn(u64) -> String) -> Vec<String> {
    (0..count).map(of).collect()
}

fn random(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 29
}

#[test]
fn one_cell_is_enough_where_it_proves_itself() {
    for (cell, class) in [
        ("ann.lee@example.com", Class::Email),
        ("please write to ann.lee@example.com", Class::Email),
        ("DE89 3704 0044 0532 0130 00", Class::Iban),
        ("from DE89370400440532013000 for rent", Class::Iban),
        ("redis://u:p4ss@db:6379/0", Class::UrlCredentials),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", Class::CryptoAddress),
        ("BOXW310820HNERXN09", Class::MxCurp),
        ("her SSN is 123-45-6789", Class::UsSsn),
        ("declined card 4111 1111 1111 1111", Class::PaymentCard),
    ] {
        let mut cells = vec!["x", "ok", "12", "nothing to see"];
        cells.push(cell);
        assert_eq!(held("value", cells), [(class, 5, 1)], "{cell}");
    }
}

#[test]
fn a_name_makes_up_for_a_weak_check() {
    assert_eq!(held("ssn", ["123456789"]), [(Class::UsSsn, 1, 1)]);
    assert_eq!(held("bsn", ["111222333"]), [(Class::NlBsn, 1, 1)]);
    assert_eq!(held("card_number", ["4111111111111111"]), [(Class::PaymentCard, 1, 1)]);
    assert_eq!(held("value", ["111222333", "123456789", "4111111111111111"]), []);
}

#[test]
fn a_column_full_of_valid_numbers_holds_them() {
    let luhn =
        |body: u64| format!("{body}{}", crate::detect::luhn_digit(body.to_string().bytes().map(|digit| digit - b'0')));
    let cards = numbers(300, |n| luhn(453_200_000_000_000 + random(n) % 1_000_000_000));
    assert_eq!(held("value", cards.iter().map(String::as_str)), [(Class::PaymentCard, 1, 64)]);
    let ssns = numbers(50, |n| format!("{:03}-{:02}-{:04}", n % 600 + 1, n % 90 + 1, n + 1));
    assert_eq!(held("value", ssns.iter().map(String::as_str)), [(Class::UsSsn, 1, 50)]);
    let phones = numbers(50, |n| format!("+49 1512 34567{n:02}"));
    assert_eq!(held("value", phones.iter().map(String::as_str)), [(Class::Phone, 1, 50)]);
}

#[test]
fn numbers_before_it_hide_nothing_that_counts_alone() {
    for (cell, class) in
        [("+4915123456789", Class::Phone), ("ann.lee@example.com", Class::Email), ("BOXW310820HNERXN09", Class::MxCurp)]
    {
        for of in [
            |n: u64| format!("{:09}", 730_000_000 + n * 37),
            |n: u64| format!("2024-{:02}-{:02}", n % 12 + 1, n % 28 + 1),
        ] {
            let mut cells = numbers(60_000, of);
            cells.push(cell.to_owned());
            let found = held("value", cells.iter().map(String::as_str));
            assert!(found.contains(&(class, 60_001, 1)), "{cell}: {found:?}");
        }
    }
    for (name, class) in [
        ("123-45-6789", Class::UsSsn),
        ("+4915123456789", Class::Phone),
        ("4111-1111-1111-1111", Class::PaymentCard),
        ("AB 12 34 56 C", Class::GbNino),
    ] {
        for of in [
            |n: u64| format!("{:09}", 730_000_000 + n * 37),
            |n: u64| format!("2024{:02}{:02}", n % 12 + 1, n % 28 + 1),
        ] {
            let watch = Watch::of_names("");
            let (mut evidence, mut glimpses) = (Evidence::default(), Glimpses::default());
            let mut names = numbers(300, of);
            names.push(name.to_owned());
            for (row, name) in (0..).zip(&names) {
                watch.look(name, u64::from(row), row, &mut glimpses);
            }
            evidence.add((&watch, 0), &glimpses, 1, &mut Remembered::default());
            let found = evidence.held(&watch);
            assert!(found.iter().any(|held| (held.class, held.row) == (class, 301)), "{name}: {found:?}");
        }
    }
}

#[test]
fn a_lone_hit_among_numbers_is_none() {
    let mut numbers = numbers(5000, |n| (1_000_000_000_000_000 + random(n) % 8_000_000_000_000_000).to_string());
    numbers[7] = "4111111111111111".to_owned();
    assert_eq!(held("value", numbers.iter().map(String::as_str)), []);
    assert_eq!(held("order_no", numbers.iter().map(String::as_str)), []);
}

#[test]
fn ordinary_columns_hold_nothing() {
    let columns: Vec<(&str, Vec<String>)> = vec![
        ("id", numbers(3000, |n| (n + 1).to_string())),
        ("id", numbers(3000, |n| format!("{n:08}"))),
        ("id", numbers(3000, |n| (100_000_000 + n).to_string())),
        ("id", numbers(3000, |n| (10_000_000_000 + n * 7919).to_string())),
        ("order_no", numbers(3000, |n| format!("ORD-2024-{n:06}"))),
        ("nr", numbers(3000, |n| format!("2301{:02}-01-{n:04}", n % 28 + 1))),
        ("nr", numbers(3000, |n| format!("{:02}0124-{n:04}", n % 28 + 1))),
        ("seconds", numbers(3000, |n| (1_700_000_000 + n * 61).to_string())),
        ("time", numbers(3000, |n| (1_700_000_000_000 + n * 61_007).to_string())),
        ("micros", numbers(3000, |n| (1_700_000_000_000_000 + random(n) % 1_000_000_000_000).to_string())),
        ("nanos", numbers(3000, |n| (1_700_000_000_000_000_000 + random(n) % 1_000_000_000_000_000).to_string())),
        ("stamp", numbers(3000, |n| format!("2401{:02}{:02}{:02}{:02}", n % 28 + 1, n % 24, n % 60, n * 7 % 60))),
        ("stamp", numbers(3000, |n| format!("202401{:02}{:02}{:02}{:02}", n % 28 + 1, n % 24, n % 60, n * 7 % 60))),
        ("day", numbers(3000, |n| format!("2024-{:02}-{:02}", n % 12 + 1, n % 28 + 1))),
        ("at", numbers(3000, |n| format!("2024-05-{:02}T{:02}:20:30.123Z", n % 28 + 1, n % 24))),
        (
            "uuid",
            numbers(3000, |n| format!("{:08x}-{:04x}-4a{:02x}-a716-{:012x}", n * 977, n % 65_536, n % 256, n * 31)),
        ),
        (
            "sha256",
            numbers(3000, |n| format!("{:016x}{:016x}{:016x}{:016x}", random(n), random(n + 9), random(n * 3), n)),
        ),
        ("hex", numbers(3000, |n| format!("{:016x}", random(n)))),
        ("hash", numbers(3000, |n| format!("{:010}", random(n) % 10_000_000_000))),
        ("value", numbers(3000, |n| format!("{:09}", random(n) % 1_000_000_000))),
        ("value", numbers(3000, |n| format!("{:011}", random(n) % 100_000_000_000))),
        ("value", numbers(3000, |n| format!("{:013}", random(n) % 10_000_000_000_000))),
        ("sku", numbers(3000, |n| format!("PC{:06}A", random(n) % 1_000_000))),
        ("sku", numbers(3000, |n| format!("ABCAB{:04}C", n % 9999 + 1))),
        ("ean", numbers(3000, |n| format!("400{:09}{}", n, n % 10))),
        ("amount", numbers(3000, |n| format!("{}.{:02}", random(n) % 100_000_000, n % 100))),
        ("lat", numbers(3000, |n| format!("52.{:08}", random(n) % 100_000_000))),
        ("version", numbers(3000, |n| format!("1.{}.{}.{}", n % 20, n % 7, n % 300))),
        ("handle", numbers(3000, |n| format!("@user_{n}"))),
        ("url", numbers(3000, |n| format!("https://example.com/orders/{}?at={}", 100_000 + n, 1_700_000_000_000 + n))),
        (
            "note",
            numbers(3000, |n| format!("order {} of 2024-05-17 was shipped with {}", 100_000_000 + n * 7919, random(n))),
        ),
        (
            "log",
            numbers(3000, |n| {
                format!("request {:016x} took {} ms, status 200, size {}", random(n), n, random(n) % 1_000_000)
            }),
        ),
    ];
    let found: Vec<_> = columns
        .iter()
        .map(|(name, cells)| (*name, cells[0].as_str(), held(name, cells.iter().map(String::as_str))))
        .filter(|(_, _, held)| !held.is_empty())
        .collect();
    assert_eq!(found, []);
}

#[test]
fn what_a_column_shows_is_bounded() {
    let watch = Watch::new("mail");
    let mut glimpses = Glimpses::default();
    for row in 0..100_000 {
        watch.look(&format!("user{row}@example.com"), row, row as u32, &mut glimpses);
        watch.look(&format!("{row:09}"), row, row as u32, &mut glimpses);
    }
    assert!(
        glimpses.kept.len() <= TELLING_A_BLOCK + 20 * KEPT_A_BLOCK && glimpses.counts.len() <= 2 * Class::ALL.len()
    );
    let (mut evidence, mut remembered) = (Evidence::default(), Remembered::default());
    evidence.add((&watch, 0), &glimpses, 1, &mut remembered);
    assert_eq!(evidence.held(&watch), [Held { class: Class::Email, row: 1, cells: 100_000 }]);
    for column in 0..100 {
        let mut evidence = Evidence::default();
        for block in 0..100 {
            let mut glimpses = Glimpses::default();
            (0..100).for_each(|row| watch.look("123456789", block * 100 + row, row as u32, &mut glimpses));
            evidence.add((&watch, column), &glimpses, 1, &mut remembered);
        }
        assert!(evidence.remembered <= REMEMBERED);
    }
    assert!(remembered.0.len() <= REMEMBERED_BY_ALL);
}
