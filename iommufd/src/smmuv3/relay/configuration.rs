//! What the guest's stream table says of a stream.

use smmuv3_types::{
    Event, EventRecord, Features, FetchAbort, Ipa, L1StreamDescriptor, NestedConfig, NestedSte,
    Reduced, Requester, Ste, StreamId, StreamLookup, StreamTable,
};

use super::{GuestMemory, Place, Unreadable};

/// What the guest's stream table says of a stream, as it was when it was last looked at: what a
/// hardware SMMU would have in its configuration cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Configuration {
    /// Nothing was read: the SMMU is off, or the device has no stream.
    Unread,
    /// The entry, reduced to what counts.
    Entry(NestedSte),
    /// There is none, or a bad one: transactions are aborted, and the guest is told by this event,
    /// if it wants to be.
    Bad(Option<EventRecord>),
}

impl Configuration {
    /// Reads the entry of `stream`. `report_bad_ids` is `SMMU_CR2.RECINVSID`.
    pub(super) fn read(
        stream: StreamId,
        table: &StreamTable,
        features: &Features,
        report_bad_ids: bool,
        memory: &(impl GuestMemory + ?Sized),
    ) -> Self {
        let requester = Requester {
            stream,
            substream: None,
        };
        match entry(stream, table, memory) {
            Ok(ste) => match ste.reduce(features) {
                Reduced::Install(nested) => Self::Entry(nested),
                Reduced::AbortWithBadSte(_) => Self::Bad(Some(Event::BadSte(requester).encode())),
            },
            Err(NoEntry::BadStreamId) => {
                Self::Bad(report_bad_ids.then(|| Event::BadStreamId(requester).encode()))
            }
            Err(NoEntry::Unreadable(fetch_address)) => {
                let abort = FetchAbort {
                    requester,
                    reason: 0,
                    granule_protection: false,
                    fetch_address,
                };
                Self::Bad(Some(Event::SteFetch(abort).encode()))
            }
        }
    }

    /// What becomes of the stream's transactions.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Unread | Self::Bad(_) => Place::Blocked,
            Self::Entry(ste) => match ste.config() {
                NestedConfig::Invalid | NestedConfig::Abort => Place::Blocked,
                NestedConfig::Bypass => Place::Bypass,
                NestedConfig::Translate(_) => Place::Translated(*ste),
            },
        }
    }

    /// What the guest is to be told, as the hardware does not tell.
    pub(super) fn event(&self) -> Option<EventRecord> {
        match self {
            Self::Unread | Self::Entry(_) => None,
            Self::Bad(event) => *event,
        }
    }
}

/// Why a stream has no entry.
enum NoEntry {
    BadStreamId,
    Unreadable(Ipa),
}

/// Walks the stream table: at most two reads.
fn entry(
    stream: StreamId,
    table: &StreamTable,
    memory: &(impl GuestMemory + ?Sized),
) -> Result<Ste, NoEntry> {
    let address = match table.locate(stream) {
        Err(_) => return Err(NoEntry::BadStreamId),
        Ok(StreamLookup::Entry(address)) => address,
        Ok(StreamLookup::Descriptor(lookup)) => {
            let mut bytes = [0; L1StreamDescriptor::BYTES];
            read(memory, lookup.address(), &mut bytes)?;
            lookup
                .resolve(L1StreamDescriptor::from_bytes(&bytes))
                .map_err(|_| NoEntry::BadStreamId)?
        }
    };
    let mut bytes = [0; Ste::BYTES];
    read(memory, address, &mut bytes)?;
    Ok(Ste::from_bytes(&bytes))
}

fn read(
    memory: &(impl GuestMemory + ?Sized),
    address: Ipa,
    bytes: &mut [u8],
) -> Result<(), NoEntry> {
    memory
        .read(address, bytes)
        .map_err(|Unreadable| NoEntry::Unreadable(address))
}
