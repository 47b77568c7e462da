//! Fails with E0599: the page of a virtual IOMMU that shows none.

use iommufd::format::{ShowsPage, ViommuKind};
use iommufd::{Result, Viommu, ViommuPage};

fn _case<V: ShowsPage, W: ViommuKind>(viommu: &Viommu<V>, other: &Viommu<W>) -> Result<ViommuPage> {
    let _kept = other.clone();
    #[cfg(feature = "misuse")]
    return other.map_page();
    #[cfg(not(feature = "misuse"))]
    viommu.map_page()
}

fn main() {
    // Checked for every format: there is nothing to run.
}
