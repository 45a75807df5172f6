//! FF1 of NIST SP 800-38G Rev. 1: a permutation of the texts of one length over one alphabet.
//!
//! The halves are numbers of at most [`MOST_BITS`] bits, which bounds the length; no allocation but for a long tweak.

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockCipher, BlockEncrypt, BlockSizeUser, KeyInit, consts::U16};

/// Values of a domain below which all can be tried out (Rev. 1, section 5.1).
pub const LEAST_DOMAIN: u128 = 1_000_000;
/// A half's bits: one more byte must fit beside them.
const MOST_BITS: u32 = 120;
const ROUNDS: u8 = 10;
const BLOCK: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Encrypt,
    Decrypt,
}

/// FF1 over one radix, with its key scheduled.
pub struct Ff1<C> {
    cipher: C,
    radix: u16,
}

/// Fewest numerals of one radix that are a domain large enough.
pub fn least_length(radix: u16) -> usize {
    (1..).find(|length| power(radix, *length).is_none_or(|domain| domain >= LEAST_DOMAIN)).expect("powers grow")
}

/// Most numerals of one radix whose halves fit the arithmetic.
pub fn most_length(radix: u16) -> usize {
    let fits = |half: &usize| power(radix, *half).is_some_and(|domain| domain < 1 << MOST_BITS);
    2 * (1..).take_while(fits).count()
}

fn power(radix: u16, exponent: usize) -> Option<u128> {
    u128::from(radix).checked_pow(u32::try_from(exponent).ok()?)
}

impl<C: BlockCipher + BlockEncrypt + KeyInit + BlockSizeUser<BlockSize = U16>> Ff1<C> {
    /// `radix` is at least 2.
    pub fn new(key: &[u8], radix: u16) -> Ff1<C> {
        Ff1 { cipher: C::new_from_slice(key).expect("the key has the cipher's length"), radix }
    }

    /// Replaces numerals, each below the radix, by others; between [`least_length`] and [`most_length`] of them.
    pub fn transform(&self, direction: Direction, tweak: &[u8], numerals: &mut [u16]) {
        let length = numerals.len();
        let (left, right) = numerals.split_at_mut(length / 2);
        let modulus = |half: &[u16]| power(self.radix, half.len()).expect("the caller has looked at the length");
        let moduli = [modulus(left), modulus(right)];
        let mut round = Round::new(&self.cipher, self.radix, (left.len(), length), tweak, moduli[1]);
        let (mut a, mut b) = (self.number(left), self.number(right));
        for step in 0..ROUNDS {
            match direction {
                Direction::Encrypt => {
                    let modulus = moduli[usize::from(step % 2)];
                    let sum = (a + round.function(step, b, modulus)) % modulus;
                    (a, b) = (b, sum);
                }
                Direction::Decrypt => {
                    let step = ROUNDS - 1 - step;
                    let modulus = moduli[usize::from(step % 2)];
                    let difference = (b + modulus - round.function(step, a, modulus)) % modulus;
                    (a, b) = (difference, a);
                }
            }
        }
        self.write(a, left);
        self.write(b, right);
    }

    fn number(&self, numerals: &[u16]) -> u128 {
        numerals.iter().fold(0, |number, numeral| number * u128::from(self.radix) + u128::from(*numeral))
    }

    fn write(&self, mut number: u128, numerals: &mut [u16]) {
        for numeral in numerals.iter_mut().rev() {
            *numeral = (number % u128::from(self.radix)) as u16;
            number /= u128::from(self.radix);
        }
    }
}

/// The round function, with what all rounds share.
struct Round<'c, C> {
    cipher: &'c C,
    /// The cipher's answer to the block `P`.
    begun: [u8; BLOCK],
    /// `Q`: the tweak, zeros, the round's number, a half.
    q: Vec<u8>,
    /// Bytes of a half, `b` in the standard.
    half_bytes: usize,
    /// Bytes taken from the cipher, `d` in the standard.
    taken_bytes: usize,
}

impl<'c, C: BlockCipher + BlockEncrypt + BlockSizeUser<BlockSize = U16>> Round<'c, C> {
    fn new(cipher: &'c C, radix: u16, (half, length): (usize, usize), tweak: &[u8], modulus: u128) -> Round<'c, C> {
        let half_bytes = ((u128::BITS - (modulus - 1).leading_zeros()) as usize).div_ceil(8);
        let mut p = [1, 2, 1, 0, 0, 0, ROUNDS, half as u8, 0, 0, 0, 0, 0, 0, 0, 0];
        p[3..6].copy_from_slice(&u32::from(radix).to_be_bytes()[1..]);
        p[8..12].copy_from_slice(&(length as u32).to_be_bytes());
        p[12..].copy_from_slice(&(tweak.len() as u32).to_be_bytes());
        cipher.encrypt_block(GenericArray::from_mut_slice(&mut p));
        let mut q = vec![0; (tweak.len() + half_bytes + 1).next_multiple_of(BLOCK)];
        q[..tweak.len()].copy_from_slice(tweak);
        Round { cipher, begun: p, q, half_bytes, taken_bytes: 4 * half_bytes.div_ceil(4) + 4 }
    }

    /// The pseudorandom number of a round and a half, reduced.
    fn function(&mut self, round: u8, half: u128, modulus: u128) -> u128 {
        let at = self.q.len() - self.half_bytes;
        self.q[at - 1] = round;
        self.q[at..].copy_from_slice(&half.to_be_bytes()[BLOCK - self.half_bytes..]);
        let mut state = self.begun;
        for block in self.q.chunks_exact(BLOCK) {
            state.iter_mut().zip(block).for_each(|(byte, with)| *byte ^= with);
            self.cipher.encrypt_block(GenericArray::from_mut_slice(&mut state));
        }
        let first = u128::from_be_bytes(state);
        if self.taken_bytes <= BLOCK {
            return (first >> (8 * (BLOCK - self.taken_bytes))) % modulus;
        }
        // Halves of at most 15 bytes take at most 20: four more, of the next block.
        let mut next = (first ^ 1).to_be_bytes();
        self.cipher.encrypt_block(GenericArray::from_mut_slice(&mut next));
        let more = next[..self.taken_bytes - BLOCK].iter();
        more.fold(first % modulus, |number, byte| ((number << 8) | u128::from(*byte)) % modulus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes::{Aes128, Aes192, Aes256};
    use proptest::prelude::*;

    const KEY: [u8; 32] = [
        0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c, 0xef, 0x43,
        0x59, 0xd8, 0xd5, 0x80, 0xaa, 0x4f, 0x7f, 0x03, 0x6d, 0x6f, 0x04, 0xfc, 0x6a, 0x94,
    ];
    const DIGITS_TWEAK: &[u8] = b"9876543210";
    const TEXT_TWEAK: &[u8] = b"7777pqrs777";

    fn numerals(text: &str) -> Vec<u16> {
        text.chars().map(|character| character.to_digit(36).unwrap() as u16).collect()
    }

    fn text(numerals: &[u16]) -> String {
        numerals.iter().map(|numeral| char::from_digit(u32::from(*numeral), 36).unwrap()).collect()
    }

    fn check<C: BlockCipher + BlockEncrypt + KeyInit + BlockSizeUser<BlockSize = U16>>(
        key: &[u8],
        radix: u16,
        tweak: &[u8],
        plain: &str,
        sealed: &str,
    ) {
        let ff1 = Ff1::<C>::new(key, radix);
        let mut found = numerals(plain);
        ff1.transform(Direction::Encrypt, tweak, &mut found);
        assert_eq!(text(&found), sealed);
        ff1.transform(Direction::Decrypt, tweak, &mut found);
        assert_eq!(text(&found), plain);
    }

    /// https://csrc.nist.gov/CSRC/media/Projects/Cryptographic-Standards-and-Guidelines/documents/examples/FF1samples.pdf
    #[test]
    fn nist_sample_vectors() {
        let long = "0123456789abcdefghi";
        check::<Aes128>(&KEY[..16], 10, b"", "0123456789", "2433477484");
        check::<Aes128>(&KEY[..16], 10, DIGITS_TWEAK, "0123456789", "6124200773");
        check::<Aes128>(&KEY[..16], 36, TEXT_TWEAK, long, "a9tv40mll9kdu509eum");
        check::<Aes192>(&KEY[..24], 10, b"", "0123456789", "2830668132");
        check::<Aes192>(&KEY[..24], 10, DIGITS_TWEAK, "0123456789", "2496655549");
        check::<Aes192>(&KEY[..24], 36, TEXT_TWEAK, long, "xbj3kv35jrawxv32ysr");
        check::<Aes256>(&KEY, 10, b"", "0123456789", "6657667009");
        check::<Aes256>(&KEY, 10, DIGITS_TWEAK, "0123456789", "1001623463");
        check::<Aes256>(&KEY, 36, TEXT_TWEAK, long, "xs8a0azh2avyalyzuwd");
    }

    #[test]
    fn lengths_are_those_of_the_standard_and_of_the_arithmetic() {
        assert_eq!([2, 10, 26, 36, 62, 1000].map(least_length), [20, 6, 5, 4, 4, 2]);
        assert_eq!([10, 36, 62].map(most_length), [72, 46, 40]);
    }

    proptest! {
        #[test]
        fn as_an_independent_implementation_has_it(
            radix in prop_oneof![Just(2_u16), Just(10), Just(26), Just(36), Just(62), 2..1000_u16],
            seed in proptest::collection::vec(any::<u16>(), 0..72),
            tweak in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let length = seed.len().clamp(least_length(radix), most_length(radix));
            let mut found: Vec<u16> = (0..length).map(|at| seed.get(at).copied().unwrap_or(0) % radix).collect();
            let theirs = fpe::ff1::FF1::<Aes256>::new(&KEY, u32::from(radix)).unwrap();
            let sealed = theirs.encrypt(&tweak, &fpe::ff1::FlexibleNumeralString::from(found.clone())).unwrap();
            let plain = found.clone();
            let ours = Ff1::<Aes256>::new(&KEY, radix);
            ours.transform(Direction::Encrypt, &tweak, &mut found);
            prop_assert_eq!(&found, &Vec::<u16>::from(sealed));
            ours.transform(Direction::Decrypt, &tweak, &mut found);
            prop_assert_eq!(found, plain);
        }
    }
}
