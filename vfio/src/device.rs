//! A VFIO device that is bound and can be used.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use iommufd::{Attachment, Group, Pasid, PasidAttachment, PasidTarget, Target};
use iommufd_sys::ioctl::vfio as nr;

use crate::address::PciAddress;
use crate::bar::BarMapping;
use crate::bound::Bound;
use crate::config::ConfigSpace;
use crate::error::{Error, Refused, Result};
use crate::holders::{Hold, Holders, Kind};
use crate::info::DeviceInfo;
use crate::irq::{Interrupts, IrqInfo, IrqKind};
use crate::region::{Region, RegionIndex, RegionInfo};
use crate::signal::{Signal, SignalKind};

/// More regions than any driver has: an answer that speaks of more is believed so far.
const MOST_REGIONS: u32 = 1 << 10;

/// An open VFIO device, whichever way it was opened: its regions, interrupts and resets.
///
/// A [`Device`], which is bound to an `iommufd`, and a [`GroupDevice`](crate::GroupDevice), which is
/// of a group in a container, both are one (`Deref`). So what drives a device takes an
/// `&OpenDevice`, and is indifferent to which of the two it is given.
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

struct Inner {
    // The order matters: `iommu` shall be the last to hold the file.
    open: OpenDevice,
    iommu: iommufd::Device,
}

impl Device {
    pub(crate) fn new(
        bound: Arc<Bound>,
        iommu: iommufd::Device,
        address: Option<PciAddress>,
    ) -> Self {
        let group = Some(iommu.group().clone());
        let open = OpenDevice::new(bound, group, address);
        Self::of(open, iommu)
    }

    fn of(open: OpenDevice, iommu: iommufd::Device) -> Self {
        Self {
            inner: Arc::new(Inner { open, iommu }),
        }
    }

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

/// What can be done with a device, whichever way it was opened.
impl Deref for Device {
    type Target = OpenDevice;

    fn deref(&self) -> &OpenDevice {
        &self.inner.open
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

    /// Whether nothing of its IOMMU group is attached. A device of a container is, as it is open.
    pub(crate) fn is_unattached(&self) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| group.attached() == 0)
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
        let info = self.region_info(index)?;
        Ok(Region::new(Hold::new(self.bound(), Kind::Region), info))
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

    /// How many interrupts of a kind the device has, of a PCI function.
    ///
    /// # Errors
    /// `EINVAL`: the device has no such kind; else as for [`info`](Self::info).
    #[doc(alias = "VFIO_DEVICE_GET_IRQ_INFO")]
    pub fn irq_info(&self, kind: IrqKind) -> Result<IrqInfo> {
        IrqInfo::of(self.bound(), kind)
    }

    /// Enables `count` vectors of MSI.
    ///
    /// # Errors
    /// As for [`Interrupts::enable`].
    pub fn msi(&self, count: u32) -> Result<Interrupts> {
        Interrupts::enable(self, IrqKind::Msi, count)
    }

    /// Enables `count` vectors of MSI-X.
    ///
    /// # Errors
    /// As for [`Interrupts::enable`].
    pub fn msix(&self, count: u32) -> Result<Interrupts> {
        Interrupts::enable(self, IrqKind::MsiX, count)
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
    /// Registers are as after power-on, and bus mastering may be off. Attachment and mappings of
    /// memory stay; accesses of mapped registers wait meanwhile.
    ///
    /// # Errors
    /// `EINVAL`: the device has no way of being reset alone ([`DeviceInfo::flags`] tells before).
    /// `EAGAIN`: another reset is under way. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_RESET")]
    pub fn reset(&self) -> Result<()> {
        self.bound().without_argument(&nr::DEVICE_RESET)?;
        Ok(())
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
            signals: tally.signals(),
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

impl Device {
    /// What holds the device besides this handle: all of it must go before it can be closed.
    #[must_use]
    pub fn holders(&self) -> Holders {
        Holders {
            devices: Arc::strong_count(&self.inner).saturating_sub(1),
            ..self.inner.holders()
        }
    }

    /// Closes the device: on return the kernel has detached, unbound and released it, as far as
    /// this process is concerned.
    ///
    /// Detaches nothing by itself. The kernel keeps a device open as long as anybody has its file:
    /// a duplicate in another process (a child of a fork, too), or KVM.
    ///
    /// # Errors
    /// The device, with [`Error::StillHeld`] that names what holds it: its attachment, mapped
    /// registers, interrupts, open regions, other handles. [`iommufd::Error::LeadsGroup`]: others of
    /// its IOMMU group are attached by way of it. [`iommufd::Error::Forked`].
    pub fn try_close(self) -> Result<(), Refused<Self>> {
        if let Err(error) = self.iommu().iommufd().check_process() {
            return Err(Refused::new(self, error));
        }
        let inner = Arc::try_unwrap(self.inner).map_err(|inner| {
            let device = Self { inner };
            let holders = device.holders();
            Refused::new(device, Error::StillHeld(holders))
        })?;
        // This was the only handle: nobody can make what would hold the device any more.
        let holders = inner.holders();
        let Inner { iommu, open } = inner;
        if !holders.is_empty() {
            let device = Self::of(open, iommu);
            return Err(Refused::new(device, Error::StillHeld(holders)));
        }
        match iommu.try_close() {
            // The last reference: closes the file.
            Ok(()) => {
                drop(open);
                Ok(())
            }
            Err(refused) => {
                let (iommu, error) = refused.into_parts();
                let iommu_handles = match error {
                    iommufd::Error::InUse { holders, .. } => holders,
                    error => return Err(Refused::new(Self::of(open, iommu), error)),
                };
                let device = Self::of(open, iommu);
                let holders = Holders {
                    iommu_handles,
                    ..Holders::default()
                };
                Err(Refused::new(device, Error::StillHeld(holders)))
            }
        }
    }
}

impl Inner {
    /// What holds the device besides its handles.
    fn holders(&self) -> Holders {
        Holders {
            attached: self.iommu.is_attached(),
            ..self.open.holders_within()
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Device");
        if let Some(address) = self.address() {
            debug.field("address", &address);
        }
        debug.field("iommu", self.iommu()).finish()
    }
}
