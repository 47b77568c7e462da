//! Fails with E0277: a table that was not allocated to be a parent becomes one.

use iommufd::format::NestsOnParent;
use iommufd::{Device, HwPt, Ioas, NestParent, NestedHwPt, Result};

fn _case<F: NestsOnParent>(
    ioas: &Ioas,
    device: &Device,
    config: &F::Config,
) -> Result<NestedHwPt<F>> {
    #[cfg(feature = "misuse")]
    return NestedHwPt::new(&HwPt::new(ioas, device)?, device, config);
    drop(HwPt::new(ioas, device)?);
    #[cfg(not(feature = "misuse"))]
    NestedHwPt::new(&NestParent::new(ioas, device)?, device, config)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
