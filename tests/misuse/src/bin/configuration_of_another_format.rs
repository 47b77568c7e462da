//! Fails with E0308: a table of one vendor is configured as one of another.

use iommufd::format::NestsOnParent;
use iommufd::{Device, NestParent, NestedHwPt, Result};

fn _case<F: NestsOnParent, G: NestsOnParent>(
    parent: &NestParent,
    device: &Device,
    config: &F::Config,
    other: &G::Config,
) -> Result<(NestedHwPt<F>, NestedHwPt<G>)> {
    #[cfg(feature = "misuse")]
    drop(NestedHwPt::<F>::new(parent, device, other)?);
    Ok((
        NestedHwPt::new(parent, device, config)?,
        NestedHwPt::new(parent, device, other)?,
    ))
}

fn main() {
    // Checked for every format: there is nothing to run.
}
