//! `inv_wait_dsc`: completed when everything before it is done, and not before.

use vtd_types::StatusWrite;

use crate::relay::Pending;

/// A wait of the guest's (`inv_wait_dsc`, 6.5.2.8).
///
/// The token of a flush completes it; there is no other way to learn what is to be written, and
/// where:
///
/// ```no_run
/// # use iommufd::vtd::relay::{GuestMemory, Host, Relay, Taken, WaitSignal};
/// # fn signal(_: WaitSignal) {}
/// # fn example<H: Host>(
/// #     relay: &mut Relay<H>,
/// #     memory: &impl GuestMemory,
/// #     words: [u64; 4],
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// if let Taken::Wait(wait) = relay.take(words, memory)? {
///     let flushed = relay.flush()?;
///     signal(wait.complete(&flushed)?);
/// }
/// # Ok(())
/// # }
/// ```
pub type PendingWait = Pending<WaitSignal>;

/// How a guest is told that its wait is complete. The VMM does it, in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitSignal {
    /// Page requests that came before are to be in the guest's page request queue first: what the
    /// [`FaultQueue`](crate::FaultQueue) has goes to
    /// [`Relay::page_requests`](super::Relay::page_requests).
    pub drain_page_requests: bool,
    /// This is to be written to the guest's memory.
    pub status: Option<StatusWrite>,
    /// `ICS_REG.IWC` is to be set, and if it was not, the interrupt is to be sent.
    pub interrupt: bool,
}
