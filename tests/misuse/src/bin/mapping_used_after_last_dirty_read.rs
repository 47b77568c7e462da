//! Fails with E0382: a mapping is used after its last read, which has unmapped it.

use iommufd::{DirtyBitmap, Iova, Mapping, Result};

fn case(mapping: Mapping, bitmap: &mut DirtyBitmap) -> Result<Iova> {
    let iova = mapping.iova();
    mapping.unmap_reading_dirty(bitmap)?;
    #[cfg(feature = "misuse")]
    return Ok(mapping.iova());
    #[cfg(not(feature = "misuse"))]
    Ok(iova)
}

fn main() {
    let _checked = case;
}
