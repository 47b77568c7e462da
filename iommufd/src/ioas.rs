//! I/O address spaces: which addresses there are, and how they come and go.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use zerocopy::FromZeros;

use crate::address::{Iova, IovaRange};
use crate::context::{Context, Iommufd, Notices};
use crate::dirty::TrackedTables;
use crate::error::{Error, Refused, Result};
use crate::funnel;
use crate::ledger::Ledger;
use crate::object::{Object, destroy_last, equal_by};

/// More ranges than any machine reserves holes for: an answer that asks for more is not believed.
const MOST_RANGES: usize = 1 << 16;

/// An I/O address space: which IOVA leads to which memory, for every device attached to it.
///
/// Cloning gives another handle of the same address space. It holds the memory that is mapped in
/// it until the kernel has confirmed the unmap, whatever becomes of the [`Mapping`](crate::Mapping)
/// guards; page tables and mappings hold the address space.
///
/// Dropping the last handle destroys it, and unmaps what is left in it: like any unmap that can
/// take long. [`try_destroy`](Self::try_destroy) does the same where waiting is all right, and
/// tells. The kernel refuses at once (`EBUSY`) while an ioctl of somebody else is using it.
///
/// # System calls
/// `IOMMU_IOAS_ALLOC`, `IOMMU_IOAS_IOVA_RANGES`, `IOMMU_IOAS_ALLOW_IOVAS`, `IOMMU_IOAS_MAP`,
/// `IOMMU_IOAS_MAP_FILE`, `IOMMU_IOAS_COPY`, `IOMMU_IOAS_UNMAP`, `IOMMU_IOAS_NOIOMMU_GET_PA` and
/// `IOMMU_DESTROY`, each by the method that is named so; `IOMMU_OPTION` for huge pages, and with
/// `prlimit64` when memory cannot be pinned; `IOMMU_VFIO_IOAS` for [`is_compat`](Self::is_compat);
/// `fcntl` for files of others, and `fstat`, `mmap` and `munmap` for those that devices write.
///
/// Since Linux 6.2.
#[derive(Clone)]
#[doc(alias = "IOMMU_IOAS_ALLOC")]
pub struct Ioas {
    pub(crate) inner: Arc<IoasInner>,
}

impl Ioas {
    /// An empty address space. Until a device is attached every IOVA can be mapped.
    ///
    /// # Errors
    /// `ENOMEM`; [`Error::Forked`].
    pub fn new(iommufd: &Iommufd) -> Result<Self> {
        let mut arg = sys::iommu_ioas_alloc::sized();
        iommufd.context().call(&nr::IOAS_ALLOC, &mut arg)?;
        Ok(Self {
            inner: Arc::new(IoasInner {
                object: Object::new(iommufd, arg.out_ioas_id, KIND),
                ledger: iommufd.context().ledgers.add(),
                layout: Arc::default(),
                tracked: TrackedTables::default(),
            }),
        })
    }

    /// The addresses that can be mapped now, and how they must be aligned.
    ///
    /// Attaching a device, allocating a page table, and undoing either, changes the answer:
    /// [`IovaRanges::is_current`] tells.
    ///
    /// # Errors
    /// `ENOMEM`; [`Error::Forked`].
    #[doc(alias = "IOMMU_IOAS_IOVA_RANGES")]
    pub fn iova_ranges(&self) -> Result<IovaRanges> {
        // Read first: a change during the query makes the answer stale, never current.
        let asked_at = self.inner.layout.load(Ordering::Acquire);
        let context = self.inner.context();
        let (ranges, alignment) = self.inner.usable(&mut context.notices())?;
        Ok(IovaRanges {
            ranges,
            alignment,
            changes: Arc::clone(&self.inner.layout),
            asked_at,
        })
    }

    /// Keeps the kernel to these addresses: it chooses IOVAs only in `ranges`, and refuses a
    /// device that needs one of them for itself. No ranges at all allow every address again.
    ///
    /// Fixed mappings are not kept to them.
    ///
    /// # Errors
    /// `EINVAL`: two ranges overlap, or one is a single byte. `EADDRINUSE`: an attached device
    /// reserves an address of them. [`Error::Forked`].
    #[doc(alias = "IOMMU_IOAS_ALLOW_IOVAS")]
    pub fn allow_iovas(&self, ranges: &[IovaRange]) -> Result<()> {
        let raw: Vec<_> = ranges
            .iter()
            .map(|range| {
                let mut raw = sys::iommu_iova_range::new_zeroed();
                raw.start = range.start().get();
                raw.last = range.last().get();
                raw
            })
            .collect();
        let mut arg = sys::iommu_ioas_allow_iovas::sized();
        arg.ioas_id = self.inner.id();
        let context = self.inner.context();
        context.checked(&nr::IOAS_ALLOW_IOVAS, &mut context.notices(), |fd| {
            funnel::allow_iovas(fd, &mut arg, &raw)
        })
    }

    /// Unmaps everything, whoever has mapped it: also what a program mapped to which the context is
    /// a [VFIO container](Iommufd::set_compat_ioas). Returns how many bytes were mapped.
    ///
    /// Their [`Mapping`](crate::Mapping) guards stay, emptied: dropping them asks the kernel for
    /// nothing. Waits for maps and unmaps of this address space that are under way, and keeps
    /// others out meanwhile.
    ///
    /// # Errors
    /// [`Error::PartlyUnmapped`] if the kernel kept something (`EBUSY`: a hardware queue uses it;
    /// `EDEADLK`: an emulated device pins it, and cannot pin it anew, as after a refused
    /// [`Mapping::unmap`](crate::Mapping::unmap)); the kernel's refusal itself, if nothing was mapped
    /// that the SDK knows of; [`Error::Forked`].
    pub fn unmap_all(&self) -> Result<u64> {
        self.inner.unmap_within(IovaRange::ALL)
    }

    /// Unmaps all that lies in `range`. Returns how many bytes were mapped.
    ///
    /// The kernel is asked only if a [`Mapping`](crate::Mapping) was made there. It then unmaps what
    /// others have mapped in the range as well, such as a program to which the context is a
    /// [VFIO container](Iommufd::set_compat_ioas).
    ///
    /// Otherwise as [`unmap_all`](Self::unmap_all).
    ///
    /// # Errors
    /// [`Error::PartlyCovered`], with nothing done, if a mapping lies in the range only in part;
    /// [`Error::NothingMapped`], with the kernel not asked, if no mapping that the SDK knows of does;
    /// else as for [`unmap_all`](Self::unmap_all).
    #[doc(alias = "IOMMU_IOAS_UNMAP")]
    pub fn unmap_range(&self, range: IovaRange) -> Result<u64> {
        match self.inner.unmap_within(range)? {
            0 => Err(Error::NothingMapped { range }),
            bytes => Ok(bytes),
        }
    }

    /// How much is mapped, as far as it was mapped through this handle of the context. Nothing, in
    /// a child of a fork.
    #[must_use]
    pub fn mapped(&self) -> Mapped {
        if self.inner.context().check_process().is_err() {
            // A thread that a child of a fork has not may have the ledger locked.
            return Mapped::default();
        }
        let (mappings, bytes) = self.inner.ledger().totals();
        Mapped { mappings, bytes }
    }

    /// Destroys the address space, with all that is still mapped in it.
    ///
    /// Dropping the last handle does the same, but cannot tell.
    ///
    /// # Errors
    /// [`Error::InUse`], with the handle and without asking the kernel, if other handles, page
    /// tables or mappings hold it; the kernel's refusal: `EBUSY`; [`Error::Forked`].
    pub fn try_destroy(self) -> Result<(), Refused<Self>> {
        destroy_last(self.inner, KIND, |inner| inner.object.destroy())
            .map_err(|refused| refused.map(|inner| Self { inner }))
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.inner.iommufd()
    }
}

const KIND: &str = "address space";

equal_by!(inner: Ioas);

impl fmt::Debug for Ioas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ioas")
            .field("id", &self.inner.id())
            .finish_non_exhaustive()
    }
}

/// How much is mapped in an address space: see [`Ioas::mapped`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mapped {
    /// How many mappings there are. What is mapped in two places is two.
    pub mappings: usize,
    /// How many bytes of address space they cover.
    pub bytes: u64,
}

/// The address space itself.
///
/// # Invariants
/// `object` is an address space that nobody else destroys. `ledger` records all memory that the
/// kernel may reach through it, and lets go of it only after the kernel's confirmation.
pub(crate) struct IoasInner {
    object: Object,
    /// Lent to the context, which looks into it, for the length of a look.
    ledger: Arc<Ledger>,
    /// Counts what may have changed the usable addresses.
    layout: Arc<AtomicU64>,
    tracked: TrackedTables,
}

impl IoasInner {
    /// The addresses that can be mapped, and their alignment.
    pub(crate) fn usable(&self, notices: &mut Notices<'_>) -> Result<(Vec<IovaRange>, u64)> {
        // A few holes are usual: MSI windows, the ends of the aperture.
        let mut room = 16;
        loop {
            let mut raw = vec![sys::iommu_iova_range::new_zeroed(); room];
            let mut arg = sys::iommu_ioas_iova_ranges::sized();
            arg.ioas_id = self.id();
            let answer = self
                .context()
                .checked(&nr::IOAS_IOVA_RANGES, notices, |fd| {
                    funnel::iova_ranges(fd, &mut arg, &mut raw)
                });
            let needed = arg.num_iovas as usize;
            match answer {
                Ok(()) => {
                    raw.truncate(needed);
                    let ranges = raw.iter().filter_map(valid_range).collect();
                    return Ok((ranges, arg.out_iova_alignment));
                }
                // Too little room; the kernel says how much it takes, and it may grow meanwhile.
                Err(error)
                    if error.errno() == Some(Errno::MSGSIZE)
                        && (room..=MOST_RANGES).contains(&needed) =>
                {
                    room = needed.saturating_mul(2);
                }
                Err(error) => return Err(error),
            }
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> u32 {
        self.object.id()
    }

    #[inline]
    pub(crate) fn iommufd(&self) -> &Iommufd {
        self.object.iommufd()
    }

    #[inline]
    pub(crate) fn context(&self) -> &Context {
        self.iommufd().context()
    }

    #[inline]
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Its page tables whose writes are recorded.
    pub(crate) fn tracked(&self) -> &TrackedTables {
        &self.tracked
    }

    /// The error of an operation that pins all that is mapped: out of memory is told with the
    /// limit that may be the cause.
    pub(crate) fn pin_error(&self, error: Error) -> Error {
        match error {
            Error::Kernel(refused) if refused.errno == Errno::NOMEM => {
                let (_, bytes) = self.ledger.totals();
                self.context().out_of_memory(refused.operation, bytes)
            }
            error => error,
        }
    }

    /// A device or page table has come or gone: the usable addresses may have changed.
    pub(crate) fn layout_changed(&self) {
        self.layout.fetch_add(1, Ordering::Release);
    }
}

impl Drop for IoasInner {
    fn drop(&mut self) {
        let gone = self.object.destroy_in_drop();
        if self.context().check_process().is_err() {
            // In a child of a fork what is held is the parent's to release, and a thread that the
            // child has not may have the ledger locked.
            return;
        }
        let held = self.ledger.drain();
        if !gone && !held.is_empty() {
            // The kernel may still reach it through what it would not destroy.
            self.context().memories_stay(held.len());
            let _kept = ManuallyDrop::new(held);
        }
    }
}

/// The addresses that could be mapped when [`Ioas::iova_ranges`] asked.
#[derive(Debug, Clone)]
pub struct IovaRanges {
    ranges: Vec<IovaRange>,
    alignment: u64,
    /// The address space's count of changes, and what it was before the question.
    changes: Arc<AtomicU64>,
    asked_at: u64,
}

impl IovaRanges {
    /// The ranges, by address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = IovaRange> + '_ {
        self.ranges.iter().copied()
    }

    /// What IOVA, length and place in the page of a mapping must be multiples of, in bytes.
    #[must_use]
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Whether all of `range` can be mapped.
    #[must_use]
    pub fn contains(&self, range: IovaRange) -> bool {
        self.ranges.iter().any(|usable| usable.contains(range))
    }

    /// Whether the answer still holds, as far as this process has not attached, detached,
    /// allocated or destroyed anything since that may have changed it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.changes.load(Ordering::Acquire) == self.asked_at
    }
}

/// The kernel's range, if it is one.
fn valid_range(raw: &sys::iommu_iova_range) -> Option<IovaRange> {
    IovaRange::new(Iova::new(raw.start), Iova::new(raw.last))
}
