//! HMAC-SHA-256 (RFC 2104) of which nothing stays in memory, and of short values two at a time.
//!
//! The hmac crate erases neither the states behind its keys nor its buffers. And one block's rounds wait for each other, two
//! blocks' do not: where the processor has instructions for SHA-256 they go side by side, and the inner digest never leaves
//! the registers.

use sha2::compress256;
use sha2::digest::generic_array::GenericArray;
use zeroize::Zeroizing;

/// Bytes of a block of SHA-256, of the length that ends a message, and of the longest text that shares a block with its
/// padding.
const BLOCK: usize = 64;
const LENGTH: usize = 8;
pub(crate) const LONGEST: usize = BLOCK - LENGTH - 1;
/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

type State = Zeroizing<[u32; 8]>;

/// The states behind the inner and the outer key.
pub(crate) struct ErasedHmac {
    inner: State,
    outer: State,
    has_instructions: bool,
}

impl ErasedHmac {
    pub(crate) fn new(key: &[u8; 32]) -> ErasedHmac {
        let state = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK]);
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = Zeroizing::new(INITIAL);
            compress(&mut state, &block);
            state
        };
        ErasedHmac { inner: state(0x36), outer: state(0x5c), has_instructions: has_instructions() }
    }

    /// The digest of a message in pieces.
    pub(crate) fn digest(&self, message: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let inner = after(&self.inner, message);
        after(&self.outer, &[inner.as_slice()])
    }

    /// The digests of two values of at most [`LONGEST`] bytes.
    #[inline]
    pub(crate) fn digests(&self, values: [&[u8]; 2]) -> [[u8; 32]; 2] {
        #[cfg(target_arch = "x86_64")]
        if self.has_instructions {
            // SAFETY: the processor has the instructions.
            return unsafe { pair::digests(&self.inner, &self.outer, values) };
        }
        values.map(|value| *self.digest(&[value]))
    }
}

fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

fn compress(state: &mut [u32; 8], block: &[u8; BLOCK]) {
    compress256(state, std::slice::from_ref(GenericArray::from_slice(block)));
}

/// The digest of a message behind one block that is in the state already.
#[inline]
fn after(state: &State, message: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut state = state.clone();
    let (mut block, mut filled, mut bytes) = (Zeroizing::new([0; BLOCK]), 0, BLOCK);
    for mut piece in message.iter().copied() {
        bytes += piece.len();
        while !piece.is_empty() {
            let (now, later) = piece.split_at(piece.len().min(BLOCK - filled));
            block[filled..filled + now.len()].copy_from_slice(now);
            (piece, filled) = (later, filled + now.len());
            if filled == BLOCK {
                compress(&mut state, &block);
                filled = 0;
            }
        }
    }
    block[filled..].fill(0);
    block[filled] = 0x80;
    if filled > LONGEST {
        compress(&mut state, &block);
        block.fill(0);
    }
    block[BLOCK - LENGTH..].copy_from_slice(&(8 * bytes as u64).to_be_bytes());
    compress(&mut state, &block);
    let mut digest = Zeroizing::new([0; 32]);
    digest.as_chunks_mut().0.iter_mut().zip(state.iter()).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
    digest
}

/// The last block of a message that has filled one block before, in a block of zeros.
#[cfg(target_arch = "x86_64")]
#[inline]
fn pad(text: &[u8], block: &mut [u8; BLOCK]) {
    block[..text.len()].copy_from_slice(text);
    block[text.len()] = 0x80;
    let bits = 8 * (BLOCK + text.len()) as u64;
    block[BLOCK - LENGTH..].copy_from_slice(&bits.to_be_bytes());
}

#[cfg(target_arch = "x86_64")]
mod pair {
    use std::arch::x86_64::*;

    use super::{BLOCK, pad};

    const LANES: usize = 2;
    type Lanes = [__m128i; LANES];

    /// FIPS 180-4, 4.2.2.
    #[rustfmt::skip]
    const ROUNDS: [[u32; 4]; 16] = [
        [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5], [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
        [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3], [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
        [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc], [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
        [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7], [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
        [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13], [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
        [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3], [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
        [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5], [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
        [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208], [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
    ];

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    pub(super) fn digests(inner: &[u32; 8], outer: &[u32; 8], values: [&[u8]; LANES]) -> [[u8; 32]; LANES] {
        let mut blocks = [[0; BLOCK]; LANES];
        blocks.iter_mut().zip(values).for_each(|(block, value)| pad(value, block));
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let words = |at: usize| blocks.each_ref().map(|block| _mm_shuffle_epi8(sixteen(&block[16 * at..]), swap));
        let halves = compress(inner, [words(0), words(1), words(2), words(3)]);
        // The digest as the outer message, and its padding: one bit, and the length of two blocks but 32 bytes.
        let one = [_mm_set_epi32(0, 0, 0, i32::MIN); LANES];
        let length = [_mm_set_epi32(8 * (BLOCK as i32 + 32), 0, 0, 0); LANES];
        let [first, second] = compress(outer, [halves[0], halves[1], one, length]);
        let mut digests = [[0; 32]; LANES];
        for (lane, digest) in digests.iter_mut().enumerate() {
            for (half, words) in digest.chunks_exact_mut(16).zip([first[lane], second[lane]]) {
                let bytes = _mm_shuffle_epi8(words, swap);
                half[..8].copy_from_slice(&_mm_cvtsi128_si64(bytes).to_le_bytes());
                half[8..].copy_from_slice(&_mm_extract_epi64::<1>(bytes).to_le_bytes());
            }
        }
        digests
    }

    /// The state behind one block of each lane: its first and its last four words.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    #[inline]
    fn compress(state: &[u32; 8], mut message: [Lanes; 4]) -> [Lanes; 2] {
        let [first, last] = [four(&state[..4]), four(&state[4..])];
        // As the instructions have them: ABEF and CDGH.
        let (cdab, efgh) = (_mm_shuffle_epi32::<0xb1>(first), _mm_shuffle_epi32::<0x1b>(last));
        let began = [_mm_alignr_epi8::<8>(cdab, efgh), _mm_blend_epi16::<0xf0>(efgh, cdab)];
        let (mut abef, mut cdgh) = ([began[0]; LANES], [began[1]; LANES]);
        // Four rounds at a time, so that the message has its places in registers.
        for (turn, keys) in ROUNDS.as_chunks::<4>().0.iter().enumerate() {
            for step in 0..4 {
                let keys = four(&keys[step]);
                for lane in 0..LANES {
                    if turn > 0 {
                        let [v0, v1, v2, v3] = [0, 1, 2, 3].map(|back| message[(step + back) % 4][lane]);
                        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(v0, v1), _mm_alignr_epi8::<4>(v3, v2));
                        message[step][lane] = _mm_sha256msg2_epu32(sum, v3);
                    }
                    let words = _mm_add_epi32(message[step][lane], keys);
                    cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], words);
                    abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32::<0x0e>(words));
                }
            }
        }
        let mut ended = [[first; LANES], [last; LANES]];
        for lane in 0..LANES {
            let (abef, cdgh) = (_mm_add_epi32(abef[lane], began[0]), _mm_add_epi32(cdgh[lane], began[1]));
            let (feba, dchg) = (_mm_shuffle_epi32::<0x1b>(abef), _mm_shuffle_epi32::<0xb1>(cdgh));
            ended[0][lane] = _mm_blend_epi16::<0xf0>(feba, dchg);
            ended[1][lane] = _mm_alignr_epi8::<8>(dchg, feba);
        }
        ended
    }

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    #[inline]
    fn four(words: &[u32]) -> __m128i {
        _mm_set_epi32(words[3] as i32, words[2] as i32, words[1] as i32, words[0] as i32)
    }

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    #[inline]
    fn sixteen(bytes: &[u8]) -> __m128i {
        let half = |at: usize| bytes[at..].first_chunk().map_or(0, |eight| i64::from_le_bytes(*eight));
        _mm_set_epi64x(half(8), half(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, Mac};
    use sha2::Sha256;

    fn slow(key: &[u8; 32], value: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    proptest::proptest! {
        #[test]
        fn values_are_hashed_as_by_the_hmac_crate(
            key in proptest::array::uniform32(0..=u8::MAX),
            first in proptest::collection::vec(0..=u8::MAX, 0..=LONGEST),
            second in proptest::collection::vec(0..=u8::MAX, 0..=LONGEST),
            long in proptest::collection::vec(0..=u8::MAX, 0..=4 * BLOCK),
        ) {
            let hmac = ErasedHmac::new(&key);
            let expected = [slow(&key, &first), slow(&key, &second)];
            proptest::prop_assert_eq!(hmac.digests([&first, &second]), expected);
            proptest::prop_assert_eq!([*hmac.digest(&[&first]), *hmac.digest(&[&second])], expected);
            let whole = [first.as_slice(), &second, &long].concat();
            proptest::prop_assert_eq!(*hmac.digest(&[&first, &second, &long]), slow(&key, &whole));
        }
    }

    #[test]
    fn every_length_is_padded() {
        let (key, text) = ([7; 32], [9; 3 * BLOCK]);
        let hmac = ErasedHmac::new(&key);
        for length in 0..text.len() {
            assert_eq!(*hmac.digest(&[&text[..length]]), slow(&key, &text[..length]), "{length}");
        }
    }
}
