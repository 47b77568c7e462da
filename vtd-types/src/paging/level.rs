//! Levels of tables.

use crate::{Gpa, InputAddress, bits};

/// A level of tables. They are numbered from the pages up: the last that is walked is level 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Pages of 4 KiB: PTE.
    Level1,
    /// Pages of 2 MiB, or tables: PDE.
    Level2,
    /// Pages of 1 GiB, or tables: PDPE.
    Level3,
    /// Tables: PML4E.
    Level4,
    /// Tables: PML5E.
    Level5,
}

impl Level {
    /// All, from the pages up.
    pub const ALL: &'static [Self] = &[
        Self::Level1,
        Self::Level2,
        Self::Level3,
        Self::Level4,
        Self::Level5,
    ];

    /// Its number, from 1.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Level1 => 1,
            Self::Level2 => 2,
            Self::Level3 => 3,
            Self::Level4 => 4,
            Self::Level5 => 5,
        }
    }

    /// The next on the way to a page, or `None` after the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Level1 => None,
            Self::Level2 => Some(Self::Level1),
            Self::Level3 => Some(Self::Level2),
            Self::Level4 => Some(Self::Level3),
            Self::Level5 => Some(Self::Level4),
        }
    }

    /// How many bits of an address an entry of it spans: 12, 21, 30, 39 or 48.
    #[must_use]
    pub const fn span_bits(self) -> u32 {
        3 + 9 * self.number() as u32
    }

    /// Whether an entry of it can map a page.
    #[must_use]
    pub const fn has_pages(self) -> bool {
        matches!(self, Self::Level1 | Self::Level2 | Self::Level3)
    }

    /// The index into a table of this level for an address: 9 bits.
    #[must_use]
    pub const fn index(self, address: InputAddress) -> u64 {
        bits::from(address.get(), self.span_bits()) & 0x1ff
    }

    /// Where the entry of an address is in the table of this level at `table`, which is a page.
    pub(crate) const fn entry(self, table: Gpa, address: InputAddress) -> Gpa {
        Gpa::masked(table.get() & !0xfff | self.index(address) << 3)
    }
}

/// What hardware writes over an entry that it used: a flag set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryUpdate {
    /// Where the entry is.
    pub address: Gpa,
    /// What it becomes. It is written only if the entry has not changed meanwhile.
    pub entry: u64,
}

impl EntryUpdate {
    /// The bytes of the entry.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.entry.to_le_bytes()
    }

    /// The update from one entry to another, or `None` if they are the same.
    pub(crate) const fn between(address: Gpa, from: u64, to: u64) -> Option<Self> {
        if from == to {
            None
        } else {
            Some(Self { address, entry: to })
        }
    }
}

/// There is no such entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadPagingEntry {
    /// There are no pages on this level, or no tables below it.
    #[error("{0:?} has no such entry")]
    Level(Level),
    /// The address is not a multiple of what is mapped, or of the table's size.
    #[error("{address} is not aligned to {alignment:#x} bytes")]
    Misaligned {
        /// The address.
        address: Gpa,
        /// Of how many bytes it must be a multiple.
        alignment: u64,
    },
}

/// Bits 51:12, where an address is in an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The bits of an address in an entry, if its low `span` bits are 0.
pub(crate) const fn encoded(address: Gpa, span: u32) -> Result<u64, BadPagingEntry> {
    let alignment = bits::power(span);
    if !address.is_aligned_to(alignment) {
        return Err(BadPagingEntry::Misaligned { address, alignment });
    }
    Ok(address.get() & ADDRESS)
}

/// The address in an entry, of which `span` bits are not part.
pub(crate) const fn page_bits(entry: u64, span: u32) -> Gpa {
    Gpa::masked(entry & ADDRESS & !bits::low(span))
}
