//! An input as words.

/// Words of an input, one after the other; 0 behind its end.
#[derive(Debug)]
pub struct Words<'b> {
    rest: &'b [u8],
}

impl<'b> Words<'b> {
    /// The words of `input`.
    #[must_use]
    pub fn new(input: &'b [u8]) -> Self {
        Self { rest: input }
    }

    /// Whether there are no more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.rest.split_at(N.min(self.rest.len()));
        self.rest = rest;
        let mut bytes = [0; N];
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    /// The next word of 64 bits.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// The next word of 32 bits.
    pub fn next32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    /// The next words.
    pub fn array<const N: usize>(&mut self) -> [u64; N] {
        std::array::from_fn(|_| self.word())
    }
}
