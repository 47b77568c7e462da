//! `SMMU_CR0`, `SMMU_CR1` and `SMMU_CR2`.

use hardware_records::{encoding, record};

use crate::Shareability;

encoding! {
    /// How the SMMU caches the stream table and the queues: fields of `SMMU_CR1`. `0b11` is
    /// reserved and behaves as [`NonCacheable`](Self::NonCacheable). The encoding is another than
    /// that of the fields in memory.
    pub enum ControlCacheability {
        /// Not cacheable.
        NonCacheable = 0b00,
        /// Write-back.
        WriteBack = 0b01,
        /// Write-through.
        WriteThrough = 0b10,
    }
}

encoding! {
    /// How much of a VMID invalidations match: `SMMU_CR0.VMW`. Other values are reserved and
    /// behave as [`Exact`](Self::Exact).
    pub enum VmidWildcard {
        /// All of it.
        Exact = 0b000,
        /// All but bit 0.
        But1 = 0b001,
        /// All but bits 1:0.
        But2 = 0b010,
        /// All but bits 2:0.
        But3 = 0b011,
        /// All but bits 3:0.
        But4 = 0b100,
    }
}

record! {
    /// What of the SMMU is on. `SMMU_CR0ACK` (6.3.10) has the same fields.
    pub struct Cr0(u32), "SMMU_CR0", "6.3.9";

    /// Translation. Without it all streams bypass, as `SMMU_GBPA` says.
    flag smmuen, with_smmuen: "SMMUEN", 0 [0];
    /// The PRI queue is written. It counts for nothing without `SMMUEN`.
    flag priqen, with_priqen: "PRIQEN", 0 [1];
    /// The event queue is written.
    flag eventqen, with_eventqen: "EVENTQEN", 0 [2];
    /// The command queue is read.
    flag cmdqen, with_cmdqen: "CMDQEN", 0 [3];
    /// Translated transactions of ATS are checked against `STE.EATS`.
    flag atschk, with_atschk: "ATSCHK", 0 [4];
    /// How much of a VMID invalidations match.
    coded(VmidWildcard) vmw, with_vmw: "VMW", 0 [8:6];
    /// The device permission table is walked (SMMUv3.3).
    flag dpt_walk_en, with_dpt_walk_en: "DPT_WALK_EN", 0 [10];
}

record! {
    /// How the SMMU accesses the stream table and the queues.
    pub struct Cr1(u32), "SMMU_CR1", "6.3.11";

    /// The inner cacheability of the queues.
    coded(ControlCacheability) queue_ic, with_queue_ic: "QUEUE_IC", 0 [1:0];
    /// The outer cacheability of the queues.
    coded(ControlCacheability) queue_oc, with_queue_oc: "QUEUE_OC", 0 [3:2];
    /// The shareability of the queues.
    coded(Shareability) queue_sh, with_queue_sh: "QUEUE_SH", 0 [5:4];
    /// The inner cacheability of the stream table.
    coded(ControlCacheability) table_ic, with_table_ic: "TABLE_IC", 0 [7:6];
    /// The outer cacheability of the stream table.
    coded(ControlCacheability) table_oc, with_table_oc: "TABLE_OC", 0 [9:8];
    /// The shareability of the stream table.
    coded(Shareability) table_sh, with_table_sh: "TABLE_SH", 0 [11:10];
}

record! {
    /// Choices of behaviour.
    pub struct Cr2(u32), "SMMU_CR2", "6.3.12";

    /// EL2 has ASIDs and two translation tables.
    flag e2h, with_e2h: "E2H", 0 [0];
    /// `C_BAD_STREAMID` is recorded.
    flag recinvsid, with_recinvsid: "RECINVSID", 0 [1];
    /// The SMMU takes no part in broadcast TLB maintenance.
    flag ptm, with_ptm: "PTM", 0 [2];
    /// Errors of configuration are recorded for ATS and PRI also.
    flag rec_cfg_ats, with_rec_cfg_ats: "REC_CFG_ATS", 0 [3];
}
