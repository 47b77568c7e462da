//! Fails with `unused_must_use`: the guard is not kept, so the memory is unmapped on the spot.

#![deny(unused_must_use)]

use std::sync::Arc;

use iommufd::{Access, SharedBuffer};
use vfio::{Container, ContainerMapping, Result};

fn case(container: &Container, shared: &Arc<SharedBuffer>) -> Result<ContainerMapping> {
    #[cfg(feature = "misuse")]
    container.map(shared, Access::Read)?;
    let mapping = container.map(shared, Access::Read)?;
    Ok(mapping)
}

fn main() {
    let _checked = case;
}
