//! Fields of a 64-bit word.

/// The bits `last:first` of a word, written as the specification writes them.
///
/// Shifts are wrapping ones since `first` is below 64: there is nothing to check at run time.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    first: u32,
    max: u64,
}

impl Field {
    /// The bits `last:first`, both belonging to it. Made in constants only: a wrong one does not
    /// compile.
    pub(crate) const fn new(last: u32, first: u32) -> Self {
        assert!(first <= last && last < 64);
        Self {
            first,
            max: u64::MAX >> (63 - (last - first)),
        }
    }

    /// One bit.
    pub(crate) const fn bit(bit: u32) -> Self {
        Self::new(bit, bit)
    }

    /// The largest value it can have.
    pub(crate) const fn max(self) -> u64 {
        self.max
    }

    /// Its bits, where they are.
    pub(crate) const fn mask(self) -> u64 {
        self.max.wrapping_shl(self.first)
    }

    /// Its value in a word.
    pub(crate) const fn get(self, word: u64) -> u64 {
        word.wrapping_shr(self.first) & self.max
    }

    /// Whether it is not zero: a flag that is set.
    pub(crate) const fn is_set(self, word: u64) -> bool {
        word & self.mask() != 0
    }

    /// The word with it changed. What does not fit of `value` is cut off.
    pub(crate) const fn put(self, word: u64, value: u64) -> u64 {
        (word & !self.mask()) | (value & self.max).wrapping_shl(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::Field;

    /// The bits of a field, put together one by one.
    fn bits(last: u32, first: u32) -> u64 {
        (first..=last).fold(0, |bits, bit| bits | 1 << bit)
    }

    #[test]
    fn every_field_of_a_word() {
        for last in 0..64 {
            for first in 0..=last {
                let field = Field::new(last, first);
                let mask = bits(last, first);
                assert_eq!(field.mask(), mask);
                assert_eq!(field.max(), bits(last - first, 0));
                for word in [0, u64::MAX, 0x0123_4567_89ab_cdef, 0x5555_5555_5555_5555] {
                    assert_eq!(field.get(word), (word & mask) >> first);
                    assert_eq!(field.is_set(word), word & mask != 0);
                    for value in [0, 1, field.max() / 3, field.max(), u64::MAX] {
                        let put = field.put(word, value);
                        assert_eq!(field.get(put), value & field.max());
                        assert_eq!(put & !mask, word & !mask);
                    }
                }
            }
        }
    }

    #[test]
    fn a_bit_is_a_field_of_one() {
        for bit in 0..64 {
            assert_eq!(Field::bit(bit).mask(), 1 << bit);
            assert_eq!(Field::bit(bit).max(), 1);
        }
    }
}
