//! Fails with E0271: a table of a format that is nested through a virtual IOMMU is made in the parent itself.

use iommufd::format::{Format, ViommuKind};
use iommufd::{Device, NestedHwPt, Result, Viommu};

fn _case<V: ViommuKind>(
    viommu: &Viommu<V>,
    device: &Device,
    config: &<V::Format as Format>::Config,
) -> Result<NestedHwPt<V::Format>> {
    #[cfg(feature = "misuse")]
    return NestedHwPt::new(viommu.parent(), device, config);
    #[cfg(not(feature = "misuse"))]
    NestedHwPt::new(viommu, device, config)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
