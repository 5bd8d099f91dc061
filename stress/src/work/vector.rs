//! Computing with many live registers: what an interruption does not restore shows in the result.

use super::{Round, tiles};
use crate::random::Random;
use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi64, _mm256_or_si256, _mm256_set1_epi64x, _mm256_slli_epi64,
    _mm256_srli_epi64, _mm256_storeu_si256, _mm512_cmplt_epu64_mask, _mm512_mask_add_epi64,
    _mm512_rol_epi64, _mm512_set1_epi64, _mm512_storeu_si512,
};

const FACTOR: u64 = 6_364_136_223_846_793_005;
const SUMMAND: u64 = 1_442_695_040_888_963_407;

/// A linear congruential generator (Knuth, MMIX) by steps, and by leaps of powers of two.
pub fn computing(_: &mut Random) -> Round {
    Box::new(|random| {
        let start = random.next();
        let steps = 500_000 + random.below(1_500_000);
        let mut walked = start;
        for _ in 0..steps {
            walked = walked.wrapping_mul(FACTOR).wrapping_add(SUMMAND);
        }
        let (mut factor, mut summand, mut leapt, mut rest) = (FACTOR, SUMMAND, start, steps);
        while rest > 0 {
            if rest % 2 == 1 {
                leapt = leapt.wrapping_mul(factor).wrapping_add(summand);
            }
            summand = summand.wrapping_mul(factor.wrapping_add(1));
            factor = factor.wrapping_mul(factor);
            rest /= 2;
        }
        assert_eq!(std::hint::black_box(walked), leapt, "a register was lost");
    })
}

/// Twelve chains of floating-point numbers, twice.
pub fn floating_point(_: &mut Random) -> Round {
    fn chains(start: f64, steps: usize) -> [f64; 12] {
        let mut values = [0.0; 12];
        for (index, value) in values.iter_mut().enumerate() {
            *value = start + index as f64;
        }
        for _ in 0..steps {
            for value in &mut values {
                *value = *value * 0.999_999_7 + 1.5;
            }
        }
        values
    }
    Box::new(|random| {
        let start = std::hint::black_box(random.below(1_000) as f64);
        let steps = 50_000 + random.below(50_000);
        let (first, second) = (
            chains(start, steps),
            chains(std::hint::black_box(start), steps),
        );
        let bits = |values: [f64; 12]| values.map(f64::to_bits);
        assert_eq!(bits(first), bits(second), "a register was lost");
    })
}

/// What each lane of the vector loops below does, one at a time.
fn one_lane(start: u64, steps: u32) -> u64 {
    (0..steps).fold(start, |value, _| value.rotate_left(7).wrapping_add(SUMMAND))
}

/// Registers of the loops below: as many as leave room for the constants.
const AVX2_VALUES: usize = 12;
const AVX512_VALUES: usize = 26;

/// Says so if this processor has no AVX2.
pub fn without_avx2() -> Option<String> {
    (!is_x86_feature_detected!("avx2")).then(|| "AVX2: the processor has none".to_string())
}

/// Says so if this processor has no AVX-512 (the foundation).
pub fn without_avx512() -> Option<String> {
    (!is_x86_feature_detected!("avx512f")).then(|| "AVX-512: the processor has none".to_string())
}

#[target_feature(enable = "avx2")]
fn avx2_chains(start: u64, steps: u32) -> [[u64; 4]; AVX2_VALUES] {
    let mut values: [__m256i; AVX2_VALUES] =
        std::array::from_fn(|index| _mm256_set1_epi64x((start + index as u64) as i64));
    let summand = _mm256_set1_epi64x(SUMMAND as i64);
    for _ in 0..steps {
        for value in &mut values {
            let (high, low) = (
                _mm256_slli_epi64::<7>(*value),
                _mm256_srli_epi64::<57>(*value),
            );
            *value = _mm256_add_epi64(_mm256_or_si256(high, low), summand);
        }
    }
    values.map(|value| {
        let mut lanes = [0u64; 4];
        // SAFETY: 32 bytes, for which any alignment does.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) };
        lanes
    })
}

/// As [`avx2_chains`]; it adds under a mask that stays live.
#[target_feature(enable = "avx512f")]
fn avx512_chains(start: u64, steps: u32) -> [[u64; 8]; AVX512_VALUES] {
    let mut values: [__m512i; AVX512_VALUES] =
        std::array::from_fn(|index| _mm512_set1_epi64((start + index as u64) as i64));
    let summand = _mm512_set1_epi64(SUMMAND as i64);
    let all = _mm512_cmplt_epu64_mask(_mm512_set1_epi64(0), summand);
    for _ in 0..steps {
        for value in &mut values {
            let turned = _mm512_rol_epi64::<7>(*value);
            *value = _mm512_mask_add_epi64(turned, all, turned, summand);
        }
    }
    values.map(|value| {
        let mut lanes = [0u64; 8];
        // SAFETY: 64 bytes, for which any alignment does.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), value) };
        lanes
    })
}

fn check<const LANES: usize>(values: &[[u64; LANES]], start: u64, steps: u32) {
    for (value, index) in values.iter().zip(0..) {
        let expected = one_lane(start + index, steps);
        assert_eq!(
            *value, [expected; LANES],
            "vector register {index} was lost"
        );
    }
}

/// All vector registers of 256 bits.
pub fn avx2(_: &mut Random) -> Round {
    Box::new(|random| {
        let (start, steps) = (random.next() >> 8, 20_000 + random.below(20_000) as u32);
        // SAFETY: the kind is only run where `without_avx2` is silent.
        let values = unsafe { avx2_chains(start, steps) };
        check(&values, start, steps);
    })
}

/// All vector registers of 512 bits, and a mask register.
pub fn avx512(_: &mut Random) -> Round {
    Box::new(|random| {
        let (start, steps) = (random.next() >> 8, 20_000 + random.below(20_000) as u32);
        // SAFETY: the kind is only run where `without_avx512` is silent.
        let values = unsafe { avx512_chains(start, steps) };
        check(&values, start, steps);
    })
}

/// All tile registers, which every other round leaves in use: by the ABI they are the caller's, and the next
/// code on the OS thread begins with a configuration of its own.
pub fn amx(_: &mut Random) -> Round {
    Box::new(|random| {
        let rounds = 500_000 + random.below(1_500_000) as u64;
        // SAFETY: the kind is only run where `tiles::lacking` is silent.
        let kept = unsafe { tiles::are_kept(random.next(), rounds, random.below(2) == 0) };
        assert!(kept, "a tile register was lost");
    })
}
