//! The addresses that were seen.

/// The addresses that were seen.
pub(super) struct Known {
    /// Each in the first free slot from where its hash says. Where nothing is, 0.
    slots: Vec<u64>,
    left: usize,
}

impl Known {
    /// None yet, and never more than `most`, a power of two.
    pub(super) fn new(most: usize) -> Self {
        Self {
            slots: vec![0; most * 4],
            left: most,
        }
    }

    /// Whether an address was not seen before. Where there are too many, none is new.
    pub(super) fn is_new(&mut self, address: u64) -> bool {
        let mask = self.slots.len() - 1;
        let mut at = (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
        loop {
            match self.slots[at] {
                known if known == address => return false,
                0 if self.left > 0 => {
                    self.slots[at] = address;
                    self.left -= 1;
                    return true;
                }
                0 => return false,
                _ => at = (at + 1) & mask,
            }
        }
    }
}
