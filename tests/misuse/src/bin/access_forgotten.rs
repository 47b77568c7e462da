//! Fails with E0061: a mapping that does not say what the device may do.

use std::sync::Arc;

use iommufd::{Access, Ioas, Mapping, Result, SharedBuffer};

fn case(ioas: &Ioas, shared: &Arc<SharedBuffer>, access: Access) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    return ioas.map(shared);
    #[cfg(not(feature = "misuse"))]
    ioas.map(shared, access)
}

fn main() {
    let _checked = case;
}
