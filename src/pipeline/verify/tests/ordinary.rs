//! What must raise no alarm.

use proptest::prelude::*;

use super::*;

/// Columns as tables have them, of which any may be masked.
pub(super) fn ordinary(kind: usize, n: u64) -> String {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (kind as u64) << 40;
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    match kind % 14 {
        0 => (n + 1).to_string(),
        1 => (100_000_000 + n).to_string(),
        2 => format!("{}-{:06}", ["ORD", "INV", "TKT", "REF"][kind / 14 % 4], n * 37 % 1_000_000),
        3 => (1_700_000_000_000 + n * 60_007).to_string(),
        4 => format!("2024-{:02}-{:02}T{:02}:00:00Z", mixed % 12 + 1, mixed / 12 % 28 + 1, mixed / 400 % 24),
        5 => format!("2024-{:02}-{:02}", mixed % 12 + 1, mixed / 12 % 28 + 1),
        6 => format!("{:016x}{:016x}", mixed, mixed.rotate_left(17)),
        7 => format!("{}.{:02}", mixed % 100_000, mixed / 7 % 100),
        8 => ["US", "DE", "FR"][mixed as usize % 3].to_owned(),
        9 => ["shipped", "pending", "returned", "in transit to the customer"][mixed as usize % 4].to_owned(),
        10 => (mixed % 1_000_000_000).to_string(),
        11 => format!("{:08x}-1c2b-4{:03x}-a716-{:012x}", mixed >> 32, mixed % 4096, mixed & 0xffff_ffff_ffff),
        12 => format!("1.{}.{}", mixed % 20, mixed / 20 % 10),
        _ => {
            format!("{} {} was sent on 2024-05-{:02}", ["order", "parcel"][kind / 14 % 2], 100_000 + n, mixed % 28 + 1)
        }
    }
}

#[test]
fn times_at_even_steps_are_nobodys_number() {
    let rows: Vec<Vec<String>> = (0..14).map(|n| [0, 3].map(|kind| ordinary(kind, 103_997 + n)).to_vec()).collect();
    let csv = csv(&["c0", "c1"], &rows);
    let found = verified(csv.as_bytes(), &Reading::default(), &with(&["c0=keep", "c1=keep"], Verify::Warn));
    assert_eq!(found.unwrap().leaks, vec![]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    /// Of two columns that run in step from the same number one tells the other; no two here do.
    #[test]
    fn ordinary_tables_raise_no_alarm(
        kinds in proptest::sample::subsequence((0..28_usize).collect::<Vec<_>>(), 2..9),
        masks in proptest::collection::vec(0..4_usize, 9),
        offset in 0..1_000_000_u64,
        rows in 1..400_u64,
    ) {
        let mut kinds = kinds;
        for running in [0, 1, 3] {
            let mut seen = false;
            kinds.retain(|kind| kind % 14 != running || !std::mem::replace(&mut seen, true));
        }
        let header: Vec<String> = (0..kinds.len()).map(|column| format!("c{column}")).collect();
        let rules: Vec<String> = header.iter().zip(&masks).map(|(name, mask)| format!("{name}={}", ["keep", "keep", "hash", "redact"][*mask])).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> = (0..rows).map(|n| kinds.iter().map(|kind| ordinary(*kind, offset + n)).collect()).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let csv = csv(&header, &rows);
        prop_assert_eq!(verified(csv.as_bytes(), &Reading::default(), &with(&rules, Verify::Warn)).unwrap().leaks, vec![]);
    }
}
