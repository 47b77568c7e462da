//! Fails with E0597: memory of a function that returns before the unmap.

#![expect(unsafe_code, reason = "answers for DMA memory")]

use std::ptr::NonNull;
use std::sync::Arc;

use iommufd::{Access, DmaMemory, Ioas, Mapping, RawMemory, Result};

struct Borrowed(&'static RawMemory);

// SAFETY: the memory is that of a `RawMemory`, which lives for ever.
unsafe impl DmaMemory for Borrowed {
    fn bytes(&self) -> NonNull<[u8]> {
        self.0.bytes()
    }
}

fn case(ioas: &Ioas, local: RawMemory) -> Result<Mapping> {
    #[cfg(feature = "misuse")]
    let memory = Borrowed(&local);
    #[cfg(not(feature = "misuse"))]
    let memory = Borrowed(Box::leak(Box::new(local)));
    ioas.map(Arc::new(memory), Access::Read)
}

fn main() {
    let _checked = case;
}
