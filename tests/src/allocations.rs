//! An allocator that counts, for tests of what takes no memory.

// UNSAFETY: implements the allocator's contract, by the system's.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts how often a thread has asked it for memory.
///
/// For a test file: `#[global_allocator] static ALLOCATOR: Counting = Counting;`
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// How often `work` takes memory from the allocator, on this thread. The test file must have [`Counting`] for its
/// allocator.
pub fn during(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(0)));
    assert_eq!(COUNT.get(), before + 1, "nobody counts");
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

fn count() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: all is the system allocator's; counting takes no memory, and has nothing to be dropped.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; what is given back came from the system's.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}
