//! `CMD_SYNC`: completed when everything before it is done, and not before.

use smmuv3_types::SyncSignal;

use crate::relay::Pending;

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
/// Then the VMM tells the guest so (an MSI is a write to guest memory), and moves `SMMU_CMDQ_CONS`
/// on.
pub type PendingSync = Pending<SyncSignal>;
