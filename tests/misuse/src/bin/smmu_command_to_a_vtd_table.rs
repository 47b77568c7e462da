//! Fails with E0308: an SMMUv3 command is given to a table of VT-d's.

use iommufd::vtd::Vtd;
use iommufd::{NestedHwPt, Result, smmuv3, vtd};

fn case(
    nested: &NestedHwPt<Vtd>,
    theirs: smmuv3::Invalidation,
    ours: vtd::Invalidation,
) -> Result<()> {
    assert!(!theirs.words().is_empty());
    #[cfg(feature = "misuse")]
    nested.invalidate(&[theirs])?;
    nested.invalidate(&[ours])
}

fn main() {
    let _checked = case;
}
