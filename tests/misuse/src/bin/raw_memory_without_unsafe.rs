//! Fails with E0133: a raw pointer becomes DMA memory without anybody's answering for it.

#![expect(unsafe_code, reason = "answers for the memory")]

use std::ptr::NonNull;

use iommufd::RawMemory;

fn case(bytes: NonNull<[u8]>) -> RawMemory {
    #[cfg(feature = "misuse")]
    return RawMemory::new(bytes);
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        RawMemory::new(bytes)
    }
}

fn main() {
    let _checked = case;
}
