//! Fails with E0382: the address of a mapping in a container is asked for after it was unmapped.

use iommufd::Iova;
use vfio::{ContainerMapping, Result};

fn case(mapping: ContainerMapping) -> Result<Iova> {
    #[cfg(not(feature = "misuse"))]
    let iova = mapping.iova();
    mapping.unmap()?;
    #[cfg(feature = "misuse")]
    let iova = mapping.iova();
    Ok(iova)
}

fn main() {
    let _checked = case;
}
