//! Entries in tables of the second stage.

use super::SecondStage;
use crate::paging::{encoded, page_bits};
use crate::record::record;
use crate::{BadPagingEntry, Gpa, Level, bits};

record! {
    /// An entry that points to a table of the next level: SS-PML5E, SS-PML4E, SS-PDPE or SS-PDE.
    pub struct SecondStageTable([u64; 1]), "SSTE", "9.8";

    /// Whether what is below can be read.
    flag r, with_r: "R", 0 [0];
    /// Whether what is below can be written.
    flag w, with_w: "W", 0 [1];
    /// Whether what is below can be executed, with `PASIDTE.SSEE`.
    flag x, with_x: "X", 0 [2];
    /// Whether it is a page: 0. Reserved on levels 4 and 5.
    flag ps, with_ps: "PS", 0 [7];
    /// Whether it was used, with `PASIDTE.SSADE`.
    flag a, with_a: "A", 0 [8];
    /// Where the table is.
    gpa addr, with_addr: "ADDR", 0 [51:12];
}

record! {
    /// An entry that maps a page: where addresses go, and what they may be used for. SS-PTE, or an
    /// SS-PDE or SS-PDPE with `PS`.
    ///
    /// Where they go depends on the level: [`Self::output`].
    pub struct SecondStageLeaf([u64; 1]), "SSPE", "9.8";

    /// Whether it can be read.
    flag r, with_r: "R", 0 [0];
    /// Whether it can be written.
    flag w, with_w: "W", 0 [1];
    /// Whether it can be executed, with `PASIDTE.SSEE`.
    flag x, with_x: "X", 0 [2];
    /// The extended memory type, with `PASIDTE.EMTE`.
    num(u8) emt, with_emt: "EMT", 0 [5:3];
    /// Whether the memory type of the first stage is ignored, with `PASIDTE.EMTE`.
    flag ipat, with_ipat: "IPAT", 0 [6];
    /// Whether it is a page and not a table: 1, on levels 2 and 3.
    flag ps, with_ps: "PS", 0 [7];
    /// Whether it was used, with `PASIDTE.SSADE`.
    flag a, with_a: "A", 0 [8];
    /// Whether it was written, with `PASIDTE.SSADE`.
    flag d, with_d: "D", 0 [9];
    /// Whether requests are snooped, whatever they say. Where there is `ECAP_REG.SC`.
    flag snp, with_snp: "SNP", 0 [11];
}

/// What an entry of the second stage is, on its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecondStageEntry {
    /// There is nothing: `R` and `W` are 0, and `X`, if it counts.
    NotPresent,
    /// It has bits set that are reserved: these.
    Reserved(u64),
    /// It points to a table.
    Table(SecondStageTable),
    /// It maps a page.
    Leaf(SecondStageLeaf),
}

const PS: u64 = 1 << 7;
const SNP: u64 = 1 << 11;
/// Bit 62, which was `TM` once.
const RESERVED: u64 = 1 << 62;

impl SecondStageEntry {
    /// What an entry of these bits is, on this level of `stage`'s tables.
    #[must_use]
    pub const fn decode(bits: u64, level: Level, stage: &SecondStage) -> Self {
        let present = if stage.execute { 0b111 } else { 0b11 };
        if bits & present == 0 {
            return Self::NotPresent;
        }
        let has_pages = match level {
            Level::Level1 => true,
            Level::Level2 => stage.megabyte_pages,
            Level::Level3 => stage.gigabyte_pages,
            Level::Level4 | Level::Level5 => false,
        };
        let is_last = matches!(level, Level::Level1);
        let is_page = is_last || has_pages && bits & PS != 0;
        // Bits 61:52 and 63 are software's own.
        let mut reserved = bits & (RESERVED | stage.width.beyond() & (u64::MAX >> 12));
        if is_page {
            reserved |= bits & bits::low(level.span_bits()) & !0xfff;
        } else {
            reserved |= bits & (PS | SNP);
        }
        if !stage.snoop_control {
            reserved |= bits & SNP;
        }
        if reserved != 0 {
            Self::Reserved(reserved)
        } else if is_page {
            Self::Leaf(SecondStageLeaf::from_words([bits]))
        } else {
            Self::Table(SecondStageTable::from_words([bits]))
        }
    }
}

impl SecondStageTable {
    /// An entry on this level that points to `table`, with reads and writes allowed below.
    ///
    /// # Errors
    /// The level is the last. The table is not aligned to 4 KiB.
    pub const fn new(level: Level, table: Gpa) -> Result<Self, BadPagingEntry> {
        if level.next().is_none() {
            return Err(BadPagingEntry::Level(level));
        }
        match encoded(table, 12) {
            Ok(bits) => Ok(Self::from_words([bits]).with_r(true).with_w(true)),
            Err(bad) => Err(bad),
        }
    }
}

impl SecondStageLeaf {
    /// A page that goes to `output`, for which nothing is allowed yet.
    ///
    /// ```
    /// use vtd_types::{Gpa, Level, SecondStageLeaf};
    ///
    /// let output = Gpa::new(0x4020_0000).expect("of 52 bits");
    /// let page = SecondStageLeaf::new(Level::Level2, output)?.with_r(true).with_w(true);
    /// assert_eq!(page.to_bytes(), 0x4020_0083_u64.to_le_bytes());
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
            Ok(bits) => Ok(Self::from_words([bits]).with_ps(level.next().is_some())),
            Err(bad) => Err(bad),
        }
    }

    /// Where the first address that it maps goes.
    #[must_use]
    pub const fn output(&self, level: Level) -> Gpa {
        page_bits(self.words()[0], level.span_bits())
    }
}
