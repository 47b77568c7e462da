//! `/dev/iommu` used as a VFIO container, as by a program that knows nothing else.

// UNSAFETY: issues ioctls that the SDK has no safe form of.
#![expect(unsafe_code, reason = "issues the ioctls")]

use std::os::fd::AsFd;

use iommufd_sys::ioctl::{ArgszArg, vfio as nr};
use iommufd_sys::vfio as sys;
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode};

use crate::raw;

/// Makes it an IOMMU of type 1, in its first version.
///
/// # Errors
/// `ENODEV`: there is no compatibility address space.
pub fn set_iommu_type1(fd: &impl AsFd) -> Result<(), Errno> {
    const NUMBER: Opcode = nr::SET_IOMMU.request();
    // SAFETY: the number is that of an ioctl that takes a number, and touches no memory.
    let call = unsafe { IntegerSetter::<NUMBER>::new_usize(sys::VFIO_TYPE1_IOMMU as usize) };
    // SAFETY: as above.
    unsafe { rustix::ioctl::ioctl(fd, call) }
}

/// Unmaps `len` bytes from `iova` on, whosever they are, and says how many bytes there were.
///
/// # Errors
/// `ENODEV`: there is no compatibility address space. The kernel's others.
pub fn unmap_dma(fd: &impl AsFd, iova: u64, len: u64) -> Result<u64, Errno> {
    let mut arg = sys::vfio_iommu_type1_dma_unmap::sized();
    arg.iova = iova;
    arg.size = len;
    // SAFETY: the argument has no address in it. What is unmapped is taken from the SDK, as a stranger with the same
    // file could: the SDK has to live with that, and lose no memory.
    unsafe { raw::issue(fd.as_fd(), &nr::IOMMU_UNMAP_DMA, &mut arg) }?;
    Ok(arg.size)
}
