//! What of the kernel's code a run reaches, as the kernel tells it (KCOV), for libFuzzer to be guided by.
//!
//! The lab's kernel for fuzzing tells it of iommufd alone. On another there is no `/sys/kernel/debug/kcov`, and the
//! fuzzer is guided by its own code only.

// UNSAFETY: maps what the kernel writes to, and writes what libFuzzer reads.
#![expect(unsafe_code, reason = "memory that is shared with the kernel, and with libFuzzer")]

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustix::ioctl::{IntegerSetter, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// How many places can be told apart; iommufd has some five thousand.
const PLACES: usize = 1 << 14;

/// libFuzzer takes these for counters beside those of the program.
// SAFETY: the section is one of bytes, and libFuzzer reads and clears them between runs, in the same thread.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static COUNTERS: [AtomicU8; PLACES] = [const { AtomicU8::new(0) }; PLACES];

/// The name of the file, in the environment, that gets the addresses that were reached, a line each.
const REACHED: &str = "FUZZ_REACHED";

thread_local! {
    static KCOV: RefCell<Option<Kcov>> = RefCell::new(Kcov::open());
}

/// Runs `work`, and counts what it reaches in the kernel.
pub fn guided(work: impl FnOnce()) {
    KCOV.with_borrow(|kcov| kcov.as_ref().inspect(|kcov| kcov.clear()).is_some());
    work();
    KCOV.with_borrow_mut(|kcov| {
        if let Some(kcov) = kcov {
            kcov.count();
        }
    });
}

/// The kernel's record of one thread.
struct Kcov {
    _file: File,
    /// How many there are, and then their addresses.
    record: NonNull<[AtomicU64]>,
    known: Known,
    reached: Option<File>,
}

const LEN: usize = 1 << 17;

impl Kcov {
    fn open() -> Option<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/sys/kernel/debug/kcov")
            .ok()?;
        // SAFETY: these are the numbers of KCOV's ioctls, which take a number each: how many words there are, and
        // that addresses are wanted (`KCOV_TRACE_PC`).
        unsafe {
            rustix::ioctl::ioctl(
                &file,
                IntegerSetter::<{ opcode::read::<usize>(b'c', 1) }>::new_usize(LEN),
            )
            .ok()?;
        }
        let flags = MapFlags::SHARED;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: it takes no address, and is never unmapped.
        let base = unsafe { mmap(std::ptr::null_mut(), LEN * 8, protection, flags, &file, 0) };
        let base = NonNull::new(base.ok()?.cast::<AtomicU64>())?;
        // SAFETY: as above.
        unsafe {
            rustix::ioctl::ioctl(
                &file,
                IntegerSetter::<{ opcode::none(b'c', 100) }>::new_usize(0),
            )
            .ok()?;
        }
        Some(Self {
            _file: file,
            record: NonNull::slice_from_raw_parts(base, LEN),
            known: Known::new(),
            reached: std::env::var_os(REACHED)
                .and_then(|path| File::options().append(true).create(true).open(path).ok()),
        })
    }

    fn record(&self) -> &[AtomicU64] {
        // SAFETY: mapped as long as the process lives; the kernel writes whole words, and so do we.
        unsafe { self.record.as_ref() }
    }

    fn clear(&self) {
        self.record()[0].store(0, Ordering::Relaxed);
    }

    /// Counts what was recorded since [`clear`](Self::clear).
    fn count(&mut self) {
        let len = self.record()[0].swap(0, Ordering::Relaxed);
        let len = usize::try_from(len).unwrap_or(LEN).min(LEN - 1);
        for at in 1..=len {
            let address = self.record()[at].load(Ordering::Relaxed);
            let (place, is_new) = self.known.place(address);
            if let Some(file) = self.reached.as_mut().filter(|_| is_new) {
                // Whoever wants the report sees that it is not all there.
                let _written = writeln!(file, "{address:x}");
            }
            if let Some(counter) = COUNTERS.get(place) {
                let count = counter.load(Ordering::Relaxed);
                counter.store(count.saturating_add(1), Ordering::Relaxed);
            }
        }
        self.clear();
    }
}

/// The addresses that were seen, each with a counter of its own.
struct Known {
    /// An address and its counter, in the first free place from where its hash says.
    slots: Vec<(u64, usize)>,
    count: usize,
}

impl Known {
    fn new() -> Self {
        Self {
            slots: vec![(0, 0); PLACES * 4],
            count: 0,
        }
    }

    /// Which counter an address has, and whether it was not seen before.
    fn place(&mut self, address: u64) -> (usize, bool) {
        let mask = self.slots.len() - 1;
        let mut at = (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
        loop {
            match self.slots[at] {
                (known, place) if known == address => return (place, false),
                (0, _) if self.count < PLACES => {
                    self.slots[at] = (address, self.count);
                    self.count += 1;
                    return (self.count - 1, true);
                }
                (0, _) => return (PLACES, false),
                _ => at = (at + 1) & mask,
            }
        }
    }
}
