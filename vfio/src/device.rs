//! A VFIO device that is bound and can be used.

mod any;
mod handle;
mod ioas_attachment;
mod mediated;
mod noiommu;

pub use any::AnyDevice;
pub use ioas_attachment::IoasAttachment;
pub use mediated::MediatedDevice;
pub use noiommu::NoIommuDevice;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use iommufd::{Attachment, Group, Pasid, PasidAttachment, PasidTarget, Target};

use crate::address::PciAddress;
use crate::bar::BarMapping;
use crate::bound::{Behind, Bound, Fresh};
use crate::config::ConfigSpace;
use crate::error::{Error, Refused, Result};
use crate::holders::{Hold, Holders, Kind};
use crate::info::DeviceInfo;
use crate::irq::{Interrupts, IrqInfo, IrqKind, MsiKind};
use crate::region::{Region, RegionIndex, RegionInfo};
use crate::signal::{Signal, SignalKind};
use handle::handle;

/// More regions than any driver has: an answer that speaks of more is believed so far.
const MOST_REGIONS: u32 = 1 << 10;

/// An open VFIO device, whichever way it was opened: its regions, interrupts and resets.
///
/// A [`Device`], a [`MediatedDevice`], a [`NoIommuDevice`] and an [`AnyDevice`], which are bound to an
/// `iommufd`, and a [`GroupDevice`](crate::GroupDevice), which is of a group in a container, all are
/// one (`Deref`), each with its own way to memory. So what drives a device takes an `&OpenDevice`, and
/// is indifferent to which of them it is given.
///
/// ```no_run
/// use vfio::{BarMapping, OpenDevice, RegionIndex};
///
/// fn registers(device: &OpenDevice) -> vfio::Result<BarMapping> {
///     device.config()?.enable_bus_master()?;
///     device.map_bar(RegionIndex::BAR0)
/// }
///
/// # fn example(device: vfio::Device, other: vfio::GroupDevice) -> vfio::Result<()> {
/// registers(&device)?;
/// registers(&other)?;
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `VFIO_DEVICE_GET_INFO`, `VFIO_DEVICE_GET_REGION_INFO`, `VFIO_DEVICE_GET_IRQ_INFO` and
/// `VFIO_DEVICE_RESET`, by the methods of these names.
pub struct OpenDevice {
    bound: Arc<Bound>,
    /// The devices that are attached with it, if that is a matter of its own.
    group: Option<Group>,
    address: Option<PciAddress>,
}

/// What a handle of a bound device is of.
pub(crate) struct Inner {
    // The order matters: `iommu` shall be the last to hold the file.
    open: OpenDevice,
    iommu: iommufd::Device,
}

impl Inner {
    pub(crate) fn new(fresh: Fresh, address: Option<PciAddress>) -> Self {
        let Fresh {
            bound,
            iommu,
            behind,
        } = fresh;
        let group = (behind == Behind::Iommu).then(|| iommu.group().clone());
        Self {
            open: OpenDevice::new(bound, group, address),
            iommu,
        }
    }

    /// What holds the device besides its handles.
    fn holders(&self) -> Holders {
        Holders {
            attached: self.iommu.is_attached(),
            ..self.open.holders_within()
        }
    }
}

impl OpenDevice {
    pub(crate) fn new(
        bound: Arc<Bound>,
        group: Option<Group>,
        address: Option<PciAddress>,
    ) -> Self {
        Self {
            bound,
            group,
            address,
        }
    }

    pub(crate) fn bound(&self) -> &Arc<Bound> {
        &self.bound
    }

    /// What is attached with it, if an IOMMU translates what it writes.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// The PCI function that it is, if it is one and sysfs told.
    #[must_use]
    pub fn address(&self) -> Option<PciAddress> {
        self.address
    }

    /// What the device is.
    ///
    /// # Errors
    /// [`Error::BrokenChain`] and [`Error::Malformed`], if the kernel's answer makes no sense;
    /// `ENODEV`: the device is going away; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_GET_INFO")]
    pub fn info(&self) -> Result<DeviceInfo> {
        DeviceInfo::of(self.bound())
    }

    /// What the region at `index` is.
    ///
    /// # Errors
    /// [`Error::NoRegion`] if the device has none there; else as for [`info`](Self::info).
    #[doc(alias = "VFIO_DEVICE_GET_REGION_INFO")]
    pub fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        RegionInfo::of(self.bound(), index)
    }

    /// All the regions that the device has, each under its own index.
    ///
    /// # Errors
    /// As for [`info`](Self::info).
    pub fn regions(&self) -> Result<Vec<RegionInfo>> {
        let mut regions = Vec::new();
        for index in (0..self.info()?.regions.min(MOST_REGIONS)).map(RegionIndex::new) {
            match self.region_info(index) {
                Ok(info) => regions.push(info),
                Err(Error::NoRegion { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(regions)
    }

    /// Opens a region for reading and writing by system call.
    ///
    /// # Errors
    /// As for [`region_info`](Self::region_info).
    pub fn region(&self, index: RegionIndex) -> Result<Region> {
        Region::open(self.bound(), index)
    }

    /// The configuration space of a PCI function.
    ///
    /// # Errors
    /// [`Error::NoRegion`] if the device is no PCI function; else as for [`info`](Self::info).
    pub fn config(&self) -> Result<ConfigSpace> {
        if !self.info()?.flags.contains(crate::info::DeviceFlags::PCI) {
            return Err(Error::NoRegion {
                index: RegionIndex::CONFIG,
            });
        }
        Ok(ConfigSpace::new(self.region(RegionIndex::CONFIG)?))
    }

    /// Maps a BAR, or another region that can be mapped, into the process.
    ///
    /// # Errors
    /// [`Error::NotMappable`]: use [`region`](Self::region), which always works. `EBUSY`: another
    /// driver has claimed the BAR. `ENOMEM`. Else as for [`region_info`](Self::region_info).
    pub fn map_bar(&self, index: RegionIndex) -> Result<BarMapping> {
        let info = self.region_info(index)?;
        BarMapping::new(Hold::new(self.bound(), Kind::Mapping), info)
    }

    /// How many interrupts of a kind the device has, of a PCI function, and what can be done with
    /// them.
    ///
    /// # Errors
    /// [`Error::NotPci`]. `EINVAL`: the device has no such kind; else as for [`info`](Self::info).
    #[doc(alias = "VFIO_DEVICE_GET_IRQ_INFO")]
    pub fn irq_info(&self, kind: IrqKind) -> Result<IrqInfo> {
        IrqInfo::of(self.bound(), kind)
    }

    /// Enables `count` vectors of MSI.
    ///
    /// # Errors
    /// As for [`Interrupts::enable`].
    pub fn msi(&self, count: u32) -> Result<Interrupts> {
        Interrupts::enable(self, MsiKind::Msi, count)
    }

    /// Enables `count` vectors of MSI-X.
    ///
    /// # Errors
    /// As for [`Interrupts::enable`].
    pub fn msix(&self, count: u32) -> Result<Interrupts> {
        Interrupts::enable(self, MsiKind::MsiX, count)
    }

    /// Has the kernel tell of the device, such as that it is to be unplugged.
    ///
    /// # Errors
    /// As for [`Signal::enable`].
    pub fn signal(&self, kind: SignalKind) -> Result<Signal> {
        Signal::enable(self, kind)
    }

    /// Resets the device, and nothing else.
    ///
    /// Registers are as after power-on. Configuration space, the command register among it, is as
    /// before: the kernel saves and restores it. Attachment and mappings of memory stay, DMA that is
    /// under way ends, and interrupts stay enabled; what was about to be raised is lost. It waits
    /// for accesses of mapped registers that are under way; those that come meanwhile are refused
    /// with [`Error::Revoked`].
    ///
    /// # Errors
    /// `EINVAL`: the device has no way of being reset alone ([`DeviceInfo::flags`] tells before); see
    /// [`hot_reset`](Device::hot_reset).
    /// `EAGAIN`: another reset is under way. [`Error::AccessHeld`]: this thread holds an access of
    /// the registers. [`FeatureError::Migrating`](crate::FeatureError::Migrating): it is to be reset by
    /// its [`Migration`](crate::migration::Migration). [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_RESET")]
    pub fn reset(&self) -> Result<()> {
        let _resetting = self.bound().resets.begin()?;
        self.bound().reset()
    }

    /// What of the device's own holds it.
    pub(crate) fn holders_within(&self) -> Holders {
        let tally = &self.bound.tally;
        Holders {
            mappings: tally.mappings(),
            regions: tally.regions(),
            // What the kernel would not disable when they were dropped goes with the file.
            interrupts: self
                .bound
                .interrupts
                .get()
                .filter(|_| tally.interrupts() > 0),
            lines: tally.lines(),
            signals: tally.signals(),
            features: tally.features(),
            dma_bufs: tally.dma_bufs(),
            ioeventfds: tally.ioeventfds(),
            resets: tally.resets(),
            ..Holders::default()
        }
    }
}

impl fmt::Debug for OpenDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenDevice")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A VFIO device, bound to an `iommufd`.
///
/// What can be done with it besides attaching it, [`OpenDevice`] has.
///
/// A device by way of which others of its IOMMU group are attached stays open until these are
/// detached, too: see [`iommufd::Error::LeadsGroup`].
///
/// Cloning gives another handle. What is made of it (regions, mappings, interrupts, attachments)
/// holds it open; when the last is gone, its file is closed, and the kernel detaches and unbinds
/// it. That can wait up to a minute for others who are using it: [`try_close`](Self::try_close)
/// says when, and what is in the way.
///
/// # System calls
/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT` and `VFIO_DEVICE_DETACH_IOMMUFD_PT`, by the methods of these
/// names; those of [`OpenDevice`]; `close`.
///
/// Since Linux 6.6.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

handle!(Device);

impl Device {
    /// The device as `iommufd` knows it: its page tables, group and IOMMU.
    #[must_use]
    pub fn iommu(&self) -> &iommufd::Device {
        &self.inner.iommu
    }

    /// Attaches the device: from now on its DMA goes through `target`, and is refused where
    /// nothing is mapped. Until then all of it is refused, unless another device of its IOMMU group
    /// is attached: the kernel attaches the group with the first of its devices.
    ///
    /// # Errors
    /// As for [`iommufd::Device::attach`].
    #[doc(alias = "VFIO_DEVICE_ATTACH_IOMMUFD_PT")]
    pub fn attach(&self, target: impl Into<Target>) -> iommufd::Result<Attachment> {
        self.inner.iommu.attach(target)
    }

    /// Attaches one of the device's PASIDs: from now on DMA with that PASID goes through `target`.
    ///
    /// # Errors
    /// As for [`iommufd::Device::attach_pasid`].
    #[doc(alias = "VFIO_DEVICE_ATTACH_PASID")]
    pub fn attach_pasid(
        &self,
        pasid: Pasid,
        target: impl Into<PasidTarget>,
    ) -> iommufd::Result<PasidAttachment> {
        self.inner.iommu.attach_pasid(pasid, target)
    }
}
