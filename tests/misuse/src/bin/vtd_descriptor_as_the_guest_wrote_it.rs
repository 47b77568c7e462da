//! Fails with E0308: the kernel is given a guest's descriptor, of which it takes another form, if any.

use iommufd::NestedHwPt;
use iommufd::vtd::{Invalidation, Vtd};
use vtd_types::Descriptor;

fn case(
    nested: &NestedHwPt<Vtd>,
    descriptor: Descriptor,
) -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(feature = "misuse")]
    nested.invalidate(&[descriptor])?;
    nested.invalidate(&[Invalidation::from_descriptor(&descriptor)?])?;
    Ok(())
}

fn main() {
    let _checked = case;
}
