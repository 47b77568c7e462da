//! What an entry says of stage 1.

use hardware_records::encoding;

use crate::{Cacheability, CdTable, Shareability};

encoding! {
    /// What becomes of a transaction without a substream on a stream with substreams:
    /// `STE.S1DSS` (5.2). `0b11` is reserved and behaves as [`Terminate`](Self::Terminate).
    pub enum DefaultSubstream {
        /// It is aborted, and `F_STREAM_DISABLED` recorded.
        Terminate = 0b00,
        /// It bypasses stage 1.
        Bypass = 0b01,
        /// It is translated as substream 0, which transactions with a substream then cannot use.
        Substream0 = 0b10,
    }
}

/// Stage 1 of a stream: where its context descriptors are and how they are read, and what the
/// guest allows the device (5.2, the `S1…` fields and `EATS`).
///
/// ```
/// use smmuv3_types::{
///     Cacheability, CdTable, ContextPointer, Ipa, NestedSte, Shareability, Stage1,
/// };
///
/// let context = Ipa::new(0x4000_1000).and_then(ContextPointer::new).expect("aligned");
/// let ste = NestedSte::translate(
///     Stage1::new(CdTable::single(context))
///         .with_cacheability(Cacheability::WriteBack, Cacheability::WriteBack)
///         .with_shareability(Shareability::Inner),
/// );
/// assert_eq!(ste.words(), [0x4000_100b, 0xd4]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stage1 {
    table: CdTable,
    default_substream: DefaultSubstream,
    inner: Cacheability,
    outer: Cacheability,
    shareability: Shareability,
    stall_disabled: bool,
    full_ats: bool,
}

impl Stage1 {
    /// Stage 1 by the descriptors of `table`. They are read as memory that is not cacheable and
    /// not shareable, transactions without a substream are terminated where there are substreams,
    /// faults may stall, and ATS is off: each of these fields is 0.
    #[must_use]
    pub const fn new(table: CdTable) -> Self {
        Self {
            table,
            default_substream: DefaultSubstream::Terminate,
            inner: Cacheability::NonCacheable,
            outer: Cacheability::NonCacheable,
            shareability: Shareability::NonShareable,
            stall_disabled: false,
            full_ats: false,
        }
    }

    /// With this for transactions without a substream: `STE.S1DSS`. Nothing looks at it on a
    /// stream without substreams.
    #[must_use]
    pub const fn with_default_substream(mut self, default: DefaultSubstream) -> Self {
        self.default_substream = default;
        self
    }

    /// With this cacheability of the descriptors: `STE.S1CIR` and `STE.S1COR`.
    #[must_use]
    pub const fn with_cacheability(mut self, inner: Cacheability, outer: Cacheability) -> Self {
        self.inner = inner;
        self.outer = outer;
        self
    }

    /// With this shareability of the descriptors: `STE.S1CSH`.
    #[must_use]
    pub const fn with_shareability(mut self, shareability: Shareability) -> Self {
        self.shareability = shareability;
        self
    }

    /// With stalls forbidden to context descriptors, or allowed: `STE.S1STALLD`. To forbid them
    /// is an error where `SMMU_IDR0.STALL_MODEL` is not 0.
    #[must_use]
    pub const fn with_stall_disabled(mut self, disabled: bool) -> Self {
        self.stall_disabled = disabled;
        self
    }

    /// With ATS on (`STE.EATS` is `0b01`) or off (`0b00`). Under iommufd, a device attached with
    /// it off has its ATS turned off; with it on, whoever owns the tables must send
    /// `CMD_ATC_INV`.
    #[must_use]
    pub const fn with_full_ats(mut self, on: bool) -> Self {
        self.full_ats = on;
        self
    }

    /// The context descriptors.
    #[must_use]
    pub const fn table(&self) -> CdTable {
        self.table
    }

    /// What becomes of a transaction without a substream, where there are substreams.
    #[must_use]
    pub const fn default_substream(&self) -> DefaultSubstream {
        self.default_substream
    }

    /// How the descriptors are cached: the inner region.
    #[must_use]
    pub const fn inner(&self) -> Cacheability {
        self.inner
    }

    /// How the descriptors are cached: the outer region.
    #[must_use]
    pub const fn outer(&self) -> Cacheability {
        self.outer
    }

    /// Who shares the memory of the descriptors.
    #[must_use]
    pub const fn shareability(&self) -> Shareability {
        self.shareability
    }

    /// Whether context descriptors must not ask for stalls.
    #[must_use]
    pub const fn is_stall_disabled(&self) -> bool {
        self.stall_disabled
    }

    /// Whether ATS is on.
    #[must_use]
    pub const fn has_full_ats(&self) -> bool {
        self.full_ats
    }
}
