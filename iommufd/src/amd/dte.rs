//! What the kernel takes of a guest's device table entry.

use std::fmt;

use zerocopy::little_endian::U64;
use zerocopy::{Immutable, IntoBytes};

use crate::address::Iova;

/// How many levels a guest's table of page tables, by PASID, has: `DTE.GLX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gcr3Levels {
    /// One: PASIDs of 9 bits.
    One,
    /// Two: PASIDs of 18 bits.
    Two,
    /// Three: all PASIDs.
    Three,
}

/// How many levels a guest's page tables have: `DTE.GuestPagingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuestLevels {
    /// Four, 48 bits.
    Four,
    /// Five, 57 bits.
    Five,
}

/// The part of a guest's device table entry that iommufd takes for a nested table: `struct
/// iommu_hwpt_amd_guest`, as the bytes that the kernel reads.
///
/// # Invariants
/// `V`, `TV` and `GV` are set. There is no host page table: `Mode` and the address of one are 0. The
/// address of the table of guest page tables is that of a page, and not 0; that table has up to three
/// levels, and page tables have four or five. Fields that the kernel does not take are 0.
#[doc(alias = "iommu_hwpt_amd_guest")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, IntoBytes, Immutable)]
#[repr(transparent)]
pub struct GuestDte([U64; 4]);

/// A guest's device table entry is nothing that a nested table does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BadGuestDte {
    /// Requests go through untranslated: the device is attached to the nesting parent.
    #[error("DTE.V is 0: requests go through untranslated")]
    NotValid,
    /// Requests are to be blocked.
    #[error("DTE.TV is 0: requests are blocked")]
    NoTranslation,
    /// The guest translates by a host page table, which for a guest is the VMM's to emulate.
    #[error("DTE.Mode is not 0: a host page table translates, which is the VMM's to emulate")]
    HostTable,
    /// No page tables translate: the device is attached to the nesting parent.
    #[error("DTE.GV is 0: no guest page tables translate")]
    NoGuestTables,
    /// Reads, or writes, are to be blocked, which a nested table has no field for.
    #[error("{0} is 0, which a nested table has no field for")]
    NotCarried(&'static str),
    /// The address is not that of a page of 4 KiB in 52 bits, or it is 0, which the kernel refuses.
    #[error("the GCR3 table cannot be at {0}")]
    Root(Iova),
    /// `DTE.GLX` is 3, which is reserved.
    #[error("DTE.GLX is 3, which is reserved")]
    Gcr3Levels,
    /// `DTE.GuestPagingMode` is 2 or 3; the kernel takes neither.
    #[error("DTE.GuestPagingMode is {0}, which the kernel does not take")]
    GuestLevels(u8),
}

/// A field: its word, its first bit, and its bits from 0 on.
#[derive(Clone, Copy)]
struct Field(usize, u32, u64);

const V: Field = Field(0, 0, 1);
const TV: Field = Field(0, 1, 1);
const MODE: Field = Field(0, 9, 7);
const PPR: Field = Field(0, 52, 1);
const GIOV: Field = Field(0, 54, 1);
const GV: Field = Field(0, 55, 1);
const GLX: Field = Field(0, 56, 3);
const IR: Field = Field(0, 61, 1);
const IW: Field = Field(0, 62, 1);
const DOMAIN: Field = Field(1, 0, 0xffff);
const GUEST_PAGING_MODE: Field = Field(2, 54, 3);
/// The address of the GCR3 table is in pieces: each, and the address bit that it begins with.
const ROOT: [(Field, u32); 3] = [
    (Field(0, 58, 7), 12),
    (Field(1, 16, 0xffff), 15),
    (Field(1, 43, 0x1f_ffff), 31),
];

impl Field {
    fn get(self, words: &[u64; 4]) -> u64 {
        words[self.0] >> self.1 & self.2
    }

    fn is_set(self, words: &[u64; 4]) -> bool {
        self.get(words) != 0
    }

    fn put(self, words: &mut [u64; 4], value: u64) {
        words[self.0] = words[self.0] & !(self.2 << self.1) | (value & self.2) << self.1;
    }
}

impl Gcr3Levels {
    const fn bits(self) -> u8 {
        match self {
            Self::One => 0,
            Self::Two => 1,
            Self::Three => 2,
        }
    }
}

impl GuestLevels {
    const fn bits(self) -> u8 {
        match self {
            Self::Four => 0,
            Self::Five => 1,
        }
    }
}

impl GuestDte {
    /// What every IOMMU has that nests, with a table at 0x1000: for asking, not for a device.
    pub(super) const SIMPLEST: Self = Self([
        U64::new(0x0480_0000_0000_0003),
        U64::ZERO,
        U64::ZERO,
        U64::ZERO,
    ]);

    /// Page tables of four levels, by the GCR3 table of `levels` at the guest physical address `root`;
    /// of domain 0, without page requests, and not for requests without a PASID.
    ///
    /// # Errors
    /// [`BadGuestDte::Root`].
    pub fn new(root: Iova, levels: Gcr3Levels) -> Result<Self, BadGuestDte> {
        let address = root.get();
        if address == 0 || address & 0xfff != 0 || address >> 52 != 0 {
            return Err(BadGuestDte::Root(root));
        }
        let mut words = [0; 4];
        for set in [V, TV, GV] {
            set.put(&mut words, 1);
        }
        for (piece, from) in ROOT {
            piece.put(&mut words, address >> from);
        }
        GLX.put(&mut words, levels.bits().into());
        Ok(Self(words.map(U64::new)))
    }

    /// What the kernel takes of a guest's entry.
    ///
    /// What is not the kernel's to take is dropped: interrupts, what may be cached, memory types, and
    /// what is reserved.
    ///
    /// # Errors
    /// The entry is not one of guest page tables alone, or asks for what the kernel refuses or has no
    /// field for. The error says what the VMM is to do.
    pub fn from_entry(entry: [u64; 4]) -> Result<Self, BadGuestDte> {
        let words = &entry;
        if !V.is_set(words) {
            return Err(BadGuestDte::NotValid);
        }
        if !TV.is_set(words) {
            return Err(BadGuestDte::NoTranslation);
        }
        if MODE.is_set(words) {
            return Err(BadGuestDte::HostTable);
        }
        for (allowed, name) in [(IR, "DTE.IR"), (IW, "DTE.IW")] {
            if !allowed.is_set(words) {
                return Err(BadGuestDte::NotCarried(name));
            }
        }
        if !GV.is_set(words) {
            return Err(BadGuestDte::NoGuestTables);
        }
        let gcr3_levels = match GLX.get(words) {
            0 => Gcr3Levels::One,
            1 => Gcr3Levels::Two,
            2 => Gcr3Levels::Three,
            _ => return Err(BadGuestDte::Gcr3Levels),
        };
        let levels = match GUEST_PAGING_MODE.get(words) {
            0 => GuestLevels::Four,
            1 => GuestLevels::Five,
            other => return Err(BadGuestDte::GuestLevels(other as u8)),
        };
        Ok(Self::new(root_of(words), gcr3_levels)?
            .with_levels(levels)
            .with_domain(DOMAIN.get(words) as u16)
            .with_page_requests(PPR.is_set(words))
            .with_giov(GIOV.is_set(words)))
    }

    /// With page tables of so many levels: where `EFR.GATS` has them.
    #[must_use]
    pub fn with_levels(self, levels: GuestLevels) -> Self {
        self.with(GUEST_PAGING_MODE, levels.bits().into())
    }

    /// With this domain: the guest's tag of translations. The kernel has one of its own for each that
    /// a guest uses.
    #[must_use]
    pub fn with_domain(self, domain: u16) -> Self {
        self.with(DOMAIN, domain.into())
    }

    /// With peripheral page requests, or without: `DTE.PPR`.
    #[must_use]
    pub fn with_page_requests(self, wanted: bool) -> Self {
        self.with(PPR, wanted.into())
    }

    /// With requests that carry no PASID translated as those of PASID 0, or not: `DTE.GIoV`.
    #[must_use]
    pub fn with_giov(self, wanted: bool) -> Self {
        self.with(GIOV, wanted.into())
    }

    /// Where the GCR3 table is, by guest physical address.
    #[must_use]
    pub fn root(&self) -> Iova {
        root_of(&self.words())
    }

    /// How many levels the GCR3 table has.
    #[must_use]
    pub fn gcr3_levels(&self) -> Gcr3Levels {
        match GLX.get(&self.words()) {
            0 => Gcr3Levels::One,
            1 => Gcr3Levels::Two,
            _ => Gcr3Levels::Three,
        }
    }

    /// How many levels the page tables have.
    #[must_use]
    pub fn levels(&self) -> GuestLevels {
        match GUEST_PAGING_MODE.get(&self.words()) {
            0 => GuestLevels::Four,
            _ => GuestLevels::Five,
        }
    }

    /// The guest's domain.
    #[must_use]
    pub fn domain(&self) -> u16 {
        DOMAIN.get(&self.words()) as u16
    }

    /// Whether there are peripheral page requests.
    #[must_use]
    pub fn page_requests(&self) -> bool {
        PPR.is_set(&self.words())
    }

    /// Whether requests that carry no PASID are translated as those of PASID 0.
    #[must_use]
    pub fn giov(&self) -> bool {
        GIOV.is_set(&self.words())
    }

    /// Its words. Each is a number, in the machine's own order of bytes.
    #[must_use]
    pub fn words(&self) -> [u64; 4] {
        self.0.map(U64::get)
    }

    fn with(self, field: Field, value: u64) -> Self {
        let mut words = self.words();
        field.put(&mut words, value);
        Self(words.map(U64::new))
    }
}

fn root_of(words: &[u64; 4]) -> Iova {
    let pieces = ROOT.map(|(piece, from)| piece.get(words) << from);
    Iova::new(pieces.into_iter().fold(0, |address, piece| address | piece))
}

impl fmt::Debug for GuestDte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestDte")
            .field("root", &self.root())
            .field("gcr3_levels", &self.gcr3_levels())
            .field("levels", &self.levels())
            .field("domain", &self.domain())
            .field("page_requests", &self.page_requests())
            .field("giov", &self.giov())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `V`, `TV`, `GV`, `IR`, `IW` and a table.
    const ENTRY: [u64; 4] = [0x6080_0000_0000_0003, 0x0000_0000_0001_0000, 0, 0];
    /// What becomes of it: without `IR` and `IW`, which are the host's.
    const TAKEN: [u64; 4] = [0x0080_0000_0000_0003, 0x0000_0000_0001_0000, 0, 0];

    fn with(word: usize, bits: u64) -> [u64; 4] {
        let mut entry = ENTRY;
        entry[word] |= bits;
        entry
    }

    #[test]
    fn every_bit_of_the_address_has_its_place() {
        for bit in 12..52 {
            let root = Iova::new(1 << bit);
            let dte = GuestDte::new(root, Gcr3Levels::One).unwrap();
            let (word, place) = match bit {
                12..=14 => (0, bit + 46),
                15..=30 => (1, bit + 1),
                _ => (1, bit + 12),
            };
            let mut expected = [0x0080_0000_0000_0003, 0, 0, 0];
            expected[word] |= 1 << place;
            assert_eq!(dte.words(), expected, "bit {bit}");
            assert_eq!(dte.root(), root);
        }
        let all = Iova::new(0x000f_ffff_ffff_f000);
        let dte = GuestDte::new(all, Gcr3Levels::Three).unwrap();
        assert_eq!(
            dte.words()[..2],
            [0x1e80_0000_0000_0003, 0xffff_f800_ffff_0000]
        );
        let simplest = GuestDte::new(Iova::new(0x1000), Gcr3Levels::One);
        assert_eq!(simplest, Ok(GuestDte::SIMPLEST));
        for bad in [0, 1, 0xfff, 0x1001, 1 << 52, u64::MAX] {
            let root = Iova::new(bad);
            let refused = GuestDte::new(root, Gcr3Levels::One);
            assert_eq!(refused, Err(BadGuestDte::Root(root)));
        }
    }

    #[test]
    fn what_the_kernel_takes_is_taken_and_nothing_else() {
        let plain = GuestDte::from_entry(ENTRY).unwrap();
        assert_eq!(plain.words(), TAKEN);
        for word in 0..4 {
            for bit in 0..64 {
                let one = 1 << bit;
                if ENTRY[word] & one != 0 {
                    continue;
                }
                let answer = GuestDte::from_entry(with(word, one));
                let expected = match (word, bit) {
                    (0, 9..=11) => Err(BadGuestDte::HostTable),
                    (2, 55) => Err(BadGuestDte::GuestLevels(2)),
                    (0, 52 | 54 | 56..=60) | (1, 0..=31 | 43..) | (2, 54) => {
                        let mut taken = TAKEN;
                        taken[word] |= one;
                        Ok(taken)
                    }
                    _ => Ok(TAKEN),
                };
                assert_eq!(
                    answer.map(|dte| dte.words()),
                    expected,
                    "bit {bit} of word {word}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_nested_table_says_what_it_is() {
        let without = |bits: u64| GuestDte::from_entry([ENTRY[0] & !bits, ENTRY[1], 0, 0]);
        assert_eq!(without(1), Err(BadGuestDte::NotValid));
        assert_eq!(without(1 << 1), Err(BadGuestDte::NoTranslation));
        assert_eq!(without(1 << 55), Err(BadGuestDte::NoGuestTables));
        assert_eq!(without(1 << 61), Err(BadGuestDte::NotCarried("DTE.IR")));
        assert_eq!(without(1 << 62), Err(BadGuestDte::NotCarried("DTE.IW")));
        let no_table = [ENTRY[0], 0, 0, 0];
        let refused = GuestDte::from_entry(no_table);
        assert_eq!(refused, Err(BadGuestDte::Root(Iova::new(0))));
        let refused = GuestDte::from_entry(with(0, 3 << 56));
        assert_eq!(refused, Err(BadGuestDte::Gcr3Levels));
        let refused = GuestDte::from_entry(with(2, 3 << 54));
        assert_eq!(refused, Err(BadGuestDte::GuestLevels(3)));
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let plain = GuestDte::from_entry(ENTRY).unwrap();
        let dte = plain
            .with_levels(GuestLevels::Five)
            .with_domain(0xabcd)
            .with_page_requests(true)
            .with_giov(true);
        assert_eq!(dte.levels(), GuestLevels::Five);
        assert_eq!(
            (dte.domain(), dte.page_requests(), dte.giov()),
            (0xabcd, true, true)
        );
        assert_eq!(dte.words()[2], 1 << 54);
        let back = dte
            .with_levels(GuestLevels::Four)
            .with_domain(0)
            .with_page_requests(false)
            .with_giov(false);
        assert_eq!(back, plain);
        for levels in [Gcr3Levels::One, Gcr3Levels::Two, Gcr3Levels::Three] {
            let dte = GuestDte::new(Iova::new(0x1000), levels).unwrap();
            assert_eq!(dte.gcr3_levels(), levels);
        }
        // As the kernel reads them.
        assert_eq!(dte.as_bytes()[..8], [0x03, 0, 0, 0, 0, 0, 0xd0, 0]);
        assert_eq!(dte.as_bytes().len(), 32);
    }
}
