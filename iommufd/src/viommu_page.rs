//! The registers of a virtual IOMMU, mapped into the process.

// UNSAFETY: accesses memory that it has mapped.
#![expect(
    unsafe_code,
    reason = "makes a volatile region of a mapping of its own"
)]

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;
use rustix::param::page_size;

use crate::cause;
use crate::error::{Error, KernelError, Result};
use crate::format::{PageLocation, ShowsPage};
use crate::viommu::{Viommu, ViommuInner};
use crate::volatile::{VolatileRegion, Word};

/// The page of registers that a virtual IOMMU shows: for a guest to use without the VMM, or for
/// the VMM itself.
///
/// Every access is one volatile machine access of its width. It holds the virtual IOMMU, which the
/// kernel does not destroy while the page is mapped anywhere: not in a child of a fork either,
/// which inherits the mapping.
///
/// # System calls
/// `mmap` to make it, `munmap` when it is dropped; none between.
///
/// Since Linux 6.17.
///
/// # Invariants
/// `words` is exactly the mapping `_map`.
#[must_use = "dropping a page unmaps it"]
pub struct ViommuPage {
    words: VolatileRegion,
    // Unmapped before the virtual IOMMU is let go.
    _map: MmapRaw,
    viommu: Arc<ViommuInner>,
}

impl<V: ShowsPage> Viommu<V> {
    /// Maps its page of registers.
    ///
    /// # Errors
    /// `ENXIO`: the kernel shows nothing there; `ENODEV` before Linux 6.17; `ENOMEM`;
    /// [`Error::Forked`].
    pub fn map_page(&self) -> Result<ViommuPage> {
        ViommuPage::new(self.inner(), V::page(self.data()))
    }
}

impl ViommuPage {
    fn new(viommu: &Arc<ViommuInner>, location: PageLocation) -> Result<Self> {
        let iommufd = viommu.iommufd();
        iommufd.check_process()?;
        let len = usize::try_from(location.len)
            .ok()
            .filter(|&len| len > 0)
            .ok_or(Error::Empty {
                what: "page of the virtual IOMMU",
            })?;
        // A mapping begins at a page. What does not would be found in the middle of one, where its
        // words are not aligned.
        if !location.offset.is_multiple_of(page_size() as u64) {
            return Err(refusal(Errno::NXIO).into());
        }
        let map = MmapOptions::new()
            .offset(location.offset)
            .len(len)
            .map_raw(&iommufd.context().fd())
            .map_err(|error| refusal(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)))?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or(Error::Empty {
            what: "page of the virtual IOMMU",
        })?;
        // SAFETY: the mapping begins at a page, is shared, readable and writable, and kept beside
        // the region, which alone accesses it; it is the hardware's memory, outside of any Rust
        // allocation.
        let words = unsafe { VolatileRegion::new(base, len) };
        // INVARIANT: made of it just now.
        Ok(Self {
            words,
            _map: map,
            viommu: Arc::clone(viommu),
        })
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Always false: a page has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Where it is mapped in this process, to be given to a guest as its registers: it stays there
    /// as long as the value lives.
    #[must_use]
    pub fn bytes(&self) -> NonNull<[u8]> {
        self.words.bytes()
    }

    /// Reads the register at byte `offset`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Misaligned`]; [`Error::Forked`].
    pub fn read<W: Word>(&self, offset: usize) -> Result<W> {
        self.checked()?.read(offset)
    }

    /// Writes the register at byte `offset`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn write<W: Word>(&self, offset: usize, value: W) -> Result<()> {
        self.checked()?.write(offset, value)
    }

    /// Reads the register at byte `offset`; what follows in this thread comes after it.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn load_acquire<W: Word>(&self, offset: usize) -> Result<W> {
        self.checked()?.load_acquire(offset)
    }

    /// Writes the register at byte `offset` after everything that came before in this thread.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn store_release<W: Word>(&self, offset: usize, value: W) -> Result<()> {
        self.checked()?.store_release(offset, value)
    }

    fn checked(&self) -> Result<&VolatileRegion> {
        self.viommu.iommufd().check_process()?;
        Ok(&self.words)
    }
}

fn refusal(errno: Errno) -> KernelError {
    KernelError::new("mmap of /dev/iommu", errno, cause::of_page(errno))
}

impl fmt::Debug for ViommuPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViommuPage")
            .field("words", &self.words)
            .field("viommu", &self.viommu.id())
            .finish_non_exhaustive()
    }
}
