//! Fields of a 64-bit word.

/// The bits `last:first` of a word, written as specifications write them.
///
/// ```
/// use hardware_records::Field;
///
/// const PASID: Field = Field::new(51, 32);
/// const PRESENT: Field = Field::bit(8);
///
/// let word = PRESENT.put(PASID.put(0, 5), 1);
/// assert_eq!(word, 0x0000_0005_0000_0100);
/// assert_eq!(PASID.get(word), 5);
/// assert!(PRESENT.is_set(word));
/// ```
///
/// # Invariants
/// `first` is below 64, and the largest value is what `last` leaves room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    first: u32,
    max: u64,
}

impl Field {
    /// The bits `last:first`, both belonging to it. For constants: there, a wrong one does not
    /// compile.
    ///
    /// ```compile_fail,E0080
    /// use hardware_records::Field;
    ///
    /// const BACKWARDS: Field = Field::new(12, 51);
    /// ```
    ///
    /// # Panics
    /// `last` is below `first`, or is no bit of a word.
    #[must_use]
    #[inline]
    pub const fn new(last: u32, first: u32) -> Self {
        assert!(first <= last && last < 64);
        Self {
            first,
            max: u64::MAX >> (63 - (last - first)),
        }
    }

    /// One bit. For constants, as [`Field::new`].
    ///
    /// # Panics
    /// It is no bit of a word.
    #[must_use]
    #[inline]
    pub const fn bit(bit: u32) -> Self {
        Self::new(bit, bit)
    }

    /// The largest value it can have.
    #[must_use]
    #[inline]
    pub const fn max(self) -> u64 {
        self.max
    }

    /// Its bits, where they are.
    #[must_use]
    #[inline]
    pub const fn mask(self) -> u64 {
        // Wrapping, here and below, as there is nothing to check: `first` is below 64.
        self.max.wrapping_shl(self.first)
    }

    /// Its value in a word.
    #[must_use]
    #[inline]
    pub const fn get(self, word: u64) -> u64 {
        word.wrapping_shr(self.first) & self.max
    }

    /// Whether it is not zero: a flag that is set.
    #[must_use]
    #[inline]
    pub const fn is_set(self, word: u64) -> bool {
        word & self.mask() != 0
    }

    /// The word with it changed. What does not fit of `value` is cut off.
    #[must_use]
    #[inline]
    pub const fn put(self, word: u64, value: u64) -> u64 {
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
