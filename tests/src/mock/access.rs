//! An access to an address space as an emulated device has it: by the CPU, through the kernel.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use iommufd::{Ioas, Iommufd, Iova};
use rustix::io::Errno;

use super::{abi, call};
use crate::ids;

/// Reads and writes through an address space as a device does, and pins its pages.
///
/// It stands beside the SDK, as a stranger does who has the same `/dev/iommu`: while it is open the kernel does not
/// destroy the address space.
#[derive(Debug)]
pub struct MockAccess {
    file: OwnedFd,
    iommufd: Iommufd,
}

/// Pages that an access has pinned. Forgotten, they stay pinned until an unmap asks for them.
#[derive(Debug)]
#[must_use = "an unmap takes the pages away"]
pub struct Pin {
    id: u32,
}

impl MockAccess {
    /// An access to `ioas` for reading and writing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(ioas: &Ioas) -> Result<Self, Errno> {
        Self::with_flags(ioas, 0)
    }

    /// An access that can pin pages as well.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pinning(ioas: &Ioas) -> Result<Self, Errno> {
        Self::with_flags(ioas, abi::ACCESS_NEEDS_PIN_PAGES)
    }

    fn with_flags(ioas: &Ioas, flags: u32) -> Result<Self, Errno> {
        let iommufd = ioas.iommufd().clone();
        let file = call::create_access(&iommufd, ids::of(ioas), flags)?;
        Ok(Self { file, iommufd })
    }

    /// Reads from `iova` on.
    ///
    /// # Errors
    /// `ENOENT`: nothing is mapped there. `EPERM`: it may not be read.
    pub fn read(&self, iova: Iova, out: &mut [u8]) -> Result<(), Errno> {
        call::access_read(&self.iommufd, self.number(), iova.get(), out, 0)
    }

    /// Writes from `iova` on.
    ///
    /// # Errors
    /// `ENOENT`: nothing is mapped there. `EPERM`: it may not be written.
    pub fn write(&self, iova: Iova, bytes: &[u8]) -> Result<(), Errno> {
        call::access_write(&self.iommufd, self.number(), iova.get(), bytes, 0)
    }

    /// Reads from `iova` on, page by page, as where the memory's process is another.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_slowly(&self, iova: Iova, out: &mut [u8]) -> Result<(), Errno> {
        let flags = abi::ACCESS_SLOW_PATH;
        call::access_read(&self.iommufd, self.number(), iova.get(), out, flags)
    }

    /// Writes from `iova` on, page by page, as where the memory's process is another.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn write_slowly(&self, iova: Iova, bytes: &[u8]) -> Result<(), Errno> {
        let flags = abi::ACCESS_SLOW_PATH;
        call::access_write(&self.iommufd, self.number(), iova.get(), bytes, flags)
    }

    /// Pins the `len` bytes from `iova` on, until an unmap of them asks for the pages.
    ///
    /// # Errors
    /// `ENOENT`: they are not all mapped. `EPERM`: they may not be written.
    pub fn pin(&self, iova: Iova, len: u64) -> Result<Pin, Errno> {
        let flags = abi::ACCESS_WRITE;
        call::access_pages(&self.iommufd, self.number(), iova.get(), len, None, flags)
            .map(|id| Pin { id })
    }

    /// Pins the pages from `iova` on, for reading alone, and sees to it that they are those that `bytes` are in.
    ///
    /// # Errors
    /// `EBADE`: they are others. `ENOENT`: they are not all mapped. `EPERM`: they may not be read.
    pub fn pin_exactly(&self, iova: Iova, bytes: NonNull<[u8]>) -> Result<Pin, Errno> {
        let (access, len) = (self.number(), bytes.len() as u64);
        call::access_pages(&self.iommufd, access, iova.get(), len, Some(bytes), 0)
            .map(|id| Pin { id })
    }

    /// Moves the access to another address space. What it has pinned is unpinned.
    ///
    /// # Errors
    /// `EADDRINUSE`: something is mapped there that cannot be pinned.
    pub fn replace(&self, ioas: &Ioas) -> Result<(), Errno> {
        call::access_replace_ioas(&self.iommufd, self.number(), ids::of(ioas))
    }

    /// Unpins.
    ///
    /// # Errors
    /// `ENOENT`: an unmap has taken the pages already.
    pub fn unpin(&self, pin: Pin) -> Result<(), Errno> {
        let Pin { id } = pin;
        call::destroy_access_pages(&self.iommufd, self.number(), id)
    }

    fn number(&self) -> u32 {
        self.file.as_raw_fd().unsigned_abs()
    }
}
