//! `IQERCD_REG`.

use crate::SourceId;
use crate::encoding::encoding;
use crate::record::record;

encoding! {
    /// What is wrong with the invalidation queue, while `FSTS_REG.IQE` is set: `IQERCD_REG.IQEI`
    /// (11.4.9.9). Others are reserved.
    pub enum QueueError {
        /// It is not told.
        NotAvailable = 0x0,
        /// The tail is beyond the queue.
        TailBeyond = 0x1,
        /// A descriptor could not be read.
        Fetch = 0x2,
        /// A descriptor is of a type that is not there.
        Type = 0x3,
        /// A descriptor has reserved bits set.
        Reserved = 0x4,
        /// Descriptors are of 128 bits, in scalable mode.
        Width = 0x5,
        /// The tail is in the middle of a descriptor of 256 bits.
        TailMisaligned = 0x6,
        /// `RTADDR_REG.TTM` is a mode in which nothing can be invalidated so.
        Mode = 0x7,
    }
}

record! {
    /// What is wrong with the invalidation queue, at offset 0xb0.
    pub struct Iqercd(u64), "IQERCD_REG", "11.4.9.9";

    /// Why the queue stopped, while `FSTS_REG.IQE` is set.
    coded(QueueError) iqei, with_iqei: "IQEI", 0 [3:0];
    /// The device that did not answer in time, while `FSTS_REG.ITE` is set. 0 if it is not told.
    id(SourceId) itesid, with_itesid: "ITESID", 0 [47:32];
    /// The device that answered with an error, while `FSTS_REG.ICE` is set. 0 if it is not told.
    id(SourceId) icesid, with_icesid: "ICESID", 0 [63:48];
}
