//! What the kernel takes of a guest's device table entry.

use std::fmt;

use hardware_records::{Reserved, encoding, record};
use zerocopy::little_endian::U64;
use zerocopy::{Immutable, IntoBytes};

use crate::address::Iova;

encoding! {
    /// How many levels a guest's table of page tables, by PASID, has: `DTE.GLX`. Others are reserved.
    pub enum Gcr3Levels {
        /// One: PASIDs of 9 bits.
        One = 0b00,
        /// Two: PASIDs of 18 bits.
        Two = 0b01,
        /// Three: all PASIDs.
        Three = 0b10,
    }
}

encoding! {
    /// How many levels a guest's page tables have: `DTE.GuestPagingMode`. The kernel takes no others.
    pub enum GuestLevels {
        /// Four, 48 bits.
        Four = 0b00,
        /// Five, 57 bits.
        Five = 0b01,
    }
}

record! {
    /// A device table entry as it lies in the guest's memory, as far as tables are concerned.
    pub struct Dte([u64; 4]), "DTE", "device table entry";

    /// Whether it counts. Without it requests go through untranslated.
    flag v, with_v: "V", 0 [0];
    /// Whether what it says of translation counts. Without it requests are blocked.
    flag tv, with_tv: "TV", 0 [1];
    /// How many levels the host page table has; 0 if there is none.
    num(u8) mode, with_mode: "Mode", 0 [11:9];
    /// Where the host page table is: the number of its page.
    num(u64) host_root, with_host_root: "HostPageTableRootPointer", 0 [51:12];
    /// Whether there are peripheral page requests.
    flag ppr, with_ppr: "PPR", 0 [52];
    /// Whether requests that carry no PASID are translated as those of PASID 0.
    flag giov, with_giov: "GIoV", 0 [54];
    /// Whether guest page tables translate.
    flag gv, with_gv: "GV", 0 [55];
    /// How many levels the GCR3 table has.
    coded(Gcr3Levels) glx, with_glx: "GLX", 0 [57:56];
    /// Where the GCR3 table is: bits 14:12.
    num(u8) gcr3_14_12, with_gcr3_14_12: "GCR3TableRootPointer[14:12]", 0 [60:58];
    /// Whether reads are allowed.
    flag ir, with_ir: "IR", 0 [61];
    /// Whether writes are allowed.
    flag iw, with_iw: "IW", 0 [62];

    /// The domain: the tag of translations.
    num(u16) domain_id, with_domain_id: "DomainID", 1 [15:0];
    /// Where the GCR3 table is: bits 30:15.
    num(u16) gcr3_30_15, with_gcr3_30_15: "GCR3TableRootPointer[30:15]", 1 [31:16];
    /// Where the GCR3 table is: bits 51:31.
    num(u32) gcr3_51_31, with_gcr3_51_31: "GCR3TableRootPointer[51:31]", 1 [63:43];

    /// How many levels the guest page tables have.
    coded(GuestLevels) guest_paging_mode, with_guest_paging_mode: "GuestPagingMode", 2 [55:54];
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
    /// `DTE.GLX` is 3, which is reserved, or `DTE.GuestPagingMode` 2 or 3, which the kernel does not
    /// take.
    #[error(transparent)]
    Reserved(#[from] Reserved),
}

impl Dte {
    /// Where the GCR3 table is, by guest physical address.
    #[must_use]
    pub fn gcr3_root(&self) -> Iova {
        let high = u64::from(self.gcr3_51_31()) << 31 | u64::from(self.gcr3_30_15()) << 15;
        Iova::new(high | u64::from(self.gcr3_14_12()) << 12)
    }

    /// With the GCR3 table there. What is not of the address of a page in 52 bits is cut off.
    #[must_use]
    pub fn with_gcr3_root(self, root: Iova) -> Self {
        let root = root.get();
        self.with_gcr3_14_12((root >> 12 & 0x7) as u8)
            .with_gcr3_30_15((root >> 15 & 0xffff) as u16)
            .with_gcr3_51_31((root >> 31 & 0x1f_ffff) as u32)
    }
}

impl GuestDte {
    /// What every IOMMU can do that nests, with a table at 0x1000: for asking, not for a device.
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
        let dte = Dte::default().with_v(true).with_tv(true).with_gv(true);
        Ok(Self::of(dte.with_gcr3_root(root).with_glx(levels)))
    }

    /// What the kernel takes of a guest's entry.
    ///
    /// What is not the kernel's to take is dropped: interrupts, what may be cached, memory types, and
    /// what is reserved.
    ///
    /// # Errors
    /// The entry is not one of guest page tables alone, or asks for what the kernel refuses or has no
    /// field for. The error says what the VMM is to do.
    pub fn from_entry(entry: &Dte) -> Result<Self, BadGuestDte> {
        if !entry.v() {
            return Err(BadGuestDte::NotValid);
        }
        if !entry.tv() {
            return Err(BadGuestDte::NoTranslation);
        }
        if entry.mode() != 0 {
            return Err(BadGuestDte::HostTable);
        }
        for (allowed, name) in [(entry.ir(), "DTE.IR"), (entry.iw(), "DTE.IW")] {
            if !allowed {
                return Err(BadGuestDte::NotCarried(name));
            }
        }
        if !entry.gv() {
            return Err(BadGuestDte::NoGuestTables);
        }
        Ok(Self::new(entry.gcr3_root(), entry.glx()?)?
            .with_levels(entry.guest_paging_mode()?)
            .with_domain(entry.domain_id())
            .with_page_requests(entry.ppr())
            .with_giov(entry.giov()))
    }

    /// With page tables of so many levels: where `EFR.GATS` has them.
    #[must_use]
    pub fn with_levels(self, levels: GuestLevels) -> Self {
        Self::of(self.entry().with_guest_paging_mode(levels))
    }

    /// With this domain: the guest's tag of translations. The kernel has one of its own for each that
    /// a guest uses.
    #[must_use]
    pub fn with_domain(self, domain: u16) -> Self {
        Self::of(self.entry().with_domain_id(domain))
    }

    /// With peripheral page requests, or without: `DTE.PPR`.
    #[must_use]
    pub fn with_page_requests(self, wanted: bool) -> Self {
        Self::of(self.entry().with_ppr(wanted))
    }

    /// With requests that carry no PASID translated as those of PASID 0, or not: `DTE.GIoV`.
    #[must_use]
    pub fn with_giov(self, wanted: bool) -> Self {
        Self::of(self.entry().with_giov(wanted))
    }

    /// Where the GCR3 table is, by guest physical address.
    #[must_use]
    pub fn root(&self) -> Iova {
        self.entry().gcr3_root()
    }

    /// How many levels the GCR3 table has.
    #[must_use]
    pub fn gcr3_levels(&self) -> Gcr3Levels {
        // Nothing reserved is ever put there.
        self.entry().glx().unwrap_or(Gcr3Levels::One)
    }

    /// How many levels the page tables have.
    #[must_use]
    pub fn levels(&self) -> GuestLevels {
        // As above.
        self.entry()
            .guest_paging_mode()
            .unwrap_or(GuestLevels::Four)
    }

    /// The guest's domain.
    #[must_use]
    pub fn domain(&self) -> u16 {
        self.entry().domain_id()
    }

    /// Whether there are peripheral page requests.
    #[must_use]
    pub fn page_requests(&self) -> bool {
        self.entry().ppr()
    }

    /// Whether requests that carry no PASID are translated as those of PASID 0.
    #[must_use]
    pub fn giov(&self) -> bool {
        self.entry().giov()
    }

    /// The entry that the kernel is given.
    #[must_use]
    pub fn entry(&self) -> Dte {
        Dte::from_words(self.0.map(U64::get))
    }

    fn of(entry: Dte) -> Self {
        Self(entry.words().map(U64::new))
    }
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
    use hardware_records::reserved;
    use hardware_records::testing::assert_positions;

    use super::*;

    fn from(entry: [u64; 4]) -> Result<GuestDte, BadGuestDte> {
        GuestDte::from_entry(&Dte::from_words(entry))
    }

    #[test]
    fn the_fields_are_where_the_structure_has_them() {
        assert_positions(
            Dte::FIELDS,
            &[
                ("V", 0, 0),
                ("TV", 1, 1),
                ("Mode", 11, 9),
                ("HostPageTableRootPointer", 51, 12),
                ("PPR", 52, 52),
                ("GIoV", 54, 54),
                ("GV", 55, 55),
                ("GLX", 57, 56),
                ("GCR3TableRootPointer[14:12]", 60, 58),
                ("IR", 61, 61),
                ("IW", 62, 62),
                ("DomainID", 79, 64),
                ("GCR3TableRootPointer[30:15]", 95, 80),
                ("GCR3TableRootPointer[51:31]", 127, 107),
                ("GuestPagingMode", 183, 182),
            ],
        );
    }

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
            assert_eq!(dte.entry().words(), expected, "bit {bit}");
            assert_eq!(dte.root(), root);
        }
        let all = Iova::new(0x000f_ffff_ffff_f000);
        let dte = GuestDte::new(all, Gcr3Levels::Three).unwrap();
        assert_eq!(
            dte.entry().words()[..2],
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
        let plain = GuestDte::from_entry(&Dte::from_words(ENTRY)).unwrap();
        assert_eq!(plain.entry().words(), TAKEN);
        for word in 0..4 {
            for bit in 0..64 {
                let one = 1 << bit;
                if ENTRY[word] & one != 0 {
                    continue;
                }
                let answer = from(with(word, one));
                let expected = match (word, bit) {
                    (0, 9..=11) => Err(BadGuestDte::HostTable),
                    (2, 55) => Err(BadGuestDte::Reserved(reserved("DTE.GuestPagingMode", 2))),
                    (0, 52 | 54 | 56..=60) | (1, 0..=31 | 43..) | (2, 54) => {
                        let mut taken = TAKEN;
                        taken[word] |= one;
                        Ok(taken)
                    }
                    _ => Ok(TAKEN),
                };
                assert_eq!(
                    answer.map(|dte| dte.entry().words()),
                    expected,
                    "bit {bit} of word {word}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_nested_table_says_what_it_is() {
        let without = |bits: u64| from([ENTRY[0] & !bits, ENTRY[1], 0, 0]);
        assert_eq!(without(1), Err(BadGuestDte::NotValid));
        assert_eq!(without(1 << 1), Err(BadGuestDte::NoTranslation));
        assert_eq!(without(1 << 55), Err(BadGuestDte::NoGuestTables));
        assert_eq!(without(1 << 61), Err(BadGuestDte::NotCarried("DTE.IR")));
        assert_eq!(without(1 << 62), Err(BadGuestDte::NotCarried("DTE.IW")));
        let no_table = [ENTRY[0], 0, 0, 0];
        let refused = from(no_table);
        assert_eq!(refused, Err(BadGuestDte::Root(Iova::new(0))));
        let refused = from(with(0, 3 << 56));
        assert_eq!(refused, Err(BadGuestDte::Reserved(reserved("DTE.GLX", 3))));
        let refused = from(with(2, 3 << 54));
        assert_eq!(
            refused,
            Err(BadGuestDte::Reserved(reserved("DTE.GuestPagingMode", 3)))
        );
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let plain = GuestDte::from_entry(&Dte::from_words(ENTRY)).unwrap();
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
        assert_eq!(dte.entry().words()[2], 1 << 54);
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
