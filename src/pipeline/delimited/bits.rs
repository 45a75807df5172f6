//! Bit masks over 64 bytes: which of them can matter to the structure of delimited text.
//!
//! The only unsafe code of the scanner. Both ways must give the same bits; a test compares them.

/// The bytes looked for, repeated where a format has fewer of them.
pub(super) type Needles = [u8; 4];

/// Finds the needles in one block of 64 bytes; bit n stands for byte n.
#[derive(Clone, Copy)]
pub(super) struct Finder {
    needles: Needles,
    wide: bool,
}

impl Finder {
    pub(super) fn new(needles: Needles) -> Finder {
        #[cfg(target_arch = "x86_64")]
        let wide = std::arch::is_x86_feature_detected!("avx2");
        #[cfg(not(target_arch = "x86_64"))]
        let wide = false;
        Finder { needles, wide }
    }

    #[cfg(test)]
    pub(super) fn portable(needles: Needles) -> Finder {
        Finder { needles, wide: false }
    }

    /// Whether the processor has AVX2; then loops around [`Finder::find`] should be compiled for it too, so that it
    /// becomes a part of them.
    pub(super) fn is_wide(&self) -> bool {
        self.wide
    }

    #[cfg(test)]
    pub(super) fn find(&self, bytes: &[u8; 64]) -> u64 {
        if self.wide { self.find_as::<true>(bytes) } else { self.find_as::<false>(bytes) }
    }

    /// Finds with AVX2 or without; `WIDE` must be what [`Finder::is_wide`] says.
    #[inline(always)]
    pub(super) fn find_as<const WIDE: bool>(&self, bytes: &[u8; 64]) -> u64 {
        debug_assert_eq!(WIDE, self.wide);
        #[cfg(target_arch = "x86_64")]
        if WIDE {
            // SAFETY: `wide` is only set after the CPU was asked for AVX2.
            return unsafe { find_avx2(bytes, self.needles) };
        }
        find_portable(bytes, self.needles)
    }

    #[cfg(test)]
    pub(super) fn find_short(&self, bytes: &[u8; 16]) -> u64 {
        if self.wide { self.find_short_as::<true>(bytes) } else { self.find_short_as::<false>(bytes) }
    }

    /// [`Finder::find_as`] in 16 bytes.
    #[inline(always)]
    pub(super) fn find_short_as<const WIDE: bool>(&self, bytes: &[u8; 16]) -> u64 {
        debug_assert_eq!(WIDE, self.wide);
        #[cfg(target_arch = "x86_64")]
        if WIDE {
            // SAFETY: `wide` is only set after the CPU was asked for AVX2.
            return unsafe { find_short_avx2(bytes, self.needles) };
        }
        find_portable(bytes, self.needles)
    }
}

fn find_portable(bytes: &[u8], [a, b, c, d]: Needles) -> u64 {
    let mut bits = 0;
    for (n, &byte) in bytes.iter().enumerate() {
        bits |= u64::from(byte == a || byte == b || byte == c || byte == d) << n;
    }
    bits
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn find_avx2(bytes: &[u8; 64], needles: Needles) -> u64 {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
        _mm256_setzero_si256,
    };
    let half = |at: usize| {
        // SAFETY: `at` is 0 or 32, so the 32 bytes read lie within the 64; the load asks for no alignment.
        let lane = unsafe { _mm256_loadu_si256(bytes.as_ptr().add(at).cast::<__m256i>()) };
        let mut hits = _mm256_setzero_si256();
        for needle in needles {
            hits = _mm256_or_si256(hits, _mm256_cmpeq_epi8(lane, _mm256_set1_epi8(needle.cast_signed())));
        }
        u64::from(_mm256_movemask_epi8(hits).cast_unsigned())
    };
    half(0) | half(32) << 32
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn find_short_avx2(bytes: &[u8; 16], needles: Needles) -> u64 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_setzero_si128,
    };
    // SAFETY: the 16 bytes read are those of the array; the load asks for no alignment.
    let lane = unsafe { _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()) };
    let mut hits = _mm_setzero_si128();
    for needle in needles {
        hits = _mm_or_si128(hits, _mm_cmpeq_epi8(lane, _mm_set1_epi8(needle.cast_signed())));
    }
    u64::from(_mm_movemask_epi8(hits).cast_unsigned())
}
