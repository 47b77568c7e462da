//! Process address space ids: which of a device's address spaces a request is for.

use std::fmt;
use std::num::NonZeroU32;

/// A process address space id (PASID; Arm's SMMU calls it a substream id): 20 bits, not 0.
///
/// A device that has PASIDs can reach several address spaces at once, and says with every request
/// which one it means. 0 is no `Pasid`: Linux takes it for the requests that carry none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pasid(NonZeroU32);

impl Pasid {
    /// How many bits a PASID has.
    pub const BITS: u32 = 20;

    /// PASID number `number`; `None` if it is 0, or has more than 20 bits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) if number.get() >> Self::BITS == 0 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Pasid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<Pasid> for u32 {
    fn from(pasid: Pasid) -> Self {
        pasid.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasid_has_twenty_bits_and_is_not_zero() {
        assert_eq!(Pasid::new(0), None);
        assert_eq!(Pasid::new(1).unwrap().get(), 1);
        assert_eq!(Pasid::new(0xf_ffff).unwrap().get(), 0xf_ffff);
        assert_eq!(Pasid::new(0x10_0000), None);
        assert_eq!(Pasid::new(u32::MAX), None);
    }
}
