//! `SMMU_STRTAB_BASE` and `SMMU_STRTAB_BASE_CFG`.

use hardware_records::{encoding, record};

use crate::Ipa;

encoding! {
    /// The shape of the stream table: `SMMU_STRTAB_BASE_CFG.FMT`. Other values are reserved and
    /// behave as [`Linear`](Self::Linear).
    pub enum StreamTableFormat {
        /// An array of entries.
        Linear = 0b00,
        /// An array of level 1 descriptors, which point to arrays of entries.
        TwoLevel = 0b01,
    }
}

encoding! {
    /// How many bits of a stream number are the index into an array of level 2:
    /// `SMMU_STRTAB_BASE_CFG.SPLIT`. Other values are reserved and behave as
    /// [`Bits6`](Self::Bits6).
    pub enum StreamTableSplit {
        /// 6 bits: arrays of 4 KiB.
        Bits6 = 6,
        /// 8 bits: arrays of 16 KiB.
        Bits8 = 8,
        /// 10 bits: arrays of 64 KiB.
        Bits10 = 10,
    }
}

record! {
    /// Where the stream table is.
    pub struct StrtabBase(u64), "SMMU_STRTAB_BASE", "6.3.24";

    /// Its address. The SMMU takes bits below the alignment of the table for 0.
    address(Ipa) addr, with_addr: "ADDR", 0 [51:6];
    /// A hint to allocate on reads.
    flag ra, with_ra: "RA", 0 [62];
}

record! {
    /// What the stream table is like.
    pub struct StrtabBaseCfg(u32), "SMMU_STRTAB_BASE_CFG", "6.3.25";

    /// The binary logarithm of how many stream numbers it has.
    num(u8) log2size, with_log2size: "LOG2SIZE", 0 [5:0];
    /// How many bits of a stream number are the index of level 2.
    coded(StreamTableSplit) split, with_split: "SPLIT", 0 [10:6];
    /// Its shape.
    coded(StreamTableFormat) fmt, with_fmt: "FMT", 0 [17:16];
}
