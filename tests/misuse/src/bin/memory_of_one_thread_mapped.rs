//! Fails with E0277: memory of one thread; the last handle of an address space drops it on any.

#![expect(unsafe_code, reason = "answers for DMA memory")]

use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use iommufd::{DmaMemory, RawMemory};

struct Counted<P>(P);

// SAFETY: the memory is that of `RawMemory`.
#[cfg(feature = "misuse")]
unsafe impl DmaMemory for Counted<Rc<RawMemory>> {
    fn bytes(&self) -> NonNull<[u8]> {
        self.0.bytes()
    }
}

// SAFETY: the memory is that of `RawMemory`.
#[cfg(not(feature = "misuse"))]
unsafe impl DmaMemory for Counted<Arc<RawMemory>> {
    fn bytes(&self) -> NonNull<[u8]> {
        self.0.bytes()
    }
}

fn case(local: Rc<RawMemory>, shared: Arc<RawMemory>) -> usize {
    Counted(shared).0.bytes().len() + Counted(local).0.bytes().len()
}

fn main() {
    let _checked = case;
}
