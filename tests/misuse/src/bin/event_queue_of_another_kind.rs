//! Fails with E0277: a queue is made of events that this kind of virtual IOMMU does not report: none would ever come.

use iommufd::format::{Event, Reports, ViommuKind};
use iommufd::{Result, VEventQueue, Viommu};

fn _case<E: Event, V: ViommuKind, W: ViommuKind + Reports<E>>(
    silent: &Viommu<V>,
    viommu: &Viommu<W>,
) -> Result<VEventQueue<E>> {
    let _kept = silent.clone();
    #[cfg(feature = "misuse")]
    return VEventQueue::new(silent, 64);
    #[cfg(not(feature = "misuse"))]
    VEventQueue::new(viommu, 64)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
