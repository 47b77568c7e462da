//! What the words of an event mean.

use super::fields::{
    CLASS, FETCH_ADDR, GPCF, HINT_PRIVILEGED, HINT_SPAN, HINT_UNPRIVILEGED, IND, IPA, LONG_REASON,
    PAGE, PNU, REASON, RNW, S2, STAG, STALL, TREQ_EXECUTE, TREQ_PRIVILEGED, TREQ_READ, TREQ_WRITE,
    TTRNW,
};
use super::{
    AccessAttributes, Event, EventKind, EventRecord, ExpectedAccess, Fault, FaultClass, FetchAbort,
    Requester, Stage2Fault, TableAccess,
};
use crate::command::fields::ipa;
use crate::{InputAddress, Ipa, Stag, entry};

/// What an event says cannot be told. The architecture recommends to take it for nothing fatal
/// (7.3); the record keeps all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BadEvent {
    /// The number is reserved.
    #[error("{0:#04x} is not the number of an event")]
    Unknown(u8),

    /// The number is one of `0xe0` to `0xef`: what it says is IMPLEMENTATION DEFINED (7.3.21).
    #[error("the event {0:#04x} is IMPLEMENTATION DEFINED")]
    ImplementationDefined(u8),

    /// It is of stage 2, and its `CLASS` is `0b11`.
    #[error("{0} has the reserved class 0b11")]
    Class(EventKind),
}

impl EventRecord {
    /// What the event says.
    ///
    /// Bits that are RES0 or UNKNOWN are not looked at.
    ///
    /// # Errors
    /// The architecture has no such event.
    pub const fn decode(&self) -> Result<Event, BadEvent> {
        let number = self.number();
        let Some(kind) = EventKind::from_number(number) else {
            return Err(match number {
                0xe0..=0xef => BadEvent::ImplementationDefined(number),
                _ => BadEvent::Unknown(number),
            });
        };
        let words = self.words();
        let [first, second, third, fourth] = words;
        let stream = entry::stream(first);
        let requester = Requester {
            stream,
            substream: entry::substream(first),
        };
        let address = InputAddress::new(third);
        let page = InputAddress::new(third & PAGE.mask());
        Ok(match kind {
            EventKind::Uut => Event::Uut {
                requester,
                reason: REASON.get(second) as u16,
                access: access(second),
                address,
            },
            EventKind::BadStreamId => Event::BadStreamId(requester),
            EventKind::SteFetch => Event::SteFetch(fetch_abort(requester, words)),
            EventKind::BadSte => Event::BadSte(requester),
            EventKind::BadAtsTreq => Event::BadAtsTreq {
                requester,
                address: page,
                access: ExpectedAccess::from_bits_truncate(
                    (TREQ_READ.get(second) as u8) << 2
                        | (TREQ_WRITE.get(second) as u8) << 1
                        | TREQ_EXECUTE.get(second) as u8,
                ),
                privileged: TREQ_PRIVILEGED.is_set(second),
            },
            EventKind::StreamDisabled => Event::StreamDisabled { stream },
            EventKind::TranslForbidden => Event::TranslForbidden {
                stream,
                read: RNW.is_set(second),
                address,
            },
            EventKind::BadSubstreamId => Event::BadSubstreamId {
                stream,
                substream: entry::any_substream(first),
            },
            EventKind::CdFetch => Event::CdFetch(fetch_abort(requester, words)),
            EventKind::BadCd => Event::BadCd(requester),
            EventKind::WalkEabt => Event::WalkEabt {
                requester,
                reason: REASON.get(second) as u16,
                granule_protection: GPCF.is_set(second),
                access: access(second),
                address,
                stage2: match class(kind, second) {
                    Ok(class) => class,
                    Err(error) => return Err(error),
                },
                fetch_address: ipa(fourth, FETCH_ADDR),
            },
            EventKind::Translation => match fault(kind, requester, words) {
                Ok(fault) => Event::Translation(fault),
                Err(error) => return Err(error),
            },
            EventKind::AddrSize => match fault(kind, requester, words) {
                Ok(fault) => Event::AddrSize(fault),
                Err(error) => return Err(error),
            },
            EventKind::Access => match fault(kind, requester, words) {
                Ok(fault) => Event::Access(fault),
                Err(error) => return Err(error),
            },
            EventKind::Permission => match fault(kind, requester, words) {
                Ok(fault) => Event::Permission {
                    table_access: table_access(&fault, second),
                    fault,
                },
                Err(error) => return Err(error),
            },
            EventKind::TlbConflict => Event::TlbConflict {
                requester,
                reason: LONG_REASON.get(second) as u32,
                access: access(second),
                address,
                ipa: if S2.is_set(second) {
                    Some(ipa(fourth, IPA))
                } else {
                    None
                },
            },
            EventKind::CfgConflict => Event::CfgConflict {
                requester,
                reason: LONG_REASON.get(second) as u32,
            },
            EventKind::PageRequest => Event::PageRequest {
                requester,
                address: page,
                span: HINT_SPAN.get(second) as u8,
                unprivileged: ExpectedAccess::from_bits_truncate(
                    HINT_UNPRIVILEGED.get(second) as u8
                ),
                privileged: ExpectedAccess::from_bits_truncate(HINT_PRIVILEGED.get(second) as u8),
            },
            EventKind::VmsFetch => Event::VmsFetch(fetch_abort(requester, words)),
        })
    }
}

const fn access(second: u64) -> AccessAttributes {
    AccessAttributes {
        read: RNW.is_set(second),
        instruction: IND.is_set(second),
        privileged: PNU.is_set(second),
    }
}

const fn fetch_abort(requester: Requester, [_, second, _, fourth]: [u64; 4]) -> FetchAbort {
    FetchAbort {
        requester,
        reason: REASON.get(second) as u16,
        granule_protection: GPCF.is_set(second),
        fetch_address: ipa(fourth, FETCH_ADDR),
    }
}

/// The class of a fault of stage 2. One of stage 1 always has the same.
const fn class(kind: EventKind, second: u64) -> Result<Option<FaultClass>, BadEvent> {
    if !S2.is_set(second) {
        return Ok(None);
    }
    match FaultClass::from_bits(CLASS.get(second)) {
        Some(class) => Ok(Some(class)),
        None => Err(BadEvent::Class(kind)),
    }
}

const fn fault(
    kind: EventKind,
    requester: Requester,
    [_, second, third, fourth]: [u64; 4],
) -> Result<Fault, BadEvent> {
    let stage2 = match class(kind, second) {
        Ok(Some(class)) => Some(Stage2Fault {
            class,
            ipa: ipa(fourth, IPA),
        }),
        Ok(None) => None,
        Err(error) => return Err(error),
    };
    Ok(Fault {
        requester,
        stalled: if STALL.is_set(second) {
            Some(Stag::new(STAG.get(second) as u16))
        } else {
            None
        },
        access: access(second),
        address: InputAddress::new(third),
        stage2,
    })
}

const fn table_access(fault: &Fault, second: u64) -> Option<TableAccess> {
    match fault.stage2 {
        Some(Stage2Fault {
            class: FaultClass::TranslationTable,
            ..
        }) => Some(if TTRNW.is_set(second) {
            TableAccess::Read
        } else {
            TableAccess::Write
        }),
        _ => None,
    }
}

/// No bit of these addresses is beyond the last address.
const _: () = assert!(IPA.mask() <= Ipa::MAX.get() && FETCH_ADDR.mask() <= Ipa::MAX.get());
