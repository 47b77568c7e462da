//! Fails with E0382: a table is invalidated when it is gone, and its id another's.

use iommufd::format::NestsOnParent;
use iommufd::{NestedHwPt, Result};

fn _case<F: NestsOnParent>(nested: NestedHwPt<F>, command: F::Invalidation) -> Result<()> {
    nested.invalidate(&[command])?;
    nested.try_destroy()?;
    #[cfg(feature = "misuse")]
    nested.invalidate(&[command])?;
    Ok(())
}

fn main() {
    // Checked for every format: there is nothing to run.
}
