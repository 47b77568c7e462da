//! Fails with E0308: the caller's words, which it may not write, as a bitmap.

use iommufd::{DirtyBitmap, Granule, IovaRange, Result};

fn case(ram: IovaRange, words: &[u64]) -> Result<u64> {
    #[cfg(feature = "misuse")]
    return Ok(DirtyBitmap::over(ram, Granule::KIB_4, words)?.count());
    #[cfg(not(feature = "misuse"))]
    Ok(DirtyBitmap::over(ram, Granule::KIB_4, &mut words.to_vec())?.count())
}

fn main() {
    let _checked = case;
}
