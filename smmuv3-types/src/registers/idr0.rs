//! `SMMU_IDR0`.

use crate::encoding::encoding;
use crate::record::record;

encoding! {
    /// What can become of a transaction that faults: `SMMU_IDR0.STALL_MODEL`. `0b11` is reserved.
    pub enum StallModel {
        /// It stalls or is terminated, as the tables say.
        Both = 0b00,
        /// It is terminated. Tables must not ask for stalls.
        TerminateOnly = 0b01,
        /// It stalls. Tables must ask for that.
        StallOnly = 0b10,
    }
}

encoding! {
    /// The byte orders of translation tables: `SMMU_IDR0.TTENDIAN`. `0b01` is reserved.
    pub enum TableEndianness {
        /// Both.
        Mixed = 0b00,
        /// Little-endian only.
        Little = 0b10,
        /// Big-endian only.
        Big = 0b11,
    }
}

encoding! {
    total
    /// Whether the SMMU writes flags into translation tables: `SMMU_IDR0.HTTU`.
    pub enum TableUpdate {
        /// It does not.
        None = 0b00,
        /// Access flags.
        AccessFlag = 0b01,
        /// Access flags and dirty state.
        Dirty = 0b10;
        /// Access flags, also those of tables, and dirty state. Not covered:
        /// [`Features::new`](crate::Features::new) refuses it.
        TableAccessFlag = 0b11,
    }
}

encoding! {
    /// The shapes of the stream table: `SMMU_IDR0.ST_LEVEL`. `0b1x` is reserved.
    pub enum StreamTableLevels {
        /// Linear only.
        Linear = 0b00,
        /// Linear or of two levels.
        Two = 0b01,
    }
}

record! {
    /// What the SMMU can do: the first of the identification registers.
    pub struct Idr0(u32), "SMMU_IDR0", "6.3.1";

    /// Stage 2.
    flag s2p, with_s2p: "S2P", 0 [0];
    /// Stage 1.
    flag s1p, with_s1p: "S1P", 0 [1];
    /// Translation tables of VMSAv8-32 LPAE.
    flag ttf_aarch32, with_ttf_aarch32: "TTF[0]", 0 [2];
    /// Translation tables of VMSAv8-64.
    flag ttf_aarch64, with_ttf_aarch64: "TTF[1]", 0 [3];
    /// Coherent access to tables and queues.
    flag cohacc, with_cohacc: "COHACC", 0 [4];
    /// Broadcast TLB maintenance.
    flag btm, with_btm: "BTM", 0 [5];
    /// The flags the SMMU writes into translation tables.
    total(TableUpdate) httu, with_httu: "HTTU", 0 [7:6];
    /// The dormant hint.
    flag dormhint, with_dormhint: "DORMHINT", 0 [8];
    /// The translation regimes of EL2.
    flag hyp, with_hyp: "Hyp", 0 [9];
    /// PCI Express's ATS.
    flag ats, with_ats: "ATS", 0 [10];
    /// That split-stage ATS is *not* there.
    flag ns1ats, with_ns1ats: "NS1ATS", 0 [11];
    /// ASIDs of 16 bits.
    flag asid16, with_asid16: "ASID16", 0 [12];
    /// Interrupts by message.
    flag msi, with_msi: "MSI", 0 [13];
    /// Events that wake a processor from WFE.
    flag sev, with_sev: "SEV", 0 [14];
    /// Address translation operations.
    flag atos, with_atos: "ATOS", 0 [15];
    /// PCI Express's PRI.
    flag pri, with_pri: "PRI", 0 [16];
    /// Wildcards of VMIDs in invalidations.
    flag vmw, with_vmw: "VMW", 0 [17];
    /// VMIDs of 16 bits.
    flag vmid16, with_vmid16: "VMID16", 0 [18];
    /// Two-level tables of context descriptors.
    flag cd2l, with_cd2l: "CD2L", 0 [19];
    /// Address translation operations for guests.
    flag vatos, with_vatos: "VATOS", 0 [20];
    /// The byte orders of translation tables.
    coded(TableEndianness) ttendian, with_ttendian: "TTENDIAN", 0 [22:21];
    /// More events for ATS and PRI.
    flag atsrecerr, with_atsrecerr: "ATSRECERR", 0 [23];
    /// What can become of a transaction that faults.
    coded(StallModel) stall_model, with_stall_model: "STALL_MODEL", 0 [25:24];
    /// That a terminated transaction is always aborted: `CD.A` must be 1.
    flag term_model, with_term_model: "TERM_MODEL", 0 [26];
    /// The shapes of the stream table.
    coded(StreamTableLevels) st_level, with_st_level: "ST_LEVEL", 0 [28:27];
    /// The realm management extension.
    flag rme_impl, with_rme_impl: "RME_IMPL", 0 [30];
}
