//! The ioctls of groups and containers: of those whose arguments name memory or files.

// UNSAFETY: an ioctl makes the kernel read and write memory.
#![expect(unsafe_code, reason = "issues the ioctls")]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use iommufd::{Access, Granule, IovaRange};
use iommufd_sys::ioctl::{ArgszArg, ByValue, Ioctl, vfio as nr};
use iommufd_sys::vfio as sys;
use rustix::io::Errno;

use super::{Audience, PointerFree, issue};

// SAFETY: flags.
unsafe impl PointerFree for sys::vfio_group_status {}
// SAFETY: numbers; capabilities are written within `argsz`.
unsafe impl PointerFree for sys::vfio_iommu_type1_info {}

/// Issues an ioctl whose argument is a number. Returns the kernel's number, which is not negative.
pub(crate) fn by_value(
    fd: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    ioctl: &Ioctl<ByValue>,
    value: u32,
) -> Result<i32, Errno> {
    // A `u32` fits into the `usize` of a 64-bit machine.
    let value = ptr::without_provenance_mut(value as usize);
    // SAFETY: the kernel takes the argument for a number.
    unsafe { issue(fd, audience, ioctl, value) }
}

/// `VFIO_GROUP_SET_CONTAINER`: puts the group into `container`, which may be a `/dev/iommu`.
pub(crate) fn set_container(
    group: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    container: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut number = container.as_raw_fd();
    let arg = ptr::from_mut(&mut number).cast();
    // SAFETY: the kernel reads the 32 bits of `number`.
    unsafe { issue(group, audience, &nr::GROUP_SET_CONTAINER, arg) }.map(drop)
}

/// `VFIO_GROUP_GET_DEVICE_FD`: opens the device of that name.
pub(crate) fn device(
    group: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    name: &CStr,
) -> Result<OwnedFd, Errno> {
    let arg = name.as_ptr().cast_mut().cast();
    // SAFETY: the kernel reads text up to the zero that ends it, and writes nothing.
    let number = unsafe { issue(group, audience, &nr::GROUP_GET_DEVICE_FD, arg) }?;
    // SAFETY: the kernel has made the file just now, and told nobody else of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `VFIO_IOMMU_MAP_DMA`: maps the memory of this process from `address` on.
///
/// # Safety
/// The memory stays mapped in this process where it is, and is covered by no Rust reference, until
/// the kernel has nothing of this mapping any more.
pub(crate) unsafe fn map_dma(
    container: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    range: IovaRange,
    address: u64,
    access: Access,
) -> Result<(), Errno> {
    let mut arg = map_arg(range, address, access)?;
    let arg = ptr::from_mut(&mut arg).cast();
    // SAFETY: the kernel reads the struct, and what it is told to map the caller answers for.
    unsafe { issue(container, audience, &nr::IOMMU_MAP_DMA, arg) }.map(drop)
}

fn map_arg(
    range: IovaRange,
    address: u64,
    access: Access,
) -> Result<sys::vfio_iommu_type1_dma_map, Errno> {
    let mut arg = sys::vfio_iommu_type1_dma_map::sized();
    arg.flags = match access {
        Access::Read => sys::VFIO_DMA_MAP_FLAG_READ,
        Access::Write => sys::VFIO_DMA_MAP_FLAG_WRITE,
        Access::ReadWrite => sys::VFIO_DMA_MAP_FLAG_READ | sys::VFIO_DMA_MAP_FLAG_WRITE,
    };
    arg.vaddr = address;
    arg.iova = range.start().get();
    arg.size = range.len().ok_or(Errno::OVERFLOW)?;
    Ok(arg)
}

/// `VFIO_IOMMU_UNMAP_DMA`: unmaps all that is in `range`. Returns how many bytes that was.
pub(crate) fn unmap_dma(
    container: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    range: IovaRange,
) -> Result<u64, Errno> {
    let mut arg = unmap_arg(range);
    let address = ptr::from_mut(&mut arg).cast();
    // SAFETY: the kernel reads and writes the struct alone: the flags speak of no bitmap behind it.
    unsafe { issue(container, audience, &nr::IOMMU_UNMAP_DMA, address) }?;
    Ok(arg.size)
}

/// The whole address space has no length: the kernel has a flag for it, since Linux 5.12.
fn unmap_arg(range: IovaRange) -> sys::vfio_iommu_type1_dma_unmap {
    let mut arg = sys::vfio_iommu_type1_dma_unmap::sized();
    match range.len() {
        Some(len) => {
            arg.iova = range.start().get();
            arg.size = len;
        }
        None => arg.flags = sys::VFIO_DMA_UNMAP_FLAG_ALL,
    }
    arg
}

/// The argument of an unmap that reads what was written.
#[repr(C)]
struct UnmapReading {
    head: sys::vfio_iommu_type1_dma_unmap,
    bitmap: sys::vfio_bitmap,
}

/// As [`unmap_dma`], setting a bit in `words` for each `page` that was written.
pub(crate) fn unmap_dma_reading(
    container: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    range: IovaRange,
    page: Granule,
    words: &mut [u64],
) -> Result<u64, Errno> {
    let mut arg = UnmapReading {
        head: unmap_arg(range),
        bitmap: bitmap_arg(page, words),
    };
    arg.head.argsz = size_of::<UnmapReading>() as u32;
    arg.head.flags |= sys::VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    let address = ptr::from_mut(&mut arg).cast();
    // SAFETY: the kernel reads and writes the struct, and the bitmap behind it names `words`, which
    // are borrowed exclusively, with their true size: the kernel refuses them if they are too few.
    unsafe { issue(container, audience, &nr::IOMMU_UNMAP_DMA, address) }?;
    Ok(arg.head.size)
}

/// Words for the kernel to set bits in.
fn bitmap_arg(page: Granule, words: &mut [u64]) -> sys::vfio_bitmap {
    sys::vfio_bitmap {
        pgsize: page.bytes(),
        size: size_of_val(words) as u64,
        data: words.as_mut_ptr(),
    }
}

/// `VFIO_IOMMU_DIRTY_PAGES`: starts the record of what is written, or stops it.
pub(crate) fn track_dirty(
    container: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    start: bool,
) -> Result<(), Errno> {
    let mut arg = sys::vfio_iommu_type1_dirty_bitmap::sized();
    arg.flags = match start {
        true => sys::VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
        false => sys::VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
    };
    let address = ptr::from_mut(&mut arg).cast();
    // SAFETY: the kernel reads the struct alone: the flags speak of nothing behind it.
    unsafe { issue(container, audience, &nr::IOMMU_DIRTY_PAGES, address) }.map(drop)
}

/// The argument of a read of what was written.
#[repr(C)]
struct ReadDirty {
    head: sys::vfio_iommu_type1_dirty_bitmap,
    range: sys::vfio_iommu_type1_dirty_bitmap_get,
}

/// `VFIO_IOMMU_DIRTY_PAGES`: sets a bit in `words` for each `page` of `range` that was written since
/// the last read.
pub(crate) fn read_dirty(
    container: BorrowedFd<'_>,
    audience: Audience<'_, '_>,
    range: IovaRange,
    page: Granule,
    words: &mut [u64],
) -> Result<(), Errno> {
    let mut arg = ReadDirty {
        head: sys::vfio_iommu_type1_dirty_bitmap::sized(),
        range: sys::vfio_iommu_type1_dirty_bitmap_get {
            iova: range.start().get(),
            size: range.len().ok_or(Errno::OVERFLOW)?,
            bitmap: bitmap_arg(page, words),
        },
    };
    arg.head.argsz = size_of::<ReadDirty>() as u32;
    arg.head.flags = sys::VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
    let address = ptr::from_mut(&mut arg).cast();
    // SAFETY: as for an unmap that reads: the bitmap names `words` with their true size.
    unsafe { issue(container, audience, &nr::IOMMU_DIRTY_PAGES, address) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iommufd::Iova;
    use std::mem::offset_of;

    fn range(start: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
    }

    #[test]
    fn a_map_names_memory_place_and_direction() {
        let arg = map_arg(range(0x1000, 0x2fff), 0x7000, Access::Write).unwrap();
        let words = (arg.argsz, arg.flags, arg.vaddr, arg.iova, arg.size);
        assert_eq!(words, (32, 2, 0x7000, 0x1000, 0x2000));
        for (access, flags) in [(Access::Read, 1), (Access::ReadWrite, 3)] {
            assert_eq!(map_arg(range(0, 0xfff), 0, access).unwrap().flags, flags);
        }
        assert!(map_arg(IovaRange::ALL, 0, Access::Read).is_err());
    }

    #[test]
    fn an_unmap_of_everything_is_a_flag_without_a_range() {
        let arg = unmap_arg(range(0x1000, 0x1fff));
        assert_eq!(
            (arg.argsz, arg.flags, arg.iova, arg.size),
            (24, 0, 0x1000, 0x1000)
        );
        let arg = unmap_arg(IovaRange::ALL);
        assert_eq!((arg.argsz, arg.flags, arg.iova, arg.size), (24, 2, 0, 0));
        // The end of the address space is no end of the range.
        let arg = unmap_arg(range(1 << 63, u64::MAX));
        assert_eq!((arg.flags, arg.iova, arg.size), (0, 1 << 63, 1 << 63));
    }

    #[test]
    fn what_follows_a_head_follows_it_without_a_gap() {
        assert_eq!(offset_of!(UnmapReading, bitmap), 24);
        assert_eq!(size_of::<UnmapReading>(), 48);
        assert_eq!(offset_of!(ReadDirty, range), 8);
        assert_eq!(size_of::<ReadDirty>(), 48);
        let mut words = [0; 3];
        let bitmap = bitmap_arg(Granule::KIB_4, &mut words);
        assert_eq!((bitmap.pgsize, bitmap.size), (4096, 24));
    }
}
