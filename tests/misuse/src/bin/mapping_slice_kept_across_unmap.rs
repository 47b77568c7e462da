//! Fails with E0505: a part of a mapping is copied when the mapping has been unmapped.

use iommufd::{Access, Ioas, Mapping, Result};

fn case(ioas: &Ioas, mapping: Mapping) -> Result<Mapping> {
    let page = mapping.slice(..4096)?;
    #[cfg(feature = "misuse")]
    mapping.unmap()?;
    ioas.copy(page, Access::Read)
}

fn main() {
    let _checked = case;
}
