//! The registers of the queues.

use core::fmt;

use hardware_records::Field;

use super::{CommandError, QueueIndex, QueueIndices, QueueSize};
use crate::Ipa;
use crate::command::fields;

const ADDR: Field = Field::new(51, 5);
const LOG2SIZE: Field = Field::new(4, 0);
const ALLOCATE: Field = Field::bit(62);
/// `WR` or `RD`, with the wrap bit.
const INDEX: Field = Field::new(19, 0);
/// `OVFLG` or `OVACKFLG`.
const OVERFLOW: Field = Field::bit(31);
const ERR: Field = Field::new(30, 24);

/// `SMMU_CMDQ_BASE`, `SMMU_EVENTQ_BASE` or `SMMU_PRIQ_BASE`: where a queue is, and how large.
///
/// Every bit is kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct QueueBase(u64);

impl QueueBase {
    /// The register with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// `ADDR`, bits 51:5, as written.
    #[must_use]
    pub const fn address(self) -> Ipa {
        fields::ipa(self.0, ADDR)
    }

    /// With [`Self::address`] changed. Its bits 4:0 are cut off.
    #[must_use]
    pub const fn with_address(self, address: Ipa) -> Self {
        Self((self.0 & !ADDR.mask()) | (address.get() & ADDR.mask()))
    }

    /// `LOG2SIZE`, bits 4:0, as written.
    #[must_use]
    pub const fn log2_size(self) -> u8 {
        LOG2SIZE.get(self.0) as u8
    }

    /// With [`Self::log2_size`] changed.
    #[must_use]
    pub const fn with_size(self, size: QueueSize) -> Self {
        Self(LOG2SIZE.put(self.0, size.log2() as u64))
    }

    /// `RA` of the command queue or `WA` of the others, bit 62: a hint to allocate in caches.
    #[must_use]
    pub const fn allocate(self) -> bool {
        ALLOCATE.is_set(self.0)
    }

    /// With [`Self::allocate`] changed.
    #[must_use]
    pub const fn with_allocate(self, value: bool) -> Self {
        Self(ALLOCATE.put(self.0, value as u64))
    }

    /// The size that counts: what was written, or `max`, the `CMDQS`, `EVENTQS` or `PRIQS` of
    /// `SMMU_IDR1`, if that is less.
    #[must_use]
    pub const fn size(self, max: QueueSize) -> QueueSize {
        match QueueSize::from_log2(self.log2_size()) {
            Some(size) if size.log2() <= max.log2() => size,
            _ => max,
        }
    }

    /// The address that counts: aligned down to the size of the queue, or to 32 bytes.
    ///
    /// `max` is as of [`size`](Self::size).
    #[must_use]
    pub const fn start(self, max: QueueSize, entry: EntrySize) -> Ipa {
        let bytes = (self.size(max).entries() as u64).wrapping_mul(entry.bytes());
        let aligned = self.address().get() & !bytes.wrapping_sub(1);
        match Ipa::new(aligned) {
            Some(start) => start,
            // It is no more than the address.
            None => self.address(),
        }
    }

    /// The address of the entry at a place of the queue.
    ///
    /// A place past the last counts as the one that it is after wrapping.
    #[must_use]
    pub const fn entry(self, max: QueueSize, entry: EntrySize, position: u32) -> Ipa {
        let position = position & self.size(max).entries().wrapping_sub(1);
        let offset = (position as u64).wrapping_mul(entry.bytes());
        // The start is aligned to the size, so no bit of the offset is set in it.
        match Ipa::new(self.start(max, entry).get() | offset) {
            Some(address) => address,
            None => self.start(max, entry),
        }
    }
}

impl fmt::Debug for QueueBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueBase")
            .field("address", &self.address())
            .field("log2_size", &self.log2_size())
            .field("allocate", &self.allocate())
            .finish()
    }
}

/// How large the entries of a queue are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntrySize {
    /// 16 bytes: of the command queue (4.1.1) and the PRI queue (chapter 8).
    Bytes16,
    /// 32 bytes: of the event queue (7.3).
    Bytes32,
}

impl EntrySize {
    /// How many bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bytes16 => 16,
            Self::Bytes32 => 32,
        }
    }
}

/// One of the index registers.
macro_rules! index_register {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Every bit is kept.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The register with these bits.
            #[must_use]
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// Its bits.
            #[must_use]
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Its index, bits 19:0, in a queue of this size.
            #[must_use]
            pub const fn index(self, size: QueueSize) -> QueueIndex {
                QueueIndex::new(self.0, size)
            }

            /// With its index changed.
            #[must_use]
            pub const fn with_index(self, index: QueueIndex) -> Self {
                Self(INDEX.put(self.0 as u64, index.bits() as u64) as u32)
            }
        }
    };
}

index_register! {
    /// `SMMU_CMDQ_PROD`: where software writes the next command. Bits 19:0 are `WR`.
    CmdqProd
}

index_register! {
    /// `SMMU_CMDQ_CONS`: which command the SMMU takes next, bits 19:0 `RD`, and why it stopped, bits
    /// 30:24 `ERR`.
    CmdqCons
}

index_register! {
    /// `SMMU_EVENTQ_PROD` or `SMMU_PRIQ_PROD`: where the SMMU writes next, bits 19:0 `WR`, and whether
    /// something was lost, bit 31 `OVFLG`.
    OutputProd
}

index_register! {
    /// `SMMU_EVENTQ_CONS` or `SMMU_PRIQ_CONS`: what software reads next, bits 19:0 `RD`, and that it
    /// knows that something was lost, bit 31 `OVACKFLG`.
    OutputCons
}

impl CmdqProd {
    /// It and the other register's index.
    #[must_use]
    pub const fn indices(self, cons: CmdqCons, size: QueueSize) -> QueueIndices {
        QueueIndices::new(self.0, cons.0, size)
    }
}

impl CmdqCons {
    /// `ERR`: why the SMMU stopped, while `SMMU_GERROR.CMDQ_ERR` is active (7.1).
    ///
    /// # Errors
    /// The code is reserved: the number that is there.
    pub const fn error(self) -> Result<CommandError, u8> {
        CommandError::from_code(ERR.get(self.0 as u64) as u8)
    }

    /// With [`Self::error`] changed.
    #[must_use]
    pub const fn with_error(self, error: CommandError) -> Self {
        Self(ERR.put(self.0 as u64, error.code() as u64) as u32)
    }
}

impl OutputProd {
    /// `OVFLG`.
    #[must_use]
    pub const fn overflow_flag(self) -> bool {
        OVERFLOW.is_set(self.0 as u64)
    }

    /// It and the other register's index.
    #[must_use]
    pub const fn indices(self, cons: OutputCons, size: QueueSize) -> QueueIndices {
        QueueIndices::new(self.0, cons.0, size)
    }

    /// Whether an overflow was reported that software has not acknowledged: `OVFLG` is not
    /// `OVACKFLG` (7.4, 8.1). Meanwhile nothing is written to the PRI queue; the event queue goes
    /// on.
    #[must_use]
    pub const fn has_overflowed(self, cons: OutputCons) -> bool {
        self.overflow_flag() != cons.acknowledged_flag()
    }

    /// With an overflow reported: `OVFLG` is turned over, unless one is reported already.
    ///
    /// An event of a stalled transaction is not lost, and no overflow (7.4).
    #[must_use]
    pub const fn with_overflow(self, cons: OutputCons) -> Self {
        Self(OVERFLOW.put(self.0 as u64, !cons.acknowledged_flag() as u64) as u32)
    }
}

impl OutputCons {
    /// `OVACKFLG`.
    #[must_use]
    pub const fn acknowledged_flag(self) -> bool {
        OVERFLOW.is_set(self.0 as u64)
    }

    /// With an overflow acknowledged: `OVACKFLG` is what `OVFLG` is.
    #[must_use]
    pub const fn with_overflow_acknowledged(self, prod: OutputProd) -> Self {
        Self(OVERFLOW.put(self.0 as u64, prod.overflow_flag() as u64) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(log2: u8) -> QueueSize {
        QueueSize::from_log2(log2).unwrap()
    }

    #[test]
    fn a_base_is_capped_and_aligned() {
        // Bit 62, address 51:5, LOG2SIZE 31.
        let base = QueueBase::from_bits(0x400f_ffff_ffff_ffff);
        assert!(base.allocate());
        assert_eq!(base.address().get(), 0xf_ffff_ffff_ffe0);
        assert_eq!((base.log2_size(), base.size(size(8))), (31, size(8)));
        // 2^8 entries of 16 bytes: 4 KiB.
        assert_eq!(
            base.start(size(8), EntrySize::Bytes16).get(),
            0xf_ffff_ffff_f000
        );
        assert_eq!(
            base.start(size(8), EntrySize::Bytes32).get(),
            0xf_ffff_ffff_e000
        );
        assert_eq!(
            base.entry(size(8), EntrySize::Bytes16, 255).get(),
            0xf_ffff_ffff_fff0
        );
        // One entry of 16 bytes: still aligned to 32.
        let one = QueueBase::default()
            .with_address(Ipa::new(0x1030).unwrap())
            .with_size(size(0));
        assert_eq!(one.start(size(19), EntrySize::Bytes16).get(), 0x1020);
        assert_eq!(
            one.entry(size(19), EntrySize::Bytes16, u32::MAX).get(),
            0x1020
        );
        assert_eq!(one.with_allocate(true).bits(), 1 << 62 | 0x1020);
    }

    #[test]
    fn codes_of_errors() {
        for code in 0..=0x7f {
            let cons = CmdqCons::from_bits(u32::from(code) << 24 | 0x80f0_1234);
            match CommandError::from_code(code) {
                Ok(error) => {
                    assert!(code <= 3);
                    assert_eq!(cons.error(), Ok(error));
                    let other = CmdqCons::from_bits(0x80f0_1234).with_error(error);
                    assert_eq!(other, cons);
                }
                Err(reserved) => {
                    assert_eq!((reserved, cons.error()), (code, Err(code)));
                }
            }
        }
    }

    #[test]
    fn an_index_changes_nothing_else() {
        let index = QueueIndex::new(0x155, size(8));
        assert_eq!(
            OutputProd::from_bits(u32::MAX).with_index(index).bits(),
            0xfff0_0155
        );
        assert_eq!(
            CmdqCons::from_bits(0xffff_ffff).index(size(8)).bits(),
            0x1ff
        );
    }

    #[test]
    fn an_overflow_is_reported_once_until_it_is_acknowledged() {
        for flag in [0u32, 1] {
            let prod = OutputProd::from_bits(flag << 31 | 5);
            let cons = OutputCons::from_bits(flag << 31 | 5);
            assert!(!prod.has_overflowed(cons));
            let reported = prod.with_overflow(cons);
            assert!(reported.has_overflowed(cons));
            assert_eq!(reported.bits(), prod.bits() ^ 1 << 31);
            assert_eq!(reported.with_overflow(cons), reported);
            let acknowledged = cons.with_overflow_acknowledged(reported);
            assert!(!reported.has_overflowed(acknowledged));
            assert_eq!(reported.indices(acknowledged, size(4)).len(), 0);
        }
    }
}
