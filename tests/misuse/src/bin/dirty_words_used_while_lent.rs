//! Fails with E0499: words are changed while a bitmap has them.

use iommufd::{DirtyBitmap, DirtyTracking, Granule, IovaRange, Result};

fn case(tracking: &DirtyTracking, ram: IovaRange, words: &mut [u64]) -> Result<u64> {
    let mut bitmap = DirtyBitmap::over(ram, Granule::KIB_4, words)?;
    #[cfg(feature = "misuse")]
    words.fill(0);
    tracking.read_and_clear(&mut bitmap)?;
    Ok(bitmap.count())
}

fn main() {
    let _checked = case;
}
