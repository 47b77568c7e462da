//! Maps that the SDK knows nothing of.

// UNSAFETY: tells the kernel addresses of memory.
#![expect(unsafe_code, reason = "issues the ioctl")]

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::Arc;

use iommufd::DmaMemory;
use iommufd_sys::ioctl::{SizedArg, iommufd as nr};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

/// For reading and writing, at the address that is asked for.
pub const FIXED: u32 =
    sys::IOMMU_IOAS_MAP_FIXED_IOVA | sys::IOMMU_IOAS_MAP_READABLE | sys::IOMMU_IOAS_MAP_WRITEABLE;

/// Maps all of `memory`, which is never let go of any more. Says where.
///
/// # Errors
/// The kernel's.
pub fn map(
    fd: &impl AsFd,
    ioas: u32,
    flags: u32,
    memory: &Arc<impl DmaMemory>,
    iova: u64,
) -> Result<u64, Errno> {
    let bytes = kept(memory);
    let mut arg = sys::iommu_ioas_map::sized();
    arg.flags = flags;
    arg.ioas_id = ioas;
    arg.user_va = super::address(bytes);
    arg.length = bytes.len() as u64;
    arg.iova = iova;
    // SAFETY: the memory stays where it is, and is covered by no reference, as long as it is alive: from here on that is
    // for good.
    unsafe { super::issue(fd.as_fd(), &nr::IOAS_MAP, &mut arg) }?;
    Ok(arg.iova)
}

/// Maps pages of a file. Says where.
///
/// # Errors
/// The kernel's.
pub fn map_file(
    fd: &impl AsFd,
    ioas: u32,
    flags: u32,
    file: &impl AsFd,
    bytes: Range<u64>,
    iova: u64,
) -> Result<u64, Errno> {
    let mut arg = sys::iommu_ioas_map_file::sized();
    arg.flags = flags;
    arg.ioas_id = ioas;
    arg.fd = file.as_fd().as_raw_fd();
    arg.start = bytes.start;
    arg.length = bytes.end - bytes.start;
    arg.iova = iova;
    super::sized(fd, &nr::IOAS_MAP_FILE, &mut arg)?;
    Ok(arg.iova)
}

/// Maps `len` bytes of what is mapped at `from`, an address space and an address in it, at `to`, another such. Says where.
///
/// The SDK does not know of it: who calls it keeps the memory, and unmaps the copy.
///
/// # Errors
/// The kernel's.
pub fn copy(
    fd: &impl AsFd,
    flags: u32,
    from: (u32, u64),
    len: u64,
    to: (u32, u64),
) -> Result<u64, Errno> {
    let mut arg = sys::iommu_ioas_copy::sized();
    arg.flags = flags;
    (arg.src_ioas_id, arg.src_iova) = from;
    (arg.dst_ioas_id, arg.dst_iova) = to;
    arg.length = len;
    super::sized(fd, &nr::IOAS_COPY, &mut arg)?;
    Ok(arg.dst_iova)
}

/// The bytes of `memory`, which stay for good: nobody records who uses them.
pub(super) fn kept(memory: &Arc<impl DmaMemory>) -> NonNull<[u8]> {
    ManuallyDrop::new(Arc::clone(memory)).bytes()
}
