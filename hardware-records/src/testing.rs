//! What the tests and benchmarks of a crate of records share.

extern crate std;

use std::println;
use std::time::{Duration, Instant};

use crate::Field;

/// Numbers that look random and are the same every time (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Those of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next.
    pub const fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One that is below `limit`.
    ///
    /// # Panics
    /// `limit` is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        (self.word() >> 32) % limit
    }

    /// The next few.
    pub fn words<const N: usize>(&mut self) -> [u64; N] {
        core::array::from_fn(|_| self.word())
    }

    /// Words of which few bits are set.
    pub fn sparse_words<const N: usize>(&mut self) -> [u64; N] {
        core::array::from_fn(|_| self.word() & self.word() & self.word() & self.word())
    }
}

/// Where the specification has a field: its name, its last bit and its first, numbered through a
/// whole structure.
pub type Position = (&'static str, u32, u32);

/// Asserts that the fields of a structure or register, its `FIELDS`, are those of the specification,
/// no more and no fewer.
///
/// # Panics
/// They are not.
pub fn assert_positions(fields: &[(&'static str, usize, Field)], specification: &[Position]) {
    for (name, word, field) in fields {
        let start = 64 * *word as u32;
        let first = start + field.mask().trailing_zeros();
        let last = start + field.mask().ilog2();
        let position = (*name, last, first);
        assert!(specification.contains(&position), "{position:?}");
    }
    // No field is there twice: that does not compile.
    assert_eq!(specification.len(), fields.len());
}

/// Asserts that a table in Markdown, such as that of what a crate covers, has a row of this number
/// and name: ``| `0x05` | `inv_wait_dsc` | …``.
///
/// # Panics
/// It has none.
pub fn assert_listed(table: &str, number: u8, name: &str) {
    let found = table.lines().any(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let listed = cells.next().and_then(|cell| {
            let digits = cell.strip_prefix("`0x")?.strip_suffix('`')?;
            u8::from_str_radix(digits, 16).ok()
        });
        // A second name for the same number may stand beside the first.
        let named = cells.next().and_then(|cell| cell.split('`').nth(1));
        listed == Some(number) && named == Some(name)
    });
    assert!(found, "{name}");
}

/// Prints how long it takes to decode one of `entries` entries, which `run` decodes all.
///
/// It is the best of many runs: what the machine does besides is not what is asked.
#[expect(clippy::print_stdout, reason = "what it is for")]
pub fn measure(what: &str, order: &str, entries: usize, run: impl Fn()) {
    const RUNS: u32 = 20_000;
    let best = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or(Duration::ZERO);
    let each = best.as_secs_f64() * 1e9 / entries as f64;
    println!("decode {what}, {order}: {each:.2} ns");
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[(&str, usize, Field)] =
        &[("V", 0, Field::bit(0)), ("VMID", 2, Field::new(15, 0))];

    #[test]
    fn numbers_are_the_same_every_time_and_look_random() {
        let words: [u64; 64] = Random::new(1).words();
        assert_eq!(words, Random::new(1).words());
        assert_ne!(words, Random::new(2).words());
        // Every bit is now set, now not, and in sparse words mostly not.
        assert_eq!(words.into_iter().fold(0, |all, word| all | word), u64::MAX);
        assert_eq!(words.into_iter().fold(u64::MAX, |all, word| all & word), 0);
        let sparse: [u64; 64] = Random::new(1).sparse_words();
        let ones: u32 = sparse.into_iter().map(u64::count_ones).sum();
        assert!((128..=384).contains(&ones), "{ones}");
        let mut random = Random::new(3);
        assert!((0..1000).all(|_| random.below(7) < 7));
    }

    #[test]
    fn positions_are_counted_through_the_structure() {
        assert_positions(FIELDS, &[("V", 0, 0), ("VMID", 143, 128)]);
    }

    #[test]
    #[should_panic = "VMID"]
    fn a_field_in_another_place() {
        assert_positions(FIELDS, &[("V", 0, 0), ("VMID", 142, 128)]);
    }

    #[test]
    #[should_panic = "left: 3"]
    fn a_field_that_is_missing() {
        assert_positions(
            FIELDS,
            &[("V", 0, 0), ("VMID", 143, 128), ("S2TTB", 243, 196)],
        );
    }

    const TABLE: &str = "| number | name |\n|---|---|\n| `0x0a` | `CFGI`, `CFGI_ALL` | yes |";

    #[test]
    fn a_row_of_a_table() {
        assert_listed(TABLE, 10, "CFGI");
    }

    #[test]
    #[should_panic = "CFGI"]
    fn a_row_of_another_number() {
        assert_listed(TABLE, 11, "CFGI");
    }

    #[test]
    #[should_panic = "CFGI_ALL"]
    fn a_row_of_another_name() {
        assert_listed(TABLE, 10, "CFGI_ALL");
    }
}
