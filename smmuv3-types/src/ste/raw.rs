//! A stream table entry as it lies in memory.

use hardware_records::record;

use crate::{
    AllocationHints, AtsMode, Cacheability, CdTableFormat, DefaultSubstream, IncomingOverride, Ipa,
    Shareability, ShareabilityOverride, StreamConfig, Vmid,
};

record! {
    /// A stream table entry: what the SMMU does with the transactions of a stream (5.2).
    ///
    /// Which of the fields mean something depends on others and on the SMMU: [`Ste::decode`] says
    /// what an entry comes to. Of addresses, bits 55:52 are left out: they are of 56-bit addresses.
    pub struct Ste([u64; 8]), "STE", "5.2";

    /// Whether the entry is valid. Nothing else is looked at where it is not.
    flag v, with_v: "V", 0 [0];
    /// What is done with the stream.
    coded(StreamConfig) config, with_config: "Config", 0 [3:1];
    /// The shape of the table of context descriptors.
    coded(CdTableFormat) s1_fmt, with_s1_fmt: "S1Fmt", 0 [5:4];
    /// Where the context descriptor is, or the table of them.
    address(Ipa) s1_context_ptr, with_s1_context_ptr: "S1ContextPtr", 0 [51:6];
    /// The binary logarithm of how many context descriptors there are.
    num(u8) s1_cd_max, with_s1_cd_max: "S1CDMax", 0 [63:59];

    /// What becomes of a transaction without a substream, where there are substreams.
    coded(DefaultSubstream) s1_dss, with_s1_dss: "S1DSS", 1 [1:0];
    /// How context descriptors are cached: the inner region.
    total(Cacheability) s1_cir, with_s1_cir: "S1CIR", 1 [3:2];
    /// How context descriptors are cached: the outer region.
    total(Cacheability) s1_cor, with_s1_cor: "S1COR", 1 [5:4];
    /// Who shares the memory of context descriptors.
    coded(Shareability) s1_csh, with_s1_csh: "S1CSH", 1 [7:6];
    /// Whether bit 59 of a stage-2 block or page has a use of the implementation's.
    flag s2_hwu59, with_s2_hwu59: "S2HWU59", 1 [8];
    /// As `S2HWU59`, for bit 60.
    flag s2_hwu60, with_s2_hwu60: "S2HWU60", 1 [9];
    /// As `S2HWU59`, for bit 61.
    flag s2_hwu61, with_s2_hwu61: "S2HWU61", 1 [10];
    /// As `S2HWU59`, for bit 62.
    flag s2_hwu62, with_s2_hwu62: "S2HWU62", 1 [11];
    /// Whether destructive reads may be destructive.
    flag dre, with_dre: "DRE", 1 [12];
    /// The binary logarithm of how many neighbouring entries are the same as this: a hint.
    num(u8) cont, with_cont: "CONT", 1 [16:13];
    /// Whether directed cache prefetches pass.
    flag dcp, with_dcp: "DCP", 1 [17];
    /// Whether automatic responses to page requests carry a PASID.
    flag ppar, with_ppar: "PPAR", 1 [18];
    /// Whether similar events may be merged into one.
    flag mev, with_mev: "MEV", 1 [19];
    /// Software's own.
    num(u8) sw_reserved, with_sw_reserved: "SW_RESERVED", 1 [23:20];
    /// Whether context descriptors can have indirect permissions (SMMUv3.4).
    flag s1_pie, with_s1_pie: "S1PIE", 1 [24];
    /// Whether stage 2 controls the memory type (SMMUv3.2).
    flag s2_fwb, with_s2_fwb: "S2FWB", 1 [25];
    /// Whether the context descriptor assigns MPAM's partition (SMMUv3.2).
    flag s1_mpam, with_s1_mpam: "S1MPAM", 1 [26];
    /// Whether context descriptors must not ask for stalls.
    flag s1_stalld, with_s1_stalld: "S1STALLD", 1 [27];
    /// What the device may do by ATS.
    total(AtsMode) eats, with_eats: "EATS", 1 [29:28];
    /// The translation regime, with stage 1 only: `0b00` NS-EL1, `0b10` NS-EL2 or NS-EL2-E2H.
    num(u8) strw, with_strw: "STRW", 1 [31:30];
    /// The memory type that replaces the transaction's, encoded as in a stage-2 descriptor.
    num(u8) mem_attr, with_mem_attr: "MemAttr", 1 [35:32];
    /// Whether `MemAttr` replaces the memory type.
    flag mtcfg, with_mtcfg: "MTCFG", 1 [36];
    /// What replaces the allocation hints.
    total(AllocationHints) alloccfg, with_alloccfg: "ALLOCCFG", 1 [40:37];
    /// What replaces the shareability.
    total(ShareabilityOverride) shcfg, with_shcfg: "SHCFG", 1 [45:44];
    /// What replaces the NS attribute of a Secure stream.
    coded(IncomingOverride) nscfg, with_nscfg: "NSCFG", 1 [47:46];
    /// What replaces the privileged attribute.
    coded(IncomingOverride) privcfg, with_privcfg: "PRIVCFG", 1 [49:48];
    /// What replaces the instruction attribute of reads.
    coded(IncomingOverride) instcfg, with_instcfg: "INSTCFG", 1 [51:50];
    /// The implementation's own.
    num(u16) implementation_defined_1, with_implementation_defined_1: "IMPLEMENTATION DEFINED", 1 [63:52];

    /// The tag of the guest in the TLBs.
    id(Vmid) s2_vmid, with_s2_vmid: "S2VMID", 2 [15:0];
    /// The implementation's own.
    num(u16) implementation_defined_2, with_implementation_defined_2: "IMPLEMENTATION DEFINED", 2 [31:16];
    /// 64 minus the bits of an address that stage 2 takes.
    num(u8) s2_t0sz, with_s2_t0sz: "S2T0SZ", 2 [37:32];
    /// The level at which a stage-2 walk begins, encoded as `VTCR_EL2.SL0`.
    num(u8) s2_sl0, with_s2_sl0: "S2SL0", 2 [39:38];
    /// How stage-2 tables are cached: the inner region.
    total(Cacheability) s2_ir0, with_s2_ir0: "S2IR0", 2 [41:40];
    /// How stage-2 tables are cached: the outer region.
    total(Cacheability) s2_or0, with_s2_or0: "S2OR0", 2 [43:42];
    /// Who shares the memory of stage-2 tables.
    coded(Shareability) s2_sh0, with_s2_sh0: "S2SH0", 2 [45:44];
    /// The granule of stage 2: 0 is 4 KiB, 1 is 64 KiB, 2 is 16 KiB.
    num(u8) s2_tg, with_s2_tg: "S2TG", 2 [47:46];
    /// The bits of a physical address, encoded as `SMMU_IDR5.OAS`.
    num(u8) s2_ps, with_s2_ps: "S2PS", 2 [50:48];
    /// Whether stage 2 is of VMSAv8-64.
    flag s2_aa64, with_s2_aa64: "S2AA64", 2 [51];
    /// Whether stage-2 tables are big-endian.
    flag s2_endi, with_s2_endi: "S2ENDI", 2 [52];
    /// Whether stage 2 never faults for an access flag of 0.
    flag s2_affd, with_s2_affd: "S2AFFD", 2 [53];
    /// Whether stage-1 walks are refused device memory.
    flag s2_ptw, with_s2_ptw: "S2PTW", 2 [54];
    /// Whether the SMMU sets dirty state in stage-2 tables.
    flag s2_hd, with_s2_hd: "S2HD", 2 [55];
    /// Whether the SMMU sets access flags in stage-2 tables.
    flag s2_ha, with_s2_ha: "S2HA", 2 [56];
    /// Whether stage-2 faults stall.
    flag s2_s, with_s2_s: "S2S", 2 [57];
    /// Whether stage-2 faults are recorded.
    flag s2_r, with_s2_r: "S2R", 2 [58];
    /// Whether the SMMU sets access flags of stage-2 tables (SMMUv3.4).
    flag s2_haft, with_s2_haft: "S2HAFT", 2 [59];
    /// Whether stage 2 has indirect permissions (SMMUv3.4).
    flag s2_pie, with_s2_pie: "S2PIE", 2 [60];
    /// Whether stage 2 has permission overlays (SMMUv3.4).
    flag s2_poe, with_s2_poe: "S2POE", 2 [61];
    /// How VMIDs are matched in the device permission table: 0 they match, or the entry is open
    /// for all; 1 they match, or the entry is open for reading; 2 they need not.
    num(u8) dpt_vmatch, with_dpt_vmatch: "DPT_VMATCH", 2 [63:62];

    /// Whether the stage-2 table of non-secure addresses is itself non-secure. Of a Secure stream.
    flag s2_nsw, with_s2_nsw: "S2NSW", 3 [0];
    /// Whether non-secure addresses go to non-secure memory. Of a Secure stream.
    flag s2_nsa, with_s2_nsa: "S2NSA", 3 [1];
    /// Bit 2 of `S2SL0`.
    flag s2_sl0_2, with_s2_sl0_2: "S2SL0_2", 3 [2];
    /// Whether stage 2 has addresses of 52 bits with granules of 4 and 16 KiB.
    flag s2_ds, with_s2_ds: "S2DS", 3 [3];
    /// Where the stage-2 table is.
    address(Ipa) s2_ttb, with_s2_ttb: "S2TTB", 3 [51:4];
    /// How many levels a stage-2 walk skips. With 128-bit descriptors.
    num(u8) s2_skl, with_s2_skl: "S2SKL", 3 [62:61];

    /// The implementation's own.
    num(u16) implementation_defined_4, with_implementation_defined_4: "IMPLEMENTATION DEFINED", 4 [15:0];
    /// The MPAM partition (SMMUv3.2).
    num(u16) partid, with_partid: "PARTID", 4 [31:16];
    /// As `S2T0SZ`, for Secure addresses of a Secure stream.
    num(u8) s_s2_t0sz, with_s_s2_t0sz: "S_S2T0SZ", 4 [37:32];
    /// As `S2SL0`, for Secure addresses of a Secure stream.
    num(u8) s_s2_sl0, with_s_s2_sl0: "S_S2SL0", 4 [39:38];
    /// As `S2TG`, for Secure addresses of a Secure stream.
    num(u8) s_s2_tg, with_s_s2_tg: "S_S2TG", 4 [47:46];
    /// The memory encryption context. Of a Realm stream.
    num(u16) mecid, with_mecid: "MECID", 4 [63:48];
    /// The MPAM performance monitoring group (SMMUv3.2).
    num(u8) pmg, with_pmg: "PMG", 5 [7:0];
    /// Whether the MPAM partition is a non-secure one. Of a Secure or Realm stream.
    flag mpam_ns, with_mpam_ns: "MPAM_NS", 5 [8];
    /// Whether stage 2 checks `AssuredOnly` (SMMUv3.4).
    flag assured_only, with_assured_only: "AssuredOnly", 5 [9];
    /// Whether stage 2 checks `TopLevel0` (SMMUv3.4).
    flag tl0, with_tl0: "TL0", 5 [10];
    /// Whether stage 2 checks `TopLevel1` (SMMUv3.4).
    flag tl1, with_tl1: "TL1", 5 [11];
    /// Where the structure of the virtual machine is (SMMUv3.2).
    address(Ipa) vms_ptr, with_vms_ptr: "VMSPtr", 5 [51:12];

    /// Whether the stage-2 table of Secure addresses is itself non-secure. Of a Secure stream.
    flag s2_sw, with_s2_sw: "S2SW", 6 [0];
    /// Whether Secure addresses go to non-secure memory. Of a Secure stream.
    flag s2_sa, with_s2_sa: "S2SA", 6 [1];
    /// Bit 2 of `S_S2SL0`.
    flag s_s2_sl0_2, with_s_s2_sl0_2: "S_S2SL0_2", 6 [2];
    /// As `S2TTB`, for Secure addresses of a Secure stream.
    address(Ipa) s_s2_ttb, with_s_s2_ttb: "S_S2TTB", 6 [51:4];
    /// As `S2SKL`, for Secure addresses of a Secure stream.
    num(u8) s_s2_skl, with_s_s2_skl: "S_S2SKL", 6 [62:61];

    /// The sixteen permission overlays of stage 2, four bits each (SMMUv3.4).
    num(u64) s2_poi, with_s2_poi: "S2POI<p>", 7 [63:0];
}

impl Ste {
    /// A valid entry with this configuration and otherwise zeros.
    #[must_use]
    pub const fn valid(config: StreamConfig) -> Self {
        Self::from_words([0; 8]).with_v(true).with_config(config)
    }
}
