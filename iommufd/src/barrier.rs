//! Barriers between a processor and a device.
//!
//! Rust's fences order what threads do. A device is outside of the domain that they speak of on
//! some processors, so these are the instructions that the kernel uses for DMA memory.

// UNSAFETY: barrier instructions.
#![expect(
    unsafe_code,
    reason = "barrier instructions have no safe form that orders a device"
)]

use std::arch::asm;
use std::sync::atomic::{Ordering, compiler_fence};

/// What was read before is ordered before all that follows.
pub(crate) fn after_read() {
    #[cfg(target_arch = "x86_64")]
    // The processor keeps this order by itself.
    compiler_fence(Ordering::Acquire);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier; it touches nothing.
    unsafe {
        asm!("dmb oshld", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    full();
}

/// All that came before is ordered before what is written next.
pub(crate) fn before_write() {
    #[cfg(target_arch = "x86_64")]
    // As in `after_read`.
    compiler_fence(Ordering::Release);
    #[cfg(target_arch = "aarch64")]
    // Not only writes: a value that was read must not be overtaken by the word that gives its
    // place back.
    // SAFETY: a barrier; it touches nothing.
    unsafe {
        asm!("dmb osh", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    full();
}

/// All that came before is ordered before all that follows, a write before a read as well.
pub(crate) fn full() {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: a barrier; it touches nothing.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mfence", options(nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("dmb osh", options(nostack, preserves_flags));
        #[cfg(target_arch = "riscv64")]
        asm!("fence iorw, iorw", options(nostack, preserves_flags));
    }
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    compile_error!("which instruction orders memory and a device here?");
}
