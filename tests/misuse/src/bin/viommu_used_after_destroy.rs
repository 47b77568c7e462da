//! Fails with E0382: something is made of a virtual IOMMU that is destroyed.

use iommufd::format::ViommuKind;
use iommufd::{Device, Result, VDevice, Viommu};

fn _case<V: ViommuKind>(
    viommu: Viommu<V>,
    device: &Device,
    number: V::VirtualId,
) -> Result<Option<VDevice<V>>> {
    viommu.invalidate(&[])?;
    let vdevice = VDevice::new(&viommu, device, number)?;
    vdevice.try_destroy()?;
    viommu.try_destroy()?;
    #[cfg(feature = "misuse")]
    return VDevice::new(&viommu, device, number).map(Some);
    #[cfg(not(feature = "misuse"))]
    Ok(None)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
