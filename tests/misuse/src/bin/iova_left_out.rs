//! Fails with E0308: a fixed mapping that leaves the address to the kernel.

use std::sync::Arc;

use iommufd::{Access, Ioas, Mapping, Result, SharedBuffer};

fn case(ioas: &Ioas, shared: &Arc<SharedBuffer>) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    return ioas.map_at(None, shared, Access::Read);
    #[cfg(not(feature = "misuse"))]
    ioas.map(shared, Access::Read)
}

fn main() {
    let _checked = case;
}
