//! Fails with E0200: memory is declared to be fit for DMA without answering for it.

#![expect(unsafe_code, reason = "answers for DMA memory")]

use std::ptr::NonNull;

use iommufd::{DmaMemory, RawMemory};

struct Wrapped(RawMemory);

#[cfg(feature = "misuse")]
impl DmaMemory for Wrapped {
    fn bytes(&self) -> NonNull<[u8]> {
        self.0.bytes()
    }
}

// SAFETY: the memory is that of `RawMemory`.
#[cfg(not(feature = "misuse"))]
unsafe impl DmaMemory for Wrapped {
    fn bytes(&self) -> NonNull<[u8]> {
        self.0.bytes()
    }
}

fn case(memory: RawMemory) -> usize {
    Wrapped(memory).bytes().len()
}

fn main() {
    let _checked = case;
}
