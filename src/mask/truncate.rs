//! Prefixes: of text, ZIP codes, IP addresses and geohashes (ISO/IEC 20889: generalization).

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// ZIP prefixes, first to last of each run, whose areas hold more than 20,000 people: only these may be kept (45 CFR
/// 164.514(b)(2)(i)(B)). Everything else is `000`: the small ones (036 059 102 202 203 204 205 369 556 692 753 772 821
/// 823 878 879 884 893), and prefixes in which the census counts nobody, such as those of military mail.
///
/// From the 2020 Census, Demographic and Housing Characteristics File, table P1 (total population) of every ZIP Code
/// Tabulation Area, summed by first three digits: 894 prefixes with 334,726,586 people, 876 of them above 20,000.
const KEPT_ZIP3: [(u16, u16); 75] = [
    (6, 7),
    (9, 35),
    (37, 54),
    (56, 58),
    (60, 89),
    (100, 101),
    (103, 191),
    (193, 201),
    (206, 212),
    (214, 268),
    (270, 310),
    (312, 331),
    (333, 339),
    (341, 342),
    (344, 344),
    (346, 347),
    (349, 352),
    (354, 368),
    (370, 374),
    (376, 398),
    (400, 418),
    (420, 427),
    (430, 458),
    (460, 508),
    (510, 516),
    (520, 528),
    (530, 532),
    (534, 535),
    (537, 551),
    (553, 554),
    (557, 567),
    (570, 577),
    (580, 588),
    (590, 620),
    (622, 631),
    (633, 641),
    (644, 648),
    (650, 658),
    (660, 662),
    (664, 681),
    (683, 691),
    (693, 693),
    (700, 701),
    (703, 708),
    (710, 714),
    (716, 731),
    (734, 741),
    (743, 752),
    (754, 770),
    (773, 816),
    (820, 820),
    (822, 822),
    (824, 838),
    (840, 841),
    (843, 847),
    (850, 853),
    (855, 857),
    (859, 860),
    (863, 865),
    (870, 871),
    (873, 875),
    (877, 877),
    (880, 883),
    (890, 891),
    (894, 895),
    (897, 898),
    (900, 900),
    (902, 908),
    (910, 928),
    (930, 937),
    (939, 941),
    (943, 961),
    (967, 968),
    (970, 986),
    (988, 999),
];

/// Letters and digits of a geohash.
const GEOHASH: &[u8] = b"0123456789bcdefghjkmnpqrstuvwxyz";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncateMask {
    /// The first characters.
    Prefix { keep: u32 },
    /// The first three digits of a US ZIP code, `000` where too few people live.
    Zip3,
    /// The network of an address; IPv6 keeps twice as many bits. From 1 to 31.
    Ip { keep_bits: u32 },
    /// The cell around a place.
    Geohash { keep: u32 },
}

impl TruncateMask {
    /// What it reads, for messages.
    pub fn expected(&self) -> &'static str {
        match self {
            TruncateMask::Prefix { .. } => "any text",
            TruncateMask::Zip3 => "a US ZIP code of five or nine digits",
            TruncateMask::Ip { .. } => "an IPv4 or IPv6 address",
            TruncateMask::Geohash { .. } => "a geohash",
        }
    }

    /// Appends the prefix; false when the value is not of the kind.
    pub fn mask_into(&self, value: &str, out: &mut String) -> bool {
        match self {
            TruncateMask::Prefix { keep } => {
                let end = value.char_indices().nth(*keep as usize).map_or(value.len(), |(end, _)| end);
                out.push_str(&value[..end]);
                true
            }
            TruncateMask::Zip3 => zip3(value).map(|prefix| out.push_str(prefix)).is_some(),
            TruncateMask::Ip { keep_bits } => match value.parse() {
                Ok(address) => write!(out, "{}", network(address, *keep_bits)).is_ok(),
                Err(_) => false,
            },
            TruncateMask::Geohash { keep } => {
                let is_geohash = value.bytes().all(|byte| GEOHASH.contains(&byte.to_ascii_lowercase()));
                out.push_str(if is_geohash { &value[..value.len().min(*keep as usize)] } else { "" });
                is_geohash
            }
        }
    }
}

/// The prefix that may be given out. A code with its leading zero lost has four digits, and is none.
fn zip3(value: &str) -> Option<&str> {
    let (area, plus_four) = value.split_at_checked(5)?;
    let plus_four = plus_four.strip_prefix('-').filter(|four| !four.is_empty()).unwrap_or(plus_four);
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(area) || !all_digits(plus_four) || !matches!(plus_four.len(), 0 | 4) {
        return None;
    }
    let prefix = &area[..3];
    let number: u16 = prefix.parse().ok()?;
    let kept = KEPT_ZIP3.iter().any(|(first, last)| (*first..=*last).contains(&number));
    Some(if kept { prefix } else { "000" })
}

/// The address with its host bits cleared. Where an IPv6 address carries an IPv4 one, that is cut like one.
fn network(address: IpAddr, keep_bits: u32) -> IpAddr {
    let cut_v4 = |address: Ipv4Addr| Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - keep_bits)));
    match address {
        IpAddr::V4(address) => cut_v4(address).into(),
        IpAddr::V6(address) => {
            if let Some(mapped) = address.to_ipv4_mapped() {
                return cut_v4(mapped).to_ipv6_mapped().into();
            }
            let is_6to4 = address.segments()[0] == 0x2002;
            let bits = if is_6to4 { (16 + keep_bits).min(2 * keep_bits) } else { 2 * keep_bits };
            Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits))).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(mask: TruncateMask, value: &str) -> Option<String> {
        let mut out = String::new();
        mask.mask_into(value, &mut out).then_some(out)
    }

    #[test]
    fn zip_codes_keep_three_digits_where_more_than_20_000_people_live() {
        let zip3 = |value| masked(TruncateMask::Zip3, value);
        assert_eq!(zip3("02139").as_deref(), Some("021"));
        assert_eq!(zip3("02139-4307").as_deref(), Some("021"));
        assert_eq!(zip3("021394307").as_deref(), Some("021"));
        for small in ["03601", "05901", "10282", "20252", "20500", "36907", "69201", "75301", "82190", "89301"] {
            assert_eq!(zip3(small).as_deref(), Some("000"), "{small}");
        }
        // Small in 2000, and still in lists that are passed around.
        for grown in ["06320", "79014", "83001", "83112", "89002"] {
            assert_eq!(zip3(grown).as_deref(), Some(&grown[..3]), "{grown}");
        }
        assert_eq!(zip3("09012").as_deref(), Some("000"), "military mail has no area");
        for no_zip in ["2139", "021", "0213A", "02139-", "02139-43", "02139 4307", "SW1A 1AA", "٠٢١٣٩", "021394"] {
            assert_eq!(zip3(no_zip), None, "{no_zip}");
        }
    }

    #[test]
    fn the_zip_table_is_that_of_the_census() {
        assert!(KEPT_ZIP3.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        assert_eq!(KEPT_ZIP3.iter().map(|(first, last)| last - first + 1).sum::<u16>(), 876);
    }

    #[test]
    fn addresses_keep_their_network() {
        let ip = |keep_bits, value| masked(TruncateMask::Ip { keep_bits }, value);
        assert_eq!(ip(24, "192.0.2.77").as_deref(), Some("192.0.2.0"));
        assert_eq!(ip(16, "192.0.2.77").as_deref(), Some("192.0.0.0"));
        assert_eq!(ip(24, "2001:DB8:1:2::77").as_deref(), Some("2001:db8:1::"));
        assert_eq!(ip(16, "2001:db8:1:2::77").as_deref(), Some("2001:db8::"));
        assert_eq!(ip(24, "::ffff:192.0.2.77").as_deref(), Some("::ffff:192.0.2.0"));
        assert_eq!(ip(24, "2002:c000:024d:1::1").as_deref(), Some("2002:c000:200::"), "6to4 of 192.0.2.77");
        for no_address in ["192.0.2", "192.0.2.077", "192.0.2.77/32", "192.0.2.77:80", "fe80::1%eth0", "host"] {
            assert_eq!(ip(24, no_address), None, "{no_address}");
        }
    }

    #[test]
    fn geohashes_keep_their_cell() {
        let geohash = |value| masked(TruncateMask::Geohash { keep: 5 }, value);
        assert_eq!(geohash("u33dc0cpn5x8").as_deref(), Some("u33dc"));
        assert_eq!(geohash("U33DC0").as_deref(), Some("U33DC"));
        assert_eq!(geohash("u33").as_deref(), Some("u33"));
        assert_eq!(geohash("52.5,13.4"), None);
    }

    proptest::proptest! {
        #[test]
        fn hosts_of_one_network_become_one(network in 0_u32.., hosts in proptest::array::uniform2(0_u32..256)) {
            let of = |host: u32| masked(
                TruncateMask::Ip { keep_bits: 24 },
                &Ipv4Addr::from_bits((network & !0xff) | host).to_string(),
            );
            proptest::prop_assert_eq!(of(hosts[0]), of(hosts[1]));
        }
    }
}
