//! Fails with `unused_must_use`: a queue is made, and taken from the hardware at once.

#![deny(unused_must_use)]

use iommufd::format::HasHwQueues;
use iommufd::{HwQueue, IovaRange, Result, Viommu};

fn _case<V: HasHwQueues>(viommu: &Viommu<V>, memory: IovaRange) -> Result<HwQueue<V>> {
    #[cfg(feature = "misuse")]
    HwQueue::first(viommu, memory)?;
    HwQueue::first(viommu, memory)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
