//! Physical addresses, for devices with no IOMMU.

// UNSAFETY: declares the door to DMA that nothing confines; calls nothing unsafe itself.
#![expect(
    unsafe_code,
    reason = "DMA by physical address is the caller's to answer for"
)]

use std::fmt;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

use crate::address::IovaRange;
use crate::error::{Error, Result};
use crate::ioas::Ioas;

/// A physical address: what a device with no IOMMU puts on the bus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysicalAddress(u64);

impl PhysicalAddress {
    /// The plain number, to program into a device.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for PhysicalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhysicalAddress({:#x})", self.0)
    }
}

impl fmt::Display for PhysicalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A contiguous run of physical memory, never empty.
///
/// Made by [`Ioas::noiommu_physical_range`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PhysicalRange {
    start: PhysicalAddress,
    len: u64,
}

impl PhysicalRange {
    /// The first address.
    #[must_use]
    pub const fn start(self) -> PhysicalAddress {
        self.start
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Always false: a run has at least one byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }
}

/// Devices with no IOMMU.
impl Ioas {
    /// Where the memory that is mapped at the start of `range` is physically, for a device that no
    /// IOMMU stands before.
    ///
    /// Such a device (VFIO's noiommu mode) is attached to an address space as any other, which
    /// pins what is mapped there; but what it puts on the bus are physical addresses. The answer
    /// is the contiguous run that begins at `range.start()`, and is no longer than `range`. It is
    /// shorter where the memory goes on elsewhere, or the mapping ends: ask again from there on.
    ///
    /// ```no_run
    /// # fn example(ioas: &iommufd::Ioas, mapping: &iommufd::Mapping) -> iommufd::Result<()> {
    /// use iommufd::IovaRange;
    ///
    /// let mut next = Some(mapping.range());
    /// while let Some(rest) = next {
    ///     // SAFETY: the device is given these addresses, within the mapping's access, and is
    ///     // stopped before the mapping is let go of.
    ///     let run = unsafe { ioas.noiommu_physical_range(rest) }?;
    ///     println!("{} bytes at {}", run.len(), run.start());
    ///     next = rest
    ///         .start()
    ///         .checked_add(run.len())
    ///         .and_then(|start| IovaRange::new(start, rest.last()));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// Nothing confines a device that is given a physical address: not to the run, not to the
    /// mapping's [`Access`](crate::Access), not to its life. So the caller sees to it that
    /// whatever does DMA by an answer
    /// - reaches the bytes of the run only, and writes them only if the mapping lets devices write;
    /// - has ended before the mapping does: before its guard is unmapped or dropped, before
    ///   [`unmap_all`](Ioas::unmap_all) or [`unmap_range`](Ioas::unmap_range) takes it, and before
    ///   the device is detached or moved to another address space. From then on the pages are
    ///   anybody's, and nothing stops a device.
    ///
    /// An answer that no device is given asks for nothing.
    ///
    /// # System calls
    /// `IOMMU_IOAS_NOIOMMU_GET_PA`; a second time where the first answers `EOPNOTSUPP`.
    ///
    /// Since Linux 7.3.
    ///
    /// # Errors
    /// `EPERM`: the process has no `CAP_SYS_RAWIO`. `ENOENT`: nothing is mapped at the start.
    /// `EOPNOTSUPP`: no device is attached, or the first was one with an IOMMU. `EINVAL`: it is
    /// the memory of a dma-buf that was revoked. `EOVERFLOW`: the start is the very last address.
    /// [`Error::Unsupported`] before Linux 7.3, and where the kernel was built without
    /// (`CONFIG_IOMMUFD_NOIOMMU`). [`Error::Forked`].
    #[doc(alias = "IOMMU_IOAS_NOIOMMU_GET_PA")]
    pub unsafe fn noiommu_physical_range(&self, range: IovaRange) -> Result<PhysicalRange> {
        // Of the whole address space, whose length has no number, no run is longer either.
        let len = range.len().unwrap_or(u64::MAX);
        let arg = match self.get_pa(range.start().get(), len) {
            Ok(arg) => arg,
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
                return Err(self.why_not(error));
            }
            Err(error) => return Err(error),
        };
        // No kernel is known to answer with no bytes, or with more than it was asked for.
        match arg.length.min(len) {
            0 => Err(Error::NothingMapped { range }),
            len => Ok(PhysicalRange {
                start: PhysicalAddress(arg.out_phys),
                len,
            }),
        }
    }

    /// Tells a kernel that has no physical addresses to give from one that has none here.
    fn why_not(&self, error: Error) -> Error {
        // No run of no bytes is possible, says a kernel that looks at the argument.
        match self.get_pa(0, 0) {
            Err(blind) if blind.errno() == Some(Errno::OPNOTSUPP) => Error::Unsupported {
                feature: nr::IOAS_NOIOMMU_GET_PA.name(),
                since: nr::IOAS_NOIOMMU_GET_PA.since(),
            },
            _ => error,
        }
    }

    fn get_pa(&self, iova: u64, len: u64) -> Result<sys::iommu_ioas_noiommu_get_pa> {
        let mut arg = sys::iommu_ioas_noiommu_get_pa::sized();
        arg.ioas_id = self.inner.id();
        arg.iova = iova;
        arg.length = len;
        let context = self.inner.context();
        context.call(&nr::IOAS_NOIOMMU_GET_PA, &mut arg)?;
        Ok(arg)
    }
}
