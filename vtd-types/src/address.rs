//! Addresses, each in the space it belongs to.

use hardware_records::{address, bits};

address! {
    /// An address as a device puts it on the bus, before any translation: a virtual address of the
    /// guest's where the first stage translates, the document's *DMA address* (3.1).
    pub struct InputAddress;
}

address! {
    /// A guest-physical address: what the first stage makes of an input address, and what a guest
    /// takes for a physical one. Every pointer in a guest's tables is one.
    ///
    /// # Invariants
    /// It has 52 bits, the most that a host address width can be (8.1).
    pub struct Gpa, 52 bits;
}

impl InputAddress {
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

impl Gpa {
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
