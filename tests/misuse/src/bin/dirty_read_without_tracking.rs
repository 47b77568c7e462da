//! Fails with E0599: a page table is asked what is dirty, and nobody has it recorded.

use iommufd::{DirtyBitmap, HwPt, Result};

fn case(hwpt: &HwPt, bitmap: &mut DirtyBitmap) -> Result<()> {
    #[cfg(feature = "misuse")]
    hwpt.read_and_clear(bitmap)?;
    hwpt.track_dirty()?.read_and_clear(bitmap)
}

fn main() {
    let _checked = case;
}
