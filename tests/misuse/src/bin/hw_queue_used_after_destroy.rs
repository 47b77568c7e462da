//! Fails with E0382: a hardware queue is made after one that was destroyed.

use iommufd::format::HasHwQueues;
use iommufd::{HwQueue, IovaRange, Result};

fn _case<V: HasHwQueues>(first: HwQueue<V>, memory: IovaRange) -> Result<()> {
    HwQueue::after(&first, memory)?.try_destroy()?;
    first.try_destroy()?;
    #[cfg(feature = "misuse")]
    HwQueue::after(&first, memory)?.try_destroy()?;
    Ok(())
}

fn main() {
    // Checked for every format: there is nothing to run.
}
