//! `ECAP_REG`.

use crate::record::record;

record! {
    /// What a remapping unit can do: the second of two registers, at offset 0x10.
    pub struct Ecap(u64), "ECAP_REG", "11.4.3";

    /// Coherent access to root, context and interrupt remapping tables, and in legacy mode to
    /// those of the second stage.
    flag c, with_c: "C", 0 [0];
    /// The invalidation queue.
    flag qi, with_qi: "QI", 0 [1];
    /// Device-TLBs: PCI Express's ATS.
    flag dt, with_dt: "DT", 0 [2];
    /// Interrupt remapping.
    flag ir, with_ir: "IR", 0 [3];
    /// Extended interrupt mode: x2APIC.
    flag eim, with_eim: "EIM", 0 [4];
    /// Pass-through as a type of translation.
    flag pt, with_pt: "PT", 0 [6];
    /// Snoop control: `SNP` of second-stage pages, `PASIDTE.PGSNP`.
    flag sc, with_sc: "SC", 0 [7];
    /// Where the IOTLB registers are, in units of 16 bytes.
    num(u16) iro, with_iro: "IRO", 0 [17:8];
    /// The largest index mask of the interrupt entry cache invalidate descriptor.
    num(u8) mhmv, with_mhmv: "MHMV", 0 [23:20];
    /// Memory types in the first stage and in extended memory types of the second.
    flag mts, with_mts: "MTS", 0 [25];
    /// Nested translation.
    flag nest, with_nest: "NEST", 0 [26];
    /// Page requests: PCI Express's PRI.
    flag prs, with_prs: "PRS", 0 [29];
    /// Requests with a PASID to execute.
    flag ers, with_ers: "ERS", 0 [30];
    /// Requests with a PASID of the supervisor.
    flag srs, with_srs: "SRS", 0 [31];
    /// The *no write* flag in translation requests.
    flag nwfs, with_nwfs: "NWFS", 0 [33];
    /// The extended accessed flag of the first stage.
    flag eafs, with_eafs: "EAFS", 0 [34];
    /// How many bits a PASID can have, less 1.
    num(u8) pss, with_pss: "PSS", 0 [39:35];
    /// Requests with a PASID.
    flag pasid, with_pasid: "PASID", 0 [40];
    /// Throttling of invalidations of device-TLBs, by the physical function.
    flag dit, with_dit: "DIT", 0 [41];
    /// Draining of page requests, by the invalidation wait descriptor.
    flag pds, with_pds: "PDS", 0 [42];
    /// Scalable mode.
    flag smts, with_smts: "SMTS", 0 [43];
    /// Virtual commands.
    flag vcs, with_vcs: "VCS", 0 [44];
    /// Accessed and dirty flags in the second stage.
    flag ssads, with_ssads: "SSADS", 0 [45];
    /// Second-stage translation in scalable mode.
    flag ssts, with_ssts: "SSTS", 0 [46];
    /// First-stage translation in scalable mode.
    flag fsts, with_fsts: "FSTS", 0 [47];
    /// Coherent access, if asked for, to tables that are found by a PASID table entry.
    flag smpwcs, with_smpwcs: "SMPWCS", 0 [48];
    /// `SMCE.RID_PASID`: the PASID of requests without one. Without it, that is 0.
    flag rps, with_rps: "RPS", 0 [49];
    /// Trusted I/O.
    flag tdxio, with_tdxio: "TDXIO", 0 [50];
    /// Performance monitoring.
    flag pms, with_pms: "PMS", 0 [51];
    /// The mode in which all requests are aborted.
    flag adms, with_adms: "ADMS", 0 [52];
    /// `SMCE.RID_PRIV`: whether requests without a PASID are of the supervisor.
    flag rprivs, with_rprivs: "RPRIVS", 0 [53];
}

impl Ecap {
    /// How many bits a PASID can have: `PSS + 1`, or 0 if there are none.
    #[must_use]
    pub const fn pasid_bits(self) -> u8 {
        if self.pasid() {
            self.pss().saturating_add(1)
        } else {
            0
        }
    }

    /// Where the IOTLB registers are, in bytes: `16 * IRO`.
    #[must_use]
    pub const fn iotlb_offset(self) -> u32 {
        (self.iro() as u32) << 4
    }
}
