//! Fails with E0133: any address is read and written.

#![expect(unsafe_code, reason = "answers for the memory")]

use std::ptr::NonNull;

use iommufd::volatile::VolatileRegion;

fn case(base: NonNull<u8>) -> VolatileRegion {
    #[cfg(feature = "misuse")]
    return VolatileRegion::new(base, 4096);
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        VolatileRegion::new(base, 4096)
    }
}

fn main() {
    let _checked = case;
}
