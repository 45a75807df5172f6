//! What a unit lets the service reach of the network, and what the service has to reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::path::Path;

/// PrivateNetwork=, RestrictAddressFamilies=, IPAddressAllow= and IPAddressDeny= of a unit with its drop-ins.
#[derive(Debug, Default, PartialEq)]
pub struct Network {
    private: bool,
    families: Families,
    allowed: Vec<Range>,
    denied: Vec<Range>,
}

#[derive(Debug, Default, PartialEq)]
enum Families {
    #[default]
    All,
    Only(Vec<String>),
    AllBut(Vec<String>),
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Takes up a directive, if it is one of these.
    pub fn set(&mut self, key: &str, value: &str) {
        match key {
            "PrivateNetwork" => self.private = matches!(value, "yes" | "true" | "on" | "1"),
            "RestrictAddressFamilies" => self.families.take(value),
            "IPAddressAllow" => take_ranges(&mut self.allowed, value),
            "IPAddressDeny" => take_ranges(&mut self.denied, value),
            _ => {}
        }
    }

    /// The directive that keeps the service from an address.
    pub fn keeps_from(&self, address: IpAddr) -> Option<&'static str> {
        let within = |ranges: &[Range]| ranges.iter().any(|range| range.holds(address));
        if self.private {
            Some("PrivateNetwork=")
        } else if !self.families.has(family(address)) {
            Some("RestrictAddressFamilies=")
        } else {
            (within(&self.denied) && !within(&self.allowed)).then_some("IPAddressDeny=")
        }
    }
}

impl Families {
    /// Lists in drop-ins add up; an empty one forgets all.
    fn take(&mut self, value: &str) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        match (value.strip_prefix('~'), &mut *self) {
            (None, _) if value.is_empty() => *self = Families::All,
            (None, _) if value == "none" => *self = Families::Only(Vec::new()),
            (None, Families::Only(known)) => known.extend(words(value)),
            (None, Families::AllBut(refused)) => refused.retain(|it| !words(value).contains(it)),
            (None, Families::All) => *self = Families::Only(words(value)),
            (Some(gone), Families::Only(known)) => known.retain(|it| !words(gone).contains(it)),
            (Some(gone), Families::AllBut(refused)) => refused.extend(words(gone)),
            (Some(gone), Families::All) => *self = Families::AllBut(words(gone)),
        }
    }

    fn has(&self, family: &str) -> bool {
        match self {
            Families::All => true,
            Families::Only(known) => known.iter().any(|it| it == family),
            Families::AllBut(refused) => refused.iter().all(|it| it != family),
        }
    }
}

impl Range {
    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.bits.min(Ipv4Addr::BITS)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.bits.min(Ipv6Addr::BITS)
            }
            _ => false,
        }
    }
}

fn take_ranges(list: &mut Vec<Range>, value: &str) {
    if value.is_empty() {
        list.clear();
    }
    list.extend(value.split_whitespace().flat_map(ranges));
}

/// What one word of IPAddressAllow= stands for; nothing where it is unknown.
fn ranges(word: &str) -> Vec<Range> {
    let named: &[&str] = match word {
        "any" => &["0.0.0.0/0", "::/0"],
        "localhost" => &["127.0.0.0/8", "::1/128"],
        "link-local" => &["169.254.0.0/16", "fe80::/64"],
        "multicast" => &["224.0.0.0/4", "ff00::/8"],
        other => return range(other).into_iter().collect(),
    };
    named.iter().filter_map(|text| range(text)).collect()
}

fn range(text: &str) -> Option<Range> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let all = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
    Some(Range { address, bits: bits.map_or(Some(all), |bits| bits.parse().ok())? })
}

/// As RestrictAddressFamilies= calls an address' family.
pub fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "AF_INET" } else { "AF_INET6" }
}

/// Every address that is needed to reach a host: its own, and those of the resolvers where it is given by name.
pub fn needed_for(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let mut needed: Vec<IpAddr> = (host, 0).to_socket_addrs()?.map(|it| it.ip()).collect();
    needed.extend(resolvers(Path::new("/etc/resolv.conf")));
    needed.sort();
    needed.dedup();
    Ok(needed)
}

fn resolvers(path: &Path) -> Vec<IpAddr> {
    let text = std::fs::read_to_string(path).unwrap_or_default(); // without one the resolver asks this host itself
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let found: Vec<IpAddr> = servers.filter_map(|it| it.split('%').next()?.trim().parse().ok()).collect();
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(directives: &[(&str, &str)]) -> Network {
        let mut network = Network::default();
        directives.iter().for_each(|(key, value)| network.set(key, value));
        network
    }

    #[test]
    fn each_directive_keeps_from_what_systemd_says() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let shipped = [("PrivateNetwork", "yes"), ("IPAddressDeny", "any"), ("RestrictAddressFamilies", "AF_UNIX")];
        let with = |more: &[(&'static str, &'static str)]| network(&[&shipped[..], more].concat());
        let (v4, v6) = (address("192.0.2.10"), address("2001:db8::1"));
        assert_eq!(Network::default().keeps_from(v4), None);
        assert_eq!(with(&[]).keeps_from(v4), Some("PrivateNetwork="));
        let open = ("PrivateNetwork", "no");
        assert_eq!(with(&[open]).keeps_from(v4), Some("RestrictAddressFamilies="));
        let families = ("RestrictAddressFamilies", "AF_INET AF_INET6");
        assert_eq!(with(&[open, families]).keeps_from(v4), Some("IPAddressDeny="));
        for (allowed, by_v4, by_v6) in [
            ("192.0.2.10", true, false),
            ("192.0.2.0/24 localhost", true, false),
            ("192.0.3.0/24", false, false),
            ("2001:db8::/32", false, true),
            ("any", true, true),
            ("nonsense", false, false),
        ] {
            let network = with(&[open, families, ("IPAddressAllow", allowed)]);
            let lets = [v4, v6].map(|it| network.keeps_from(it).is_none());
            assert_eq!(lets, [by_v4, by_v6], "{allowed}");
        }
        let without = |value| with(&[open, ("IPAddressAllow", "any"), ("RestrictAddressFamilies", value)]);
        assert_eq!(without("").keeps_from(v4), None);
        assert_eq!(without("AF_INET").keeps_from(v6), Some("RestrictAddressFamilies="));
        assert_eq!(network(&[("RestrictAddressFamilies", "~AF_INET6")]).keeps_from(v4), None);
        assert!(network(&[("RestrictAddressFamilies", "~AF_INET6")]).keeps_from(v6).is_some());
        assert!(network(&[("RestrictAddressFamilies", "none")]).keeps_from(v4).is_some());
        assert_eq!(with(&[open, families, ("IPAddressDeny", "")]).keeps_from(v4), None);
    }

    #[test]
    fn an_address_needs_itself_and_a_name_the_resolvers_too() {
        let one: Vec<IpAddr> = vec!["192.0.2.10".parse().unwrap()];
        assert_eq!(needed_for("192.0.2.10").unwrap(), one);
        assert!(needed_for("localhost").unwrap().iter().any(IpAddr::is_loopback));
        assert!(needed_for(&"x".repeat(70)).is_err());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("resolv.conf");
        assert_eq!(resolvers(&file), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        std::fs::write(&file, "# nameserver 10.0.0.9\nsearch a\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n")
            .unwrap();
        assert_eq!(resolvers(&file), ["10.0.0.1", "fe80::1"].map(|it| it.parse::<IpAddr>().unwrap()));
    }
}
