//! Fails with E0308: a bare number, of whatever address space, as an address for a device.

use std::sync::Arc;

use iommufd::{Access, Ioas, Iova, Mapping, Result, SharedBuffer};

fn case(ioas: &Ioas, guest_address: u64, shared: &Arc<SharedBuffer>) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    return ioas.map_at(guest_address, shared, Access::Read);
    #[cfg(not(feature = "misuse"))]
    ioas.map_at(Iova::new(guest_address), shared, Access::Read)
}

fn main() {
    let _checked = case;
}
