//! Fails with E0277: a hardware queue of a virtual IOMMU of which the hardware reads none.

use iommufd::format::{HasHwQueues, ViommuKind};
use iommufd::{HwQueue, IovaRange, Result, Viommu};

fn _case<V: HasHwQueues, W: ViommuKind>(
    viommu: &Viommu<V>,
    other: &Viommu<W>,
    memory: IovaRange,
) -> Result<HwQueue<V>> {
    let _kept = other.clone();
    #[cfg(feature = "misuse")]
    drop(HwQueue::first(other, memory));
    HwQueue::first(viommu, memory)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
