//! The regions of a device: what they are, and reading and writing them by system call.

mod kind;
#[cfg(test)]
mod platform;
mod rom;
#[cfg(fuzzing)]
pub(crate) use self::rom::images_in;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bitflags::bitflags;
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::io::{Errno, retry_on_intr};

pub use self::kind::RegionKind;
pub use self::rom::{ExpansionRom, RomCode, RomImage};
use crate::bound::Bound;
use crate::capability::{self, BrokenChain};
use crate::cause;
use crate::error::{Error, Result};
use crate::holders::{Hold, Kind};
use crate::query::{malformed, query};
use crate::switches;
use iommufd::volatile::Word;

/// Which region of a device: its index never depends on what other regions there are.
///
/// The constants are for PCI functions, and so are the names that messages have. Of other devices they
/// are numbers alone: a platform device has a region for each range that firmware names, in that order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionIndex(u32);

impl RegionIndex {
    /// Base address register 0 of a PCI function.
    pub const BAR0: Self = Self(sys::VFIO_PCI_BAR0_REGION_INDEX);
    /// Base address register 1 of a PCI function; absent behind a 64-bit BAR 0.
    pub const BAR1: Self = Self(sys::VFIO_PCI_BAR1_REGION_INDEX);
    /// Base address register 2 of a PCI function.
    pub const BAR2: Self = Self(sys::VFIO_PCI_BAR2_REGION_INDEX);
    /// Base address register 3 of a PCI function; absent behind a 64-bit BAR 2.
    pub const BAR3: Self = Self(sys::VFIO_PCI_BAR3_REGION_INDEX);
    /// Base address register 4 of a PCI function.
    pub const BAR4: Self = Self(sys::VFIO_PCI_BAR4_REGION_INDEX);
    /// Base address register 5 of a PCI function; absent behind a 64-bit BAR 4.
    pub const BAR5: Self = Self(sys::VFIO_PCI_BAR5_REGION_INDEX);
    /// The expansion ROM of a PCI function.
    pub const ROM: Self = Self(sys::VFIO_PCI_ROM_REGION_INDEX);
    /// The configuration space of a PCI function.
    pub const CONFIG: Self = Self(sys::VFIO_PCI_CONFIG_REGION_INDEX);
    /// The legacy VGA ranges of a PCI function, at the offsets that are their addresses: memory
    /// from `0xa0000` to before `0xc0000`, ports from `0x3b0` to before `0x3bc` and from `0x3c0` to
    /// before `0x3e0`. Between them nothing can be read or written (`EINVAL`).
    pub const VGA: Self = Self(sys::VFIO_PCI_VGA_REGION_INDEX);

    /// The region with this number: from 9 on, a PCI function's regions are specific to its
    /// driver, and [`RegionInfo::kind`] says what they are.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RegionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(bar) if bar < sys::VFIO_PCI_ROM_REGION_INDEX => write!(f, "BAR{bar}"),
            Self::ROM => f.write_str("ROM"),
            Self::CONFIG => f.write_str("configuration space"),
            Self::VGA => f.write_str("VGA region"),
            Self(index) => write!(f, "region {index}"),
        }
    }
}

impl fmt::Debug for RegionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionIndex({}: {self})", self.0)
    }
}

bitflags! {
    /// What can be done with a region.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct RegionFlags: u32 {
        /// It can be read.
        const READ = sys::VFIO_REGION_INFO_FLAG_READ;
        /// It can be written.
        const WRITE = sys::VFIO_REGION_INFO_FLAG_WRITE;
        /// It can be mapped, all of it or [in parts](RegionInfo::mappable).
        const MMAP = sys::VFIO_REGION_INFO_FLAG_MMAP;
        /// Capabilities follow the answer.
        const CAPS = sys::VFIO_REGION_INFO_FLAG_CAPS;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// A part of a region, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Area {
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub size: u64,
}

/// What a region is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionInfo {
    /// Which region.
    pub index: RegionIndex,
    /// What can be done with it.
    pub flags: RegionFlags,
    /// Its length in bytes.
    pub size: u64,
    /// The parts that can be mapped, if it can be mapped in parts only.
    pub sparse: Option<Vec<Area>>,
    /// What it is, for a region that is specific to its driver.
    pub kind: Option<RegionKind>,
    /// Whether the part that holds the MSI-X table can be mapped as well. Since Linux 4.16.
    pub msix_mappable: bool,
    /// Where it begins in the device's file.
    pub(crate) file_offset: u64,
}

impl RegionInfo {
    /// # Errors
    /// [`Error::NoRegion`], if the kernel knows no such index, or gives it no size.
    pub(crate) fn of(bound: &Bound, index: RegionIndex) -> Result<Self> {
        let ioctl = &nr::DEVICE_GET_REGION_INFO;
        let mut question = sys::vfio_region_info::sized();
        question.index = index.get();
        let answer = match query(bound, ioctl, &question) {
            Err(error) if error.errno() == Some(Errno::INVAL) => {
                return Err(Error::NoRegion { index });
            }
            answer => answer?,
        };
        let head = answer
            .head()
            .ok_or(malformed(ioctl.name(), "shorter than its own head"))?;
        let info =
            Self::parse(answer.bytes(), &head, index).map_err(|reason| Error::BrokenChain {
                operation: ioctl.name(),
                reason,
            })?;
        match info.size {
            0 => Err(Error::NoRegion { index }),
            _ => Ok(info),
        }
    }

    fn parse(
        answer: &[u8],
        head: &sys::vfio_region_info,
        index: RegionIndex,
    ) -> Result<Self, BrokenChain> {
        let mut info = Self {
            index,
            flags: RegionFlags::from_bits_retain(head.flags),
            size: head.size,
            sparse: None,
            kind: None,
            msix_mappable: false,
            file_offset: head.offset,
        };
        // The kernel fills in the offset only along with the flag.
        if !info.flags.contains(RegionFlags::CAPS) {
            return Ok(info);
        }
        for capability in capability::chain(answer, size_of_val(head), head.cap_offset)? {
            match u32::from(capability.id) {
                sys::VFIO_REGION_INFO_CAP_SPARSE_MMAP => {
                    type Head = sys::vfio_region_info_cap_sparse_mmap;
                    type Raw = sys::vfio_region_sparse_mmap_area;
                    let count = capability.read::<Head>()?.nr_areas;
                    let areas = capability.array::<Head, Raw>(count)?;
                    let areas = areas.iter().map(|raw| Area {
                        offset: raw.offset,
                        size: raw.size,
                    });
                    info.sparse = Some(areas.collect());
                }
                sys::VFIO_REGION_INFO_CAP_TYPE => {
                    let raw: sys::vfio_region_info_cap_type = capability.read()?;
                    info.kind = Some(RegionKind {
                        kind: raw.type_,
                        subkind: raw.subtype,
                    });
                }
                sys::VFIO_REGION_INFO_CAP_MSIX_MAPPABLE => info.msix_mappable = true,
                // Of a newer kernel, or of hardware that is gone.
                _ => {}
            }
        }
        Ok(info)
    }

    /// The parts that can be mapped: all of it, some areas, or nothing.
    #[must_use]
    pub fn mappable(&self) -> Vec<Area> {
        if !self.flags.contains(RegionFlags::MMAP) {
            return Vec::new();
        }
        match &self.sparse {
            Some(areas) => areas.clone(),
            None => vec![Area {
                offset: 0,
                size: self.size,
            }],
        }
    }

    /// Refuses what is not all in the region.
    pub(crate) fn check(&self, offset: u64, len: u64) -> Result<()> {
        let Self { index, size, .. } = *self;
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(Error::OutOfBounds {
                index,
                offset,
                len,
                size,
            }),
        }
    }

    /// Refuses a word that is not all in the region, or not aligned in it.
    pub(crate) fn check_word<W: Word>(&self, offset: u64) -> Result<()> {
        let width = size_of::<W>() as u64;
        if !offset.is_multiple_of(width) {
            return Err(Error::Misaligned {
                index: self.index,
                offset,
                width,
            });
        }
        self.check(offset, width)
    }
}

impl fmt::Display for RegionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let can = |flag, letter| {
            if self.flags.contains(flag) {
                letter
            } else {
                '-'
            }
        };
        write!(
            f,
            "{}: {:#x} bytes, {}{}{}",
            self.index,
            self.size,
            can(RegionFlags::READ, 'r'),
            can(RegionFlags::WRITE, 'w'),
            can(RegionFlags::MMAP, 'm')
        )
    }
}

/// An open region, read and written by one system call an access: what always works, where
/// [`BarMapping`](crate::BarMapping) is what is fast.
///
/// It holds the device open.
///
/// # System calls
/// `VFIO_DEVICE_GET_INFO` and `VFIO_DEVICE_GET_REGION_INFO` to open one; `pread64` and `pwrite64`.
#[derive(Debug, Clone)]
pub struct Region {
    hold: Hold,
    info: RegionInfo,
}

impl Region {
    pub(crate) fn open(bound: &Arc<Bound>, index: RegionIndex) -> Result<Self> {
        let info = RegionInfo::of(bound, index)?;
        Ok(Self::new(Hold::new(bound, Kind::Region), info))
    }

    pub(crate) fn new(hold: Hold, info: RegionInfo) -> Self {
        Self { hold, info }
    }

    /// What it is.
    #[must_use]
    pub fn info(&self) -> &RegionInfo {
        &self.info
    }

    /// The length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.info.size
    }

    /// Reads the register at byte `offset`, in one access. A `u64` is two accesses of 32 bits in
    /// configuration space, and everywhere on older kernels.
    ///
    /// # Errors
    /// As for [`read_bytes`](Self::read_bytes); [`Error::Misaligned`] if the width does
    /// not divide the offset.
    pub fn read<W: Word>(&self, offset: u64) -> Result<W> {
        self.info.check_word::<W>(offset)?;
        let mut word = W::new_zeroed();
        self.read_bytes(offset, word.as_mut_bytes())?;
        Ok(word)
    }

    /// Writes the register at byte `offset`, in one access as in [`read`](Self::read).
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write<W: Word>(&self, offset: u64, value: W) -> Result<()> {
        self.info.check_word::<W>(offset)?;
        self.write_bytes(offset, value.as_bytes())
    }

    /// Reads `out.len()` bytes from byte `offset` on; the kernel chooses the width of the accesses.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]. `EIO`: the device does not answer, as its memory decoding is
    /// off. `EINVAL`: the region cannot be read. [`Error::ShortTransfer`]: the kernel read less
    /// than all. [`iommufd::Error::Forked`].
    pub fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let position = self.position(offset, out.len() as u64)?;
        let asked = out.len();
        let fd = self.hold.bound().fd()?;
        let moved = retry_on_intr(|| rustix::io::pread(fd, &mut *out, position))
            .map_err(|errno| refused("pread", errno))?;
        whole("pread", self.info.index, offset, asked, moved)
    }

    /// Writes `bytes` from byte `offset` on; the kernel chooses the width of the accesses.
    ///
    /// In the configuration space of a PCI function some writes [revoke](crate::Revocation) mapped
    /// registers: they wait for accesses that are under way.
    ///
    /// # Errors
    /// As for [`read_bytes`](Self::read_bytes). In configuration space [`Error::AccessHeld`], if it would
    /// take mapped registers away of which this thread holds an access; and [`Error::Malformed`], if it
    /// is the first write, and the function does not answer.
    pub fn write_bytes(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let position = self.position(offset, bytes.len() as u64)?;
        let fd = self.hold.bound().fd()?;
        if self.info.index != RegionIndex::CONFIG {
            return self.write_at(fd, position, offset, bytes);
        }
        let write = switches::Write::begin(self, offset, bytes)?;
        let written = self.write_at(fd, position, offset, bytes);
        write.end(written.is_ok());
        written
    }

    /// Writes `bytes`, of which it has been checked that they may be, to byte `offset`, which is at
    /// `position` in the file.
    fn write_at(&self, fd: BorrowedFd<'_>, position: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        let moved = retry_on_intr(|| rustix::io::pwrite(fd, bytes, position))
            .map_err(|errno| refused("pwrite", errno))?;
        whole("pwrite", self.info.index, offset, bytes.len(), moved)
    }

    pub(crate) fn bound(&self) -> &Bound {
        self.hold.bound()
    }

    /// Where in the file the `len` bytes at `offset` are.
    fn position(&self, offset: u64, len: u64) -> Result<u64> {
        self.info.check(offset, len)?;
        // A file offset that files do not have is the kernel's mistake.
        let end = self.info.file_offset.checked_add(self.info.size);
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(malformed(
                nr::DEVICE_GET_REGION_INFO.name(),
                "past the end of any file",
            ));
        }
        Ok(self.info.file_offset.saturating_add(offset))
    }
}

/// Refuses a transfer of less than was asked for.
fn whole(
    operation: &'static str,
    index: RegionIndex,
    offset: u64,
    asked: usize,
    moved: usize,
) -> Result<()> {
    if moved == asked {
        return Ok(());
    }
    Err(Error::ShortTransfer {
        operation,
        index,
        offset,
        asked,
        moved,
    })
}

fn refused(operation: &'static str, errno: Errno) -> Error {
    iommufd::KernelError::new(operation, errno, cause::of_access(errno)).into()
}

/// What an answer of these bytes says of a region.
#[cfg(fuzzing)]
pub(crate) fn answered(answer: &[u8]) -> Option<RegionInfo> {
    let (head, _) = zerocopy::FromBytes::read_from_prefix(answer).ok()?;
    RegionInfo::parse(answer, &head, RegionIndex::BAR0).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    pub(crate) fn info(size: u64, file_offset: u64) -> RegionInfo {
        let mut head = sys::vfio_region_info::sized();
        head.size = size;
        head.offset = file_offset;
        head.flags = 7;
        RegionInfo::parse(head.as_bytes(), &head, RegionIndex::BAR0).unwrap()
    }

    #[test]
    fn indexes_have_names() {
        assert_eq!(RegionIndex::BAR5.to_string(), "BAR5");
        assert_eq!(RegionIndex::VGA.get(), 8);
        assert_eq!(RegionIndex::new(7), RegionIndex::CONFIG);
        assert_eq!(RegionIndex::new(9).to_string(), "region 9");
        assert_eq!(info(0x1000, 0).to_string(), "BAR0: 0x1000 bytes, rwm");
    }

    #[test]
    fn p13_what_is_outside_of_the_region_is_refused() {
        let bar = info(0x1000, 2 << 40);
        for (offset, len) in [(0, 0x1000), (0xffc, 4), (0x1000, 0)] {
            bar.check(offset, len).unwrap();
        }
        for (offset, len) in [(0xffd, 4), (0x1000, 1), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(matches!(
                bar.check(offset, len),
                Err(Error::OutOfBounds { .. })
            ));
        }
        bar.check_word::<u64>(0xff8).unwrap();
        assert!(matches!(
            bar.check_word::<u64>(0xffc),
            Err(Error::Misaligned { .. })
        ));
        assert!(matches!(
            bar.check_word::<u32>(0x1000),
            Err(Error::OutOfBounds { .. })
        ));
    }

    #[test]
    fn p20_a_short_transfer_is_an_error() {
        whole("pread", RegionIndex::BAR0, 8, 4, 4).unwrap();
        for moved in [0, 3] {
            let error = whole("pread", RegionIndex::BAR0, 8, 4, moved).unwrap_err();
            assert!(matches!(error, Error::ShortTransfer { asked: 4, .. }));
        }
    }

    #[test]
    fn capabilities_say_what_can_be_mapped() {
        let mut head = sys::vfio_region_info::sized();
        head.flags = 15;
        head.size = 0x4000;
        head.cap_offset = 32;
        let header = |id, next| sys::vfio_info_cap_header {
            id,
            version: 1,
            next,
        };
        let sparse = sys::vfio_region_info_cap_sparse_mmap {
            header: header(1, 80),
            nr_areas: 2,
            reserved: 0,
            areas: [],
        };
        let area = |offset, size| sys::vfio_region_sparse_mmap_area { offset, size };
        let kind = sys::vfio_region_info_cap_type {
            header: header(2, 96),
            type_: 7,
            subtype: 8,
        };
        let answer = [
            head.as_bytes(),
            sparse.as_bytes(),
            area(0, 0x1000).as_bytes(),
            area(0x3000, 0x1000).as_bytes(),
            kind.as_bytes(),
            header(3, 104).as_bytes(),
            header(99, 0).as_bytes(),
        ]
        .concat();
        let info = RegionInfo::parse(&answer, &head, RegionIndex::BAR2).unwrap();
        assert_eq!(
            info.mappable(),
            [
                Area {
                    offset: 0,
                    size: 0x1000
                },
                Area {
                    offset: 0x3000,
                    size: 0x1000
                }
            ]
        );
        assert_eq!(
            info.kind,
            Some(RegionKind {
                kind: 7,
                subkind: 8
            })
        );
        assert!(info.msix_mappable);
        assert!(RegionInfo::parse(&answer[..60], &head, RegionIndex::BAR2).is_err());
    }

    #[test]
    fn p12_whatever_the_kernel_answers_is_information_or_an_error() {
        let mut random = crate::random::Random::new(6);
        for _ in 0..50_000 {
            let mut answer = vec![0; 32];
            answer.extend(random.bytes(96));
            // Offsets that are small, so that some chains hold together.
            for place in (36..answer.len().saturating_sub(3)).step_by(8) {
                let next = 32 + 8 * random.below(12);
                answer[place..][..4].copy_from_slice(&(next as u32).to_le_bytes());
                answer[place - 4] = random.below(4) as u8;
                answer[place - 3] = 0;
            }
            let mut head = sys::vfio_region_info::sized();
            head.flags = random.below(16) as u32;
            head.size = random.next() >> random.below(64);
            head.cap_offset = 8 * random.below(16) as u32;
            let Ok(info) = RegionInfo::parse(&answer, &head, RegionIndex::BAR0) else {
                continue;
            };
            assert_eq!(info.size, head.size);
            let room = answer.len() / size_of::<Area>();
            assert!(info.mappable().len() <= room.max(1));
        }
    }

    #[test]
    fn a_region_without_the_flag_is_not_mappable() {
        let mut region = info(0x1000, 0);
        assert_eq!(
            region.mappable(),
            [Area {
                offset: 0,
                size: 0x1000
            }]
        );
        region.flags.remove(RegionFlags::MMAP);
        assert_eq!(region.mappable(), []);
    }
}
