//! Dirty tracking of a page table that the SDK may know nothing of, and what the SDK does not ask for.

// UNSAFETY: tells the kernel the address of a bitmap.
#![expect(unsafe_code, reason = "issues the ioctl")]

use std::os::fd::AsFd;

use iommufd::IovaRange;
use iommufd_sys::ioctl::{SizedArg, iommufd as nr, write_size};
use iommufd_sys::iommufd as sys;
use memmap2::MmapMut;
use rustix::io::Errno;

use crate::at::PAGE;

/// Begins to track what devices write through the page table `hwpt`.
///
/// # Errors
/// The kernel's.
pub fn track_dirty(fd: &impl AsFd, hwpt: u32) -> Result<(), Errno> {
    set_tracking(fd, hwpt, sys::IOMMU_HWPT_DIRTY_TRACKING_ENABLE)
}

/// Begins or ends the tracking of the page table `hwpt`, as `flags` say.
///
/// # Errors
/// The kernel's.
pub fn set_tracking(fd: &impl AsFd, hwpt: u32, flags: u32) -> Result<(), Errno> {
    let mut arg = sys::iommu_hwpt_set_dirty_tracking::sized();
    arg.flags = flags;
    arg.hwpt_id = hwpt;
    super::sized(fd, &nr::HWPT_SET_DIRTY_TRACKING, &mut arg)
}

/// A request for dirty bits, which need not make sense.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    /// The page table.
    pub hwpt: u32,
    /// Of `IOMMU_HWPT_GET_DIRTY_BITMAP_*`.
    pub flags: u32,
    /// Has to be 0.
    pub reserved: u32,
    /// Where to begin.
    pub iova: u64,
    /// How many bytes to look at.
    pub length: u64,
    /// How many bytes a bit stands for. Of several bits in this number, the kernel goes by the lowest.
    pub page_size: u64,
}

impl Request {
    /// For all of `range`, a bit for each `page_size` bytes. What is reported is clean from then on.
    #[must_use]
    pub fn of(hwpt: u32, range: IovaRange, page_size: u64) -> Self {
        Self {
            hwpt,
            iova: range.start().get(),
            length: range.len().unwrap(),
            page_size,
            ..Self::default()
        }
    }

    /// The same, but that what is reported stays dirty.
    #[must_use]
    pub fn keeping(self) -> Self {
        Self {
            flags: self.flags | sys::IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
            ..self
        }
    }

    /// How many bytes a bit stands for in truth.
    #[must_use]
    pub fn granule(&self) -> u64 {
        let lowest = self.page_size & self.page_size.wrapping_neg();
        lowest.max(1)
    }

    /// How many bytes the bits take.
    fn bytes(&self) -> usize {
        let bits = self.length.div_ceil(self.granule());
        usize::try_from(bits.div_ceil(8)).unwrap()
    }

    /// Has the kernel set bits from byte number `at` on, in memory that begins with a page and is full of `filler`.
    /// Returns all of that memory: whatever the kernel writes is in it.
    ///
    /// It sets single bits, but it does so in whole words, of 8 bytes at a multiple of 8: bytes beside a bitmap that begins or
    /// ends elsewhere are read, and written back as they were.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bits_at(&self, fd: &impl AsFd, at: usize, filler: u8) -> Result<Vec<u8>, Errno> {
        let mut memory = MmapMut::map_anon(at + self.bytes() + 2 * PAGE).unwrap();
        memory.fill(filler);
        let data = memory.as_mut_ptr().wrapping_add(at);
        // SAFETY: the kernel sets bits from `data` on. It does so in pages that it has pinned: from that of the first bit
        // that it sets on, as many as the rest of the bits take, and one more. That ends less than two pages behind the
        // last bit, and so in the exclusively borrowed memory.
        unsafe { self.issue(fd, data.expose_provenance() as u64) }?;
        Ok(memory.to_vec())
    }

    /// Gives the kernel an address at which it can write nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bits_nowhere(&self, fd: &impl AsFd) -> Result<(), Errno> {
        // The lowest address that the kernel lets anybody map.
        const LOWEST: usize = 0x1_0000;
        assert!(self.bytes() + 2 * PAGE <= LOWEST);
        // SAFETY: all that the kernel would write to is below that address.
        unsafe { self.issue(fd, 0) }
    }

    /// # Safety
    /// The memory from `data` on is the caller's to be written, as far as [`bits_at`](Self::bits_at) says, or is nobody's.
    unsafe fn issue(&self, fd: &impl AsFd, data: u64) -> Result<(), Errno> {
        let mut arg = sys::iommu_hwpt_get_dirty_bitmap::sized();
        arg.hwpt_id = self.hwpt;
        arg.flags = self.flags;
        arg.__reserved = self.reserved;
        arg.iova = self.iova;
        arg.length = self.length;
        arg.page_size = self.page_size;
        arg.data = data;
        write_size(&mut arg);
        // SAFETY: the caller's promise.
        unsafe { super::issue(fd.as_fd(), &nr::HWPT_GET_DIRTY_BITMAP, &mut arg) }
    }
}
