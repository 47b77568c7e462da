//! The kernel's record of what one thread has reached of the code that is told of.

// UNSAFETY: maps what the kernel writes to.
#![expect(unsafe_code, reason = "memory that is shared with the kernel")]

use std::fs::File;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::ioctl::{IntegerSetter, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// How many words there are: how many addresses were recorded, and then each.
const LEN: usize = 1 << 17;

/// The record of the thread that has opened it. It is never unmapped.
pub(super) struct Record {
    _file: File,
    words: NonNull<[AtomicU64]>,
}

impl Record {
    /// Begins to record this thread; `None` if the kernel does not do so.
    pub(super) fn open() -> Option<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/sys/kernel/debug/kcov")
            .ok()?;
        // SAFETY: `KCOV_INIT_TRACE` takes a number.
        let init = unsafe { IntegerSetter::<{ opcode::read::<usize>(b'c', 1) }>::new_usize(LEN) };
        // SAFETY: as above.
        unsafe { ioctl(&file, init) }.ok()?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                LEN * 8,
                protection,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        let base = NonNull::new(base.ok()?.cast::<AtomicU64>())?;
        // `KCOV_TRACE_PC`: addresses are wanted.
        // SAFETY: `KCOV_ENABLE` takes a number.
        let enable = unsafe { IntegerSetter::<{ opcode::none(b'c', 100) }>::new_usize(0) };
        // SAFETY: as above.
        unsafe { ioctl(&file, enable) }.ok()?;
        Some(Self {
            _file: file,
            words: NonNull::slice_from_raw_parts(base, LEN),
        })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped as long as the process lives; the kernel writes whole words, and so do we.
        unsafe { self.words.as_ref() }
    }

    /// Forgets what was recorded.
    pub(super) fn clear(&self) {
        self.words()[0].store(0, Ordering::Relaxed);
    }

    /// The addresses that were recorded since it was cleared, each as often as it was reached.
    pub(super) fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let len = self.words()[0].load(Ordering::Relaxed);
        let len = usize::try_from(len).unwrap_or(LEN).min(LEN - 1);
        self.words()[1..=len]
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
    }
}
