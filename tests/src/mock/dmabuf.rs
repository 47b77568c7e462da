//! A dma-buf of the mock driver's, as a VFIO device exports its registers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use iommufd::Iommufd;
use rustix::io::Errno;

use super::call;

/// A dma-buf that the kernel can map, and that can be revoked.
#[derive(Debug)]
pub struct MockDmabuf {
    file: OwnedFd,
    iommufd: Iommufd,
}

impl MockDmabuf {
    /// A dma-buf of `len` bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(iommufd: &Iommufd, len: u32) -> Result<Self, Errno> {
        let file = call::dmabuf_get(iommufd, len)?;
        let iommufd = iommufd.clone();
        Ok(Self { file, iommufd })
    }

    /// Revokes it, or gives it back.
    ///
    /// # Errors
    /// The kernel's.
    pub fn revoke(&self, revoked: bool) -> Result<(), Errno> {
        call::dmabuf_revoke(&self.iommufd, &self.file, revoked)
    }
}

impl AsFd for MockDmabuf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
