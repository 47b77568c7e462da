//! BARs as dma-bufs: for other devices to reach, through an address space.

use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use iommufd::{Access, FileRange, Ioas, Iova, IovaRange, Mapping};
use iommufd_sys::vfio as sys;

use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
#[cfg(doc)]
use crate::gate::Revocation;
use crate::holders::{Hold, Kind};
use crate::region::{RegionIndex, RegionInfo};

/// A part of a BAR, exported as a dma-buf: another device can be given access to these registers,
/// or this memory, by mapping it into the address space that it is attached to.
///
/// It holds the device open. Its file can be lent to others, such as a graphics driver; what they
/// have of it the kernel revokes when the device is closed.
///
/// # Revocation
/// The kernel revokes the mappings of a dma-buf by what [revokes](Revocation) mapped registers, and
/// gives none back: they have to be made again. A [`BarDmaMapping`] tells when that came about
/// through this crate.
///
/// # System calls
/// `VFIO_DEVICE_GET_REGION_INFO` and `VFIO_DEVICE_FEATURE` to export it; `close`.
///
/// Since Linux 6.19, for devices of `vfio-pci`.
///
/// ```no_run
/// # fn example(device: &vfio::Device, ioas: &iommufd::Ioas) -> vfio::Result<()> {
/// use iommufd::Access;
/// use vfio::RegionIndex;
///
/// let buffer = device.export_bar(RegionIndex::BAR0, 0..0x4000)?;
/// let mut mapping = buffer.map(ioas, Access::ReadWrite)?;
/// println!("peers reach it at {}", mapping.range());
/// device.reset()?;
/// if mapping.is_revoked() {
///     mapping.map_again()?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BarDmaBuf {
    inner: Arc<Inner>,
}

struct Inner {
    // Closed before the hold is let go.
    file: OwnedFd,
    index: RegionIndex,
    len: u64,
    hold: Hold,
}

impl OpenDevice {
    /// Exports the bytes of `range` of a BAR as a dma-buf.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]. `EINVAL`: the range is empty, or not made of whole pages, or the
    /// machine cannot do it. `ENODEV`: no BAR that the kernel could claim, or the device is going
    /// away. [`FeatureError::NotThere`](crate::FeatureError::NotThere): the kernel is older than 6.19
    /// or lacks `CONFIG_VFIO_PCI_DMABUF`, or the device's driver exports nothing. `EMFILE`, `ENOMEM`.
    /// Else as for [`region_info`](Self::region_info).
    #[doc(alias = "VFIO_DEVICE_FEATURE_DMA_BUF")]
    pub fn export_bar(&self, index: RegionIndex, range: Range<u64>) -> Result<BarDmaBuf> {
        self.export_bar_parts(index, &[range])
    }

    /// Exports several parts of a BAR as one dma-buf, in which they follow each other.
    ///
    /// It is for drivers of other devices: [`BarDmaBuf::map`] takes a dma-buf of one part only.
    ///
    /// # Errors
    /// As for [`export_bar`](Self::export_bar).
    pub fn export_bar_parts(&self, index: RegionIndex, parts: &[Range<u64>]) -> Result<BarDmaBuf> {
        let info = self.region_info(index)?;
        let parts = parts
            .iter()
            .map(|part| checked(&info, part))
            .collect::<Result<Vec<_>>>()?;
        let len = parts.iter().map(|part| part.length);
        let inner = Inner {
            file: self.bound().export(index, &parts)?,
            index,
            // The kernel has seen that the sum exists.
            len: len.fold(0, u64::saturating_add),
            hold: Hold::new(self.bound(), Kind::DmaBuf),
        };
        Ok(BarDmaBuf {
            inner: Arc::new(inner),
        })
    }
}

/// A part of the region, in the kernel's words.
fn checked(info: &RegionInfo, part: &Range<u64>) -> Result<sys::vfio_region_dma_range> {
    let length = part.end.saturating_sub(part.start);
    info.check(part.start, length)?;
    Ok(sys::vfio_region_dma_range {
        offset: part.start,
        length,
    })
}

impl BarDmaBuf {
    /// The BAR that it is a part of.
    #[must_use]
    pub fn region(&self) -> RegionIndex {
        self.inner.index
    }

    /// The length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.len
    }

    /// Maps all of it into an address space, at addresses that the kernel chooses.
    ///
    /// # Errors
    /// [`Error::Revoked`] while the BAR cannot be accessed; `ENODEV`: that, by what others do.
    /// `EOPNOTSUPP`: it has more than one part. Else as for [`Ioas::map_file`].
    pub fn map(&self, ioas: &Ioas, access: Access) -> Result<BarDmaMapping> {
        self.map_within(ioas, None, access)
    }

    /// Maps all of it into an address space at `iova`.
    ///
    /// # Errors
    /// As for [`map`](Self::map) and [`Ioas::map_file_at`].
    pub fn map_at(&self, ioas: &Ioas, iova: Iova, access: Access) -> Result<BarDmaMapping> {
        self.map_within(ioas, Some(iova), access)
    }

    fn map_within(&self, ioas: &Ioas, iova: Option<Iova>, access: Access) -> Result<BarDmaMapping> {
        let (mapping, generation) = self.map_now(ioas, iova, access)?;
        let inner = Mapped {
            range: mapping.range(),
            mapping: Some(mapping),
            generation,
            ioas: ioas.clone(),
            access,
            buffer: self.clone(),
        };
        Ok(BarDmaMapping {
            inner: Box::new(inner),
        })
    }

    /// The mapping, and the generation in which it was made or the one before.
    fn map_now(&self, ioas: &Ioas, iova: Option<Iova>, access: Access) -> Result<(Mapping, u64)> {
        let bound = self.inner.hold.bound();
        bound.watch().check_process()?;
        // Asked before: a revocation that comes meanwhile is one too many rather than one too few.
        let generation = bound.gate.generation()?;
        let file = FileRange::new(&self.inner.file, 0..self.inner.len);
        let mapping = match iova {
            Some(iova) => ioas.map_file_at(iova, file, access)?,
            None => ioas.map_file(file, access)?,
        };
        Ok((mapping, generation))
    }
}

impl AsFd for BarDmaBuf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.file.as_fd()
    }
}

impl fmt::Debug for BarDmaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarDmaBuf")
            .field("region", &self.inner.index)
            .field("size", &self.inner.len)
            .finish_non_exhaustive()
    }
}

/// A [`BarDmaBuf`] mapped into an address space: unmapped when dropped.
///
/// # Revocation
/// A revoked mapping keeps its addresses, and devices reach nothing there: the IOMMU blocks them.
/// [`is_revoked`](Self::is_revoked) tells of what came about through this crate. No process is told
/// of what others do: another that has the device's file and resets it, or the device unplugged by
/// surprise.
#[must_use = "dropping a mapping unmaps it"]
pub struct BarDmaMapping {
    // Beside the value, as a refusal gives it back.
    inner: Box<Mapped>,
}

struct Mapped {
    // Nothing, if it was not mapped again after a revocation.
    mapping: Option<Mapping>,
    /// When it was made, by the gate's count.
    generation: u64,
    // How it is mapped, and mapped again.
    range: IovaRange,
    ioas: Ioas,
    access: Access,
    buffer: BarDmaBuf,
}

impl BarDmaMapping {
    /// The first address for the device.
    #[must_use]
    pub fn iova(&self) -> Iova {
        self.range().start()
    }

    /// All the addresses.
    #[must_use]
    pub fn range(&self) -> IovaRange {
        self.inner.range
    }

    /// What is mapped.
    #[must_use]
    pub fn buffer(&self) -> &BarDmaBuf {
        &self.inner.buffer
    }

    /// Whether the kernel has revoked it, by what came about through this crate: devices reach
    /// nothing through it, until it is [mapped again](Self::map_again).
    ///
    /// True as well if it might have been, as when a reset was begun and failed.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        let bound = self.inner.buffer.inner.hold.bound();
        // In a child of a fork the gate's lock may be held for ever, and nothing is mapped.
        self.inner.mapping.is_none()
            || bound.watch().check_process().is_err()
            || bound.gate.generation().ok() != Some(self.inner.generation)
    }

    /// Maps it again at the same addresses, whether or not it is revoked. In between devices reach
    /// nothing there.
    ///
    /// # Errors
    /// As for [`BarDmaBuf::map_at`] and [`Mapping::unmap`]. It counts as revoked then, and mapping it
    /// can be tried again.
    pub fn map_again(&mut self) -> Result<()> {
        // Not to lose what may work for what cannot.
        let bound = self.inner.buffer.inner.hold.bound();
        bound.watch().check_process()?;
        bound.gate.generation()?;
        if let Some(mapping) = self.inner.mapping.take()
            && let Err(refused) = mapping.unmap()
        {
            let (mapping, error) = refused.into_parts();
            self.inner.mapping = Some(mapping);
            return Err(error.into());
        }
        let inner = &*self.inner;
        let start = Some(inner.range.start());
        let (mapping, generation) = inner.buffer.map_now(&inner.ioas, start, inner.access)?;
        self.inner.mapping = Some(mapping);
        self.inner.generation = generation;
        Ok(())
    }

    /// Unmaps it. On return no device reaches the BAR through it any more.
    ///
    /// # Errors
    /// The kernel's refusal, with the mapping, as for [`Mapping::unmap`].
    pub fn unmap(mut self) -> Result<(), Refused<Self>> {
        let Some(mapping) = self.inner.mapping.take() else {
            return Ok(());
        };
        match mapping.unmap() {
            Ok(()) => Ok(()),
            Err(refused) => {
                let (mapping, error) = refused.into_parts();
                self.inner.mapping = Some(mapping);
                Err(Refused::new(self, Error::from(error)))
            }
        }
    }
}

impl fmt::Debug for BarDmaMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarDmaMapping")
            .field("range", &self.inner.range)
            .field("buffer", &self.inner.buffer)
            .field("revoked", &self.is_revoked())
            .finish_non_exhaustive()
    }
}
