//! Fails with E0382: a mapping is copied after it was unmapped.

use iommufd::{Access, Ioas, Mapping, Result};

fn case(ioas: &Ioas, mapping: Mapping) -> Result<Mapping> {
    #[cfg(not(feature = "misuse"))]
    let copy = ioas.copy(&mapping, Access::Read)?;
    mapping.unmap()?;
    #[cfg(feature = "misuse")]
    let copy = ioas.copy(&mapping, Access::Read)?;
    Ok(copy)
}

fn main() {
    let _checked = case;
}
