//! Memory with an edge in the middle.

// UNSAFETY: takes away the second half of a mapping, and implements the contract of DMA memory.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use std::ptr::NonNull;

use iommufd::{DmaMemory, HugePage};
use memmap2::{MmapOptions, MmapRaw};
use rustix::mm::{MprotectFlags, mprotect};

/// Memory whose first half is like any other, and whose second half nobody can touch: who tries is told `EFAULT`.
#[derive(Debug)]
pub struct Torn {
    map: MmapRaw,
}

impl Torn {
    /// With halves of `half` bytes each.
    #[must_use]
    pub fn new(half: usize) -> Self {
        Self::tear(MmapOptions::new().len(2 * half))
    }

    /// With halves of one huge page each.
    #[must_use]
    pub fn huge(page: HugePage) -> Self {
        let HugePage::Size2M = page else {
            panic!("the lab has reserved none of these");
        };
        Self::tear(MmapOptions::new().len(2 << 21).huge(Some(21)))
    }

    fn tear(options: &MmapOptions) -> Self {
        let map = MmapRaw::from(options.map_anon().unwrap());
        let half = map.len() / 2;
        // SAFETY: within the mapping.
        let second = unsafe { map.as_mut_ptr().add(half) };
        // SAFETY: the pages are this mapping's own, and nobody has a reference to them.
        unsafe { mprotect(second.cast(), half, MprotectFlags::empty()) }.unwrap();
        Self { map }
    }

    /// The half that is there.
    #[must_use]
    pub fn first_half(&self) -> NonNull<[u8]> {
        let base = NonNull::new(self.map.as_mut_ptr()).unwrap();
        NonNull::slice_from_raw_parts(base, self.map.len() / 2)
    }

    /// Puts `bytes` `there` bytes before the edge, and says where that is.
    pub(crate) fn before_the_edge(&self, bytes: &[u8], there: usize) -> NonNull<u8> {
        let half = self.map.len() / 2;
        assert!(bytes.len() <= there && there <= half);
        // SAFETY: within the first half.
        let at = unsafe { self.map.as_mut_ptr().add(half - there) };
        for (n, byte) in bytes.iter().enumerate() {
            // SAFETY: before the edge, as asserted.
            let place = unsafe { at.add(n) };
            // SAFETY: writable memory, to which there is no reference.
            unsafe { place.write_volatile(*byte) };
        }
        NonNull::new(at).unwrap()
    }
}

// SAFETY: all of the bytes belong to this mapping as long as the value lives, and no reference covers them. Those of the
// second half cannot be touched, by nobody: the kernel does not pin them.
unsafe impl DmaMemory for Torn {
    fn bytes(&self) -> NonNull<[u8]> {
        let base = NonNull::new(self.map.as_mut_ptr()).unwrap();
        NonNull::slice_from_raw_parts(base, self.map.len())
    }
}
