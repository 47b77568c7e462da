//! Dirty tracking of a page table that the SDK may know nothing of.

// UNSAFETY: tells the kernel the address of a bitmap.
#![expect(unsafe_code, reason = "issues the ioctl")]

use std::os::fd::AsFd;

use iommufd_sys::ioctl::{SizedArg, iommufd as nr};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

/// Begins to track what devices write through the page table `hwpt`.
///
/// # Errors
/// The kernel's.
pub fn track_dirty(fd: &impl AsFd, hwpt: u32) -> Result<(), Errno> {
    let mut arg = sys::iommu_hwpt_set_dirty_tracking::sized();
    arg.flags = sys::IOMMU_HWPT_DIRTY_TRACKING_ENABLE;
    arg.hwpt_id = hwpt;
    super::sized(fd, &nr::HWPT_SET_DIRTY_TRACKING, &mut arg)
}

/// Which of the up to 64 pages of `page_size` bytes from `iova` on were written through the page table `hwpt`: bit `n` is
/// page `n`. They count as clean from then on.
///
/// # Errors
/// The kernel's.
pub fn take_dirty(
    fd: &impl AsFd,
    hwpt: u32,
    iova: u64,
    pages: u64,
    page_size: u64,
) -> Result<u64, Errno> {
    assert!(pages <= 64);
    let mut bitmap = 0_u64;
    let mut arg = sys::iommu_hwpt_get_dirty_bitmap::sized();
    arg.hwpt_id = hwpt;
    arg.iova = iova;
    arg.length = pages * page_size;
    arg.page_size = page_size;
    arg.data = (&raw mut bitmap).expose_provenance() as u64;
    // SAFETY: the kernel sets a bit at `data` for each page of the range: so many are there, and whatever they are, they
    // are a number.
    unsafe { super::issue(fd.as_fd(), &nr::HWPT_GET_DIRTY_BITMAP, &mut arg) }?;
    Ok(bitmap)
}
