//! Nested translation past the SDK: what it would not ask for, and what it takes for granted.

// UNSAFETY: issues ioctls that the SDK has no safe form of, and maps what they answer.
#![expect(unsafe_code, reason = "issues the ioctls, and maps")]

use std::ffi::c_void;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use iommufd::format::PageLocation;
use iommufd_sys::ioctl::{Ioctl, SizedArg, iommufd as nr, write_size};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{issue, sized};

/// A page table as `arg` says, with `data` for the driver.
///
/// # Errors
/// The kernel's.
pub fn hwpt_alloc(
    fd: &impl AsFd,
    arg: &mut sys::iommu_hwpt_alloc,
    data: &[u8],
) -> Result<u32, Errno> {
    arg.data_len = len(data);
    arg.data_uptr = address(data);
    reading(fd, &nr::HWPT_ALLOC, arg)?;
    Ok(arg.out_hwpt_id)
}

/// A virtual IOMMU as `arg` says, with `data` for the driver, into which it writes.
///
/// # Errors
/// The kernel's.
pub fn viommu_alloc(
    fd: &impl AsFd,
    arg: &mut sys::iommu_viommu_alloc,
    data: &mut [u8],
) -> Result<u32, Errno> {
    arg.data_len = len(data);
    arg.data_uptr = data.as_mut_ptr().expose_provenance() as u64;
    write_size(arg);
    // SAFETY: the kernel writes no more than `data_len` bytes to `data_uptr`, the exclusively borrowed slice.
    unsafe { issue(fd.as_fd(), &nr::VIOMMU_ALLOC, arg) }?;
    Ok(arg.out_viommu_id)
}

/// Makes the device `dev` known behind the virtual IOMMU `viommu`.
///
/// # Errors
/// The kernel's.
pub fn vdevice_alloc(fd: &impl AsFd, viommu: u32, dev: u32, number: u64) -> Result<u32, Errno> {
    let mut arg = sys::iommu_vdevice_alloc::sized();
    arg.viommu_id = viommu;
    arg.dev_id = dev;
    arg.virt_id = number;
    sized(fd, &nr::VDEVICE_ALLOC, &mut arg)?;
    Ok(arg.out_vdevice_id)
}

/// A queue of events as `arg` says, and its file.
///
/// # Errors
/// The kernel's.
pub fn veventq_alloc(
    fd: &impl AsFd,
    arg: &mut sys::iommu_veventq_alloc,
) -> Result<(u32, OwnedFd), Errno> {
    sized(fd, &nr::VEVENTQ_ALLOC, arg)?;
    Ok((arg.out_veventq_id, opened(arg.out_veventq_fd)))
}

/// A queue of page requests, and its file.
///
/// # Errors
/// The kernel's.
pub fn fault_queue_alloc(fd: &impl AsFd) -> Result<(u32, OwnedFd), Errno> {
    let mut arg = sys::iommu_fault_alloc::sized();
    sized(fd, &nr::FAULT_QUEUE_ALLOC, &mut arg)?;
    Ok((arg.out_fault_id, opened(arg.out_fault_fd)))
}

/// A hardware queue as `arg` says.
///
/// # Errors
/// The kernel's.
pub fn hw_queue_alloc(fd: &impl AsFd, arg: &mut sys::iommu_hw_queue_alloc) -> Result<u32, Errno> {
    sized(fd, &nr::HW_QUEUE_ALLOC, arg)?;
    Ok(arg.out_hw_queue_id)
}

/// Invalidates as `arg` says, by the commands in `data`. Without any bytes there is no address either.
///
/// # Errors
/// The kernel's; how many commands it has handled is in `arg` all the same.
pub fn invalidate(
    fd: &impl AsFd,
    arg: &mut sys::iommu_hwpt_invalidate,
    data: &[u8],
) -> Result<(), Errno> {
    arg.data_uptr = address(data);
    reading(fd, &nr::HWPT_INVALIDATE, arg)
}

/// Issues an ioctl in whose argument are ids, numbers and addresses from which the kernel reads.
fn reading<T: SizedArg>(fd: &impl AsFd, ioctl: &Ioctl<T>, arg: &mut T) -> Result<(), Errno> {
    write_size(arg);
    // SAFETY: the kernel only reads; where there is nothing to be read it answers EFAULT. For the ids see `sized`.
    unsafe { issue(fd.as_fd(), ioctl, arg) }
}

fn len(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap()
}

fn address(data: &[u8]) -> u64 {
    match data {
        [] => 0,
        data => data.as_ptr().expose_provenance() as u64,
    }
}

/// Takes over a file that an ioctl has just opened.
fn opened(number: u32) -> OwnedFd {
    let number = number.try_into().unwrap();
    // SAFETY: only called with what the kernel has answered just now, and nobody else knows the number.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// What is mapped of a file, until it is dropped.
#[derive(Debug)]
pub struct Mapped {
    base: NonNull<c_void>,
    len: usize,
}

/// Maps what `fd` has at `location`.
///
/// # Errors
/// The kernel's.
pub fn map(
    fd: &impl AsFd,
    location: PageLocation,
    prot: ProtFlags,
    flags: MapFlags,
) -> Result<Mapped, Errno> {
    let len = usize::try_from(location.len).unwrap();
    assert!(!flags.contains(MapFlags::FIXED));
    let hint = std::ptr::null_mut();
    // SAFETY: the kernel chooses a place where nothing is, and nobody is told of it.
    let base = unsafe { mmap(hint, len, prot, flags, fd, location.offset) }?;
    Ok(Mapped {
        base: NonNull::new(base).unwrap(),
        len,
    })
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `map`, and no reference to it was ever made.
        let gone = unsafe { munmap(self.base.as_ptr(), self.len) };
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}
