//! Fails with E0310: memory that borrows can be gone before the mapping is.

#![expect(unsafe_code, reason = "answers for DMA memory")]

use std::ptr::NonNull;
use std::sync::Arc;

use iommufd::{Access, DmaMemory, Ioas, Mapping, RawMemory, Result};

struct Wrapped<M>(M);

// SAFETY: the memory is that of `M`, which need not live on.
#[cfg(feature = "misuse")]
unsafe impl<M: AsRef<RawMemory> + Send + Sync> DmaMemory for Wrapped<M> {
    fn bytes(&self) -> NonNull<[u8]> {
        self.0.as_ref().bytes()
    }
}

// SAFETY: the memory is that of a `RawMemory`, which lives as long as this.
#[cfg(not(feature = "misuse"))]
unsafe impl DmaMemory for Wrapped<Arc<RawMemory>> {
    fn bytes(&self) -> NonNull<[u8]> {
        self.0.as_ref().bytes()
    }
}

fn case(ioas: &Ioas, memory: Arc<RawMemory>) -> Result<Mapping> {
    ioas.map(Arc::new(Wrapped(memory)), Access::Read)
}

fn main() {
    let _checked = case;
}
