//! Which process made an object, told apart from a child of it without a system call.
//!
//! A fork duplicates every handle while the kernel's objects stay single. So a context remembers
//! the process that opened it: a private page holds a number that the kernel wipes in a child
//! (`MADV_WIPEONFORK`, Linux 4.14), and a context is at home only while the page holds its own.

// UNSAFETY: maps a page of its own and refers to it for ever.
#![expect(unsafe_code, reason = "one page is mapped and never unmapped")]

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::error::{Error, Result};

/// The next number to hand out. A child inherits the count, so a number it takes is new to it.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The word that reads as zero in a child. `None` where the kernel has no such page, or a sandbox
/// forbids asking for one: there the process id serves, at a system call each.
static EPOCH: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();

/// A process: the one that was running when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u64);

impl Process {
    /// The process that is running now.
    #[inline]
    pub(crate) fn current() -> Self {
        let Some(epoch) = EPOCH.get_or_init(wiped_page) else {
            let id = rustix::process::getpid().as_raw_nonzero().get();
            return Self(u64::from(id.unsigned_abs()));
        };
        match epoch.load(Ordering::Relaxed) {
            0 => Self::first_use(epoch),
            seen => Self(seen),
        }
    }

    /// Whether it is the process that is running now.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Refuses to act in another process: a child of this one.
    #[inline]
    pub(crate) fn check(self) -> Result<()> {
        if self.is_current() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    /// Gives this process its number. Of two threads that come at once, one wins.
    #[cold]
    fn first_use(epoch: &AtomicU64) -> Self {
        let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
        match epoch.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Self(fresh),
            Err(other) => Self(other),
        }
    }
}

/// A word at the start of a private page that a fork wipes.
fn wiped_page() -> Option<&'static AtomicU64> {
    if cfg!(miri) {
        // It has no such pages.
        return None;
    }
    let len = rustix::param::page_size();
    // SAFETY: a null hint lets the kernel choose the place, so no existing mapping is touched.
    let page = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }
    .ok()?;
    // SAFETY: the page was just made here and nothing refers to it yet; wiping it in a child
    // changes nothing in this process.
    let wiped = unsafe { madvise(page, len, Advice::LinuxWipeOnFork) };
    if wiped.is_err() {
        // SAFETY: the page was made here, and nothing refers to it.
        // A page that could not be unmapped stays, unused: there is nothing else to do with it.
        unsafe { munmap(page, len) }.ok();
        return None;
    }
    // SAFETY: a page is aligned for any integer, zeroed, and never unmapped, so the word at its
    // start lives for ever; it is only ever touched as this atomic.
    Some(unsafe { AtomicU64::from_ptr(page.cast()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stays_itself() {
        assert_eq!(Process::current(), Process::current());
        let elsewhere = std::thread::spawn(Process::current).join().unwrap();
        assert_eq!(Process::current(), elsewhere);
    }
}
