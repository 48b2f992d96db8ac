//! The one source of chance. Own code, because a seed must mean the same run in every later version.

use std::{ops::Range, time::Duration};

/// The characters of the API server's generated names: no vowels, no look-alikes.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// `SplitMix64` (Steele, Lea and Flood 2014): small, seedable, good enough to choose interleavings.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence that belongs to a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A sequence of its own for one part, so that one part's draws do not shift another's.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    /// The next 64 bits.
    #[allow(
        clippy::should_implement_trait,
        reason = "an endless sequence is no use as an iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True with a chance of `numerator` in `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// A whole number of milliseconds from a range; its start when the range is empty.
    pub fn within(&mut self, range: &Range<Duration>) -> Duration {
        let span = u64::try_from(range.end.saturating_sub(range.start).as_millis()).expect("a short range");
        if span == 0 {
            range.start
        } else {
            range.start + Duration::from_millis(self.below(span))
        }
    }

    /// One of the choices, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.below(choices.len() as u64);
        &choices[usize::try_from(index).expect("an index of a slice")]
    }

    /// A suffix as `generateName` makes it, five characters.
    pub fn suffix(&mut self) -> String {
        (0..5).map(|_| char::from(*self.pick(ALPHABET))).collect()
    }
}

/// Sixty-four bits of FNV-1a over some bytes: stable names and digests, no secrecy.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A hash as the Deployment controller writes it into names and labels.
pub fn safe_hash(value: u64) -> String {
    format!("{:010}", value % 10_000_000_000)
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}
