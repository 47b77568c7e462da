//! Fails with E0061: a hardware queue is made with a number of one's own choosing, before those before it.

use iommufd::format::HasHwQueues;
use iommufd::{HwQueue, IovaRange, Result, Viommu};

fn _case<V: HasHwQueues>(viommu: &Viommu<V>, memory: IovaRange) -> Result<HwQueue<V>> {
    #[cfg(feature = "misuse")]
    return HwQueue::first(viommu, 1, memory);
    #[cfg(not(feature = "misuse"))]
    HwQueue::after(&HwQueue::first(viommu, memory)?, memory)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
