//! `SMMU_GBPA`.

use hardware_records::record;

use crate::{AllocationHints, IncomingOverride, ShareabilityOverride};

record! {
    /// What becomes of transactions while the SMMU is off.
    ///
    /// It is written with `Update` set, and what is written is in force when that reads 0
    /// (6.3.14.1).
    pub struct Gbpa(u32), "SMMU_GBPA", "6.3.14";

    /// The memory type that replaces the transaction's, encoded as in `STE.MemAttr`.
    num(u8) mem_attr, with_mem_attr: "MemAttr", 0 [3:0];
    /// Whether `MemAttr` replaces the memory type.
    flag mtcfg, with_mtcfg: "MTCFG", 0 [4];
    /// What replaces the allocation hints.
    total(AllocationHints) alloccfg, with_alloccfg: "ALLOCCFG", 0 [11:8];
    /// What replaces the shareability.
    total(ShareabilityOverride) shcfg, with_shcfg: "SHCFG", 0 [13:12];
    /// What replaces the privileged attribute.
    coded(IncomingOverride) privcfg, with_privcfg: "PRIVCFG", 0 [17:16];
    /// What replaces the instruction attribute of reads.
    coded(IncomingOverride) instcfg, with_instcfg: "INSTCFG", 0 [19:18];
    /// Whether transactions are aborted rather than let through.
    flag abort, with_abort: "ABORT", 0 [20];
    /// Whether what was written is yet to come into force.
    flag update, with_update: "Update", 0 [31];
}
