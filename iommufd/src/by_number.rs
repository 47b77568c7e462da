//! Maps and sets by numbers that the kernel, or this crate, hands out.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such a number.
pub(crate) type ByNumber<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;
/// A set of such numbers.
pub(crate) type Numbers<K> = HashSet<K, BuildHasherDefault<NumberHasher>>;

/// Spreads numbers that follow one another, by one multiplication.
///
/// Nobody can choose them so that they collide: ids and cookies are the lowest that are free. What
/// resists somebody who can takes as long as all the rest of an answer to a device.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

/// 2 to the power of 64, by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for NumberHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        // The table takes its place from the lowest bits, and tells neighbours apart by the highest.
        let product = (self.0 ^ number).wrapping_mul(SPREAD);
        self.0 = product ^ (product >> 32);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, Hash};

    use super::*;

    fn hash(number: impl Hash) -> u64 {
        BuildHasherDefault::<NumberHasher>::default().hash_one(number)
    }

    #[test]
    fn numbers_that_follow_one_another_are_spread() {
        for first in [0, 1, 1000, u32::MAX - 1024] {
            // As the table uses them: 10 bits for the place, 7 for the neighbours.
            let hashes: Vec<u64> = (first..first + 1024).map(hash).collect();
            let places: HashSet<u64> = hashes.iter().map(|hash| hash & 1023).collect();
            let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(places.len() > 500, "{}", places.len());
            assert!(tags.len() > 100, "{}", tags.len());
        }
    }

    #[test]
    fn a_number_has_one_hash_and_different_numbers_have_different_ones() {
        assert_eq!(hash(7_u32), hash(7_u64));
        assert_eq!(hash(7_u32), hash(7_usize));
        let hashes: HashSet<u64> = (0..100_000_u64).map(hash).collect();
        assert_eq!(hashes.len(), 100_000);
        assert_ne!(hash([1_u8, 2]), hash([2_u8, 1]));
    }
}
