//! A context descriptor as it lies in memory.

use crate::record::record;
use crate::{AddressSize, Asid, Cacheability, Shareability};

record! {
    /// A context descriptor: where the translation tables of a stream or substream are, and how
    /// they are walked (5.4).
    ///
    /// Which of the fields mean something depends on others and on the SMMU: [`Cd::decode`] says
    /// what a descriptor comes to. What fields are with 128-bit descriptors (`DisCHx`, `SKLx`, bits
    /// 55:52 of addresses) is left out.
    pub struct Cd([u64; 8]), "CD", "5.4";

    /// 64 minus the bits of an address that the first table takes.
    num(u8) t0sz, with_t0sz: "T0SZ", 0 [5:0];
    /// The granule of the first table: [`Granule::tg0`](crate::Granule::tg0). 3 is reserved.
    num(u8) tg0, with_tg0: "TG0", 0 [7:6];
    /// How the first table is cached: the inner region.
    total(Cacheability) ir0, with_ir0: "IR0", 0 [9:8];
    /// How the first table is cached: the outer region.
    total(Cacheability) or0, with_or0: "OR0", 0 [11:10];
    /// Who shares the memory of the first table.
    coded(Shareability) sh0, with_sh0: "SH0", 0 [13:12];
    /// Whether the first table is not walked.
    flag epd0, with_epd0: "EPD0", 0 [14];
    /// Whether the tables are big-endian.
    flag endi, with_endi: "ENDI", 0 [15];
    /// 64 minus the bits of an address that the second table takes.
    num(u8) t1sz, with_t1sz: "T1SZ", 0 [21:16];
    /// The granule of the second table: [`Granule::tg1`](crate::Granule::tg1). 0 is reserved.
    num(u8) tg1, with_tg1: "TG1", 0 [23:22];
    /// How the second table is cached: the inner region.
    total(Cacheability) ir1, with_ir1: "IR1", 0 [25:24];
    /// How the second table is cached: the outer region.
    total(Cacheability) or1, with_or1: "OR1", 0 [27:26];
    /// Who shares the memory of the second table.
    coded(Shareability) sh1, with_sh1: "SH1", 0 [29:28];
    /// Whether the second table is not walked.
    flag epd1, with_epd1: "EPD1", 0 [30];
    /// Whether the descriptor is valid. Nothing else is looked at where it is not.
    flag v, with_v: "V", 0 [31];
    /// The bits of an address that stage 1 puts out. More than `SMMU_IDR5.OAS` counts as that.
    coded(AddressSize) ips, with_ips: "IPS", 0 [34:32];
    /// Whether an access flag of 0 never faults.
    flag affd, with_affd: "AFFD", 0 [35];
    /// Whether what can be written cannot be executed.
    flag wxn, with_wxn: "WXN", 0 [36];
    /// Whether what the unprivileged can write cannot be executed by the privileged. VMSAv8-32
    /// only.
    flag uwxn, with_uwxn: "UWXN", 0 [37];
    /// Whether the top byte of addresses of the first table is ignored.
    flag tbi0, with_tbi0: "TBI0", 0 [38];
    /// Whether the top byte of addresses of the second table is ignored.
    flag tbi1, with_tbi1: "TBI1", 0 [39];
    /// Whether the privileged may not access what the unprivileged may.
    flag pan, with_pan: "PAN", 0 [40];
    /// Whether the tables are of VMSAv8-64, not of VMSAv8-32 LPAE.
    flag aa64, with_aa64: "AA64", 0 [41];
    /// Whether the SMMU sets dirty state in the tables.
    flag hd, with_hd: "HD", 0 [42];
    /// Whether the SMMU sets access flags in the tables.
    flag ha, with_ha: "HA", 0 [43];
    /// Whether faults stall (5.5).
    flag s, with_s: "S", 0 [44];
    /// Whether faults are recorded (5.5).
    flag r, with_r: "R", 0 [45];
    /// Whether what faults is aborted, not read as zero and its writes ignored (5.5).
    flag a, with_a: "A", 0 [46];
    /// Whether the ASID is the SMMU's own, not shared with processors.
    flag aset, with_aset: "ASET", 0 [47];
    /// The tag of the address space in the TLBs.
    id(Asid) asid, with_asid: "ASID", 0 [63:48];

    /// Whether the first table is fetched as non-secure. Of a Secure stream.
    flag nscfg0, with_nscfg0: "NSCFG0", 1 [0];
    /// Whether hierarchical attributes of the first table are off.
    flag had0, with_had0: "HAD0", 1 [1];
    /// Whether the first table is closed to the unprivileged.
    flag e0pd0, with_e0pd0: "E0PD0", 1 [2];
    /// Whether the SMMU sets access flags of tables, where `SMMU_IDR0.HTTU` is `0b11`, which is not
    /// covered.
    flag haft, with_haft: "HAFT", 1 [3];
    /// Where the first table is.
    ipa ttb0, with_ttb0: "TTB0", 1 [51:4];
    /// Whether bit 52 of descriptors is the protected attribute (SMMUv3.4).
    flag pnch, with_pnch: "PnCH", 1 [58];
    /// Whether `PAN` is also for what the unprivileged may execute.
    flag epan, with_epan: "EPAN", 1 [59];
    /// Whether bit 59 of a block or page has a use of the implementation's: the first table.
    flag hwu059, with_hwu059: "HWU059", 1 [60];
    /// As `HWU059`, for bit 60.
    flag hwu060, with_hwu060: "HWU060", 1 [61];
    /// As `HWU059`, for bit 61.
    flag hwu061, with_hwu061: "HWU061", 1 [62];
    /// As `HWU059`, for bit 62.
    flag hwu062, with_hwu062: "HWU062", 1 [63];

    /// Whether the second table is fetched as non-secure. Of a Secure stream.
    flag nscfg1, with_nscfg1: "NSCFG1", 2 [0];
    /// Whether hierarchical attributes of the second table are off.
    flag had1, with_had1: "HAD1", 2 [1];
    /// Whether the second table is closed to the unprivileged.
    flag e0pd1, with_e0pd1: "E0PD1", 2 [2];
    /// Whether there are sixteen indices of memory attributes (SMMUv3.4).
    flag aie, with_aie: "AIE", 2 [3];
    /// Where the second table is.
    ipa ttb1, with_ttb1: "TTB1", 2 [51:4];
    /// Whether addresses have 52 bits with granules of 4 and 16 KiB.
    flag ds, with_ds: "DS", 2 [58];
    /// Whether there are indirect permissions (SMMUv3.4).
    flag pie, with_pie: "PIE", 2 [59];
    /// Whether bit 59 of a block or page has a use of the implementation's: the second table.
    flag hwu159, with_hwu159: "HWU159", 2 [60];
    /// As `HWU159`, for bit 60.
    flag hwu160, with_hwu160: "HWU160", 2 [61];
    /// As `HWU159`, for bit 61.
    flag hwu161, with_hwu161: "HWU161", 2 [62];
    /// As `HWU159`, for bit 62.
    flag hwu162, with_hwu162: "HWU162", 2 [63];

    /// The memory attributes 0 to 3.
    num(u32) mair0, with_mair0: "MAIR0", 3 [31:0];
    /// The memory attributes 4 to 7.
    num(u32) mair1, with_mair1: "MAIR1", 3 [63:32];

    /// The implementation's attributes, lower half.
    num(u32) amair0, with_amair0: "AMAIR0", 4 [31:0];
    /// The implementation's attributes, upper half.
    num(u32) amair1, with_amair1: "AMAIR1", 4 [63:32];

    /// The implementation's own.
    num(u32) implementation_defined, with_implementation_defined: "IMPLEMENTATION DEFINED", 5 [31:0];
    /// The MPAM partition, where `STE.S1MPAM` says so.
    num(u16) partid, with_partid: "PARTID", 5 [47:32];
    /// The MPAM performance monitoring group, where `STE.S1MPAM` says so.
    num(u8) pmg, with_pmg: "PMG", 5 [55:48];

    /// The sixteen indirect permissions of the unprivileged, three bits each (SMMUv3.4).
    num(u64) piiu, with_piiu: "PIIU<p>", 6 [47:0];

    /// The sixteen indirect permissions of the privileged, three bits each (SMMUv3.4).
    num(u64) piip, with_piip: "PIIP<p>", 7 [47:0];
}
