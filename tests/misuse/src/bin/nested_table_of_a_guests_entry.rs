//! Fails with E0308: the kernel is given an entry as the guest wrote it, with fields that are not the guest's.

use iommufd::smmuv3::Smmuv3;
use iommufd::{Device, NestedHwPt, Result, Viommu};
use smmuv3_types::{Features, Ste};

fn case(
    smmu: &Viommu<Smmuv3>,
    device: &Device,
    entry: &Ste,
    features: &Features,
) -> Result<NestedHwPt<Smmuv3>> {
    #[cfg(feature = "misuse")]
    return NestedHwPt::new(smmu, device, entry);
    #[cfg(not(feature = "misuse"))]
    NestedHwPt::new(smmu, device, &entry.reduce(features).nested())
}

fn main() {
    let _checked = case;
}
