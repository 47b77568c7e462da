//! Fails with E0277: memory that nobody holds is mapped in a container.

use std::sync::Arc;

use iommufd::{Access, SharedBuffer};
use vfio::{Container, ContainerMapping, Result};

fn case(container: &Container, shared: &Arc<SharedBuffer>) -> Result<ContainerMapping> {
    #[cfg(feature = "misuse")]
    return container.map(&mut [0_u8; 4096][..], Access::Read);
    #[cfg(not(feature = "misuse"))]
    container.map(shared, Access::Read)
}

fn main() {
    let _checked = case;
}
