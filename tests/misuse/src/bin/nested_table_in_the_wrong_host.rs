//! Fails with E0271: a table that is nested in its parent is made in a virtual IOMMU of another format.

use iommufd::format::{NestsOnParent, ViommuKind};
use iommufd::{Device, NestParent, NestedHwPt, Result, Viommu};

fn _case<F: NestsOnParent, V: ViommuKind>(
    parent: &NestParent,
    viommu: &Viommu<V>,
    device: &Device,
    config: &F::Config,
) -> Result<NestedHwPt<F>> {
    let _kept = viommu.clone();
    #[cfg(feature = "misuse")]
    return NestedHwPt::<F>::new(viommu, device, config);
    #[cfg(not(feature = "misuse"))]
    NestedHwPt::<F>::new(parent, device, config)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
