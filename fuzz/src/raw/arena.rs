//! The memory that ioctls are told of: nothing else of the process is.

use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// So many pages, and nothing behind them.
pub(super) const PAGES: u64 = 64;
const LEN: usize = PAGES as usize * 4096;

/// Memory that is never unmapped, and of which there is no reference.
#[derive(Clone, Copy)]
pub(super) struct Arena {
    base: u64,
}

impl Arena {
    pub(super) fn new() -> Self {
        // SAFETY: new pages, at an address that the kernel chooses. Of twice as many the second half stays without access:
        // what is written behind the end of the first fails.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                2 * LEN,
                ProtFlags::empty(),
                MapFlags::PRIVATE,
            )
        };
        let base = base.unwrap();
        // SAFETY: these pages were made just now, and nobody uses them.
        unsafe {
            rustix::mm::mprotect(
                base,
                LEN,
                rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE,
            )
        }
        .unwrap();
        Self {
            base: base.expose_provenance() as u64,
        }
    }

    /// An address in it.
    pub(super) fn at(self, offset: u64) -> u64 {
        self.base + offset % (LEN as u64)
    }

    /// Writes words there. What does not fit is left out.
    pub(super) fn write(self, offset: u64, words: &[u32]) {
        for (index, word) in (0_u64..).zip(words) {
            let at = (offset & !3) + 4 * index;
            if at + 4 <= LEN as u64 {
                let place = ptr::with_exposed_provenance_mut::<u32>((self.base + at) as usize);
                // SAFETY: in the arena, aligned, and nobody has a reference to it.
                unsafe { place.write_volatile(*word) };
            }
        }
    }
}
