//! Fails with E0277: what is copied is named by its addresses, where another mapping may be by then.

use iommufd::{Access, Ioas, Mapping, Result};

fn case(ioas: &Ioas, mapping: &Mapping) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    return ioas.copy(mapping.range(), Access::Read);
    ioas.copy(mapping, Access::Read)
}

fn main() {
    let _checked = case;
}
