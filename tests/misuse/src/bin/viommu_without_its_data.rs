//! Fails with E0599: a virtual IOMMU is made without what its kind must be told.

use iommufd::format::ViommuKind;
use iommufd::{Device, NestParent, Result, Viommu};

fn _case<V: ViommuKind<Data = [u64; 2]>>(
    parent: &NestParent,
    device: &Device,
) -> Result<Viommu<V>> {
    #[cfg(feature = "misuse")]
    return Viommu::<V>::new(parent, device);
    #[cfg(not(feature = "misuse"))]
    Viommu::with_data(parent, device, [0; 2])
}

fn main() {
    // Checked for every format: there is nothing to run.
}
