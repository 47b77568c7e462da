//! Fails with E0308: a bare number, of bytes or bits or pages, as a granule.

use iommufd::{DirtyBitmap, Granule, IovaRange, Result};

fn case(ram: IovaRange) -> Result<DirtyBitmap> {
    #[cfg(feature = "misuse")]
    return DirtyBitmap::new(ram, 4096);
    #[cfg(not(feature = "misuse"))]
    DirtyBitmap::new(ram, Granule::KIB_4)
}

fn main() {
    let _checked = case;
}
