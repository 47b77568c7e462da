//! Fails with E0061: a guest's SYNC is completed without the token of the flush that has done what came before it.

use iommufd::smmuv3::relay::{Host, NotFlushed, PendingSync, Relay};

fn _case<H: Host>(relay: &mut Relay<H>, sync: PendingSync) -> Result<(), NotFlushed> {
    #[cfg(feature = "misuse")]
    let _signal = sync.complete();
    #[cfg(not(feature = "misuse"))]
    let _signal = sync.complete(&relay.flush()?);
    let _done = relay.flush()?;
    Ok(())
}

fn main() {
    // Checked for every host: there is nothing to run.
}
