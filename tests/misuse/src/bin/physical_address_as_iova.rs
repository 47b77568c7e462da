//! Fails with E0308: memory is mapped at a physical address.

use std::sync::Arc;

use iommufd::{Access, Ioas, Iova, Mapping, PhysicalAddress, Result, SharedBuffer};

fn case(
    ioas: &Ioas,
    (at, physical): (Iova, PhysicalAddress),
    buffer: &Arc<SharedBuffer>,
) -> Result<(Mapping, PhysicalAddress)> {
    #[cfg(feature = "misuse")]
    return Ok((ioas.map_at(physical, buffer, Access::Read)?, physical));
    Ok((ioas.map_at(at, buffer, Access::Read)?, physical))
}

fn main() {
    let _checked = case;
}
