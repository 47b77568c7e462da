//! Fails with E0277: a guest's table becomes the parent of another.

use iommufd::format::NestsOnParent;
use iommufd::{Device, NestParent, NestedHwPt, Result};

fn _case<F: NestsOnParent>(
    parent: &NestParent,
    device: &Device,
    config: &F::Config,
) -> Result<NestedHwPt<F>> {
    let nested = NestedHwPt::<F>::new(parent, device, config)?;
    #[cfg(feature = "misuse")]
    NestedHwPt::<F>::new(&nested, device, config)?;
    Ok(nested)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
