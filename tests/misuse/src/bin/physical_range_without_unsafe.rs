//! Fails with E0133: an address at which nothing confines a device, without anybody's answering for it.

#![expect(unsafe_code, reason = "answers for the DMA")]

use iommufd::{Ioas, Mapping, PhysicalRange, Result};

fn case(ioas: &Ioas, mapping: &Mapping) -> Result<PhysicalRange> {
    #[cfg(feature = "misuse")]
    return ioas.noiommu_physical_range(mapping.range());
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        ioas.noiommu_physical_range(mapping.range())
    }
}

fn main() {
    let _checked = case;
}
