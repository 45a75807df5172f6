//! Addresses of machines, and URLs that carry a password.

use std::net::{Ipv4Addr, Ipv6Addr};

/// One in how many unrelated cells that begin alike passes.
pub(super) const ONE_IN: u32 = 50;

/// Length of the dotted quad at the beginning of the text; version numbers with more parts are none.
pub(super) fn ipv4_at(text: &[u8]) -> Option<usize> {
    let end = text.iter().take(16).take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let quad = text[..end].strip_suffix(b".").unwrap_or(&text[..end]);
    std::str::from_utf8(quad).ok()?.parse::<Ipv4Addr>().ok()?;
    Some(quad.len())
}

/// Length of the IPv6 address at the beginning of the text, `::` alone excepted.
pub(super) fn ipv6_at(text: &[u8]) -> Option<usize> {
    let end = text.iter().take(46).take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')).count();
    let address = text[..end].strip_suffix(b".").unwrap_or(&text[..end]);
    if address.iter().filter(|&&byte| byte == b':').count() < 2 || address.len() < 4 {
        return None;
    }
    std::str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok()?;
    Some(address.len())
}

/// Length of the MAC address at the beginning of the text: six pairs, or Cisco's three groups of four.
pub(super) fn mac_at(text: &[u8]) -> Option<usize> {
    let grouped = |separator: u8, group: usize, length: usize| {
        let fits = |(place, &byte): (usize, &u8)| match place % (group + 1) {
            place if place == group => byte == separator,
            _ => byte.is_ascii_hexdigit(),
        };
        text.len() >= length && text[..length].iter().enumerate().all(fits)
    };
    let length = match text.get(2)? {
        separator @ (b':' | b'-') if grouped(*separator, 2, 17) => 17,
        _ if text.get(4) == Some(&b'.') && grouped(b'.', 4, 14) => 14,
        _ => return None,
    };
    let ends = !text.get(length).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-'));
    ends.then_some(length)
}

/// The URL with `user:password@` whose `://` is at that place: where it begins and ends.
pub(super) fn url_around(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-');
    let start = text[..at].iter().rposition(|&byte| !is_scheme(byte)).map_or(0, |before| before + 1);
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'<' | b'>' | b'\'');
    let rest = &text[at + 3..];
    // Little is read of what has no user: a text may be full of it.
    let ends_authority = |byte: &u8| is_end(byte) || matches!(byte, b'/' | b'?' | b'#');
    let authority = &rest[..rest.iter().position(ends_authority).unwrap_or(rest.len())];
    let user = &authority[..authority.iter().rposition(|&byte| byte == b'@')?];
    let colon = user.iter().position(|&byte| byte == b':')?;
    if at == start || colon + 1 == user.len() {
        return None;
    }
    Some((start, at + 3 + rest.iter().position(is_end).unwrap_or(rest.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_where_they_end() {
        assert_eq!(ipv4_at(b"192.168.0.1."), Some(11));
        assert_eq!(ipv4_at(b"10.0.0.256"), None);
        assert_eq!(ipv4_at(b"1.2.3.4.5"), None);
        assert_eq!(ipv6_at(b"2001:db8::1 up"), Some(11));
        assert_eq!(ipv6_at(b"::ffff:192.0.2.1"), Some(16));
        assert_eq!(ipv6_at(b"12:30:45"), None);
        assert_eq!(mac_at(b"00:1b:63:84:45:e6"), Some(17));
        assert_eq!(mac_at(b"001b.6384.45e6"), Some(14));
        assert_eq!(mac_at(b"00:1b:63:84:45:e6:77"), None);
    }

    #[test]
    fn only_urls_with_a_password_count() {
        let found = |text: &str| {
            let at = text.find("://").unwrap();
            url_around(text.as_bytes(), at).map(|(start, end)| text[start..end].to_owned())
        };
        assert_eq!(found("see postgres://bob:s3cret@db/x now").as_deref(), Some("postgres://bob:s3cret@db/x"));
        assert_eq!(found("https://example.com/a:b@c"), None);
        assert_eq!(found("https://bob@example.com"), None);
    }
}
