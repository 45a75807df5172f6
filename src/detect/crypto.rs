//! Cryptocurrency addresses: Base58Check, Bech32 and Ethereum's hexadecimal form.

use sha2::{Digest, Sha256};

/// One in how many unrelated cells that begin alike passes.
pub(super) const ONE_IN: u32 = 100_000;

/// Length of the address at the beginning of the text, which begins a word.
pub(super) fn at(text: &[u8]) -> Option<usize> {
    let word = text.iter().take(96).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let word = &text[..word];
    let known = match word {
        [b'0', b'x', hex @ ..] => hex.len() == 40 && hex.iter().all(u8::is_ascii_hexdigit),
        [b'b' | b'B', b'c' | b'C', b'1', ..] | [b'l' | b'L', b't' | b'T', b'c' | b'C', b'1', ..] => bech32(word),
        [b'1' | b'3' | b'L' | b'M' | b'D' | b'T', ..] if (26..=35).contains(&word.len()) => base58(word),
        _ => false,
    };
    known.then_some(word.len())
}

/// Bitcoin's, Litecoin's, Dogecoin's and Tron's: a version byte, 20 bytes, 4 bytes of doubled SHA-256.
fn base58(word: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0_u8; 25];
    for letter in word {
        let Some(mut carry) = ALPHABET.iter().position(|it| it == letter) else { return false };
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return false;
        }
    }
    let digest = Sha256::digest(Sha256::digest(&bytes[..21]));
    digest[..4] == bytes[21..] && matches!(bytes[0], 0x00 | 0x05 | 0x30 | 0x32 | 0x1e | 0x16 | 0x41)
}

/// BIP 173 and BIP 350: either constant.
fn bech32(word: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let mixed = word.iter().any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
    let word = word.to_ascii_lowercase();
    let Some(one) = word.iter().rposition(|&byte| byte == b'1') else { return false };
    let (prefix, data) = (&word[..one], &word[one + 1..]);
    let Some(data): Option<Vec<u32>> =
        data.iter().map(|byte| ALPHABET.iter().position(|it| it == byte).map(|it| it as u32)).collect()
    else {
        return false;
    };
    let high = prefix.iter().map(|byte| u32::from(byte >> 5));
    let low = prefix.iter().map(|byte| u32::from(byte & 31));
    let checked = high.chain([0]).chain(low).chain(data.iter().copied()).fold(1, |check: u32, value| {
        let top = check >> 25;
        let generators = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        let next = (check & 0x01ff_ffff) << 5 ^ value;
        generators.iter().enumerate().fold(next, |next, (bit, it)| if top >> bit & 1 == 1 { next ^ it } else { next })
    });
    !mixed && data.len() >= 6 && matches!(checked, 1 | 0x2bc8_30a3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_addresses_pass_and_changed_ones_do_not() {
        for address in [
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe",
        ] {
            assert_eq!(at(address.as_bytes()), Some(address.len()), "{address}");
        }
        assert_eq!(at(b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"), None);
        assert_eq!(at(b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"), None);
        assert_eq!(at(b"0x1234"), None);
    }
}
