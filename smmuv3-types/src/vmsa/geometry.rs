//! The shape of a tree of tables.

use hardware_records::bits;

use crate::{Granule, InputAddress, Ipa};

/// The level of a table: its distance from the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Level 0, the farthest from the pages.
    Level0,
    /// Level 1.
    Level1,
    /// Level 2.
    Level2,
    /// Level 3, whose descriptors are pages.
    Level3,
}

impl Level {
    /// All there are, from level 0.
    pub const ALL: &'static [Self] = &[Self::Level0, Self::Level1, Self::Level2, Self::Level3];

    /// Its number, 0 to 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Level0 => 0,
            Self::Level1 => 1,
            Self::Level2 => 2,
            Self::Level3 => 3,
        }
    }

    /// The level below, nearer to the pages.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Level0 => Some(Self::Level1),
            Self::Level1 => Some(Self::Level2),
            Self::Level2 => Some(Self::Level3),
            Self::Level3 => None,
        }
    }
}

/// The shape of a tree of tables: the granule, and how many bits of an address it takes. From the
/// two follow the level at which it begins, and the size of the table there.
///
/// ```
/// use smmuv3_types::{Geometry, Granule, InputAddress, Level};
///
/// let geometry = Geometry::new(Granule::Kib4, 39)?;
/// assert_eq!(geometry.start(), Level::Level1);
/// assert_eq!(geometry.t_sz(), 25);
/// assert_eq!(geometry.index(Level::Level1, InputAddress::new(0x7f_c000_0000)), 0x1ff);
/// # Ok::<(), smmuv3_types::BadGeometry>(())
/// ```
///
/// # Invariants
/// 16 to 48 input bits; of the granule of 64 KiB, 17 to 52.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    granule: Granule,
    input_bits: u32,
}

/// There is no tree of tables with so many input bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{granule:?} tables cannot take {input_bits} bits of an address")]
pub struct BadGeometry {
    /// The granule.
    pub granule: Granule,
    /// How many bits of an address were to be taken.
    pub input_bits: u32,
}

impl Geometry {
    /// The tree of this granule that takes this many bits of an address.
    ///
    /// # Errors
    /// There is none: fewer than 16 bits (17 with 64 KiB), or more than 48 (52 with 64 KiB). That
    /// more bits can be had of the smaller granules with `CD.DS` is not covered.
    pub const fn new(granule: Granule, input_bits: u32) -> Result<Self, BadGeometry> {
        let (least, most) = match granule {
            Granule::Kib4 | Granule::Kib16 => (16, 48),
            Granule::Kib64 => (17, 52),
        };
        if input_bits < least || input_bits > most {
            return Err(BadGeometry {
                granule,
                input_bits,
            });
        }
        Ok(Self {
            granule,
            input_bits,
        })
    }

    /// The granule.
    #[must_use]
    pub const fn granule(self) -> Granule {
        self.granule
    }

    /// How many bits of an address it takes.
    #[must_use]
    pub const fn input_bits(self) -> u32 {
        self.input_bits
    }

    /// As `CD.TxSZ` has it: 64 less the input bits.
    #[must_use]
    pub const fn t_sz(self) -> u8 {
        64_u32.saturating_sub(self.input_bits) as u8
    }

    /// The level of its first table.
    #[must_use]
    pub const fn start(self) -> Level {
        let above_page = self.input_bits.saturating_sub(self.granule.page_bits() + 1);
        let below = above_page / self.granule.index_bits();
        match below {
            0 => Level::Level3,
            1 => Level::Level2,
            2 => Level::Level1,
            // 3 at most, by the invariant.
            _ => Level::Level0,
        }
    }

    /// How many descriptors its table of this level has. Less than a full table only at the start.
    #[must_use]
    pub const fn entries(self, level: Level) -> u64 {
        bits::power(self.entry_bits(level))
    }

    const fn entry_bits(self, level: Level) -> u32 {
        let full = self.granule.index_bits();
        let rest = self
            .input_bits
            .saturating_sub(self.granule.span_bits(level));
        if rest < full { rest } else { full }
    }

    /// The index into its table of this level for an address. Bits that it does not take do not
    /// count.
    #[must_use]
    pub const fn index(self, level: Level, address: InputAddress) -> u64 {
        bits::from(address.get(), self.granule.span_bits(level)) & bits::low(self.entry_bits(level))
    }

    /// Of how many bytes the address of the first table is a multiple: its size, and at least 64
    /// where output addresses have 52 bits.
    #[must_use]
    pub const fn root_alignment(self, wide: bool) -> u64 {
        let size = bits::power(self.entry_bits(self.start()).saturating_add(3));
        if wide && size < 64 { 64 } else { size }
    }

    /// Where the descriptor of an address is in the table of this level at `table`.
    pub(crate) const fn descriptor(self, level: Level, table: Ipa, address: InputAddress) -> Ipa {
        // A table is aligned to its size.
        Ipa::masked(table.get() | self.index(level, address) << 3)
    }
}
