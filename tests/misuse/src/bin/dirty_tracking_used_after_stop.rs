//! Fails with E0382: a read after the tracking was stopped.

use iommufd::{DirtyBitmap, DirtyTracking, Result};

fn case(tracking: DirtyTracking, bitmap: &mut DirtyBitmap) -> Result<()> {
    tracking.read_and_clear(bitmap)?;
    tracking.stop()?;
    #[cfg(feature = "misuse")]
    tracking.read_and_clear(bitmap)?;
    Ok(())
}

fn main() {
    let _checked = case;
}
