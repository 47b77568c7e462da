//! Fails with E0382: the address of a mapping is asked for after it was unmapped.

use iommufd::{Iova, Mapping, Result};

fn case(mapping: Mapping) -> Result<Iova> {
    #[cfg(not(feature = "misuse"))]
    let iova = mapping.iova();
    mapping.unmap()?;
    #[cfg(feature = "misuse")]
    let iova = mapping.iova();
    Ok(iova)
}

fn main() {
    let _checked = case;
}
