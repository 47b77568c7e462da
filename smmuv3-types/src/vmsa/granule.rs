//! Granules: the sizes of pages and tables.

use crate::{AddressSize, Level};

/// The size of a page, and of a table that is full (D8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granule {
    /// 4 KiB: 512 descriptors a table.
    Kib4,
    /// 16 KiB: 2048 descriptors a table.
    Kib16,
    /// 64 KiB: 8192 descriptors a table.
    Kib64,
}

impl Granule {
    /// All there are.
    pub const ALL: &'static [Self] = &[Self::Kib4, Self::Kib16, Self::Kib64];

    /// How many bytes a page has.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.page_bits()
    }

    /// How many bits of an address are within a page.
    #[must_use]
    pub const fn page_bits(self) -> u32 {
        match self {
            Self::Kib4 => 12,
            Self::Kib16 => 14,
            Self::Kib64 => 16,
        }
    }

    /// How many bits of an address are the index into a full table.
    #[must_use]
    pub const fn index_bits(self) -> u32 {
        self.page_bits() - 3
    }

    /// How many bits of an address are within what one descriptor of this level stands for.
    #[must_use]
    pub const fn span_bits(self, level: Level) -> u32 {
        // At most 12 + 3 * 9, 14 + 3 * 11, 16 + 3 * 13.
        self.page_bits() + self.index_bits() * (3 - level.number() as u32)
    }

    /// Whether a descriptor of this level can be a block, where output addresses have 48 bits, or
    /// for `wide` 52: 1 GiB and 2 MiB; 32 MiB; 512 MiB, and 4 TiB with 52 bits (D8.2).
    #[must_use]
    pub const fn has_block(self, level: Level, wide: bool) -> bool {
        match (self, level) {
            (Self::Kib4, Level::Level1 | Level::Level2)
            | (Self::Kib16 | Self::Kib64, Level::Level2) => true,
            (Self::Kib64, Level::Level1) => wide,
            _ => false,
        }
    }

    /// The most that an address in a descriptor can have: 48 bits, with 64 KiB 52.
    #[must_use]
    pub const fn output_size(self) -> AddressSize {
        match self {
            Self::Kib4 | Self::Kib16 => AddressSize::Bits48,
            Self::Kib64 => AddressSize::Bits52,
        }
    }

    /// The encoding as `CD.TG0` (5.4).
    #[must_use]
    pub const fn tg0(self) -> u8 {
        match self {
            Self::Kib4 => 0b00,
            Self::Kib64 => 0b01,
            Self::Kib16 => 0b10,
        }
    }

    /// The encoding as `CD.TG1` (5.4).
    #[must_use]
    pub const fn tg1(self) -> u8 {
        match self {
            Self::Kib16 => 0b01,
            Self::Kib4 => 0b10,
            Self::Kib64 => 0b11,
        }
    }

    /// The granule of this `CD.TG0`; `0b11` is reserved.
    pub(crate) const fn from_tg0(bits: u8) -> Option<Self> {
        match bits {
            0b00 => Some(Self::Kib4),
            0b01 => Some(Self::Kib64),
            0b10 => Some(Self::Kib16),
            _ => None,
        }
    }

    /// The granule of this `CD.TG1`; `0b00` is reserved.
    pub(crate) const fn from_tg1(bits: u8) -> Option<Self> {
        match bits {
            0b01 => Some(Self::Kib16),
            0b10 => Some(Self::Kib4),
            0b11 => Some(Self::Kib64),
            _ => None,
        }
    }
}
