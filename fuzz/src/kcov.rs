//! What of the kernel's code a run reaches, as the kernel tells it (KCOV), for libFuzzer to be guided by.
//!
//! The lab's kernel for fuzzing tells it of iommufd alone. On another there is no `/sys/kernel/debug/kcov`, and the
//! fuzzer is guided by its own code only.

// UNSAFETY: names the section that libFuzzer reads.
#![expect(unsafe_code, reason = "memory that is shared with libFuzzer")]

mod known;
mod last;
mod record;

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};

use known::Known;
use record::Record;

use crate::taints;

/// How many counters there are. iommufd has some five thousand places: few share one.
const COUNTED: usize = 1 << 16;
/// How many places are written down.
const PLACES: usize = 1 << 14;

/// libFuzzer takes these for counters beside those of the program.
// SAFETY: the section is one of bytes, and libFuzzer reads and clears them between runs, in the same thread.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static COUNTERS: [AtomicU8; COUNTED] = [const { AtomicU8::new(0) }; COUNTED];

/// The name of the file, in the environment, that gets the addresses that were reached, a line each.
const REACHED: &str = "FUZZ_REACHED";

thread_local! {
    static KCOV: RefCell<Option<Kcov>> = RefCell::new(Kcov::open());
}

/// Runs `work` on `input`, and counts what it reaches in the kernel. If the kernel complains, it fails.
pub fn guided(input: &[u8], work: impl FnOnce(&[u8])) {
    last::note(input);
    taints::begin();
    KCOV.with_borrow(|kcov| {
        if let Some(kcov) = kcov {
            kcov.record.clear();
        }
    });
    work(input);
    KCOV.with_borrow_mut(|kcov| {
        if let Some(kcov) = kcov {
            kcov.count();
        }
    });
    taints::check();
}

struct Kcov {
    record: Record,
    reached: Option<Reached>,
}

impl Kcov {
    fn open() -> Option<Self> {
        Some(Self {
            record: Record::open()?,
            reached: Reached::open(),
        })
    }

    /// Counts what was recorded. There is much of it, and each comparison here calls libFuzzer: so there are few.
    fn count(&mut self) {
        for address in self.record.addresses() {
            let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
            let counter = &COUNTERS[usize::from(hash as u16)];
            let count = counter.load(Ordering::Relaxed);
            counter.store(count.saturating_add(1), Ordering::Relaxed);
        }
        if let Some(reached) = &mut self.reached {
            reached.note(self.record.addresses());
        }
        self.record.clear();
    }
}

/// Writes down what was reached, each place once.
struct Reached {
    known: Known,
    file: File,
}

impl Reached {
    fn open() -> Option<Self> {
        let path = std::env::var_os(REACHED)?;
        let file = File::options().append(true).create(true).open(path).ok()?;
        Some(Self {
            known: Known::new(PLACES),
            file,
        })
    }

    fn note(&mut self, addresses: impl Iterator<Item = u64>) {
        for address in addresses {
            if self.known.is_new(address) {
                // Whoever wants the report sees that it is not all there.
                let _written = writeln!(self.file, "{address:x}");
            }
        }
    }
}
