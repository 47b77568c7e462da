//! Fails with `unused_must_use`: the tracking would end where it begins.
#![deny(unused_must_use)]

use iommufd::{HwPt, Result};

fn case(hwpt: &HwPt) -> Result<()> {
    #[cfg(feature = "misuse")]
    hwpt.track_dirty()?;
    #[cfg(not(feature = "misuse"))]
    let _tracking = hwpt.track_dirty()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
