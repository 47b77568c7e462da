//! `RTADDR_REG`.

use crate::encoding::encoding;
use crate::record::record;

encoding! {
    /// What tables there are, and what is done with requests: `RTADDR_REG.TTM` (3.4). `0b10` is
    /// reserved.
    pub enum TableMode {
        /// Legacy mode: root entries and context entries, second stage only.
        Legacy = 0b00,
        /// Scalable mode: also PASID tables, and both stages.
        Scalable = 0b01,
        /// All requests are aborted. Where there is `ECAP_REG.ADMS`.
        Abort = 0b11,
    }
}

record! {
    /// Where the root table is, at offset 0x20. It counts from when `GCMD_REG.SRTP` is set.
    pub struct Rtaddr(u64), "RTADDR_REG", "11.4.5";

    /// What tables there are.
    coded(TableMode) ttm, with_ttm: "TTM", 0 [11:10];
    /// Where the root table is.
    gpa rta, with_rta: "RTA", 0 [51:12];
}
