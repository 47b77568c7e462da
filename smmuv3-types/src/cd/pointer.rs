//! Where the context descriptors of a stream are, and of what shape their table is.

use hardware_records::{bits, encoding};

use crate::{Ipa, SubstreamId};

/// Where a context descriptor, or a table of them, begins: what `STE.S1ContextPtr` holds (5.2).
///
/// # Invariants
/// It is a multiple of 64 bytes, which the field's lowest bit, bit 6, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextPointer(Ipa);

impl ContextPointer {
    /// The bytes of which it is a multiple: those of a context descriptor.
    pub const ALIGNMENT: u64 = 64;

    /// The pointer to `address`, or `None` if that is not a multiple of 64.
    #[must_use]
    pub const fn new(address: Ipa) -> Option<Self> {
        if address.is_aligned_to(Self::ALIGNMENT) {
            Some(Self(address))
        } else {
            None
        }
    }

    /// The pointer to `address`, its low bits made 0 down to a multiple of `alignment`, a power of
    /// two from 64.
    pub(crate) const fn aligned_down(address: Ipa, alignment: u64) -> Self {
        Self(Ipa::masked(address.get() & !alignment.wrapping_sub(1)))
    }

    /// Where it points to.
    #[must_use]
    pub const fn address(self) -> Ipa {
        self.0
    }
}

/// How many bits of a substream number a stream's table of context descriptors takes: the binary
/// logarithm of how many descriptors there are, `STE.S1CDMax` (5.2). 0 is one descriptor and no
/// substreams.
///
/// # Invariants
/// At most 20, which is the most that `SMMU_IDR1.SSIDSIZE` can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubstreamBits(u8);

impl SubstreamBits {
    /// One descriptor, no substreams.
    pub const NONE: Self = Self(0);
    /// The most there can be.
    pub const MAX: Self = Self(20);

    /// That many bits, or `None` if there are more than 20.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= Self::MAX.0 {
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

    /// Whether a substream of this number has a descriptor.
    #[must_use]
    pub const fn has(self, substream: SubstreamId) -> bool {
        bits::from(substream.get() as u64, self.0 as u32) == 0
    }
}

encoding! {
    /// The shape of a table of context descriptors: `STE.S1Fmt` (5.2). `0b11` is reserved and
    /// behaves as [`Linear`](Self::Linear).
    pub enum CdTableFormat {
        /// An array of descriptors.
        Linear = 0b00,
        /// Two levels. A leaf has 64 descriptors, 4 KiB.
        TwoLevel4K = 0b01,
        /// Two levels. A leaf has 1024 descriptors, 64 KiB.
        TwoLevel64K = 0b10,
    }
}

impl CdTableFormat {
    /// How many bits of a substream number are the index into a leaf. `None` for a linear table.
    #[must_use]
    pub const fn leaf_bits(self) -> Option<u8> {
        match self {
            Self::Linear => None,
            Self::TwoLevel4K => Some(6),
            Self::TwoLevel64K => Some(10),
        }
    }

    /// Of how many bytes the address of a table of this shape is a multiple, for `substreams`:
    /// the size of the array it points to, at least 64 (5.2, `STE.S1Fmt`).
    #[must_use]
    pub const fn alignment(self, substreams: SubstreamBits) -> u64 {
        match self.leaf_bits() {
            None => bits::power(substreams.0 as u32 + 6),
            Some(leaf) => {
                let array = bits::power(substreams.0.saturating_sub(leaf) as u32 + 3);
                if array > ContextPointer::ALIGNMENT {
                    array
                } else {
                    ContextPointer::ALIGNMENT
                }
            }
        }
    }
}
