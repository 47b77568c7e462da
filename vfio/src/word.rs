//! The integers of which registers are made.

use zerocopy::{FromBytes, Immutable, IntoBytes};

mod sealed {
    use super::{FromBytes, Immutable, IntoBytes};

    #[expect(unnameable_types, reason = "sealed: no other type is a register")]
    pub trait Bytes: FromBytes + IntoBytes + Immutable {}
}

/// An integer as wide as a register: `u8`, `u16`, `u32` or `u64`.
///
/// PCI registers are little-endian, as is every machine this crate builds for.
pub trait Word: iommufd::volatile::Word + sealed::Bytes {}

macro_rules! words {
    ($($word:ty)*) => {$(
        impl sealed::Bytes for $word {}
        impl Word for $word {}
    )*};
}
words!(u8 u16 u32 u64);
