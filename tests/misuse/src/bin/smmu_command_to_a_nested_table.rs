//! Fails with E0599: an SMMUv3 command is given to a table, which Linux has no way to invalidate.

use iommufd::smmuv3::{Invalidation, Smmuv3};
use iommufd::{NestedHwPt, Result, Viommu};

fn case(
    smmu: &Viommu<Smmuv3>,
    nested: &NestedHwPt<Smmuv3>,
    command: Invalidation,
) -> Result<NestedHwPt<Smmuv3>> {
    #[cfg(feature = "misuse")]
    nested.invalidate(&[command])?;
    smmu.invalidate(&[command])?;
    Ok(nested.clone())
}

fn main() {
    let _checked = case;
}
