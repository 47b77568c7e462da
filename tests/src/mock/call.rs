//! Issuing the mock driver's commands.

// UNSAFETY: issues the mock driver's ioctl.
#![expect(unsafe_code, reason = "issues the ioctl")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use iommufd::Iommufd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::abi::{self, Command, Payload};
use crate::raw;

/// # Safety
/// Every address in `payload` is good for what the kernel does with it for this operation.
unsafe fn issue<P: Payload>(fd: &impl AsFd, id: u32, payload: P) -> Result<P, Errno> {
    let mut command = Command::new(id, payload);
    // SAFETY: the caller's promise.
    unsafe { raw::issue(fd.as_fd(), &Command::ioctl(), &mut command) }?;
    Ok(command.payload)
}

/// Makes a device, bound to the context and attached to the page table `pt`: its own id, that of its page table, and
/// that of the bound device.
///
/// # Errors
/// The kernel's.
pub fn mock_domain(fd: &impl AsFd, pt: u32, dev_flags: u32) -> Result<abi::MockDomain, Errno> {
    let payload = abi::MockDomain {
        dev_flags,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, pt, payload) }
}

/// Moves the device `stdev` to the page table `pt`, and says which table it got.
///
/// # Errors
/// The kernel's.
pub fn mock_domain_replace(fd: &impl AsFd, stdev: u32, pt: u32) -> Result<u32, Errno> {
    let payload = abi::MockDomainReplace {
        pt_id: pt,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, stdev, payload) }.map(|answer| answer.pt_id)
}

/// Reserves `length` addresses of the address space `ioas`, as a device would.
///
/// # Errors
/// `EADDRINUSE`: something is mapped or allowed there. `EOVERFLOW`.
pub fn add_reserved(fd: &impl AsFd, ioas: u32, start: u64, length: u64) -> Result<(), Errno> {
    let payload = abi::AddReserved {
        start,
        length,
        ..Default::default()
    };
    // SAFETY: the addresses are IOVAs.
    unsafe { issue(fd, ioas, payload) }.map(drop)
}

/// Whether the page table `hwpt` leads from `iova` on to exactly the pages that `bytes` are in.
///
/// # Errors
/// `EINVAL`: it does not.
pub fn check_map(fd: &impl AsFd, hwpt: u32, iova: u64, bytes: NonNull<[u8]>) -> Result<(), Errno> {
    let payload = abi::CheckMap {
        iova,
        length: bytes.len() as u64,
        uptr: raw::address(bytes),
        ..Default::default()
    };
    // SAFETY: the kernel looks up pages of the process, and reads or writes none; it answers EFAULT where there is none.
    unsafe { issue(fd, hwpt, payload) }.map(drop)
}

/// Whether each page of `bytes` is pinned exactly `pins` times.
///
/// # Errors
/// `EIO`: it is not.
pub fn check_pins(fd: &impl AsFd, bytes: NonNull<[u8]>, pins: u32) -> Result<(), Errno> {
    let payload = abi::CheckRefs {
        length: bytes.len() as u64,
        uptr: raw::address(bytes),
        refs: pins,
        ..Default::default()
    };
    // SAFETY: as in `check_map`.
    unsafe { issue(fd, 0, payload) }.map(drop)
}

/// While it lives the kernel handles only so many bytes of page lists at a time, so that small mappings take the paths of
/// large ones. It counts for all contexts.
#[derive(Debug)]
pub struct BatchLimit(Iommufd);

impl BatchLimit {
    /// What the kernel starts with.
    const USUAL: u32 = 65536;

    /// Sets the limit.
    ///
    /// # Errors
    /// `EINVAL` below 12 bytes.
    pub fn new(iommufd: &Iommufd, bytes: u32) -> Result<Self, Errno> {
        set_batch_limit(iommufd, bytes)?;
        Ok(Self(iommufd.clone()))
    }
}

impl Drop for BatchLimit {
    fn drop(&mut self) {
        let reset = set_batch_limit(&self.0, Self::USUAL);
        assert!(reset.is_ok() || std::thread::panicking(), "{reset:?}");
    }
}

fn set_batch_limit(fd: &impl AsFd, limit: u32) -> Result<(), Errno> {
    let payload = abi::MemoryLimit {
        limit,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, 0, payload) }.map(drop)
}

/// Makes an access to the address space `ioas`.
pub(super) fn create_access(fd: &impl AsFd, ioas: u32, flags: u32) -> Result<OwnedFd, Errno> {
    let payload = abi::CreateAccess {
        flags,
        ..Default::default()
    };
    // SAFETY: no address.
    let answer = unsafe { issue(fd, ioas, payload) }?;
    // SAFETY: the kernel has opened the file just now, for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(answer.out_access_fd) })
}

/// Pins `length` bytes from `iova` on through the access with file number `access`, if they are in the pages that
/// `expected` is in.
pub(super) fn access_pages(
    fd: &impl AsFd,
    access: u32,
    iova: u64,
    length: u64,
    expected: Option<NonNull<[u8]>>,
    flags: u32,
) -> Result<u32, Errno> {
    let payload = abi::AccessPages {
        flags,
        iova,
        length,
        uptr: expected.map_or(0, raw::address),
        ..Default::default()
    };
    // SAFETY: as in `check_map`; where `uptr` is null the kernel compares the pages with nothing.
    unsafe { issue(fd, access, payload) }.map(|answer| answer.out_access_pages_id)
}

/// Unpins what [`access_pages`] has pinned.
pub(super) fn destroy_access_pages(fd: &impl AsFd, access: u32, pages: u32) -> Result<(), Errno> {
    let payload = abi::DestroyAccessPages {
        access_pages_id: pages,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, access, payload) }.map(drop)
}

/// Moves an access to the address space `ioas`.
pub(super) fn access_replace_ioas(fd: &impl AsFd, access: u32, ioas: u32) -> Result<(), Errno> {
    let payload = abi::AccessReplaceIoas {
        ioas_id: ioas,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, access, payload) }.map(drop)
}

/// Reads from `iova` on.
pub(super) fn access_read(
    fd: &impl AsFd,
    access: u32,
    iova: u64,
    out: &mut [u8],
    flags: u32,
) -> Result<(), Errno> {
    let payload = abi::AccessRw {
        iova,
        length: out.len() as u64,
        uptr: out.as_mut_ptr().expose_provenance() as u64,
        flags,
        ..Default::default()
    };
    // SAFETY: the kernel writes `length` bytes to `uptr`, the exclusively borrowed slice.
    unsafe { issue(fd, access, payload) }.map(drop)
}

/// Writes from `iova` on.
pub(super) fn access_write(
    fd: &impl AsFd,
    access: u32,
    iova: u64,
    bytes: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    let payload = abi::AccessRw {
        iova,
        length: bytes.len() as u64,
        uptr: bytes.as_ptr().expose_provenance() as u64,
        flags: abi::ACCESS_WRITE | flags,
        ..Default::default()
    };
    // SAFETY: the kernel reads `length` bytes at `uptr`, the borrowed slice. It writes where the IOVAs lead, as a device
    // would, which is what mapped memory is for.
    unsafe { issue(fd, access, payload) }.map(drop)
}

/// Makes a dma-buf of `length` bytes.
///
/// Linux 7.3 opens the file, and answers 0 instead of its number. It has the lowest number that was free.
pub(super) fn dmabuf_get(fd: &impl AsFd, length: u32) -> Result<OwnedFd, Errno> {
    let payload = abi::DmabufGet {
        length,
        open_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        ..Default::default()
    };
    let lowest = fd.as_fd().try_clone_to_owned().unwrap().as_raw_fd();
    // SAFETY: no address.
    unsafe { issue(fd, 0, payload) }?;
    let link = std::fs::read_link(format!("/proc/self/fd/{lowest}")).unwrap();
    assert!(link.to_string_lossy().contains("dmabuf"), "{link:?}");
    // SAFETY: the kernel has opened it just now, as its kind shows, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(lowest) })
}

/// Revokes a dma-buf of the mock's, or gives it back.
pub(super) fn dmabuf_revoke(fd: &impl AsFd, dmabuf: &OwnedFd, revoked: bool) -> Result<(), Errno> {
    let payload = abi::DmabufRevoke {
        dmabuf_fd: dmabuf.as_raw_fd(),
        revoked: u32::from(revoked),
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, 0, payload) }.map(drop)
}

/// Lets a device of a stranger's, who has the same `/dev/iommu`, use the page table or address space `id`, and says how
/// that is undone: the id of an object to be destroyed.
///
/// # Errors
/// The kernel's.
pub fn occupy(fd: &impl AsFd, id: u32) -> Result<u32, Errno> {
    mock_domain(fd, id, 0).map(|made| made.out_stdev_id)
}

/// Sets dirty bits in the page table `hwpt`, for each bit that is set in `bitmap`: bit `n` is the page of `page_size`
/// bytes at `iova` plus `n` times that. Says how many were set.
///
/// # Errors
/// `EINVAL`: nothing is tracked.
pub fn set_dirty(
    fd: &impl AsFd,
    hwpt: u32,
    (iova, length): (u64, u64),
    page_size: u64,
    bitmap: &[u64],
) -> Result<u64, Errno> {
    assert!(bitmap.len() as u64 * 64 >= length / page_size);
    let payload = abi::Dirty {
        iova,
        length,
        page_size,
        uptr: bitmap.as_ptr().expose_provenance() as u64,
        ..Default::default()
    };
    // SAFETY: the kernel reads a bit at `uptr` for each page of the range: so many are there.
    unsafe { issue(fd, hwpt, payload) }.map(|answer| answer.out_nr_dirty)
}

/// Whether entry `index` of the cache of the nested table `hwpt` holds `value`.
///
/// # Errors
/// `EINVAL`: it does not.
pub fn check_iotlb(fd: &impl AsFd, hwpt: u32, index: u32, value: u32) -> Result<(), Errno> {
    let payload = abi::CheckIotlb {
        id: index,
        iotlb: value,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, hwpt, payload) }.map(drop)
}

/// Makes a page request of the device `device`. Nobody tells whether it was delivered.
///
/// # Errors
/// The kernel's.
pub fn trigger_iopf(
    fd: &impl AsFd,
    device: u32,
    pasid: u32,
    group: u32,
    perm: u32,
    address: u64,
) -> Result<(), Errno> {
    let payload = abi::TriggerIopf {
        dev_id: device,
        pasid,
        grpid: group,
        perm,
        addr: address,
        ..Default::default()
    };
    // SAFETY: the address is the device's.
    unsafe { issue(fd, 0, payload) }.map(drop)
}

/// Whether entry `index` of the cache of the device `device` holds `value`.
///
/// # Errors
/// `EINVAL`: it does not.
pub fn check_dev_cache(fd: &impl AsFd, device: u32, index: u32, value: u32) -> Result<(), Errno> {
    let payload = abi::CheckDevCache {
        id: index,
        cache: value,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, device, payload) }.map(drop)
}

/// Makes an event of the virtual IOMMU for the device `device`.
///
/// # Errors
/// `ENOENT`: the device has no number there. `EOPNOTSUPP`: there is no queue.
pub fn trigger_vevent(fd: &impl AsFd, device: u32) -> Result<(), Errno> {
    let payload = abi::TriggerVevent {
        dev_id: device,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, 0, payload) }.map(drop)
}

/// Attaches a PASID of the device `stdev` to the page table `pt`.
pub(super) fn pasid_attach(fd: &impl AsFd, stdev: u32, pasid: u32, pt: u32) -> Result<(), Errno> {
    let payload = abi::PasidAttach {
        pasid,
        pt_id: pt,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, stdev, payload) }.map(drop)
}

/// Moves a PASID of the device `stdev` to the page table `pt`.
pub(super) fn pasid_replace(fd: &impl AsFd, stdev: u32, pasid: u32, pt: u32) -> Result<(), Errno> {
    let payload = abi::PasidReplace {
        pasid,
        pt_id: pt,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, stdev, payload) }.map(drop)
}

/// Detaches a PASID of the device `stdev`.
pub(super) fn pasid_detach(fd: &impl AsFd, stdev: u32, pasid: u32) -> Result<(), Errno> {
    let payload = abi::PasidDetach {
        pasid,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, stdev, payload) }.map(drop)
}

/// Whether a PASID of the device `stdev` goes through the page table `hwpt`, or, if that is 0, through none.
pub(super) fn pasid_check(fd: &impl AsFd, stdev: u32, pasid: u32, hwpt: u32) -> Result<(), Errno> {
    let payload = abi::PasidCheck {
        pasid,
        hwpt_id: hwpt,
        ..Default::default()
    };
    // SAFETY: no address.
    unsafe { issue(fd, stdev, payload) }.map(drop)
}

/// How many mock devices there are in the system.
///
/// # Panics
/// Where there is no mock driver.
#[must_use]
pub fn devices() -> usize {
    std::fs::read_dir("/sys/bus/iommufd_mock/devices")
        .unwrap()
        .count()
}
