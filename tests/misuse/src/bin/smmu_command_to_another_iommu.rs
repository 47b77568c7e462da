//! Fails with E0308: an SMMUv3 command is given to another vendor's IOMMU.

use iommufd::format::NestsOnParent;
use iommufd::smmuv3::{Invalidation, Smmuv3};
use iommufd::{NestedHwPt, Result, Viommu};

fn _case<F: NestsOnParent>(
    smmu: &Viommu<Smmuv3>,
    nested: &NestedHwPt<F>,
    command: Invalidation,
    theirs: F::Invalidation,
) -> Result<()> {
    #[cfg(feature = "misuse")]
    nested.invalidate(&[command])?;
    nested.invalidate(&[theirs])?;
    smmu.invalidate(&[command])
}

fn main() {
    // Checked for every format: there is nothing to run.
}
