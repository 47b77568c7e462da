//! Fails with E0308: a whole range where one address is asked for.

use std::sync::Arc;

use iommufd::{Access, Ioas, IovaRange, Mapping, Result, SharedBuffer};

fn case(ioas: &Ioas, range: IovaRange, shared: &Arc<SharedBuffer>) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    return ioas.map_at(range, shared, Access::Read);
    #[cfg(not(feature = "misuse"))]
    ioas.map_at(range.start(), shared, Access::Read)
}

fn main() {
    let _checked = case;
}
