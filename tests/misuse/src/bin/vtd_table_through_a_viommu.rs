//! Fails with E0271: a table of VT-d's is nested in its parent, and in no virtual IOMMU.

use iommufd::smmuv3::Smmuv3;
use iommufd::vtd::{NestedPasidEntry, Vtd};
use iommufd::{Device, NestParent, NestedHwPt, Result, Viommu};

fn case(
    smmu: &Viommu<Smmuv3>,
    parent: &NestParent,
    device: &Device,
    entry: &NestedPasidEntry,
) -> Result<NestedHwPt<Vtd>> {
    assert!(smmu.parent() == parent);
    #[cfg(feature = "misuse")]
    return NestedHwPt::<Vtd>::new(smmu, device, entry);
    #[cfg(not(feature = "misuse"))]
    NestedHwPt::<Vtd>::new(parent, device, entry)
}

fn main() {
    let _checked = case;
}
