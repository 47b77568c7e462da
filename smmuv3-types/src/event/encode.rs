//! The words of an event.

use super::fields::{
    CLASS, FETCH_ADDR, GPCF, HINT_PRIVILEGED, HINT_SPAN, HINT_UNPRIVILEGED, IND, IPA, LONG_REASON,
    PAGE, PNU, REASON, RNW, S2, STAG, STALL, TREQ_EXECUTE, TREQ_PRIVILEGED, TREQ_READ, TREQ_WRITE,
    TTRNW,
};
use super::{
    AccessAttributes, Event, EventRecord, ExpectedAccess, Fault, FaultClass, FetchAbort, Requester,
    Stage2Fault, TableAccess,
};
use crate::entry;

impl Event {
    /// Its record. Every bit that is not of a field is 0. Of an address, the bits that the event
    /// has no place for are cut off.
    #[must_use]
    pub const fn encode(&self) -> EventRecord {
        let id = entry::first_word(self.kind().number());
        EventRecord::from_words(match *self {
            Self::Uut {
                requester,
                reason,
                access,
                address,
            } => [
                with_requester(id, requester),
                REASON.put(with_access(0, access), reason as u64),
                address.get(),
                0,
            ],
            Self::BadStreamId(requester) | Self::BadSte(requester) | Self::BadCd(requester) => {
                [with_requester(id, requester), 0, 0, 0]
            }
            Self::SteFetch(abort) | Self::CdFetch(abort) | Self::VmsFetch(abort) => {
                fetch_abort(id, abort)
            }
            Self::BadAtsTreq {
                requester,
                address,
                access,
                privileged,
            } => {
                let second = TREQ_READ.put(0, access.contains(ExpectedAccess::READ) as u64);
                let second = TREQ_WRITE.put(second, access.contains(ExpectedAccess::WRITE) as u64);
                let second =
                    TREQ_EXECUTE.put(second, access.contains(ExpectedAccess::EXECUTE) as u64);
                [
                    with_requester(id, requester),
                    TREQ_PRIVILEGED.put(second, privileged as u64),
                    address.get() & PAGE.mask(),
                    0,
                ]
            }
            Self::StreamDisabled { stream } => [entry::with_stream(id, stream), 0, 0, 0],
            Self::TranslForbidden {
                stream,
                read,
                address,
            } => [
                entry::with_stream(id, stream),
                RNW.put(0, read as u64),
                address.get(),
                0,
            ],
            Self::BadSubstreamId { stream, substream } => [
                entry::SSID.put(entry::with_stream(id, stream), substream.get() as u64),
                0,
                0,
                0,
            ],
            Self::WalkEabt {
                requester,
                reason,
                granule_protection,
                access,
                address,
                stage2,
                fetch_address,
            } => {
                let second = REASON.put(with_access(0, access), reason as u64);
                // Stage 1 reports its own tables as such (7.3.12).
                let second = with_class(second, stage2, FaultClass::TranslationTable);
                [
                    with_requester(id, requester),
                    GPCF.put(second, granule_protection as u64),
                    address.get(),
                    fetch_address.get() & FETCH_ADDR.mask(),
                ]
            }
            Self::Translation(of) | Self::AddrSize(of) | Self::Access(of) => fault(id, of),
            Self::Permission {
                fault: of,
                table_access,
            } => {
                let [first, second, third, fourth] = fault(id, of);
                let walk = matches!(
                    of.stage2,
                    Some(Stage2Fault {
                        class: FaultClass::TranslationTable,
                        ..
                    })
                );
                let read = walk && matches!(table_access, Some(TableAccess::Read));
                [first, TTRNW.put(second, read as u64), third, fourth]
            }
            Self::TlbConflict {
                requester,
                reason,
                access,
                address,
                ipa,
            } => [
                with_requester(id, requester),
                S2.put(
                    LONG_REASON.put(with_access(0, access), reason as u64),
                    ipa.is_some() as u64,
                ),
                address.get(),
                match ipa {
                    Some(ipa) => ipa.get() & IPA.mask(),
                    None => 0,
                },
            ],
            Self::CfgConflict { requester, reason } => [
                with_requester(id, requester),
                LONG_REASON.put(0, reason as u64),
                0,
                0,
            ],
            Self::PageRequest {
                requester,
                address,
                span,
                unprivileged,
                privileged,
            } => {
                let second = HINT_SPAN.put(0, span as u64);
                let second = HINT_UNPRIVILEGED.put(second, unprivileged.bits() as u64);
                [
                    with_requester(id, requester),
                    HINT_PRIVILEGED.put(second, privileged.bits() as u64),
                    address.get() & PAGE.mask(),
                    0,
                ]
            }
        })
    }
}

const fn with_requester(word: u64, requester: Requester) -> u64 {
    entry::with_substream(
        entry::with_stream(word, requester.stream),
        requester.substream,
    )
}

const fn with_access(word: u64, access: AccessAttributes) -> u64 {
    let word = RNW.put(word, access.read as u64);
    let word = IND.put(word, access.instruction as u64);
    PNU.put(word, access.privileged as u64)
}

/// With the stage and the class, which for stage 1 is `stage1`.
const fn with_class(word: u64, stage2: Option<FaultClass>, stage1: FaultClass) -> u64 {
    match stage2 {
        Some(class) => S2.put(CLASS.put(word, class.bits()), 1),
        None => CLASS.put(word, stage1.bits()),
    }
}

const fn fetch_abort(id: u64, abort: FetchAbort) -> [u64; 4] {
    [
        with_requester(id, abort.requester),
        GPCF.put(
            REASON.put(0, abort.reason as u64),
            abort.granule_protection as u64,
        ),
        0,
        abort.fetch_address.get() & FETCH_ADDR.mask(),
    ]
}

const fn fault(id: u64, fault: Fault) -> [u64; 4] {
    let second = with_access(0, fault.access);
    let second = match fault.stalled {
        Some(stag) => STALL.put(STAG.put(second, stag.get() as u64), 1),
        None => second,
    };
    let (class, ipa) = match fault.stage2 {
        Some(Stage2Fault { class, ipa }) => (Some(class), ipa.get() & IPA.mask()),
        None => (None, 0),
    };
    [
        with_requester(id, fault.requester),
        with_class(second, class, FaultClass::Input),
        fault.address.get(),
        ipa,
    ]
}
