//! What a guest waits for is completed when everything before it is done, and not before.

use super::RelayId;
use crate::error::Refused;

/// All that a relay took before is done: of the tables that the guest had then, nothing is used any
/// more.
///
/// The relay's `flush` gives one. It completes everything that the guest waits for and that was taken
/// before: [`Pending::complete`].
#[derive(Debug, PartialEq, Eq)]
pub struct Flushed {
    relay: RelayId,
    /// How many had been taken.
    taken: u64,
}

impl Flushed {
    pub(crate) fn new(relay: RelayId, taken: u64) -> Self {
        Self { relay, taken }
    }
}

/// Some devices cannot be taken off tables that the guest takes for left, so what it has asked for is
/// not done. The relay's reports say which devices (`Report::NotBlocked`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{devices} devices cannot be taken off tables that the guest takes for left")]
pub struct NotFlushed {
    /// How many devices.
    pub devices: usize,
}

/// Something that the guest waits for, and how it is to be told.
///
/// The token of a flush completes it; there is no other way to learn how the guest wants to be
/// told. One flush completes all that were taken before it. Dropped, the guest waits for ever.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the guest waits until it is completed"]
pub struct Pending<S> {
    relay: RelayId,
    /// How many were taken before it.
    number: u64,
    signal: S,
}

/// Why a token does not complete what the guest waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongToken {
    /// It is of another relay.
    #[error("the token is of another relay")]
    Foreign,
    /// What the guest waits for was taken after that flush.
    #[error("what the guest waits for was taken after the flush")]
    Early,
}

impl<S> Pending<S> {
    pub(crate) fn new(relay: RelayId, number: u64, signal: S) -> Self {
        Self {
            relay,
            number,
            signal,
        }
    }

    /// Completes it, and says how the guest is to be told: the VMM does that, and moves the head of
    /// the queue on.
    ///
    /// # Errors
    /// It, with [`WrongToken`].
    pub fn complete(self, flushed: &Flushed) -> Result<S, Refused<Self, WrongToken>> {
        if self.relay != flushed.relay {
            return Err(Refused::new(self, WrongToken::Foreign));
        }
        if self.number >= flushed.taken {
            return Err(Refused::new(self, WrongToken::Early));
        }
        Ok(self.signal)
    }
}
