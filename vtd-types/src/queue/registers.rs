//! The registers of the queues.

use super::{EntrySize, Ring};
use crate::HostAddressWidth;
use crate::encoding::encoding;
use crate::record::record;

encoding! {
    total
    /// How large the descriptors of the invalidation queue are: `IQA_REG.DW`. In scalable mode they
    /// must be of 256 bits.
    pub enum DescriptorWidth {
        /// 128 bits.
        Bits128 = 0;
        /// 256 bits. Where there is `ECAP_REG.SMTS`.
        Bits256 = 1,
    }
}

record! {
    /// Where the invalidation queue is, and how large, at offset 0x90.
    pub struct Iqa(u64), "IQA_REG", "11.4.9.3";

    /// How many pages of 4 KiB it has: 2<sup>`QS`</sup>.
    num(u8) qs, with_qs: "QS", 0 [2:0];
    /// How large descriptors are.
    total(DescriptorWidth) dw, with_dw: "DW", 0 [11];
    /// Where it is.
    gpa iqa, with_iqa: "IQA", 0 [51:12];
}

record! {
    /// Where the page request queue is, and how large, at offset 0xd0. Its entries have 32 bytes.
    pub struct Pqa(u64), "PQA_REG", "11.4.11.3";

    /// How many pages of 4 KiB it has: 2<sup>`PQS`</sup>.
    num(u8) pqs, with_pqs: "PQS", 0 [2:0];
    /// Where it is.
    gpa pqa, with_pqa: "PQA", 0 [51:12];
}

record! {
    /// That a wait of the invalidation queue is complete, at offset 0x9c.
    pub struct Ics(u32), "ICS_REG", "11.4.9.4";

    /// An invalidation wait descriptor with `IF` is complete. Cleared by writing 1.
    flag iwc, with_iwc: "IWC", 0 [0];
}

record! {
    /// The state of the page request queue, at offset 0xdc.
    pub struct Prs(u32), "PRS_REG", "11.4.11.4";

    /// There is a page request to be read, that was the last of its group. Cleared by writing 1.
    flag ppr, with_ppr: "PPR", 0 [0];
    /// A page request was lost for lack of room. Cleared by writing 1; until then no more are
    /// written.
    flag pro, with_pro: "PRO", 0 [1];
}

impl Ics {
    /// What it is after software wrote `written`: a flag that is 1 there is cleared.
    #[must_use]
    pub const fn after_write(self, written: u32) -> Self {
        Self::from_bits(self.bits() & !(written & 1))
    }
}

impl Prs {
    /// What it is after software wrote `written`: flags that are 1 there are cleared.
    #[must_use]
    pub const fn after_write(self, written: u32) -> Self {
        Self::from_bits(self.bits() & !(written & 3))
    }
}

impl Iqa {
    /// The queue that it describes. Its address is cut to the host address width.
    #[must_use]
    pub const fn ring(self, width: HostAddressWidth) -> Ring {
        let entry = match self.dw() {
            DescriptorWidth::Bits128 => EntrySize::Bytes16,
            DescriptorWidth::Bits256 => EntrySize::Bytes32,
        };
        Ring::new(width.cut(self.iqa().get()), self.qs(), entry)
    }
}

impl Pqa {
    /// The queue that it describes. Its address is cut to the host address width.
    #[must_use]
    pub const fn ring(self, width: HostAddressWidth) -> Ring {
        Ring::new(width.cut(self.pqa().get()), self.pqs(), EntrySize::Bytes32)
    }
}

/// `IQH_REG`, `IQT_REG`, `PQH_REG` or `PQT_REG`, at offsets 0x80, 0x88, 0xc0 and 0xc8 (11.4.9.1,
/// 11.4.9.2, 11.4.11.1, 11.4.11.2): where the head or the tail of a queue is, in bytes from its
/// start.
///
/// Every bit is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct QueueOffset(u64);

impl QueueOffset {
    /// The bits that count: 18:4. Of a queue of 32-byte entries, bit 4 is to be 0.
    pub(super) const BYTES: u64 = 0x7_fff0;

    /// The register with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Its offset: bits 18:4, in their place.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        (self.0 & Self::BYTES) as u32
    }
}
