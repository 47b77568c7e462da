//! The one door to the kernel: every ioctl on `/dev/iommu` is issued in this file.

// UNSAFETY: an ioctl makes the kernel read and write memory.
#![expect(unsafe_code, reason = "issues the ioctls")]

#[cfg(test)]
pub(crate) mod script;

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use iommufd_sys::ioctl::{Ioctl, iommufd as nr};
use iommufd_sys::ioctl::{SizedArg, write_size};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use rustix::ioctl::{IoctlOutput, Opcode};
use zerocopy::IntoBytes;

use crate::format::{Format, ViommuKind};

/// An argument in which the kernel finds no address to read or write through.
///
/// # Safety
/// The kernel must touch no memory of the process for this ioctl but the argument itself.
pub(crate) unsafe trait PointerFree: SizedArg {}

// SAFETY: two numbers.
unsafe impl PointerFree for sys::iommu_destroy {}
// SAFETY: flags and an id.
unsafe impl PointerFree for sys::iommu_hwpt_set_dirty_tracking {}
// SAFETY: flags and the id that comes back.
unsafe impl PointerFree for sys::iommu_ioas_alloc {}
// SAFETY: `fd` names a file, `start` is an offset in it.
unsafe impl PointerFree for sys::iommu_ioas_map_file {}
// SAFETY: an IOVA range; the kernel only forgets addresses for it.
unsafe impl PointerFree for sys::iommu_ioas_unmap {}
// SAFETY: an option and its value.
unsafe impl PointerFree for sys::iommu_option {}
// SAFETY: an id.
unsafe impl PointerFree for sys::iommu_vfio_ioas {}
// SAFETY: nothing. The kernel counts pages that are pinned, and touches none.
unsafe impl PointerFree for sys::iommu_ioas_change_process {}
// SAFETY: an IOVA range, and the physical address that comes back; the kernel looks it up in its
// own tables.
unsafe impl PointerFree for sys::iommu_ioas_noiommu_get_pa {}

// SAFETY: ids and the guest's number of a device.
unsafe impl PointerFree for sys::iommu_vdevice_alloc {}
// SAFETY: an id, a number and an IOVA range, whose memory the kernel pins by itself.
unsafe impl PointerFree for sys::iommu_hw_queue_alloc {}

/// Issues an ioctl whose argument carries no address.
#[inline]
pub(crate) fn plain<T: PointerFree>(
    fd: BorrowedFd<'_>,
    ioctl: &Ioctl<T>,
    arg: &mut T,
) -> Result<(), Errno> {
    // SAFETY: `PointerFree` says that the kernel touches nothing but `arg`.
    unsafe { issue(fd, ioctl, arg) }
}

/// `IOMMU_IOAS_MAP`: lets devices reach the memory at `arg.user_va`.
///
/// # Safety
/// The `arg.length` bytes at `arg.user_va` stay mapped in this process, and are not covered by a
/// Rust reference, until the kernel has confirmed that the mapping, or its IOAS, is gone.
#[inline]
pub(crate) unsafe fn ioas_map(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_ioas_map,
) -> Result<(), Errno> {
    // SAFETY: the kernel pins what `user_va` names, now or at any later attach; the caller
    // promises that it stays valid. Nothing else in the argument is an address of the process.
    unsafe { issue(fd, &nr::IOAS_MAP, arg) }
}

/// `IOMMU_IOAS_COPY`: lets devices reach through one address space what is mapped in another.
///
/// # Safety
/// What is mapped at the `arg.length` bytes from `arg.src_iova` on stays as [`ioas_map`] asks of
/// memory, until the kernel has confirmed that the copy, or its IOAS, is gone.
pub(crate) unsafe fn ioas_copy(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_ioas_copy,
) -> Result<(), Errno> {
    // SAFETY: the kernel pins the memory behind the source, now or at any later attach, as it
    // does for the source itself; the caller promises that it stays valid. Nothing in the
    // argument is an address of the process.
    unsafe { issue(fd, &nr::IOAS_COPY, arg) }
}

/// `IOMMU_IOAS_MAP` of what is nobody's memory, which asks whether anything is mapped in the `length` bytes from `iova`
/// on: the kernel looks (`EEXIST`) before it pins (`EFAULT`). Where it has no cause to pin, the range is to be unmapped.
pub(crate) fn map_nothing(
    fd: BorrowedFd<'_>,
    ioas: u32,
    iova: u64,
    length: u64,
) -> Result<(), Errno> {
    /// In the kernel's half of all addresses; no more of it than a page's size can be.
    const NOBODYS: u64 = 0xffff_8000_0000_0000;
    let mut arg = sys::iommu_ioas_map::sized();
    arg.flags = sys::IOMMU_IOAS_MAP_FIXED_IOVA | sys::IOMMU_IOAS_MAP_READABLE;
    arg.ioas_id = ioas;
    // At the same place in its page.
    arg.user_va = NOBODYS | iova & 0xffff;
    (arg.iova, arg.length) = (iova, length);
    // SAFETY: what is there is no memory of any process, and is never pinned.
    unsafe { issue(fd, &nr::IOAS_MAP, &mut arg) }
}

/// `IOMMU_IOAS_IOVA_RANGES` into `ranges`, as many as fit.
pub(crate) fn iova_ranges(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_ioas_iova_ranges,
    ranges: &mut [sys::iommu_iova_range],
) -> Result<(), Errno> {
    arg.num_iovas = count(ranges.len());
    arg.allowed_iovas = address_of_mut(ranges);
    // SAFETY: the kernel writes at most `num_iovas` ranges to `allowed_iovas`, which is the
    // exclusively borrowed slice; any bytes are a valid range.
    unsafe { issue(fd, &nr::IOAS_IOVA_RANGES, arg) }
}

/// `IOMMU_IOAS_ALLOW_IOVAS` with `ranges`.
pub(crate) fn allow_iovas(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_ioas_allow_iovas,
    ranges: &[sys::iommu_iova_range],
) -> Result<(), Errno> {
    arg.num_iovas = count(ranges.len());
    arg.allowed_iovas = address_of(ranges);
    // SAFETY: the kernel only reads `num_iovas` ranges at `allowed_iovas`, the borrowed slice.
    unsafe { issue(fd, &nr::IOAS_ALLOW_IOVAS, arg) }
}

/// `IOMMU_GET_HW_INFO`, with the vendor's part into `data`.
pub(crate) fn hw_info(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_hw_info,
    data: &mut [u8],
) -> Result<(), Errno> {
    arg.data_len = count(data.len());
    arg.data_uptr = address_of_mut(data);
    // SAFETY: the kernel writes at most `data_len` bytes to `data_uptr`, the exclusively borrowed
    // slice, zeroes included.
    unsafe { issue(fd, &nr::GET_HW_INFO, arg) }
}

/// `IOMMU_HWPT_ALLOC` of a table that carries no vendor data.
pub(crate) fn hwpt_alloc(fd: BorrowedFd<'_>, arg: &mut sys::iommu_hwpt_alloc) -> Result<(), Errno> {
    arg.data_type = sys::IOMMU_HWPT_DATA_NONE;
    arg.data_len = 0;
    arg.data_uptr = 0;
    // SAFETY: with no data the kernel reads no address.
    unsafe { issue(fd, &nr::HWPT_ALLOC, arg) }
}

/// `IOMMU_HWPT_ALLOC` of a nested table, as `config` says.
pub(crate) fn nested_alloc<F: Format>(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_hwpt_alloc,
    config: &F::Config,
) -> Result<(), Errno> {
    let config = config.as_bytes();
    arg.data_type = F::CONFIG_TYPE;
    arg.data_len = count(config.len());
    arg.data_uptr = address_of(config);
    // SAFETY: the kernel reads at most `data_len` bytes at `data_uptr`, the borrowed bytes, and
    // takes nothing in them for an address: the format's promise.
    unsafe { issue(fd, &nr::HWPT_ALLOC, arg) }
}

/// `IOMMU_HWPT_INVALIDATE` with `commands`.
pub(crate) fn invalidate<F: Format>(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_hwpt_invalidate,
    commands: &[F::Invalidation],
) -> Result<(), Errno> {
    arg.data_type = F::INVALIDATION_TYPE;
    arg.entry_len = count(size_of::<F::Invalidation>());
    arg.entry_num = count(commands.len());
    arg.data_uptr = address_of(commands);
    // SAFETY: the kernel only reads `entry_num` commands of `entry_len` bytes at `data_uptr`, the
    // borrowed slice, and takes nothing in them for an address: the format's promise.
    unsafe { issue(fd, &nr::HWPT_INVALIDATE, arg) }
}

/// `IOMMU_VIOMMU_ALLOC` with `data`, which the kernel may write back.
pub(crate) fn viommu_alloc<V: ViommuKind>(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_viommu_alloc,
    data: &mut V::Data,
) -> Result<(), Errno> {
    let data = data.as_mut_bytes();
    arg.type_ = V::TYPE;
    if !data.is_empty() {
        arg.data_len = count(data.len());
        arg.data_uptr = address_of_mut(data);
    }
    // SAFETY: the kernel reads and writes at most `data_len` bytes at `data_uptr`, the exclusively
    // borrowed bytes, of which any are a valid `Data`; it takes nothing in them for an address: the
    // kind's promise.
    unsafe { issue(fd, &nr::VIOMMU_ALLOC, arg) }
}

/// `IOMMU_VEVENTQ_ALLOC`, with the file of the new queue.
pub(crate) fn veventq_alloc(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_veventq_alloc,
) -> Result<OwnedFd, Errno> {
    arg.out_veventq_fd = NO_FILE;
    // SAFETY: numbers: no address.
    unsafe { issue(fd, &nr::VEVENTQ_ALLOC, arg) }?;
    // SAFETY: the ioctl has succeeded, so this is the number of the file that it has opened.
    unsafe { new_file(arg.out_veventq_fd) }
}

/// `IOMMU_FAULT_QUEUE_ALLOC`, with the file of the new queue.
pub(crate) fn fault_queue_alloc(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_fault_alloc,
) -> Result<OwnedFd, Errno> {
    arg.out_fault_fd = NO_FILE;
    // SAFETY: flags, and the numbers that come back: no address.
    unsafe { issue(fd, &nr::FAULT_QUEUE_ALLOC, arg) }?;
    // SAFETY: the ioctl has succeeded, so this is the number of the file that it has opened.
    unsafe { new_file(arg.out_fault_fd) }
}

/// The number of no file: what is read back if the kernel has filled in none.
const NO_FILE: u32 = u32::MAX;

/// Takes over a file that the kernel has opened.
///
/// # Safety
/// An ioctl has just handed out `number` for a file that it opened in this process, and nobody
/// else has taken it over.
unsafe fn new_file(number: u32) -> Result<OwnedFd, Errno> {
    let number = RawFd::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: it is open, and owned by nobody else: the caller's promise. It is not negative.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// How many bytes from the beginning of a page on the kernel may touch that fills in a bitmap of
/// `bits` bits there; `None` if no machine has as many.
///
/// It pins whole pages, from that of the first bit that it sets on, and one more than it needs if
/// that is not the first bit of a page. In the pages that it has pinned it sets bits for whole
/// entries of the page table, also beyond the bitmap's end if an entry reaches beyond the range.
/// Never does it touch what comes before the bitmap.
#[must_use]
pub fn reach_of_bitmap(bits: u64) -> Option<usize> {
    let page = rustix::param::page_size();
    usize::try_from(bits.div_ceil(8))
        .ok()?
        .checked_next_multiple_of(page)?
        .checked_add(page)
}

/// `IOMMU_HWPT_GET_DIRTY_BITMAP` into `bitmap`, from its beginning on; all of it may be written.
///
/// `EFAULT` if it does not begin with a page, or is shorter than [`reach_of_bitmap`] says.
pub(crate) fn dirty_bitmap(
    fd: BorrowedFd<'_>,
    arg: &mut sys::iommu_hwpt_get_dirty_bitmap,
    bitmap: &mut [u64],
) -> Result<(), Errno> {
    // The kernel takes the lowest bit that is set; there is only one.
    if !arg.page_size.is_power_of_two() {
        return Err(Errno::INVAL);
    }
    let reach = reach_of_bitmap(arg.length.div_ceil(arg.page_size));
    arg.data = address_of_mut(bitmap);
    if !bitmap
        .as_ptr()
        .addr()
        .is_multiple_of(rustix::param::page_size())
        || reach.is_none_or(|reach| size_of_val(bitmap) < reach)
    {
        return Err(Errno::FAULT);
    }
    // SAFETY: the kernel sets bits in pages of which the first begins with the exclusively borrowed
    // slice and the last ends with it or before, as was checked; and that only until it returns.
    // Any bits are a valid word.
    unsafe { issue(fd, &nr::HWPT_GET_DIRTY_BITMAP, arg) }
}

/// A slice never has more elements than a `u32` counts where the kernel takes one: if it had, the
/// kernel would see fewer, which is harmless.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn address_of<T>(slice: &[T]) -> u64 {
    slice.as_ptr().expose_provenance() as u64
}

fn address_of_mut<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr().expose_provenance() as u64
}

/// # Safety
/// Every address in `arg` must be good for what the kernel does with it for this ioctl.
#[inline]
unsafe fn issue<T: SizedArg>(
    fd: BorrowedFd<'_>,
    ioctl: &Ioctl<T>,
    arg: &mut T,
) -> Result<(), Errno> {
    write_size(arg);
    #[cfg(test)]
    if let Some(answer) = script::answer(ioctl.request(), arg.as_mut_bytes()) {
        return answer;
    }
    let call = Call {
        opcode: ioctl.request() as Opcode,
        arg,
    };
    // SAFETY: the number belongs to the argument's type, as the typed description says; the
    // argument's `size` is its own; what it points to is the caller's promise. On a file that is
    // no iommufd the numbers are VFIO's type, and a context is only made of a file that answered
    // as an iommufd does.
    unsafe { rustix::ioctl::ioctl(fd, call) }
}

/// An ioctl with the number and argument of a typed description.
struct Call<'a, T> {
    opcode: Opcode,
    arg: &'a mut T,
}

// SAFETY:
// - `as_ptr` is the exclusively borrowed argument, so the kernel may write to it;
// - `IS_MUTATING` is true, so nothing is assumed of its contents afterwards;
// - the output is nothing, so no pointer is read back.
unsafe impl<T> rustix::ioctl::Ioctl for Call<'_, T> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.arg).cast()
    }

    unsafe fn output_from_ptr(
        _output: IoctlOutput,
        _argument: *mut c_void,
    ) -> rustix::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use memmap2::MmapMut;
    use zerocopy::FromBytes;

    use super::*;

    #[test]
    fn what_the_kernel_has_not_filled_in_is_no_file() {
        // SAFETY: the number of no file, so there is nothing that somebody else could own.
        let taken = unsafe { new_file(NO_FILE) };
        assert_eq!(taken.unwrap_err(), Errno::BADF);
    }

    #[test]
    fn a_dirty_bitmap_that_the_kernel_could_write_past_is_refused_before_the_ioctl() {
        let page = rustix::param::page_size();
        assert_eq!(reach_of_bitmap(1), Some(2 * page));
        assert_eq!(reach_of_bitmap(8 * page as u64), Some(2 * page));
        assert_eq!(reach_of_bitmap(8 * page as u64 + 1), Some(3 * page));

        let file = File::open("/dev/null").unwrap();
        let mut map = MmapMut::map_anon(3 * page).unwrap();
        let words = <[u64]>::mut_from_bytes(&mut map).unwrap();
        let in_page = page / size_of::<u64>();
        let ask = |words: &mut [u64], bits: u64| {
            let mut arg = sys::iommu_hwpt_get_dirty_bitmap::sized();
            arg.page_size = 4096;
            arg.length = 4096 * bits;
            dirty_bitmap(file.as_fd(), &mut arg, words)
        };
        assert_eq!(ask(&mut words[..2 * in_page - 1], 1), Err(Errno::FAULT));
        assert_eq!(ask(&mut words[1..], 1), Err(Errno::FAULT));
        let most = 8 * page as u64;
        assert_eq!(ask(&mut words[..2 * in_page], most + 1), Err(Errno::FAULT));
        // The file knows of no such ioctl: it was asked.
        assert_eq!(ask(&mut words[..2 * in_page], most), Err(Errno::NOTTY));
        assert_eq!(ask(words, most + 1), Err(Errno::NOTTY));
    }
}
