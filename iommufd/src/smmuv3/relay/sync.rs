//! `CMD_SYNC`: completed when everything before it is done, and not before.

use smmuv3_types::SyncSignal;

use super::{Flushed, RelayId};
use crate::error::Refused;

/// A `CMD_SYNC` that the guest waits for (4.7.3).
///
/// The token of a flush completes it; there is no other way to learn how the guest wants to be
/// told:
///
/// ```no_run
/// # use iommufd::smmuv3::relay::{GuestMemory, Host, Relay, Taken};
/// # fn signal(_: smmuv3_types::SyncSignal) {}
/// # fn example<H: Host>(
/// #     relay: &mut Relay<H>,
/// #     memory: &impl GuestMemory,
/// #     words: [u64; 2],
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// if let Taken::Sync(sync) = relay.take(words, memory)? {
///     let flushed = relay.flush()?;
///     signal(sync.complete(&flushed)?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// One flush completes all that were taken before it. Dropped, the guest waits for ever.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the guest waits until it is completed"]
pub struct PendingSync {
    pub(super) relay: RelayId,
    /// How many were taken before it.
    pub(super) number: u64,
    pub(super) signal: SyncSignal,
}

/// Why a token does not complete a `CMD_SYNC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongToken {
    /// It is of another relay.
    #[error("the token is of another relay")]
    Foreign,
    /// The `CMD_SYNC` was taken after that flush.
    #[error("the CMD_SYNC was taken after the flush")]
    Early,
}

impl PendingSync {
    /// Completes it, and says how the guest is to be told: the VMM does that (an MSI is a write to
    /// guest memory), and moves `SMMU_CMDQ_CONS` on.
    ///
    /// # Errors
    /// The `CMD_SYNC`, with [`WrongToken`].
    pub fn complete(self, flushed: &Flushed) -> Result<SyncSignal, Refused<Self, WrongToken>> {
        if self.relay != flushed.relay {
            return Err(Refused::new(self, WrongToken::Foreign));
        }
        if self.number >= flushed.syncs {
            return Err(Refused::new(self, WrongToken::Early));
        }
        Ok(self.signal)
    }
}
