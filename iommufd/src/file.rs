//! Files of others whose pages are mapped for devices.

use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{OFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{Error, KernelError, Result};

/// A part of a file (a memfd, or a dma-buf of a VFIO device) to be mapped.
#[derive(Debug, Clone, Copy)]
pub struct FileRange<'f> {
    pub(crate) file: BorrowedFd<'f>,
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl<'f> FileRange<'f> {
    /// The bytes `range` of `file`; none of them, if the range is reversed.
    #[must_use]
    pub fn new(file: &'f impl AsFd, range: Range<u64>) -> Self {
        Self {
            file: file.as_fd(),
            start: range.start,
            len: range.end.saturating_sub(range.start),
        }
    }
}

/// Whether it is a memfd, or else a file of its kind: such files alone have seals.
pub(crate) fn is_memfd(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok()
}

/// The right to have a file written, as long as it is held.
///
/// The kernel lets devices write to a file whether or not this process may: it looks at neither
/// the mode in which the file is open nor its seals. Somebody may have a slice of a sealed file's
/// pages, though, and rely on the seal.
///
/// # Invariants
/// `_map`, if the file can be sealed at all, is a shared mapping that may be written: as long as
/// there is one, the kernel refuses to seal the file against writing.
pub(crate) struct WriteClaim {
    _map: MmapRaw,
}

impl WriteClaim {
    /// Claims `file`; nothing needs to be held for a file that cannot be sealed, as a dma-buf.
    pub(crate) fn on(file: BorrowedFd<'_>) -> Result<Option<Self>> {
        let refused = |operation, errno| {
            Error::from(KernelError::new(
                operation,
                errno,
                "the file cannot be looked at",
            ))
        };
        let mode = rustix::fs::fcntl_getfl(file).map_err(|errno| refused("F_GETFL", errno))?;
        if !(mode & OFlags::RWMODE).intersects(OFlags::RDWR | OFlags::WRONLY) {
            return Err(Error::NotWritable {
                reason: "it is open for reading only",
            });
        }
        match rustix::fs::fcntl_get_seals(file) {
            Ok(seals) if seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) => {
                Err(sealed())
            }
            Ok(_) => Self::hold(file).map(Some),
            Err(Errno::INVAL) => Ok(None),
            Err(errno) => Err(refused("F_GET_SEALS", errno)),
        }
    }

    fn hold(file: BorrowedFd<'_>) -> Result<Self> {
        // In a file of huge pages it takes a whole one.
        let page = rustix::fs::fstat(file)
            .ok()
            .and_then(|stat| usize::try_from(stat.st_blksize).ok())
            .unwrap_or_else(rustix::param::page_size);
        let map = MmapOptions::new()
            .len(page)
            .no_reserve_swap()
            .map_raw(&file)
            .map_err(|error| match Errno::from_io_error(&error) {
                // Sealed a moment ago.
                Some(Errno::PERM) => sealed(),
                errno => {
                    let errno = errno.unwrap_or(Errno::INVAL);
                    let cause = "the file cannot be kept from being sealed against writing";
                    KernelError::new("mmap", errno, cause).into()
                }
            })?;
        // INVARIANT: `map_raw` maps shared and for writing.
        Ok(Self { _map: map })
    }
}

fn sealed() -> Error {
    Error::NotWritable {
        reason: "it is sealed against writing",
    }
}

impl fmt::Debug for WriteClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteClaim").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

    fn memfd() -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("test", flags).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        file
    }

    #[test]
    fn what_the_process_may_not_write_is_not_claimed() {
        let read_only = File::open("/proc/self/exe").unwrap();
        let refused = WriteClaim::on(read_only.as_fd());
        assert!(matches!(refused, Err(Error::NotWritable { .. })));
        for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
            let file = memfd();
            fcntl_add_seals(&file, seal).unwrap();
            let refused = WriteClaim::on(file.as_fd());
            assert!(matches!(refused, Err(Error::NotWritable { .. })));
        }
    }

    #[test]
    fn a_claimed_file_is_not_sealed_against_writing() {
        let file = memfd();
        let claim = WriteClaim::on(file.as_fd()).unwrap().unwrap();
        assert_eq!(fcntl_add_seals(&file, SealFlags::WRITE), Err(Errno::BUSY));
        drop(claim);
        fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
    }
}
