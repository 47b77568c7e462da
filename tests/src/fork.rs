//! A child of the test's process.

// UNSAFETY: forks.
#![expect(unsafe_code, reason = "forks")]

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::panic::{self, AssertUnwindSafe};

use iommufd::Iommufd;

use crate::at::PAGE;
use crate::mock::MockDevice;

/// Runs `work` in a child made by a fork, and fails if it fails or takes longer than a minute.
///
/// Of the threads only the caller's exists in the child, so `work` must need no other, and no lock that one may hold.
pub fn in_child(work: impl FnOnce()) {
    beside(|_| work(), |_, _| ());
}

/// Runs `child` in a child made by a fork, as [`in_child`] does, and at the same time `parent` here, which is told the
/// child's process id.
pub fn beside(child: impl FnOnce(&mut Link), parent: impl FnOnce(&mut Link, i32)) {
    let (from_child, to_parent) = std::io::pipe().unwrap();
    let (from_parent, to_child) = std::io::pipe().unwrap();
    // SAFETY: the other threads of a test's process wait for this one; the C library makes its allocator usable in the
    // child, and the child leaves by `_exit`, so nothing that belongs to the parent is run down.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            drop((from_child, to_child));
            let mut link = Link {
                from: from_parent,
                to: to_parent,
            };
            let status = match run(|| child(&mut link)) {
                Ok(()) => 0,
                Err(()) => 1,
            };
            // SAFETY: ends the process here and now.
            unsafe { libc::_exit(status) }
        }
        process => {
            drop((from_parent, to_parent));
            let mut link = Link {
                from: from_child,
                to: to_child,
            };
            let done = panic::catch_unwind(AssertUnwindSafe(|| parent(&mut link, process)));
            drop(link);
            let status = wait_for(process);
            if let Err(panic) = done {
                panic::resume_unwind(panic);
            }
            assert!(
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
                "the child failed (wait status {status:#x}); see above"
            );
        }
    }
}

/// What a parent and its child wait for each other with.
#[derive(Debug)]
pub struct Link {
    from: PipeReader,
    to: PipeWriter,
}

impl Link {
    /// Goes on when the other one has come to its own `meet`, and fails if it is gone.
    pub fn meet(&mut self) {
        self.to.write_all(b"!").unwrap();
        self.from.read_exact(&mut [0]).unwrap();
    }
}

fn wait_for(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for a child that was made above; `status` is borrowed exclusively.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    status
}

fn run(work: impl FnOnce()) -> Result<(), ()> {
    // SAFETY: its signal ends the child if it hangs.
    unsafe { libc::alarm(60) };
    // The test runner would keep the message in memory that goes with the child.
    panic::set_hook(Box::new(|info| {
        writeln!(std::io::stderr().lock(), "in the child: {info}").ok();
    }));
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(drop)
}

/// Runs `work` in a child, as a user without privileges who may lock `pages` pages.
pub fn with_locked_memory(pages: u64, work: impl FnOnce(&Iommufd, &MockDevice)) {
    in_child(|| {
        // The device node is root's; a device manager would hand it over open.
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        become_nobody(pages * PAGE as u64);
        work(&iommufd, &device);
    });
}

/// Gives up every privilege of this process for good, with at most `memlock` bytes of locked memory.
pub fn become_nobody(memlock: u64) {
    const NOBODY: libc::uid_t = 65534;
    let limit = libc::rlimit {
        rlim_cur: memlock,
        rlim_max: memlock,
    };
    // SAFETY: the limit is a value of the caller's own.
    let limited = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    assert_eq!(limited, 0);
    // SAFETY: no memory is involved. With root's ids go the capabilities.
    let became = unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
    assert_eq!(became, 0);
}
