//! Fails with `unused_must_use`: the options of a nested table are chosen, and it is not allocated.

#![deny(unused_must_use)]

use iommufd::format::{Format, NestsOnParent};
use iommufd::{Device, NestParent, NestedHwPt, Result};

fn _case<F: NestsOnParent>(
    parent: &NestParent,
    device: &Device,
    config: &<F as Format>::Config,
) -> Result<NestedHwPt<F>> {
    #[cfg(feature = "misuse")]
    NestedHwPt::<F>::builder(parent, device, config).pasid(true);
    NestedHwPt::builder(parent, device, config)
        .pasid(true)
        .allocate()
}

fn main() {
    // Checked for every format: there is nothing to run.
}
