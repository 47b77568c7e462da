//! Fails with E0308: a guest's address where a device's is meant.

use iommufd::{Access, Ioas, Iova, Mapping, Result, SharedBuffer};
use std::sync::Arc;
use vm_memory::GuestAddress;

fn case(ioas: &Ioas, memory: &Arc<SharedBuffer>, at: GuestAddress) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    return ioas.map_at(at, memory, Access::Read);
    #[cfg(not(feature = "misuse"))]
    ioas.map_at(Iova::new(at.0), memory, Access::Read)
}

fn main() {
    let _checked = case;
}
