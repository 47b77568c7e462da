//! Fails with E0277: a region that need not own its memory, as the memory of a mapping.

use std::sync::Arc;

use iommufd::vm_memory::GuestRegion;
use iommufd::{Access, Ioas, Mapping};
use vm_memory::GuestRegionMmap;

type Failure = Box<dyn std::error::Error>;

fn case(ioas: &Ioas, region: Arc<GuestRegionMmap>) -> Result<Mapping, Failure> {
    #[cfg(feature = "misuse")]
    return Ok(ioas.map(&region, Access::Read)?);
    #[cfg(not(feature = "misuse"))]
    Ok(ioas.map(Arc::new(GuestRegion::new(&region)?), Access::Read)?)
}

fn main() {
    let _checked = case;
}
