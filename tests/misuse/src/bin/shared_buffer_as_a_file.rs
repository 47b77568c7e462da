//! Fails with E0277: the file of a buffer, which would let it be mapped past its owner.

use std::sync::Arc;

use iommufd::{Access, Ioas, Mapping, Result, SharedBuffer};

fn case(ioas: &Ioas, shared: &Arc<SharedBuffer>) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    return ioas.map_file(iommufd::FileRange::new(&**shared, 0..4096), Access::Read);
    #[cfg(not(feature = "misuse"))]
    ioas.map(shared, Access::Read)
}

fn main() {
    let _checked = case;
}
