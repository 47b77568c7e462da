//! Registers, mapped into the process.

// UNSAFETY: accesses memory that it has mapped.
#![expect(unsafe_code, reason = "makes volatile regions of its own mappings")]

use std::fmt;
use std::ptr::NonNull;

use iommufd::KernelError;
use iommufd::volatile::VolatileRegion;
use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;

use crate::cause;
use crate::error::{Error, Result};
use crate::holders::Hold;
use crate::query::malformed;
use crate::region::{Area, RegionFlags, RegionInfo};
use iommufd::volatile::Word;

/// A BAR, or another region, mapped into the process: an access of a register is one machine
/// access of its width, with no system call.
///
/// Where the kernel lets a region be mapped only in parts, accesses outside of these are refused;
/// [`Region`](crate::Region) makes them.
///
/// It holds the device open, and the mapping holds the device's file in the kernel: closing
/// releases nothing as long as it lives.
///
/// # System calls
/// `VFIO_DEVICE_GET_REGION_INFO` and `mmap` to map it, `munmap` when it is dropped; none between.
///
/// # Signals
/// An access while the function's memory decoding is switched off (bit 1 of the command register),
/// or while it is in a low-power state, raises `SIGBUS`, which ends the process. During a reset it
/// waits.
///
/// # Invariants
/// The windows do not overlap, and lie within the region.
pub struct BarMapping {
    // Unmapped before the hold is let go.
    windows: Vec<Window>,
    info: RegionInfo,
    hold: Hold,
}

/// One mapped part of a region.
///
/// # Invariants
/// `words` is exactly the mapping `_map`.
struct Window {
    start: u64,
    words: VolatileRegion,
    _map: MmapRaw,
}

impl BarMapping {
    pub(crate) fn new(hold: Hold, info: RegionInfo) -> Result<Self> {
        // The memory of a window has to be readable and writable.
        let areas = match info.flags.contains(RegionFlags::READ | RegionFlags::WRITE) {
            true => checked(&info, rustix::param::page_size() as u64)?,
            false => Vec::new(),
        };
        if areas.is_empty() {
            return Err(Error::NotMappable { index: info.index });
        }
        let windows = areas
            .iter()
            .map(|area| map(&hold, &info, *area))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            windows,
            info,
            hold,
        })
    }

    /// What the region is.
    #[must_use]
    pub fn info(&self) -> &RegionInfo {
        &self.info
    }

    /// The length of the region in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.info.size
    }

    /// Reads the register at byte `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Misaligned`]; [`Error::NotMapped`] if the kernel does not
    /// let that part be mapped; [`iommufd::Error::Forked`].
    pub fn read<W: Word>(&self, offset: u64) -> Result<W> {
        let (window, offset) = self.word::<W>(offset)?;
        Ok(window.words.read(offset)?)
    }

    /// Writes the register at byte `offset`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        let (window, offset) = self.word::<W>(offset)?;
        Ok(window.words.write(offset, value)?)
    }

    /// Reads a "done" register: what follows in this thread comes after it, so that the memory of
    /// which it speaks is read as the device left it.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn load_acquire<W: Word>(&self, offset: u64) -> Result<W> {
        let (window, offset) = self.word::<W>(offset)?;
        Ok(window.words.load_acquire(offset)?)
    }

    /// Writes a doorbell: what came before in this thread, such as descriptors in memory, is there
    /// for the device to see first.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn store_release<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        let (window, offset) = self.word::<W>(offset)?;
        Ok(window.words.store_release(offset, value)?)
    }

    /// The window that holds the word at `offset`, and where in it.
    fn word<W: Word>(&self, offset: u64) -> Result<(&Window, usize)> {
        // In a child of a fork the registers are the parent's.
        self.hold.bound().iommufd().check_process()?;
        self.info.check_word::<W>(offset)?;
        self.windows
            .iter()
            .find_map(|window| Some((window, window.holds::<W>(offset)?)))
            .ok_or(Error::NotMapped {
                index: self.info.index,
                offset,
            })
    }
}

impl fmt::Debug for BarMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarMapping")
            .field("info", &self.info)
            .field("windows", &self.windows.len())
            .finish_non_exhaustive()
    }
}

impl Window {
    /// Where in the window the word at `offset` of the region is, if all of it is.
    fn holds<W: Word>(&self, offset: u64) -> Option<usize> {
        let within = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let end = within.checked_add(size_of::<W>())?;
        (end <= self.words.len()).then_some(within)
    }
}

/// The areas of `info` that can be mapped, by offset, if they make sense.
fn checked(info: &RegionInfo, page: u64) -> Result<Vec<Area>> {
    let broken = |reason| Err(malformed("VFIO_DEVICE_GET_REGION_INFO", reason));
    let mut areas = info.mappable();
    areas.retain(|area| area.size != 0);
    areas.sort_unstable_by_key(|area| area.offset);
    let mut end = 0;
    for area in &areas {
        if area.offset < end {
            return broken("two areas to map overlap");
        }
        if info.check(area.offset, area.size).is_err() {
            return broken("an area to map is outside of its region");
        }
        // Checked not to overflow, as it is within the region.
        end = area.offset.saturating_add(area.size);
        let Some(position) = info.file_offset.checked_add(area.offset) else {
            return broken("an area to map has no place in the file");
        };
        let last = position.checked_add(area.size);
        if last.is_none_or(|last| i64::try_from(last).is_err()) || !position.is_multiple_of(page) {
            return broken("an area to map has no place in the file");
        }
    }
    Ok(areas)
}

fn map(hold: &Hold, info: &RegionInfo, area: Area) -> Result<Window> {
    let refused = |errno| Error::from(KernelError::new("mmap", errno, cause::of_map(errno)));
    let len = usize::try_from(area.size).map_err(|_| refused(Errno::NOMEM))?;
    let bound = hold.bound();
    let file = bound.fd()?;
    let map = MmapOptions::new()
        .offset(info.file_offset.saturating_add(area.offset))
        .len(len)
        .map_raw(&file)
        .map_err(|error| refused(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)))?;
    let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| refused(Errno::INVAL))?;
    // SAFETY:
    // - `checked` has seen that the place in the file is a whole number of pages, so `base` is
    //   where a page begins, aligned for any word;
    // - `len` bytes are mapped, readable and writable, until `_map` is dropped, which is with the
    //   region that is made here (an access that traps raises a signal);
    // - they are registers, in no allocation of Rust's, and nobody else has the address.
    let words = unsafe { VolatileRegion::new(base, len) };
    // INVARIANT: `words` was made of `map` just now.
    Ok(Window {
        start: area.offset,
        words,
        _map: map,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::tests::info;

    fn sparse(size: u64, areas: &[(u64, u64)]) -> RegionInfo {
        let mut info = info(size, 1 << 40);
        let areas = areas
            .iter()
            .map(|&(offset, size)| Area { offset, size })
            .collect();
        info.sparse = Some(areas);
        info
    }

    #[test]
    fn areas_are_mapped_in_order_and_empty_ones_not_at_all() {
        let info = sparse(0x4000, &[(0x3000, 0x1000), (0x1000, 0), (0, 0x1000)]);
        let areas = checked(&info, 0x1000).unwrap();
        assert_eq!(
            areas.iter().map(|area| area.offset).collect::<Vec<_>>(),
            [0, 0x3000]
        );
        assert!(checked(&sparse(0x4000, &[]), 0x1000).unwrap().is_empty());
    }

    #[test]
    fn areas_that_make_no_sense_are_refused() {
        for areas in [
            &[(0, 0x2000), (0x1000, 0x1000)][..],
            &[(0x3000, 0x1001)],
            &[(0x5000, 0x1000)],
            &[(u64::MAX - 0xfff, 0x1000)],
            &[(0, u64::MAX)],
            &[(0x800, 0x800)],
        ] {
            assert!(
                checked(&sparse(0x4000, areas), 0x1000).is_err(),
                "{areas:x?}"
            );
        }
        assert!(checked(&info(0x1000, u64::MAX - 0xfff), 0x1000).is_err());
        assert!(checked(&info(0x2000, i64::MAX as u64 & !0xfff), 0x1000).is_err());
        assert!(checked(&info(0x1000, 0x800), 0x1000).is_err());
    }

    #[test]
    fn a_word_lies_in_a_window_or_does_not() {
        let map = MmapRaw::from(memmap2::MmapMut::map_anon(0x1000).unwrap());
        let base = NonNull::new(map.as_mut_ptr()).unwrap();
        // SAFETY: a mapping of its own, page-aligned, which the window keeps.
        let words = unsafe { VolatileRegion::new(base, 0x1000) };
        let window = Window {
            start: 0x3000,
            words,
            _map: map,
        };
        assert_eq!(window.holds::<u32>(0x3000), Some(0));
        assert_eq!(window.holds::<u32>(0x3ffc), Some(0xffc));
        for offset in [0, 0x2ffc, 0x3ffd, 0x4000, u64::MAX] {
            assert_eq!(window.holds::<u32>(offset), None);
        }
    }
}
