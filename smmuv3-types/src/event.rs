//! Events: what the SMMU puts into the event queue (7.3).

mod decode;
mod encode;
mod fields;
mod kind;
mod parts;
mod record;
mod recorded;
#[cfg(test)]
mod tests;

pub use decode::BadEvent;
pub use kind::EventKind;
pub use parts::{
    AccessAttributes, ExpectedAccess, Fault, FaultClass, FetchAbort, Requester, Stage2Fault,
    TableAccess,
};
pub use record::EventRecord;

use crate::{InputAddress, Ipa, StreamId, SubstreamId};

/// An event of the Non-secure queue, as what it means (7.3).
///
/// [`EventRecord::decode`] makes one of what hardware reported; [`encode`](Self::encode) writes
/// one, so that a virtual SMMU can report what it found itself.
///
/// ```
/// use smmuv3_types::{Event, Requester, StreamId};
///
/// // The guest's STE is not valid.
/// let event = Event::BadSte(Requester { stream: StreamId::new(0x18), substream: None });
/// assert_eq!(event.encode().words(), [0x0000_0018_0000_0004, 0, 0, 0]);
/// assert_eq!(event.encode().decode(), Ok(event));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// `F_UUT` (7.3.2): the transaction is of a kind that is not supported.
    Uut {
        /// Whose it was.
        requester: Requester,
        /// `Reason`, bits 15:0 of the second word. IMPLEMENTATION DEFINED.
        reason: u16,
        /// What it is, before what the STE overrides.
        access: AccessAttributes,
        /// `InputAddr`, the third word.
        address: InputAddress,
    },
    /// `C_BAD_STREAMID` (7.3.3): the stream is out of range. Reported only with
    /// `SMMU_CR2.RECINVSID`.
    BadStreamId(Requester),
    /// `F_STE_FETCH` (7.3.4): the STE could not be read.
    SteFetch(FetchAbort),
    /// `C_BAD_STE` (7.3.5): the STE is invalid.
    BadSte(Requester),
    /// `F_BAD_ATS_TREQ` (7.3.6): a translation request of ATS is not allowed. Its `Span` is not
    /// looked at.
    BadAtsTreq {
        /// Whose request it was.
        requester: Requester,
        /// `InputAddr`, bits 63:12 of the third word.
        address: InputAddress,
        /// `R`, `W` and `X`, bits 31 to 29 of the second word: what was asked for.
        access: ExpectedAccess,
        /// `Priv`, bit 28 of the second word: for privileged accesses.
        privileged: bool,
    },
    /// `F_STREAM_DISABLED` (7.3.7): a transaction without a substream where there must be one, or
    /// with substream 0 where that is for those without.
    StreamDisabled {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
    },
    /// `F_TRANSL_FORBIDDEN` (7.3.8): a translated transaction is not allowed.
    TranslForbidden {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `RnW`, bit 35 of the second word: it reads.
        read: bool,
        /// `InputAddr`, the third word.
        address: InputAddress,
    },
    /// `C_BAD_SUBSTREAMID` (7.3.9): the substream is out of range, or there must be none.
    BadSubstreamId {
        /// `StreamID`, bits 63:32 of the first word.
        stream: StreamId,
        /// `SubstreamID`, bits 31:12 of the first word. This event has no `SSV`.
        substream: SubstreamId,
    },
    /// `F_CD_FETCH` (7.3.10): the CD could not be read.
    CdFetch(FetchAbort),
    /// `C_BAD_CD` (7.3.11): the CD is invalid.
    BadCd(Requester),
    /// `F_WALK_EABT` (7.3.12): a translation table could not be read or updated.
    WalkEabt {
        /// Whose transaction it was.
        requester: Requester,
        /// `Reason`, bits 15:0 of the second word. IMPLEMENTATION DEFINED.
        reason: u16,
        /// `GPCF`, bit 16 of the second word: a granule protection check failed.
        granule_protection: bool,
        /// What the transaction is.
        access: AccessAttributes,
        /// `InputAddr`, the third word: the address of the transaction.
        address: InputAddress,
        /// Of a table of stage 2, where `S2`, bit 39 of the second word, is 1: for what it was
        /// walked. With `None` it is of stage 1.
        stage2: Option<FaultClass>,
        /// `FetchAddr`, bits 51:3 of the fourth word: where the descriptor is. A physical address,
        /// of the guest's for a guest.
        fetch_address: Ipa,
    },
    /// `F_TRANSLATION` (7.3.13): there is no translation.
    Translation(Fault),
    /// `F_ADDR_SIZE` (7.3.14): the address that the translation gives is too large.
    AddrSize(Fault),
    /// `F_ACCESS` (7.3.15): the translation's access flag is not set.
    Access(Fault),
    /// `F_PERMISSION` (7.3.16): the translation does not permit the access.
    Permission {
        /// The fault.
        fault: Fault,
        /// How the table was accessed. Means nothing, and is not kept, unless the fault is of
        /// stage 2 and of the class [`FaultClass::TranslationTable`].
        table_access: Option<TableAccess>,
    },
    /// `F_TLB_CONFLICT` (7.3.17): more than one translation was found in a TLB.
    TlbConflict {
        /// Whose transaction it was.
        requester: Requester,
        /// `Reason`, bits 31:0 of the second word. IMPLEMENTATION DEFINED.
        reason: u32,
        /// What the transaction is.
        access: AccessAttributes,
        /// `InputAddr`, the third word: the address of the transaction.
        address: InputAddress,
        /// `IPA`, bits 51:12 of the fourth word, if `S2`, bit 39 of the second word, is 1.
        ipa: Option<Ipa>,
    },
    /// `F_CFG_CONFLICT` (7.3.18): more than one STE was found in a cache.
    CfgConflict {
        /// Whose transaction it was.
        requester: Requester,
        /// `Reason`, bits 31:0 of the second word. IMPLEMENTATION DEFINED.
        reason: u32,
    },
    /// `E_PAGE_REQUEST` (7.3.19): a device will access pages. A hint that needs no answer.
    PageRequest {
        /// Which device.
        requester: Requester,
        /// `InputAddr`, bits 63:12 of the third word: the first page.
        address: InputAddress,
        /// `Span`, bits 51:44 of the second word: how many units of 4096 bytes.
        span: u8,
        /// `uR`, `uW` and `uX`, bits 35 to 33 of the second word.
        unprivileged: ExpectedAccess,
        /// `pR`, `pW` and `pX`, bits 39 to 37 of the second word.
        privileged: ExpectedAccess,
    },
    /// `F_VMS_FETCH` (7.3.20): the VMS could not be read.
    VmsFetch(FetchAbort),
}

impl Event {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Uut { .. } => EventKind::Uut,
            Self::BadStreamId(_) => EventKind::BadStreamId,
            Self::SteFetch(_) => EventKind::SteFetch,
            Self::BadSte(_) => EventKind::BadSte,
            Self::BadAtsTreq { .. } => EventKind::BadAtsTreq,
            Self::StreamDisabled { .. } => EventKind::StreamDisabled,
            Self::TranslForbidden { .. } => EventKind::TranslForbidden,
            Self::BadSubstreamId { .. } => EventKind::BadSubstreamId,
            Self::CdFetch(_) => EventKind::CdFetch,
            Self::BadCd(_) => EventKind::BadCd,
            Self::WalkEabt { .. } => EventKind::WalkEabt,
            Self::Translation(_) => EventKind::Translation,
            Self::AddrSize(_) => EventKind::AddrSize,
            Self::Access(_) => EventKind::Access,
            Self::Permission { .. } => EventKind::Permission,
            Self::TlbConflict { .. } => EventKind::TlbConflict,
            Self::CfgConflict { .. } => EventKind::CfgConflict,
            Self::PageRequest { .. } => EventKind::PageRequest,
            Self::VmsFetch(_) => EventKind::VmsFetch,
        }
    }

    /// The stream that it is about.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        match self {
            Self::StreamDisabled { stream }
            | Self::TranslForbidden { stream, .. }
            | Self::BadSubstreamId { stream, .. } => *stream,
            Self::Uut { requester, .. }
            | Self::BadStreamId(requester)
            | Self::BadSte(requester)
            | Self::BadAtsTreq { requester, .. }
            | Self::BadCd(requester)
            | Self::WalkEabt { requester, .. }
            | Self::TlbConflict { requester, .. }
            | Self::CfgConflict { requester, .. }
            | Self::PageRequest { requester, .. } => requester.stream,
            Self::SteFetch(abort) | Self::CdFetch(abort) | Self::VmsFetch(abort) => {
                abort.requester.stream
            }
            Self::Translation(fault)
            | Self::AddrSize(fault)
            | Self::Access(fault)
            | Self::Permission { fault, .. } => fault.requester.stream,
        }
    }
}
