//! Another process, which has the same file: what it maps is its own memory, and may outlive it.

// UNSAFETY: forks.
#![expect(
    unsafe_code,
    reason = "a process that is forked does nothing but system calls"
)]

use std::io::{PipeWriter, Read, pipe};
use std::os::fd::{AsRawFd, RawFd};

/// A process; it ends when this is dropped, if not before.
pub(super) struct Stranger {
    process: libc::pid_t,
    /// It waits for the end of this pipe.
    life: Option<PipeWriter>,
}

impl Stranger {
    /// Lets another process issue an ioctl. It lives on, or ends at once.
    pub(super) fn issue(
        file: RawFd,
        request: u32,
        arg: &mut [u32; 64],
        lives: bool,
    ) -> Option<Self> {
        let (end, life) = pipe().ok()?;
        let (mut done, doing) = pipe().ok()?;
        // SAFETY: below, the child does nothing but system calls, on its own copies of what is here.
        let process = unsafe { libc::fork() };
        if process == 0 {
            let mut byte = 0_u8;
            // SAFETY: its own files, and room for what is asked for.
            unsafe {
                libc::close(life.as_raw_fd());
                libc::ioctl(file, u64::from(request), arg.as_mut_ptr());
                libc::close(doing.as_raw_fd());
                if lives {
                    libc::read(end.as_raw_fd(), (&raw mut byte).cast(), 1);
                }
                libc::_exit(0);
            }
        }
        drop(doing);
        if process < 0 {
            return None;
        }
        let mut stranger = Self {
            process,
            life: Some(life),
        };
        // Nothing is written: it comes to its end when the ioctl is through.
        let _through = done.read(&mut [0]);
        if !lives {
            stranger.end();
        }
        Some(stranger)
    }

    fn end(&mut self) {
        if self.life.take().is_some() {
            // SAFETY: a child of ours that nobody else waits for.
            unsafe { libc::waitpid(self.process, std::ptr::null_mut(), 0) };
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.end();
    }
}
