//! Memory whose end can be seen.

// UNSAFETY: implements the contract of DMA memory.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use std::fmt;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iommufd::DmaMemory;
use memmap2::{MmapMut, MmapOptions, MmapRaw};

/// How many memories of a test are alive.
#[derive(Debug, Clone, Default)]
pub struct Living(Arc<AtomicUsize>);

impl Living {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A memory of `len` zeroes.
    #[must_use]
    pub fn memory(&self, len: usize) -> Arc<Memory> {
        self.filled(len, 0)
    }

    /// A memory of `len` times `byte`.
    #[must_use]
    pub fn filled(&self, len: usize, byte: u8) -> Arc<Memory> {
        Arc::new(self.make(len, byte, None))
    }

    /// A memory that, when it is let go of and still there, calls `farewell` with where it is.
    #[must_use]
    pub fn with_farewell(
        &self,
        len: usize,
        farewell: impl FnOnce(NonNull<[u8]>) + Send + Sync + 'static,
    ) -> Arc<Memory> {
        Arc::new(self.make(len, 0, Some(Box::new(farewell))))
    }

    fn make(&self, len: usize, byte: u8, farewell: Option<Farewell>) -> Memory {
        let mut map = MmapMut::map_anon(len).unwrap();
        map.fill(byte);
        self.0.fetch_add(1, Ordering::SeqCst);
        Memory {
            map: map.into(),
            living: self.clone(),
            farewell,
        }
    }
}

type Farewell = Box<dyn FnOnce(NonNull<[u8]>) + Send + Sync>;

/// Memory of a mapping of its own. It is unmapped the moment that it is let go of, and counted until then: what still
/// reaches it after that faults.
pub struct Memory {
    map: MmapRaw,
    living: Living,
    farewell: Option<Farewell>,
}

// SAFETY: the mapping is private to this type, stays as long as the value lives, and no slice of it exists after it was
// filled, which was before it was shared.
unsafe impl DmaMemory for Memory {
    fn bytes(&self) -> NonNull<[u8]> {
        let base = NonNull::new(self.map.as_mut_ptr()).unwrap();
        NonNull::slice_from_raw_parts(base, self.map.len())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.living.0.fetch_sub(1, Ordering::SeqCst);
        if let Some(farewell) = self.farewell.take() {
            farewell(self.bytes());
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memory").field(&self.bytes()).finish()
    }
}

/// Memory that does something of its own when it is asked where it is.
pub struct Asked<F>(pub Arc<Memory>, pub F);

// SAFETY: it answers as the memory in it does, each time, whatever it does besides.
unsafe impl<F: Fn() + Send + Sync + 'static> DmaMemory for Asked<F> {
    fn bytes(&self) -> NonNull<[u8]> {
        (self.1)();
        self.0.bytes()
    }
}

impl<F> fmt::Debug for Asked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked")
            .field(&self.0)
            .finish_non_exhaustive()
    }
}

/// Memory at an address at which the process has nothing.
///
/// It breaks the promise that its bytes stay mapped, in the one way that is harmless: nothing in the process touches it,
/// and nothing will ever be mapped there.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

// SAFETY: the page at address 0x1000 is below what the kernel lets anybody map, so it is nobody's: there is nothing that
// a device or a reference could reach. The kernel answers EFAULT when it has to pin it.
unsafe impl DmaMemory for Nowhere {
    fn bytes(&self) -> NonNull<[u8]> {
        let base = std::ptr::without_provenance_mut(0x1000);
        NonNull::slice_from_raw_parts(NonNull::new(base).unwrap(), 0x1000)
    }
}

/// The registers of a device, taken for memory.
#[derive(Debug)]
pub struct Mmio(MmapRaw);

impl Mmio {
    /// The first `len` bytes of BAR 0 of the PCI function that `file` is.
    #[must_use]
    pub fn bar0(file: &OwnedFd, len: usize) -> Self {
        // VFIO has that BAR at the start of the file.
        Self(MmapOptions::new().len(len).map_raw(file).unwrap())
    }
}

// SAFETY: the mapping is private to this type, stays as long as the value lives, and no slice of it exists. What a device
// would write there goes to another's registers, and no memory of the process.
unsafe impl DmaMemory for Mmio {
    fn bytes(&self) -> NonNull<[u8]> {
        let base = NonNull::new(self.0.as_mut_ptr()).unwrap();
        NonNull::slice_from_raw_parts(base, self.0.len())
    }
}

/// Forgets a value, as safe code may.
pub fn forget<T>(value: T) {
    let _forgotten = ManuallyDrop::new(value);
}
