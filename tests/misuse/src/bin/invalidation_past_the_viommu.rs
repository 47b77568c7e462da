//! Fails with E0599: a table nested through a virtual IOMMU is invalidated by itself, which that hardware cannot do.

use iommufd::format::{Format, ViommuKind};
use iommufd::{NestedHwPt, Result, Viommu};

fn _case<V: ViommuKind>(
    nested: &NestedHwPt<V::Format>,
    viommu: &Viommu<V>,
    command: <V::Format as Format>::Invalidation,
) -> Result<()> {
    let _kept = nested.clone();
    #[cfg(feature = "misuse")]
    nested.invalidate(&[command])?;
    viommu.invalidate(&[command])
}

fn main() {
    // Checked for every format: there is nothing to run.
}
