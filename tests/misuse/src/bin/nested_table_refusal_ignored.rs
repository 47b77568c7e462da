//! Fails with `unused_must_use`: nobody looks whether the kernel has destroyed a guest's table.

#![deny(unused_must_use)]

use iommufd::format::Format;
use iommufd::{NestedHwPt, Refused};

fn _case<F: Format>(
    first: NestedHwPt<F>,
    second: NestedHwPt<F>,
) -> Result<(), Refused<NestedHwPt<F>>> {
    #[cfg(feature = "misuse")]
    first.try_destroy();
    #[cfg(not(feature = "misuse"))]
    first.try_destroy()?;
    second.try_destroy()
}

fn main() {
    // Checked for every format: there is nothing to run.
}
