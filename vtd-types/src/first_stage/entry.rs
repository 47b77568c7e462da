//! Entries in tables of the first stage.

use crate::paging::{encoded, page_bits};
use crate::record::record;
use crate::{BadPagingEntry, Gpa, HostAddressWidth, Level};

record! {
    /// An entry that points to a table of the next level: FS-PML5E, FS-PML4E, FS-PDPE or FS-PDE.
    pub struct FirstStageTable([u64; 1]), "FSTE", "9.7";

    /// Whether there is anything.
    flag p, with_p: "P", 0 [0];
    /// Whether what is below can be written.
    flag rw, with_rw: "R/W", 0 [1];
    /// Whether what is below is the user's, not the supervisor's alone.
    flag us, with_us: "U/S", 0 [2];
    /// Whether the table is written through.
    flag pwt, with_pwt: "PWT", 0 [3];
    /// Whether the table is not cached.
    flag pcd, with_pcd: "PCD", 0 [4];
    /// Whether it was used.
    flag a, with_a: "A", 0 [5];
    /// Whether it is a page: 0. Reserved on levels 4 and 5.
    flag ps, with_ps: "PS", 0 [7];
    /// Whether it was used by a unit with `PASIDTE.EAFE`.
    flag ea, with_ea: "EA", 0 [10];
    /// Where the table is.
    gpa addr, with_addr: "ADDR", 0 [51:12];
    /// Whether what is below cannot be executed, with `PASIDTE.NXE`.
    flag xd, with_xd: "XD", 0 [63];
}

record! {
    /// An entry that maps a page: where addresses go, and what they may be used for. FS-PTE, or an
    /// FS-PDE or FS-PDPE with `PS`.
    ///
    /// Where they go depends on the level: [`Self::output`]. So does where `PAT` is: bit 7 on level
    /// 1, where there is no `PS`, and bit 12 on others.
    pub struct FirstStageLeaf([u64; 1]), "FSPE", "9.7";

    /// Whether there is anything.
    flag p, with_p: "P", 0 [0];
    /// Whether it can be written.
    flag rw, with_rw: "R/W", 0 [1];
    /// Whether it is the user's, not the supervisor's alone.
    flag us, with_us: "U/S", 0 [2];
    /// Bit 0 of the index of its memory type.
    flag pwt, with_pwt: "PWT", 0 [3];
    /// Bit 1 of the index of its memory type.
    flag pcd, with_pcd: "PCD", 0 [4];
    /// Whether it was used.
    flag a, with_a: "A", 0 [5];
    /// Whether it was written.
    flag d, with_d: "D", 0 [6];
    /// Whether it is a page and not a table: 1, on levels 2 and 3.
    flag ps, with_ps: "PS", 0 [7];
    /// Whether it is for all address spaces.
    flag g, with_g: "G", 0 [8];
    /// Whether it was used by a unit with `PASIDTE.EAFE`.
    flag ea, with_ea: "EA", 0 [10];
    /// Whether it cannot be executed, with `PASIDTE.NXE`.
    flag xd, with_xd: "XD", 0 [63];
}

/// What an entry of the first stage is, on its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FirstStageEntry {
    /// There is nothing: `P` is 0.
    NotPresent,
    /// It has bits set that are reserved: these.
    Reserved(u64),
    /// It points to a table.
    Table(FirstStageTable),
    /// It maps a page.
    Leaf(FirstStageLeaf),
}

const P: u64 = 1;
const PS: u64 = 1 << 7;

impl FirstStageEntry {
    /// What an entry of these bits is, on this level. `gigabyte_pages`: `CAP_REG.FS1GP`.
    #[must_use]
    pub const fn decode(
        bits: u64,
        level: Level,
        gigabyte_pages: bool,
        width: HostAddressWidth,
    ) -> Self {
        if bits & P == 0 {
            return Self::NotPresent;
        }
        let (is_page, misplaced) = match level {
            Level::Level1 => (true, 0),
            Level::Level2 => (bits & PS != 0, 0),
            Level::Level3 if gigabyte_pages => (bits & PS != 0, 0),
            Level::Level3 | Level::Level4 | Level::Level5 => (false, bits & PS),
        };
        // Bits 63:52 are XD and software's own. Of a large page, bit 12 is PAT and those from 13 to
        // its size are reserved.
        let beyond = bits & width.beyond() & (u64::MAX >> 12);
        let below = if is_page {
            bits & crate::bits::low(level.span_bits()) & !0x1fff
        } else {
            0
        };
        let reserved = misplaced | beyond | below;
        if reserved != 0 {
            Self::Reserved(reserved)
        } else if is_page {
            Self::Leaf(FirstStageLeaf::from_words([bits]))
        } else {
            Self::Table(FirstStageTable::from_words([bits]))
        }
    }
}

impl FirstStageTable {
    /// An entry on this level that points to `table`, with nothing forbidden below.
    ///
    /// # Errors
    /// The level is the last. The table is not aligned to 4 KiB.
    pub const fn new(level: Level, table: Gpa) -> Result<Self, BadPagingEntry> {
        if level.next().is_none() {
            return Err(BadPagingEntry::Level(level));
        }
        match encoded(table, 12) {
            Ok(bits) => Ok(Self::from_words([bits])
                .with_p(true)
                .with_rw(true)
                .with_us(true)),
            Err(bad) => Err(bad),
        }
    }
}

impl FirstStageLeaf {
    /// A page that goes to `output`, for the supervisor to read, not used yet (`A` is 0), and of
    /// memory type 0.
    ///
    /// ```
    /// use vtd_types::{FirstStageLeaf, Gpa, Level};
    ///
    /// let output = Gpa::new(0x4020_0000).expect("of 52 bits");
    /// let page = FirstStageLeaf::new(Level::Level2, output)?
    ///     .with_us(true)
    ///     .with_rw(true)
    ///     .with_a(true);
    /// assert_eq!(page.to_bytes(), 0x4020_00a7_u64.to_le_bytes());
    /// # Ok::<(), vtd_types::BadPagingEntry>(())
    /// ```
    ///
    /// # Errors
    /// There are no pages on this level. The output is not aligned to what is mapped.
    pub const fn new(level: Level, output: Gpa) -> Result<Self, BadPagingEntry> {
        if !level.has_pages() {
            return Err(BadPagingEntry::Level(level));
        }
        match encoded(output, level.span_bits()) {
            Ok(bits) => Ok(Self::from_words([bits])
                .with_p(true)
                .with_ps(level.next().is_some())),
            Err(bad) => Err(bad),
        }
    }

    /// Where the first address that it maps goes.
    #[must_use]
    pub const fn output(&self, level: Level) -> Gpa {
        page_bits(self.words()[0], level.span_bits())
    }

    /// The index of its memory type in `PASIDTE.PAT`: `PAT`, `PCD` and `PWT`, three bits.
    #[must_use]
    pub const fn pat_index(&self, level: Level) -> u8 {
        let bit = match level {
            Level::Level1 => 7,
            _ => 12,
        };
        let pat = crate::bits::from(self.words()[0], bit) & 1;
        (pat << 2) as u8 | (self.pcd() as u8) << 1 | self.pwt() as u8
    }
}
