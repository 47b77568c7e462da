//! What commands take besides numbers and addresses.

use crate::{Ipa, Shareability, StreamId};

/// An aligned range of streams, of two up to half of all there are: the operand of
/// `CFGI_STE_RANGE` (4.3.2).
///
/// # Invariants
/// `Range` is at most 30: with 31, which is all streams, the command is
/// [`Command::CfgiAll`](crate::Command::CfgiAll).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamRange {
    first: StreamId,
    range: u8,
}

impl StreamRange {
    /// The `2^(range + 1)` streams around `stream`, whose low bits do not count. `None` if `range`
    /// is more than 30.
    ///
    /// ```
    /// use smmuv3_types::{StreamId, StreamRange};
    ///
    /// let range = StreamRange::new(StreamId::new(0x123), 7).unwrap();
    /// assert_eq!((range.first(), range.last()), (StreamId::new(0x100), StreamId::new(0x1ff)));
    /// ```
    #[must_use]
    pub const fn new(stream: StreamId, range: u8) -> Option<Self> {
        if range > 30 {
            return None;
        }
        let range_of = Self {
            first: stream,
            range,
        };
        Some(Self {
            first: StreamId::new(stream.get() & !range_of.low_bits()),
            range,
        })
    }

    const fn low_bits(&self) -> u32 {
        u32::MAX.wrapping_shr(31u32.wrapping_sub(self.range as u32))
    }

    /// The first stream.
    #[must_use]
    pub const fn first(&self) -> StreamId {
        self.first
    }

    /// The last stream.
    #[must_use]
    pub const fn last(&self) -> StreamId {
        StreamId::new(self.first.get() | self.low_bits())
    }

    /// `Range`, bits 4:0 of the second word: one less than the logarithm of the number of streams.
    #[must_use]
    pub const fn range(&self) -> u8 {
        self.range
    }

    /// Whether a stream is in it.
    #[must_use]
    pub const fn contains(&self, stream: StreamId) -> bool {
        stream.get() & !self.low_bits() == self.first.get()
    }
}

/// How much a device is to forget: `ATC_INV.Size`, bits 5:0 of the second word (4.5.1).
///
/// # Invariants
/// It is at most 52.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AtcSpan(u8);

impl AtcSpan {
    /// Everything: 2^64 bytes.
    pub const ALL: Self = Self(52);
    /// 4096 bytes.
    pub const PAGE: Self = Self(0);

    /// `4096 << size` bytes, or `None` if `size` is more than 52.
    #[must_use]
    pub const fn new(size: u8) -> Option<Self> {
        if size <= Self::ALL.0 {
            Some(Self(size))
        } else {
            None
        }
    }

    /// `Size`: the logarithm of the span in units of 4096 bytes.
    #[must_use]
    pub const fn size(self) -> u8 {
        self.0
    }
}

/// What is to become of a stalled transaction: `RESUME.Ac` and `RESUME.Ab`, bits 12 and 13 of the
/// first word (4.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResumeAction {
    /// `Ac` is 1: it is translated anew, as if it had just come.
    Retry,
    /// `Ac` is 0 and `Ab` is 1: it ends with an abort.
    Abort,
    /// `Ac` and `Ab` are 0: a read gives zeros, a write is ignored. Not where there is
    /// `SMMU_IDR0.TERM_MODEL`.
    ReadZeroIgnoreWrite,
}

/// How a `SYNC` says that it is complete: `CS`, bits 13:12 of the first word (4.7.3).
///
/// The index of the consumer moves in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncSignal {
    /// Not at all, `0b00`.
    None,
    /// By an interrupt, `0b01`: the wired one, if there is one, and an MSI, if one is given.
    Irq(Option<SyncMsi>),
    /// By an event to the CPUs, `0b10`.
    Sev,
}

/// The MSI of a `SYNC` (4.7.3): a write of 32 bits.
///
/// # Invariants
/// The address is not 0, and it is a multiple of 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncMsi {
    address: Ipa,
    data: u32,
    shareability: Shareability,
    attributes: MsiAttributes,
}

impl SyncMsi {
    /// The write of `data` to `address`. `None` if the address is 0, which would mean no MSI, or
    /// not a multiple of 4.
    #[must_use]
    pub const fn new(
        address: Ipa,
        data: u32,
        shareability: Shareability,
        attributes: MsiAttributes,
    ) -> Option<Self> {
        if address.get() == 0 || !address.is_aligned_to(4) {
            return None;
        }
        Some(Self {
            address,
            data,
            shareability,
            attributes,
        })
    }

    /// `MSIAddress`, bits 51:2 of the second word. A physical address, of the guest's for a guest.
    #[must_use]
    pub const fn address(&self) -> Ipa {
        self.address
    }

    /// `MSIData`, bits 63:32 of the first word.
    #[must_use]
    pub const fn data(&self) -> u32 {
        self.data
    }

    /// `MSH`, bits 23:22 of the first word.
    #[must_use]
    pub const fn shareability(&self) -> Shareability {
        self.shareability
    }

    /// `MSIAttr`, bits 27:24 of the first word.
    #[must_use]
    pub const fn attributes(&self) -> MsiAttributes {
        self.attributes
    }
}

/// The kind of memory that an MSI is written to, encoded as `STE.MemAttr` (4.7.3, 5.2).
///
/// # Invariants
/// It has 4 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MsiAttributes(u8);

impl MsiAttributes {
    /// Device-nGnRnE.
    pub const DEVICE_NGNRNE: Self = Self(0b0000);
    /// Device-nGnRE: what the registers of an interrupt controller are.
    pub const DEVICE_NGNRE: Self = Self(0b0001);
    /// Normal memory, write-back in the inner and outer region.
    pub const WRITE_BACK: Self = Self(0b1111);

    /// The ones of these bits, or `None` if there are more than 4.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= 0xf { Some(Self(bits)) } else { None }
    }

    pub(crate) const fn truncated(bits: u64) -> Self {
        Self((bits & 0xf) as u8)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}
