//! Pseudo-random numbers that follow from a seed, so that a run can be repeated.

use std::sync::atomic::{AtomicU64, Ordering};

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The `index`-th number of SplitMix64 started at `seed`.
pub(crate) fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number that depends on every byte of `text` (FNV-1a, then mixed).
pub(crate) fn hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash, 0)
}

/// A sequence that threads draw from together.
#[derive(Debug)]
pub(crate) struct Sequence {
    seed: u64,
    next: AtomicU64,
}

impl Sequence {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    /// True with probability `rate`.
    pub(crate) fn chance(&self, rate: f64) -> bool {
        let number = mix(self.seed, self.next.fetch_add(1, Ordering::Relaxed));
        // 53 bits are what an f64 holds exactly.
        ((number >> 11) as f64) < rate * (1_u64 << 53) as f64
    }
}
