//! Fails with E0308: what was written for one vendor's IOMMU is sent to another's.

use iommufd::format::{Format, NestsOnParent, ViommuKind};
use iommufd::{NestedHwPt, Result, Viommu};

fn _case<F: NestsOnParent, V: ViommuKind>(
    nested: &NestedHwPt<F>,
    viommu: &Viommu<V>,
    ours: F::Invalidation,
    theirs: <V::Format as Format>::Invalidation,
) -> Result<()> {
    #[cfg(feature = "misuse")]
    viommu.invalidate(&[ours])?;
    viommu.invalidate(&[theirs])?;
    nested.invalidate(&[ours])
}

fn main() {
    // Checked for every format: there is nothing to run.
}
