//! Fails with E0502: the kernel is to write to a bitmap of which somebody still looks at the runs.

use iommufd::{DirtyBitmap, DirtyTracking, IovaRange, Result};

fn case(tracking: &DirtyTracking, bitmap: &mut DirtyBitmap) -> Result<Option<IovaRange>> {
    let mut runs = bitmap.runs();
    let first = runs.next();
    #[cfg(feature = "misuse")]
    tracking.read_and_clear(bitmap)?;
    let second = runs.next();
    tracking.read_and_clear(bitmap)?;
    Ok(first.or(second))
}

fn main() {
    let _checked = case;
}
