//! Fails with E0061: a guest's wait is completed without the token of the flush that has done what came before it.

use iommufd::vtd::relay::{Host, NotFlushed, PendingWait, Relay};

fn _case<H: Host>(relay: &mut Relay<H>, wait: PendingWait) -> Result<(), NotFlushed> {
    #[cfg(feature = "misuse")]
    let _signal = wait.complete();
    #[cfg(not(feature = "misuse"))]
    let _signal = wait.complete(&relay.flush()?);
    let _done = relay.flush()?;
    Ok(())
}

fn main() {
    // Checked for every host: there is nothing to run.
}
