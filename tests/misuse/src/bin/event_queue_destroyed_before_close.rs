//! Fails with E0599: a queue of events is destroyed while its file is open.

use iommufd::format::Event;
use iommufd::{Result, VEventQueue};

fn _case<E: Event>(queue: VEventQueue<E>) -> Result<()> {
    #[cfg(feature = "misuse")]
    queue.try_destroy()?;
    #[cfg(not(feature = "misuse"))]
    queue.try_close()?.try_destroy()?;
    Ok(())
}

fn main() {
    // Checked for every format: there is nothing to run.
}
