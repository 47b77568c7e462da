//! The addresses that were seen.

/// The addresses that were seen, each with a number of its own.
pub(super) struct Known {
    /// An address and its number, in the first free place from where its hash says.
    slots: Vec<(u64, usize)>,
    count: usize,
    most: usize,
}

impl Known {
    /// None yet, and never more than `most`, a power of two.
    pub(super) fn new(most: usize) -> Self {
        Self {
            slots: vec![(0, 0); most * 4],
            count: 0,
            most,
        }
    }

    /// The number of an address, and whether it was not seen before. `None` where there are too many.
    pub(super) fn number(&mut self, address: u64) -> Option<(usize, bool)> {
        let mask = self.slots.len() - 1;
        let mut at = (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
        loop {
            match self.slots[at] {
                (known, number) if known == address => return Some((number, false)),
                (0, _) if self.count < self.most => {
                    self.slots[at] = (address, self.count);
                    self.count += 1;
                    return Some((self.count - 1, true));
                }
                (0, _) => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }
}
