//! Secrets that tell themselves by a prefix their issuer gave them: keys of clouds and services, tokens, private keys.

/// One in how many unrelated cells that begin alike passes.
pub(super) const ONE_IN: u32 = 100_000;

/// What follows a prefix.
enum Tail {
    /// So many letters, digits, `-` and `_`, at least.
    Word(usize),
    /// Exactly so many capitals and digits.
    Capitals(usize),
    /// Three parts of Base64url, the first a JSON object.
    Jwt,
    /// Up to the line that ends the block.
    Pem,
    /// Base64 of at least so many characters.
    Base64(usize),
}

/// Prefixes, distinct in their first bytes; [`PREFIXES`] has them for the prefilter.
const KINDS: &[(&str, Tail)] = &[
    ("AKIA", Tail::Capitals(16)),
    ("ASIA", Tail::Capitals(16)),
    ("AGE-SECRET-KEY-1", Tail::Capitals(58)),
    ("AIza", Tail::Word(35)),
    ("AccountKey=", Tail::Base64(40)),
    ("SharedAccessKey=", Tail::Base64(40)),
    ("GOCSPX-", Tail::Word(28)),
    ("ghp_", Tail::Word(36)),
    ("gho_", Tail::Word(36)),
    ("ghu_", Tail::Word(36)),
    ("ghs_", Tail::Word(36)),
    ("ghr_", Tail::Word(36)),
    ("github_pat_", Tail::Word(60)),
    ("glpat-", Tail::Word(20)),
    ("xoxb-", Tail::Word(20)),
    ("xoxp-", Tail::Word(20)),
    ("xoxa-", Tail::Word(20)),
    ("xoxs-", Tail::Word(20)),
    ("sk_live_", Tail::Word(20)),
    ("rk_live_", Tail::Word(20)),
    ("sk_test_", Tail::Word(20)),
    ("whsec_", Tail::Word(24)),
    ("sk-", Tail::Word(40)),
    ("SG.", Tail::Base64(60)),
    ("npm_", Tail::Word(36)),
    ("pypi-AgE", Tail::Word(50)),
    ("dop_v1_", Tail::Word(64)),
    ("shpat_", Tail::Word(32)),
    ("hvs.", Tail::Word(24)),
    ("ya29.", Tail::Word(30)),
    ("eyJ", Tail::Jwt),
    ("-----BEGIN ", Tail::Pem),
];

/// More bytes than the head of a JSON Web Token has, a chain of certificates included.
const LONGEST_JWT_HEAD: usize = 8 << 10;

/// All prefixes, for a search of many at once.
pub(super) fn prefixes() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(prefix, _)| *prefix)
}

/// Length of the secret at the beginning of the text.
pub(super) fn at(text: &[u8]) -> Option<usize> {
    KINDS.iter().filter(|(prefix, _)| text.starts_with(prefix.as_bytes())).find_map(|(prefix, tail)| {
        let rest = &text[prefix.len()..];
        let length = match tail {
            Tail::Word(least) => run(rest, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'), *least),
            Tail::Capitals(exact) => {
                run(rest, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit(), *exact).filter(|it| it == exact)
            }
            Tail::Base64(least) => run(
                rest,
                |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'.' | b'-' | b'_'),
                *least,
            ),
            Tail::Jwt => jwt(text).map(|length| length - prefix.len()),
            Tail::Pem => pem(rest),
        };
        length.map(|length| prefix.len() + length)
    })
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool, least: usize) -> Option<usize> {
    let length = text.iter().take_while(|&&byte| belongs(byte)).count();
    (length >= least).then_some(length)
}

fn jwt(text: &[u8]) -> Option<usize> {
    use base64::Engine as _;
    let dot = text.iter().take(LONGEST_JWT_HEAD).position(|&byte| !is_base64_url(byte))?;
    if !text[dot..].starts_with(b".eyJ") {
        return None;
    }
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&text[..dot]).ok()?;
    if !json.starts_with(b"{\"") || !json.ends_with(b"}") {
        return None;
    }
    let length = run(text, |byte| is_base64_url(byte) || byte == b'.', 20)?;
    text[dot + 1..length].contains(&b'.').then_some(length)
}

fn is_base64_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A whole block where its end is there, else its first line: what follows is then cut off.
fn pem(rest: &[u8]) -> Option<usize> {
    let line = rest.iter().take(40).position(|&byte| byte == b'-')?;
    if !rest[..line].ends_with(b"PRIVATE KEY") && !rest[..line].ends_with(b"PRIVATE KEY BLOCK") {
        return None;
    }
    let end = memchr::memmem::find(rest, b"-----END ").and_then(|end| {
        let name = rest[end + 9..].iter().position(|&byte| byte == b'-')?;
        Some(end + 9 + name + rest[end + 9 + name..].iter().take_while(|&&byte| byte == b'-').count())
    });
    Some(end.unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Prefix and tail stand apart, so that no scanner takes this file for a leak.
    fn whole(prefix: &str, tail: &str) -> bool {
        let text = format!("{prefix}{tail}");
        at(text.as_bytes()) == Some(text.len())
    }

    #[test]
    fn secrets_are_told_by_prefix_and_tail() {
        assert!(whole("AKIA", "IOSFODNN7EXAMPLE"));
        assert!(!whole("AKIA", "IOSFODNN7EXAMPL"));
        assert!(whole("ghp_", &"a1B2".repeat(9)));
        assert!(whole("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"));
        assert!(!whole("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0"));
        assert!(whole("-----BEGIN ", "OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----"));
        assert!(!whole("-----BEGIN ", "CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"));
    }
}
