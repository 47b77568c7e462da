//! `GCMD_REG` and `GSTS_REG`.

use crate::record::record;

record! {
    /// What software asks of a remapping unit, at offset 0x18. What is done is in [`Gsts`].
    pub struct Gcmd(u32), "GCMD_REG", "11.4.4.1";

    /// Let interrupts of the compatibility format through.
    flag cfi, with_cfi: "CFI", 0 [23];
    /// Take the interrupt remapping table of `IRTA_REG`. Once.
    flag sirtp, with_sirtp: "SIRTP", 0 [24];
    /// Remap interrupts.
    flag ire, with_ire: "IRE", 0 [25];
    /// Read the invalidation queue.
    flag qie, with_qie: "QIE", 0 [26];
    /// Flush the write buffer. Once.
    flag wbf, with_wbf: "WBF", 0 [27];
    /// Log faults in memory.
    flag eafl, with_eafl: "EAFL", 0 [28];
    /// Take the fault log of `AFLOG_REG`. Once.
    flag sfl, with_sfl: "SFL", 0 [29];
    /// Take the root table and the mode of `RTADDR_REG`. Once.
    flag srtp, with_srtp: "SRTP", 0 [30];
    /// Translate.
    flag te, with_te: "TE", 0 [31];
}

record! {
    /// What a remapping unit does, at offset 0x1c.
    pub struct Gsts(u32), "GSTS_REG", "11.4.4.2";

    /// Interrupts of the compatibility format are let through.
    flag cfis, with_cfis: "CFIS", 0 [23];
    /// The interrupt remapping table of `IRTA_REG` was taken.
    flag irtps, with_irtps: "IRTPS", 0 [24];
    /// Interrupts are remapped.
    flag ires, with_ires: "IRES", 0 [25];
    /// The invalidation queue is read.
    flag qies, with_qies: "QIES", 0 [26];
    /// The write buffer is being flushed.
    flag wbfs, with_wbfs: "WBFS", 0 [27];
    /// Faults are logged in memory.
    flag afls, with_afls: "AFLS", 0 [28];
    /// The fault log of `AFLOG_REG` was taken.
    flag fls, with_fls: "FLS", 0 [29];
    /// The root table and the mode of `RTADDR_REG` were taken.
    flag rtps, with_rtps: "RTPS", 0 [30];
    /// Requests are translated.
    flag tes, with_tes: "TES", 0 [31];
}
