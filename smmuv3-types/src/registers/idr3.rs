//! `SMMU_IDR3` and `SMMU_IDR4`.

use hardware_records::{encoding, record};

encoding! {
    /// What may be left out when a block of a translation table is changed into a table or back:
    /// `SMMU_IDR3.BBML`. `0b11` is reserved.
    pub enum BreakBeforeMake {
        /// Nothing: break, invalidate, make.
        Level0 = 0b00,
        /// The break, with the `nT` bit.
        Level1 = 0b01,
        /// The break.
        Level2 = 0b10,
    }
}

record! {
    /// What the SMMU can do: features of SMMUv3.1 and later.
    pub struct Idr3(u32), "SMMU_IDR3", "6.3.4";

    /// That hierarchical attributes can be turned off.
    flag had, with_had: "HAD", 0 [2];
    /// Page-based hardware attributes.
    flag pbha, with_pbha: "PBHA", 0 [3];
    /// That stage 2 tells EL0 from EL1 in what may be executed.
    flag xnx, with_xnx: "XNX", 0 [4];
    /// That automatic responses to page requests always carry the PASID.
    flag pps, with_pps: "PPS", 0 [5];
    /// Partitions of the memory system.
    flag mpam, with_mpam: "MPAM", 0 [7];
    /// That stage 2 can control memory types.
    flag fwb, with_fwb: "FWB", 0 [8];
    /// Small translation tables.
    flag stt, with_stt: "STT", 0 [9];
    /// Invalidations of ranges, with a hint at the level.
    flag ril, with_ril: "RIL", 0 [10];
    /// What may be left out of a change of a block.
    coded(BreakBeforeMake) bbml, with_bbml: "BBML", 0 [12:11];
    /// That a table can be closed to the unprivileged.
    flag e0pd, with_e0pd: "E0PD", 0 [13];
    /// That walks through device memory are made as through normal memory.
    flag ptwnnc, with_ptwnnc: "PTWNNC", 0 [14];
    /// The device permission table.
    flag dpt, with_dpt: "DPT", 0 [15];
    /// That translated transactions of ATS may have a PASID.
    flag pasidtt, with_pasidtt: "PASIDTT", 0 [16];
    /// The enhanced privileged-access-never.
    flag epan, with_epan: "EPAN", 0 [17];
    /// Indirect permissions of stage 1.
    flag s1pi, with_s1pi: "S1PI", 0 [18];
    /// Indirect permissions of stage 2.
    flag s2pi, with_s2pi: "S2PI", 0 [19];
    /// Permission overlays of stage 2.
    flag s2po, with_s2po: "S2PO", 0 [20];
    /// The translation hardening extension.
    flag the, with_the: "THE", 0 [21];
    /// Memory types without access to tags in stage 2.
    flag mteperm, with_mteperm: "MTEPERM", 0 [22];
    /// The attribute index extension of stage 1.
    flag aie, with_aie: "AIE", 0 [23];
}

record! {
    /// What the implementation says of itself.
    pub struct Idr4(u32), "SMMU_IDR4", "6.3.5";

    /// All of it is the implementation's.
    num(u32) implementation_defined, with_implementation_defined: "IMPLEMENTATION DEFINED", 0 [31:0];
}
