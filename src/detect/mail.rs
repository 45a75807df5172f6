//! E-mail addresses, as people have them: RFC 5321 without quoted local parts and address literals.

/// One in how many unrelated cells with an `@` in them passes.
pub(super) const ONE_IN: u32 = 200;

/// The address around the `@` at that place: where it begins and ends.
pub(super) fn around(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let start = text[..at].iter().rposition(|&byte| !is_local(byte)).map_or(0, |before| before + 1);
    let local = &text[start..at];
    // A dot that ends the sentence before, or quotes, are not part of it.
    let start = start + local.iter().take_while(|byte| matches!(byte, b'.' | b'\'' | b'*' | b'/' | b'=')).count();
    let local = text.get(start..at).filter(|local| !local.is_empty() && local.len() <= 64)?;
    if local.ends_with(b".") || local.windows(2).any(|pair| pair == b"..") {
        return None;
    }
    let run = text[at + 1..].iter().take_while(|&&byte| is_domain(byte)).count();
    let domain = &text[at + 1..at + 1 + run];
    let trailing = domain.iter().rev().take_while(|byte| matches!(byte, b'.' | b'-')).count();
    let domain = &domain[..run - trailing];
    is_domain_name(domain).then_some((start, at + 1 + domain.len()))
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || matches!(byte, b'-' | b'.')
}

/// At least two labels, the last of letters or punycode.
fn is_domain_name(domain: &[u8]) -> bool {
    let mut labels = domain.split(|&byte| byte == b'.').rev();
    let last = labels.next().unwrap_or_default();
    let is_top = last.len() >= 2
        && (last.iter().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()) || last.starts_with(b"xn--"));
    let mut more = labels.peekable();
    domain.len() <= 253
        && is_top
        && more.peek().is_some()
        && more.all(|label| (1..=63).contains(&label.len()) && !label.starts_with(b"-") && !label.ends_with(b"-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        let at = text.find('@')?;
        around(text.as_bytes(), at).map(|(start, end)| &text[start..end])
    }

    #[test]
    fn addresses_and_what_only_looks_like_them() {
        assert_eq!(found("mail me: <jörg.o'neil+x@post.example.co.uk>."), Some("jörg.o'neil+x@post.example.co.uk"));
        assert_eq!(found("a@b.de."), Some("a@b.de"));
        assert_eq!(found("'a@b.de'"), Some("a@b.de"));
        for no_address in ["@handle", "a@b", "a@b.1", "a..b@c.de", "a@-b.de", "a@.de", "5 @ 3.50", "x@10.0.0.1", "a@"] {
            assert_eq!(found(no_address), None, "{no_address}");
        }
    }
}
