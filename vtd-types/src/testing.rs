//! What tests share.

/// Numbers that look random and are the same every time (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.word() >> 32) % limit
    }

    pub(crate) fn words<const N: usize>(&mut self) -> [u64; N] {
        core::array::from_fn(|_| self.word())
    }

    /// Words of which few bits are set.
    pub(crate) fn sparse_words<const N: usize>(&mut self) -> [u64; N] {
        core::array::from_fn(|_| self.word() & self.word() & self.word() & self.word())
    }
}

/// Asserts that the table of what is covered has a row of this number and name.
pub(crate) fn assert_listed(number: u8, name: &str) {
    let found = include_str!("coverage.md").lines().any(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let listed = cells.next().and_then(|cell| {
            let digits = cell.strip_prefix("`0x")?.strip_suffix('`')?;
            u8::from_str_radix(digits, 16).ok()
        });
        let named = cells.next().and_then(|cell| cell.split('`').nth(1));
        listed == Some(number) && named == Some(name)
    });
    assert!(found, "{name}");
}
