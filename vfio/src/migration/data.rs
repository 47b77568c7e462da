//! The data of a device: read where it is saved, written where it resumes.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use iommufd::KernelError;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Migration;
use super::state::{Resuming, StopCopy, Streaming};
use crate::error::Result;

/// The file of the data, to be waited for in an event loop. A duplicate outlives the state, and gives
/// errors from then on.
impl<S: Streaming> AsFd for Migration<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.state.file()
    }
}

impl<S: Streaming> Migration<S> {
    /// Lets reads and writes of the data fail with `WouldBlock` where they would wait, or no longer.
    ///
    /// Not every driver heeds it: some never wait, some always do.
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`].
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        self.ticket.bound().watch().check_process()?;
        let refused = |operation| {
            move |errno| KernelError::new(operation, errno, "the file of the data is as it was")
        };
        let mut flags = rustix::fs::fcntl_getfl(self.as_fd()).map_err(refused("F_GETFL"))?;
        flags.set(OFlags::NONBLOCK, nonblocking);
        rustix::fs::fcntl_setfl(self.as_fd(), flags).map_err(refused("F_SETFL"))?;
        Ok(())
    }

    /// Reads data: how many bytes, or the errno.
    pub(super) fn read_data(&self, buffer: &mut [u8]) -> io::Result<Result<usize, Errno>> {
        self.check_process()?;
        Ok(rustix::io::read(self.as_fd(), buffer))
    }

    fn check_process(&self) -> io::Result<()> {
        let watch = self.ticket.bound().watch();
        watch.check_process().map_err(io::Error::other)
    }
}

/// Reads the state of the device; 0 bytes are its end.
///
/// What is read is opaque, and of the same length and order for who writes it into another device; where
/// one read ends and the next begins is no matter.
impl Read for Migration<StopCopy> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_data(buffer)??)
    }
}

/// Writes the state of another device, all of it in its order, in pieces of any length.
///
/// Whether it makes sense may come out only when the state is left.
impl Write for Migration<Resuming> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.check_process()?;
        Ok(rustix::io::write(self.as_fd(), data)?)
    }

    /// Does nothing: the kernel has what was written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
