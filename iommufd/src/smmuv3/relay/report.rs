//! What the VMM is told of what went wrong.

use smmuv3_types::StreamId;

use super::Place;

/// Something that the host refused, and what the relay did about it. Errors of the guest's are not
/// here: the guest is told of those.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report<E> {
    /// So many reports came before the next, and were dropped, as nobody took them.
    Lost(u64),
    /// A batch was refused. All translations and context descriptors of the guest were invalidated
    /// in its place.
    BatchRefused {
        /// How many commands it had.
        commands: usize,
        /// Why.
        error: E,
    },
    /// The translations of the guest could not be invalidated at all. Every stream that was
    /// translated is blocked. Before one is translated again, all are invalidated.
    TranslationsStale {
        /// Why.
        error: E,
    },
    /// The context descriptors of a stream, or what the device has cached itself, could not be
    /// invalidated. The stream is blocked.
    StreamStale {
        /// Which stream.
        stream: StreamId,
        /// Why.
        error: E,
    },
    /// A device could not be put where the guest wants it. It is blocked until the guest configures
    /// its stream anew.
    PlaceRefused {
        /// The device's stream.
        stream: Option<StreamId>,
        /// Where it was to be.
        place: Place,
        /// Why.
        error: E,
    },
    /// A device could not be blocked: it is where it was. No `CMD_SYNC` completes before it is.
    NotBlocked {
        /// The device's stream.
        stream: Option<StreamId>,
        /// Why.
        error: E,
    },
    /// Page requests could not be answered as the guest has said.
    AnswerRefused {
        /// The device's stream.
        stream: StreamId,
        /// Why.
        error: E,
    },
}
