//! Fails with E0277: something of one's own is declared to be what tables are nested in.

use iommufd::format::NestsOnParent;
use iommufd::{Device, NestParent, NestedHwPt, Result};

#[expect(dead_code, reason = "only type-checked")]
struct Mine {
    parent: NestParent,
}

#[cfg(feature = "misuse")]
impl<F: NestsOnParent> iommufd::NestingHost<F> for Mine {}

fn _case<F: NestsOnParent>(
    mine: &Mine,
    device: &Device,
    config: &F::Config,
) -> Result<NestedHwPt<F>> {
    NestedHwPt::new(&mine.parent, device, config)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
