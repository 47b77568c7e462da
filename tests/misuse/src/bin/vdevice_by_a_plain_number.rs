//! Fails with E0308: a device gets a number that is not of the guest's kind.

use iommufd::format::ViommuKind;
use iommufd::{Device, Result, VDevice, Viommu};

fn _case<V: ViommuKind>(
    viommu: &Viommu<V>,
    device: &Device,
    number: V::VirtualId,
) -> Result<VDevice<V>> {
    #[cfg(feature = "misuse")]
    return VDevice::new(viommu, device, 7_u64);
    #[cfg(not(feature = "misuse"))]
    VDevice::new(viommu, device, number)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
