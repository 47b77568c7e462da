//! Addresses, each in the space it belongs to.

use core::fmt;

/// An address as a device puts it on the bus, before any translation: a virtual address of the
/// guest's where stage 1 translates.
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
}

/// An intermediate physical address: what stage 1 makes of an input address, and what a guest
/// takes for a physical one. Every pointer in a guest's tables is one.
///
/// # Invariants
/// It has 52 bits, the most that the architecture has for one (3.4).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipa(u64);

impl Ipa {
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
shown!(Ipa);
