//! Addresses, each in the space it belongs to.

use core::fmt;

use crate::bits;

/// An address as a device puts it on the bus, before any translation: a virtual address of the
/// guest's where the first stage translates, the document's *DMA address* (3.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputAddress(u64);

impl InputAddress {
    /// The address `address`.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Its page of 4 KiB: it, without its low 12 bits.
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !bits::low(12))
    }

    /// Whether all bits from bit `bits - 1` on are the same (3.6.1). Every address is canonical
    /// of 64 bits.
    #[must_use]
    pub const fn is_canonical(self, bits: u32) -> bool {
        let top = bits::from(self.0, bits.saturating_sub(1));
        top == 0 || top == bits::low(65_u32.saturating_sub(bits))
    }
}

/// A guest-physical address: what the first stage makes of an input address, and what a guest
/// takes for a physical one. Every pointer in a guest's tables is one.
///
/// # Invariants
/// It has 52 bits, the most that a host address width can be (8.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gpa(u64);

impl Gpa {
    /// The bits of the widest.
    pub const BITS: u32 = 52;
    /// The last there is.
    pub const MAX: Self = Self((1 << Self::BITS) - 1);

    /// The address `address`, or `None` if it has more than 52 bits.
    #[must_use]
    pub const fn new(address: u64) -> Option<Self> {
        if address <= Self::MAX.0 {
            Some(Self(address))
        } else {
            None
        }
    }

    /// The address in the low 52 bits of `bits`.
    pub(crate) const fn masked(bits: u64) -> Self {
        Self(bits & Self::MAX.0)
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on, or `None` past the last.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(address) => Self::new(address),
            None => None,
        }
    }

    /// Whether it is a multiple of `alignment`, which is a power of two.
    #[must_use]
    pub const fn is_aligned_to(self, alignment: u64) -> bool {
        self.0 & alignment.wrapping_sub(1) == 0
    }

    /// Whether it is of the range `0xfee0_0000` to `0xfeef_ffff`, in which a write is an interrupt
    /// and to which nothing may be translated (3.14).
    #[must_use]
    pub const fn is_interrupt(self) -> bool {
        bits::from(self.0, 20) == 0xfee
    }
}

/// How many bits a physical address has: the host address width, HAW (8.1). A VMM's is that of
/// the guest: of its guest-physical addresses. In tables, the bits above are reserved.
///
/// ```
/// use vtd_types::{Gpa, HostAddressWidth};
///
/// let width = HostAddressWidth::new(39).expect("from 12 to 52");
/// assert!(width.holds(Gpa::new(0x7f_ffff_ffff).expect("of 52 bits")));
/// assert!(!width.holds(Gpa::new(0x80_0000_0000).expect("of 52 bits")));
/// ```
///
/// # Invariants
/// It is from 12 to 52.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddressWidth(u8);

impl HostAddressWidth {
    /// The widest.
    pub const MAX: Self = Self(52);

    /// That many bits, or `None` if they are fewer than 12 or more than 52.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= 12 && bits <= Self::MAX.0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The number of bits.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether an address has no more bits.
    #[must_use]
    pub const fn holds(self, address: Gpa) -> bool {
        address.0 & self.beyond() == 0
    }

    /// The bits above.
    pub(crate) const fn beyond(self) -> u64 {
        !bits::low(self.0 as u32)
    }

    /// The address, without bits above.
    pub(crate) const fn cut(self, bits: u64) -> Gpa {
        Gpa::masked(bits & !self.beyond())
    }
}

macro_rules! shown {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl From<$name> for u64 {
            fn from(address: $name) -> Self {
                address.0
            }
        }
    };
}

shown!(InputAddress);
shown!(Gpa);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses_of_every_width() {
        for width in 1..=64 {
            for bit in 0..64 {
                let low = InputAddress::new(1 << bit);
                assert_eq!(low.is_canonical(width), bit + 1 < width || width == 64);
                let high = InputAddress::new(u64::MAX << bit);
                assert_eq!(high.is_canonical(width), bit < width);
            }
            assert!(InputAddress::new(0).is_canonical(width));
        }
    }

    #[test]
    fn widths_hold_what_they_say() {
        assert_eq!(HostAddressWidth::new(11), None);
        assert_eq!(HostAddressWidth::new(53), None);
        for width in 12..=52 {
            let haw = HostAddressWidth::new(width).unwrap();
            for bit in 0..52 {
                let address = Gpa::new(1 << bit).unwrap();
                assert_eq!(haw.holds(address), bit < width);
                assert_eq!(haw.cut(address.get()) == address, bit < width);
            }
        }
    }

    #[test]
    fn the_range_of_interrupts() {
        for (address, is) in [
            (0xfedf_ffff, false),
            (0xfee0_0000, true),
            (0xfeef_ffff, true),
            (0xfef0_0000, false),
            (0x1_fee0_0000, false),
        ] {
            assert_eq!(Gpa::new(address).unwrap().is_interrupt(), is);
        }
    }
}
