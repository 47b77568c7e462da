//! Mapping memory into an address space.

// UNSAFETY: tells the kernel where the memory of a mapping is.
#![expect(
    unsafe_code,
    reason = "issues IOMMU_IOAS_MAP and its like for memory that the ledger holds"
)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::{Description, iommufd as nr};
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

use crate::address::{Iova, IovaRange};
use crate::cause;
use crate::context::Notices;
use crate::copy::MappingSlice;
use crate::error::{Error, Result};
use crate::file::{self, FileRange, WriteClaim};
use crate::funnel;
use crate::ioas::{Ioas, IoasInner};
use crate::ledger::{Begun, Held, Ledger};
use crate::mapping::Mapping;
use crate::memory::DmaSlice;

/// What a device may do with mapped memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// The device reads: memory to device.
    Read,
    /// The device writes: device to memory. (Some IOMMUs let it read as well.)
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    fn flags(self) -> u32 {
        match self {
            Self::Read => sys::IOMMU_IOAS_MAP_READABLE,
            Self::Write => sys::IOMMU_IOAS_MAP_WRITEABLE,
            Self::ReadWrite => sys::IOMMU_IOAS_MAP_READABLE | sys::IOMMU_IOAS_MAP_WRITEABLE,
        }
    }
}

/// Mapping memory.
impl Ioas {
    /// Maps memory at an address that the kernel chooses.
    ///
    /// The address space holds the memory until the kernel has confirmed the unmap: by
    /// [`Mapping::unmap`] or its drop, by [`unmap_all`](Ioas::unmap_all), or with the address
    /// space itself.
    ///
    /// While no page table or device uses the address space, nothing is pinned: memory that
    /// cannot be pinned is then found out by the attach.
    ///
    /// # Errors
    /// `ENOSPC`: no free range is long enough. `EINVAL`: the length, or the place in its page, is
    /// not a multiple of [`IovaRanges::alignment`](crate::IovaRanges::alignment). `EFAULT`: the
    /// memory cannot be pinned; the kernel answers the same if it has mapped the memory and cannot
    /// write where, so it stays with the address space until [`unmap_all`](Ioas::unmap_all), and is
    /// counted ([`Leaks::mappings`](crate::Leaks::mappings)). [`Error::LockedMemory`] (`ENOMEM`).
    /// [`Error::Empty`]. [`Error::ReadOnlyRefused`], before the kernel is asked, of memory that
    /// devices may only read. [`Error::Forked`], also for memory of the parent's that a fork does
    /// not copy, as that of [`DmaBuffer::memfd`](crate::DmaBuffer::memfd).
    #[doc(alias = "IOMMU_IOAS_MAP")]
    pub fn map(&self, memory: impl Into<DmaSlice>, access: Access) -> Result<Mapping> {
        self.map_memory(memory.into(), None, access)
    }

    /// Maps memory at `iova`.
    ///
    /// # Errors
    /// `EEXIST`: something is mapped there. `EINVAL`: also if the addresses are not all in
    /// [`iova_ranges`](Ioas::iova_ranges). `EOVERFLOW`: the end passes the address space's. `EFAULT`:
    /// the memory cannot be pinned; whatever the kernel has mapped all the same is unmapped again,
    /// and only if it keeps that, the memory stays, as after [`map`](Ioas::map). Else as for
    /// [`map`](Ioas::map).
    #[doc(alias = "IOMMU_IOAS_MAP_FIXED_IOVA")]
    pub fn map_at(
        &self,
        iova: Iova,
        memory: impl Into<DmaSlice>,
        access: Access,
    ) -> Result<Mapping> {
        self.map_memory(memory.into(), Some(iova), access)
    }

    /// Maps pages of a file at an address that the kernel chooses; it keeps the file itself.
    ///
    /// This is safe for any file that this process may write, as writing to one is: whoever makes
    /// a slice of a file's pages (`memmap2`'s `unsafe fn map`) promises that nobody writes to the
    /// file meanwhile, and a device is one more who may. (The kernel lets devices write to files
    /// that are open for reading only, or sealed; the SDK does not.) The file of a
    /// [`DmaBuffer`](crate::DmaBuffer) is never lent, so its slices are safe from this.
    ///
    /// As long as it is mapped to be written, a memfd cannot be sealed against writing (`EBUSY`).
    ///
    /// Since Linux 6.13 for a memfd, 6.19 for a dma-buf.
    ///
    /// # Errors
    /// `EINVAL`: the file is no memfd or dma-buf, or the range passes its end (found out only
    /// when pages are pinned). [`Error::NotWritable`]. [`Error::Unsupported`] before Linux 6.13.
    /// Else as for [`map`](Ioas::map).
    #[doc(alias = "IOMMU_IOAS_MAP_FILE")]
    pub fn map_file(&self, file: FileRange<'_>, access: Access) -> Result<Mapping> {
        self.map_foreign_file(file, None, access)
    }

    /// Maps pages of a file at `iova`.
    ///
    /// # Errors
    /// As for [`map_file`](Ioas::map_file) and [`map_at`](Ioas::map_at).
    pub fn map_file_at(&self, iova: Iova, file: FileRange<'_>, access: Access) -> Result<Mapping> {
        self.map_foreign_file(file, Some(iova), access)
    }

    fn map_memory(&self, slice: DmaSlice, iova: Option<Iova>, access: Access) -> Result<Mapping> {
        let place = Place::new(slice.len() as u64, iova, access)?;
        let ioas = &self.inner;
        // Asked of the memory, which is the user's code, before the ledger knows of the map.
        slice.memory().check_process()?;
        let address = slice.address();
        // SAFETY: the descriptor is lent for this one mapping, which the ledger records with the
        // memory.
        let file = unsafe { slice.file() };
        if let Some((file, start)) = file
            && !ioas.context().lacks_map_file.load(Ordering::Relaxed)
        {
            let held = Held::MemoryFile(Arc::clone(slice.memory()));
            match ioas.record(&place, holding(held, access), |notices| {
                // SAFETY: the ledger has an entry with the memory whose pages these are, and keeps it
                // as it keeps memory that is mapped by its address: see below. `slice` lies within it.
                unsafe { ioas.issue_file(&place, file, start, notices) }
            }) {
                // A kernel from before 6.13: the same pages have an address as well.
                Err(Error::Unsupported { .. }) => {
                    ioas.context().lacks_map_file.store(true, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
        let held = Held::Memory(slice.into_memory());
        ioas.record(&place, holding(held, access), |notices| {
            // SAFETY: the ledger has an entry with the memory, and keeps it until the kernel has
            // confirmed that this mapping or the address space is gone. `DmaMemory` promises that
            // memory which is alive stays mapped at its address, uncovered by references; `slice`
            // lies within it.
            unsafe { ioas.issue_memory(&place, address, notices) }
        })
    }

    fn map_foreign_file(
        &self,
        file: FileRange<'_>,
        iova: Option<Iova>,
        access: Access,
    ) -> Result<Mapping> {
        let place = Place::new(file.len, iova, access)?;
        let held = match access {
            Access::Read if file::is_memfd(file.file) => Held::File(None),
            Access::Read => Held::Nothing,
            Access::Write | Access::ReadWrite => match WriteClaim::on(file.file)? {
                Some(claim) => Held::File(Some(Arc::new(claim))),
                None => Held::Nothing,
            },
        };
        self.inner.record(&place, holding(held, access), |notices| {
            // SAFETY: a file of others, that this process may write if devices shall: whoever makes
            // slices of its pages has promised that nobody writes it. The ledger has an entry with
            // the claim that keeps it from being sealed.
            unsafe {
                self.inner
                    .issue_file(&place, file.file, file.start, notices)
            }
        })
    }

    /// Maps what `source` is a part of.
    pub(crate) fn map_copy(
        &self,
        source: MappingSlice<'_>,
        iova: Option<Iova>,
        access: Access,
    ) -> Result<Mapping> {
        let place = Place::new(source.len(), iova, access)?;
        let range = source.mapping().range();
        let emptied = || Error::Unmapped { range };
        let (from, key) = source.mapping().recorded().ok_or_else(emptied)?;
        self.iommufd().must_be(from.iommufd(), "mapping")?;
        self.inner.record(
            &place,
            |ledger| {
                let begun = ledger.begin_copy(from.ledger(), key, access)?;
                begun.ok_or_else(emptied)
            },
            |notices| {
                // SAFETY: the ledger has an entry with all that the source holds, and keeps it
                // until the kernel has confirmed that this copy or the address space is gone.
                // `source` lies within its mapping, which is mapped and, as `record` is visiting
                // its ledger, stays so.
                unsafe { self.inner.issue_copy(&place, from, source.iova(), notices) }
            },
        )
    }
}

/// A MAP or COPY that the kernel refused.
struct MapRefused {
    ioctl: Description,
    errno: Errno,
}

/// Where to map, and for what.
struct Place {
    flags: u32,
    iova: u64,
    len: u64,
}

impl Place {
    fn new(len: u64, iova: Option<Iova>, access: Access) -> Result<Self> {
        if len == 0 {
            return Err(Error::Empty { what: "mapping" });
        }
        let fixed = match iova {
            Some(_) => sys::IOMMU_IOAS_MAP_FIXED_IOVA,
            None => 0,
        };
        Ok(Self {
            flags: access.flags() | fixed,
            iova: iova.unwrap_or_default().get(),
            len,
        })
    }

    /// The addresses, if the kernel does not choose them.
    fn fixed(&self) -> Option<IovaRange> {
        let fixed = self.flags & sys::IOMMU_IOAS_MAP_FIXED_IOVA != 0;
        fixed.then(|| IovaRange::saturating(Iova::new(self.iova), self.len))
    }
}

impl IoasInner {
    /// Lets `begin` record what is to be mapped, and `issue` ask the kernel; keeps the record if
    /// it agreed. What `begin` visits is visited until the kernel has answered.
    #[inline]
    fn record<'s>(
        self: &Arc<Self>,
        place: &Place,
        begin: impl FnOnce(&Ledger) -> Result<Begun<'s>>,
        issue: impl FnOnce(&mut Notices<'_>) -> Result<Iova, MapRefused>,
    ) -> Result<Mapping> {
        self.context().check_process()?;
        // Dropped after the notices: so an observer hears of things in their order.
        let _released: Held;
        let mut notices = self.context().notices();
        let (entry, visit) = begin(self.ledger())?;
        let answer = issue(&mut notices);
        drop(visit);
        match answer {
            Ok(iova) => {
                let range = IovaRange::saturating(iova, place.len);
                let kept = self.ledger().mapped(&entry, range);
                self.context().memories_stay(kept);
                Ok(Mapping::new(self, entry, range))
            }
            // The kernel answers so as well when it has mapped the memory and could not say where.
            Err(refused) if refused.errno == Errno::FAULT => {
                let held = self.undo_unanswered(entry, place.fixed(), &mut notices);
                let stays = held.is_none();
                _released = held.unwrap_or(Held::Nothing);
                drop(notices);
                let error = self.explain(place, &refused);
                if stays {
                    self.context().mapping_stays(&error);
                }
                Err(error)
            }
            Err(refused) => {
                _released = self.ledger().not_mapped(entry);
                drop(notices);
                Err(self.explain(place, &refused))
            }
        }
    }

    /// # Safety
    /// As for [`funnel::ioas_map`], for the `place.len` bytes at `address`.
    #[inline]
    unsafe fn issue_memory(
        &self,
        place: &Place,
        address: u64,
        notices: &mut Notices<'_>,
    ) -> Result<Iova, MapRefused> {
        let mut arg = sys::iommu_ioas_map::sized();
        arg.flags = place.flags;
        arg.ioas_id = self.id();
        arg.user_va = address;
        arg.length = place.len;
        arg.iova = place.iova;
        let context = self.context();
        let answer = context.noted(&nr::IOAS_MAP, notices, || {
            // SAFETY: the caller promises it.
            unsafe { funnel::ioas_map(context.fd(), &mut arg) }
        });
        answered(nr::IOAS_MAP.describe(), answer, arg.iova)
    }

    /// # Safety
    /// The `place.len` bytes from `start` on in `file` are not covered by a Rust reference until the
    /// kernel has confirmed that the mapping, or its address space, is gone; or whoever has the
    /// reference has promised by himself that nobody writes to the file. If devices are to write
    /// them, this process may.
    unsafe fn issue_file(
        &self,
        place: &Place,
        file: BorrowedFd<'_>,
        start: u64,
        notices: &mut Notices<'_>,
    ) -> Result<Iova, MapRefused> {
        let mut arg = sys::iommu_ioas_map_file::sized();
        arg.flags = place.flags;
        arg.ioas_id = self.id();
        arg.fd = file.as_raw_fd();
        arg.start = start;
        arg.length = place.len;
        arg.iova = place.iova;
        let context = self.context();
        let answer = context.noted(&nr::IOAS_MAP_FILE, notices, || {
            funnel::plain(context.fd(), &nr::IOAS_MAP_FILE, &mut arg)
        });
        answered(nr::IOAS_MAP_FILE.describe(), answer, arg.iova)
    }

    /// # Safety
    /// As for [`funnel::ioas_copy`], for the `place.len` bytes at `start` in `source`.
    unsafe fn issue_copy(
        &self,
        place: &Place,
        source: &Self,
        start: Iova,
        notices: &mut Notices<'_>,
    ) -> Result<Iova, MapRefused> {
        let mut arg = sys::iommu_ioas_copy::sized();
        arg.flags = place.flags;
        arg.dst_ioas_id = self.id();
        arg.src_ioas_id = source.id();
        arg.length = place.len;
        arg.dst_iova = place.iova;
        arg.src_iova = start.get();
        let context = self.context();
        let answer = context.noted(&nr::IOAS_COPY, notices, || {
            // SAFETY: the caller promises it.
            unsafe { funnel::ioas_copy(context.fd(), &mut arg) }
        });
        answered(nr::IOAS_COPY.describe(), answer, arg.dst_iova)
    }

    /// Makes an error of a refusal: out of memory is told with the limit that may be the cause.
    fn explain(&self, place: &Place, refused: &MapRefused) -> Error {
        match refused.errno {
            Errno::NOMEM => self.context().out_of_memory(refused.ioctl.name, place.len),
            errno => cause::refusal(refused.ioctl, errno),
        }
    }
}

/// Begins to map what is then to be held, and devices have this `access` to.
#[inline]
fn holding<'s>(held: Held, access: Access) -> impl FnOnce(&Ledger) -> Result<Begun<'s>> {
    move |ledger| {
        let key = match access {
            Access::Read => ledger.begin_read_only(held)?,
            Access::Write | Access::ReadWrite => ledger.begin_map(held),
        };
        Ok((key, None))
    }
}

#[inline]
fn answered(ioctl: Description, answer: Result<(), Errno>, iova: u64) -> Result<Iova, MapRefused> {
    match answer {
        Ok(()) => Ok(Iova::new(iova)),
        Err(errno) => Err(MapRefused { ioctl, errno }),
    }
}
