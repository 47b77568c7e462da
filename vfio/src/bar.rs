//! Registers, mapped into the process.

// UNSAFETY: accesses memory that it has mapped.
#![expect(unsafe_code, reason = "makes volatile regions of its own mappings")]

use std::fmt;
use std::ptr::NonNull;

use iommufd::KernelError;
use iommufd::volatile::VolatileRegion;
use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;

use crate::bar_access::BarAccess;
use crate::cause;
use crate::error::{Error, Result};
use crate::gate::Gate;
#[cfg(doc)]
use crate::gate::Revocation;
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
/// # Revocation
/// While the function's memory decoding is off (bit 1 of the command register), in a low-power
/// state and in D3, the kernel takes the pages away, and an access raises `SIGBUS`, which ends the
/// process. What brings this about through this crate (a reset, a write to configuration space, a
/// low-power state) waits for the accesses that are under way, and makes later ones fail with
/// [`Error::Revoked`] until it is over. The mapping stays, and works again then.
///
/// What others do is not seen: an access raises `SIGBUS` if another process that has the same file
/// switches memory decoding off, or if the device is unplugged by surprise, or its power management is
/// set through sysfs. A physical function that is reset, or has its virtual functions' memory
/// switched off, takes these away without notice: reads answer with ones. While the kernel resets
/// the device for somebody else an access waits. Nor is it seen when a function says of its power
/// state now this, now that, or when a driver with ways of its own (`nvgrace-gpu-vfio-pci`) finds that
/// the device has not come back from a reset.
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
    /// let that part be mapped; [`Error::Revoked`] while it takes the registers away;
    /// [`iommufd::Error::Forked`].
    pub fn read<W: Word>(&self, offset: u64) -> Result<W> {
        let (words, offset) = self.word::<W>(offset)?;
        let _pass = self.gate().enter()?;
        Ok(words.read(offset)?)
    }

    /// Writes the register at byte `offset`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        let (words, offset) = self.word::<W>(offset)?;
        let _pass = self.gate().enter()?;
        Ok(words.write(offset, value)?)
    }

    /// Reads a "done" register: what follows in this thread comes after it, so that the memory of
    /// which it speaks is read as the device left it.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn load_acquire<W: Word>(&self, offset: u64) -> Result<W> {
        let (words, offset) = self.word::<W>(offset)?;
        let _pass = self.gate().enter()?;
        Ok(words.load_acquire(offset)?)
    }

    /// Writes a doorbell: what came before in this thread, such as descriptors in memory, is there
    /// for the device to see first.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn store_release<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        let (words, offset) = self.word::<W>(offset)?;
        let _pass = self.gate().enter()?;
        Ok(words.store_release(offset, value)?)
    }

    /// Copies `out.len()` bytes from byte `offset` on, of memory that the device has behind the
    /// BAR: in words of 64 bits where they are aligned, in bytes else.
    ///
    /// # Errors
    /// As for [`read`](Self::read), but nothing has to be aligned; [`Error::NotMapped`] also for
    /// bytes of which the kernel maps only a part.
    pub fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let (words, offset) = self.range(offset, out.len())?;
        let _pass = self.gate().enter()?;
        Ok(words.read_bytes(offset, out)?)
    }

    /// Copies `bytes` to byte `offset` on, as in [`read_bytes`](Self::read_bytes).
    ///
    /// # Errors
    /// As for [`read_bytes`](Self::read_bytes).
    pub fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let (words, offset) = self.range(offset, bytes.len())?;
        let _pass = self.gate().enter()?;
        Ok(words.write_bytes(offset, bytes)?)
    }

    /// Begins accesses that nothing interrupts: until what is returned is dropped, a reset of the
    /// device and all else that [revokes](Revocation) mapped registers waits.
    ///
    /// It saves each access the question whether it may be made. Keep it for a few accesses that
    /// belong together; what waits for it waits without a limit.
    ///
    /// # Errors
    /// [`Error::Revoked`]; [`iommufd::Error::Forked`].
    pub fn access(&self) -> Result<BarAccess<'_>> {
        self.hold.bound().watch().check_process()?;
        let pass = self.gate().hold()?;
        Ok(BarAccess::new(self, pass))
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.hold.bound().watch().check_process().is_err()
    }

    fn gate(&self) -> &Gate {
        &self.hold.bound().gate
    }

    /// The memory that holds the word at `offset`, and where in it.
    pub(crate) fn word<W: Word>(&self, offset: u64) -> Result<(&VolatileRegion, usize)> {
        self.info.check_word::<W>(offset)?;
        self.range(offset, size_of::<W>())
    }

    /// The memory that holds the `len` bytes at `offset`, and where in it.
    pub(crate) fn range(&self, offset: u64, len: usize) -> Result<(&VolatileRegion, usize)> {
        // In a child of a fork the registers are the parent's.
        self.hold.bound().watch().check_process()?;
        self.info.check(offset, len as u64)?;
        self.windows
            .iter()
            .find_map(|window| Some((&window.words, window.holds(offset, len)?)))
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
    /// Where in the window the `len` bytes at `offset` of the region are, if all of them are.
    fn holds(&self, offset: u64, len: usize) -> Option<usize> {
        let within = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let end = within.checked_add(len)?;
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
        assert_eq!(window.holds(0x3000, 4), Some(0));
        assert_eq!(window.holds(0x3ffc, 4), Some(0xffc));
        for offset in [0, 0x2ffc, 0x3ffd, 0x4000, u64::MAX] {
            assert_eq!(window.holds(offset, 4), None);
        }
    }
}
