//! Fails with E0133: memory that its region does not own, without a promise that it stays.

use iommufd::vm_memory::{GuestDmaError, GuestRegion};
use vm_memory::GuestRegionMmap;

fn case(region: &GuestRegionMmap) -> Result<GuestRegion, GuestDmaError> {
    #[cfg(feature = "misuse")]
    return GuestRegion::new_unowned(region);
    #[cfg(not(feature = "misuse"))]
    GuestRegion::new(region)
}

fn main() {
    let _checked = case;
}
