//! What the VMM is told of what went wrong.

use vtd_types::{NotNested, Pasid, SourceId};

use super::Place;

/// Something that cannot be done for the guest, or that the host refused, and what the relay did
/// about it. Errors of the guest's are not here: the guest is told of those.
///
/// A `pasid` of `None` means requests that carry none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report<E> {
    /// So many reports came before the next, and were dropped, as nobody took them.
    Lost(u64),
    /// The guest's entry is valid, and iommufd has nothing that does what it says. The address
    /// space is blocked. A guest that is offered no more than
    /// [`Relay::new`](super::Relay::new) takes can have this of a second stage in legacy mode only.
    Inexpressible {
        /// The device.
        source: Option<SourceId>,
        /// The address space.
        pasid: Option<Pasid>,
        /// What it says.
        why: NotNested,
    },
    /// The guest has entries for more PASIDs of a device than there may be
    /// ([`Relay::limit_pasids`](super::Relay::limit_pasids)). This one is blocked until the guest
    /// invalidates its entry again.
    TooManyPasids {
        /// The device.
        source: Option<SourceId>,
        /// The PASID.
        pasid: Pasid,
        /// How many there may be.
        most: usize,
    },
    /// Invalidations were refused. Everything that was cached of the tables was invalidated in
    /// their place.
    InvalidationRefused {
        /// The device.
        source: Option<SourceId>,
        /// The address space.
        pasid: Option<Pasid>,
        /// How many invalidations.
        count: usize,
        /// Why.
        error: E,
    },
    /// What was cached of the tables could not be invalidated at all. The address space is blocked
    /// until the guest invalidates its entry.
    TranslationsStale {
        /// The device.
        source: Option<SourceId>,
        /// The address space.
        pasid: Option<Pasid>,
        /// Why.
        error: E,
    },
    /// An address space could not be put where the guest wants it. It is blocked until the guest
    /// invalidates its entry again.
    PlaceRefused {
        /// The device.
        source: Option<SourceId>,
        /// The address space.
        pasid: Option<Pasid>,
        /// Where it was to be.
        place: Place,
        /// Why.
        error: E,
    },
    /// An address space could not be blocked: it may be where it was. No wait of the guest's
    /// completes before it is.
    NotBlocked {
        /// The device.
        source: Option<SourceId>,
        /// The address space.
        pasid: Option<Pasid>,
        /// Why.
        error: E,
    },
    /// Page requests could not be answered as the guest has said.
    AnswerRefused {
        /// The device.
        source: SourceId,
        /// Why.
        error: E,
    },
}
