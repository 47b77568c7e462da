//! A device that a driver has bound to a context, and what it may be attached to.

// UNSAFETY: declares the contract between a driver and this crate; calls nothing unsafe itself.
#![expect(unsafe_code, reason = "the driver's contract is an unsafe trait")]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;

use crate::attachment::Attachment;
use crate::context::{Iommufd, Notices};
use crate::devices::DeviceKey;
use crate::error::{Error, KernelError, Refused, Result};
use crate::group::{Group, GroupIdentity};
use crate::hw_info::{self, HwInfo, HwInfoType, VendorDescription};
use crate::object::last_handle;
use crate::pasid::Pasid;
use crate::pasid_attachment::{PasidAttachment, PasidTarget};
use crate::pasids::Pasids;
use crate::target::Target;

/// The kernel's id of a page table or address space, for a driver to attach its device to.
///
/// Only this crate makes one, and only for the length of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageTableId(u32);

impl PageTableId {
    pub(crate) fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number for the driver's ioctl.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// What the kernel uses of a device that it would not detach, until the device is released: what it
/// is attached to, and the devices by way of which it was attached.
///
/// See [`DeviceDriver::keep`].
#[derive(Debug, Default)]
#[must_use = "it is to be dropped after the device is released"]
pub struct Kept {
    targets: Vec<Target>,
    drivers: Vec<Arc<dyn DeviceDriver>>,
}

impl Kept {
    pub(crate) fn new(targets: Vec<Target>, drivers: Vec<Arc<dyn DeviceDriver>>) -> Self {
        Self { targets, drivers }
    }

    fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.drivers.is_empty()
    }
}

/// The driver's side of a bound device: VFIO's character device, or a test's stand-in.
///
/// Dropping the driver releases the device: it must close the file that holds the binding.
///
/// # Safety
/// - The device stays bound to the context it was bound to, under the same id, until the driver
///   is dropped.
/// - `attach` and `detach`, and those for PASIDs, report success only if the kernel did.
/// - The driver itself starts no DMA and attaches to nothing on its own account.
/// - What is given to `keep` is dropped after the device is released.
pub unsafe trait DeviceDriver: fmt::Debug + Send + Sync + 'static {
    /// Attaches the device to `target`; if it is attached already, moves it there.
    ///
    /// A lock is held meanwhile: what the observer shall hear goes into `notices`.
    ///
    /// # Errors
    /// The kernel's refusal; the kernel then counts the device as attached to what it was attached
    /// to, whether or not its DMA still comes there.
    ///
    /// # Safety
    /// `target` must be alive in the context to which the device is bound.
    unsafe fn attach(
        &self,
        target: PageTableId,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError>;

    /// Detaches the device. As in [`attach`](Self::attach), a lock is held meanwhile.
    ///
    /// # Errors
    /// The kernel's refusal; the attachment is then still in place.
    ///
    /// # Safety
    /// Nothing may rely any longer on the device's being attached.
    unsafe fn detach(&self, notices: &mut Notices<'_>) -> Result<(), KernelError>;

    /// Attaches a PASID of the device to `target`; if it is attached already, moves it there. As in [`attach`](Self::attach), a lock is held meanwhile.
    ///
    /// # Errors
    /// The kernel's refusal; an earlier attachment is then still in place. A driver without PASIDs
    /// leaves this as it is: `EOPNOTSUPP`.
    ///
    /// # Safety
    /// As for [`attach`](Self::attach).
    unsafe fn attach_pasid(
        &self,
        pasid: Pasid,
        target: PageTableId,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let _ = (pasid, target, notices);
        Err(no_pasids())
    }

    /// Detaches a PASID of the device. As in [`attach`](Self::attach), a lock is held meanwhile.
    ///
    /// # Errors
    /// The kernel's refusal; the attachment is then still in place.
    ///
    /// # Safety
    /// Nothing may rely any longer on its being attached.
    unsafe fn detach_pasid(
        &self,
        pasid: Pasid,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        let _ = (pasid, notices);
        Err(no_pasids())
    }

    /// Takes what the kernel uses of the device until it is released, and is to be dropped then, and
    /// not before.
    ///
    /// Called when the last [`Device`] goes, if the kernel has the device attached all the same.
    /// What the driver lends its file to may still hold it then: so this belongs to the file.
    fn keep(&self, kept: Kept);

    /// What besides the device itself keeps the driver's file open, such as mapped registers:
    /// closing releases nothing while there is anything.
    fn holders(&self) -> usize {
        0
    }
}

fn no_pasids() -> KernelError {
    let cause = "the driver of the device attaches no PASIDs";
    KernelError::new("attach of a PASID", Errno::OPNOTSUPP, cause)
}

/// A device that is bound to a context: it can be attached to address spaces and page tables.
///
/// Made by a driver, such as the `vfio` crate. Cloning gives another handle; the device is
/// released when the last one is gone (or when the others of its IOMMU group are detached, if these
/// are attached by way of it: see [`Error::LeadsGroup`]). An attachment holds the device. Handles are equal if they are
/// of the same device, so a device can be the key of a map, which then holds it open; its
/// [`key`](Self::key) holds nothing.
///
/// Since Linux 6.6.
#[derive(Clone)]
pub struct Device {
    inner: Arc<DeviceInner>,
}

/// # Invariants
/// `id` is the device's in this context as long as `driver` is alive.
pub(crate) struct DeviceInner {
    id: u32,
    key: DeviceKey,
    driver: Arc<dyn DeviceDriver>,
    group: Group,
    /// Whether there is a virtual device of it, or the kernel has kept one.
    has_vdevice: AtomicBool,
    /// What the kernel says of its IOMMU, once that was asked.
    known: OnceLock<HwInfo>,
    iommufd: Iommufd,
}

/// The right to be the one virtual device of a device, given back when dropped.
pub(crate) struct VDeviceClaim {
    device: Device,
    keep: bool,
}

impl VDeviceClaim {
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The device shall have no other any more.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for VDeviceClaim {
    fn drop(&mut self) {
        let has_vdevice = &self.device.inner.has_vdevice;
        has_vdevice.store(self.keep, Ordering::Release);
    }
}

impl Device {
    /// A device that `driver` has bound to `iommufd`.
    ///
    /// If `identity` is wrong, a replace can move devices that the SDK takes for others: the
    /// kernel, which counts what uses a page table, keeps memory safe all the same.
    ///
    /// # Errors
    /// [`Error::Forked`].
    ///
    /// # Safety
    /// `id` is what the bind answered, and the device is bound to this very context. No other
    /// `Device` is made of it.
    pub unsafe fn from_bound(
        iommufd: &Iommufd,
        id: u32,
        identity: GroupIdentity,
        driver: Arc<dyn DeviceDriver>,
    ) -> Result<Self> {
        iommufd.check_process()?;
        // INVARIANT: the caller promises it.
        Ok(Self::enter(DeviceInner {
            id,
            key: DeviceKey::next(),
            driver,
            group: iommufd.context().groups.find(identity),
            has_vdevice: AtomicBool::new(false),
            known: OnceLock::new(),
            iommufd: iommufd.clone(),
        }))
    }

    /// The device, which messages of the kernel's can name from now on.
    fn enter(inner: DeviceInner) -> Self {
        let inner = Arc::new(inner);
        let devices = &inner.iommufd.context().devices;
        let group = inner.group.identity();
        devices.enter(inner.id, inner.key, group, Arc::downgrade(&inner));
        Self { inner }
    }

    /// The device that a message of the kernel's has named.
    pub(crate) fn from_inner(inner: Arc<DeviceInner>) -> Self {
        Self { inner }
    }

    /// Attaches the device: from now on its DMA goes through `target`, and is refused where
    /// nothing is mapped.
    ///
    /// Until then all of its DMA is refused, unless another device of its IOMMU group is attached: the
    /// kernel attaches the group, with the first of its devices, and detaches it with the last.
    ///
    /// An [`Ioas`](crate::Ioas) makes the kernel find or make a page table for it. What a dropped
    /// attachment could not detach is detached first.
    ///
    /// # Errors
    /// [`Error::AlreadyAttached`]: use [`Attachment::replace`]. [`Error::GroupAttachedElsewhere`]:
    /// devices of one IOMMU group share one table. [`Error::ForeignContext`]. `EADDRINUSE`:
    /// something is mapped, or allowed, where the device has reserved addresses. `EFAULT`,
    /// `ENOMEM`: mapped memory cannot be pinned. `EINVAL`: the table does not fit the device's
    /// IOMMU. [`Error::LacksCapability`]: the IOMMU has not what a guest's table asks for.
    /// [`Error::NotForPasids`]: PASIDs of the device are attached, and the table is not for
    /// that. [`Error::ForeignVDevice`]. `EBUSY`: a device of the group is being reset. [`Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_ATTACH_IOMMUFD_PT")]
    pub fn attach(&self, target: impl Into<Target>) -> Result<Attachment> {
        Attachment::new(self, target.into())
    }

    /// Attaches one of the device's PASIDs: from now on DMA with that PASID goes through `target`.
    ///
    /// Both `target` and what the device itself is attached to, if anything, must have been
    /// allocated for that ([`HwPtBuilder::pasid`](crate::HwPtBuilder::pasid)). An
    /// [`Ioas`](crate::Ioas) cannot be attached to a PASID: make a table for it.
    ///
    /// Since Linux 6.15.
    ///
    /// # Errors
    /// [`Error::NoSuchPasid`]: the device has none, or not so many, or the kernel is older;
    /// [`Error::NotForPasids`], without asking the kernel, if one of the two tables is not;
    /// [`Error::AlreadyAttached`]: use [`PasidAttachment::replace`]; [`Error::PasidTaken`]: it is
    /// [handed out](Self::pasids); [`Error::LacksCapability`]; [`Error::ForeignContext`];
    /// [`Error::GroupAttachedElsewhere`]; `EINVAL`: the table does not fit the device's IOMMU;
    /// `EOPNOTSUPP`: the device's driver or its IOMMU attaches no PASIDs; `ENOENT`: the device is a
    /// mediated one, with no IOMMU behind it; `EBUSY`: a device of the group is being reset;
    /// `ENOMEM`; [`Error::Forked`].
    ///
    /// # System calls
    /// `IOMMU_GET_HW_INFO`, once for a device, and the driver's.
    #[doc(alias = "VFIO_DEVICE_ATTACH_PASID")]
    pub fn attach_pasid(
        &self,
        pasid: Pasid,
        target: impl Into<PasidTarget>,
    ) -> Result<PasidAttachment> {
        PasidAttachment::new(self, pasid, target.into())
    }

    /// Hands out the device's PASIDs, where no guest chooses them. All handles of the device have
    /// the same.
    ///
    /// Since Linux 6.15.
    #[must_use]
    pub fn pasids(&self) -> Pasids {
        Pasids::new(self)
    }

    /// What the IOMMU behind the device is and can do, in the description that the kernel chooses.
    ///
    /// # Errors
    /// `ENOENT`: the device is a mediated one, with no IOMMU behind it. `EOPNOTSUPP`: no IOMMU
    /// translates for the device. [`Error::Unsupported`] before Linux 6.6. [`Error::Forked`].
    #[doc(alias = "IOMMU_GET_HW_INFO")]
    pub fn hw_info(&self) -> Result<HwInfo> {
        HwInfo::of(&self.inner.iommufd, self.inner.id)
    }

    /// The same in the description `kind`, for hardware that has several, or of a type that this
    /// crate does not know.
    ///
    /// The ioctl is made again, in other ways, to find out why it was refused.
    ///
    /// Since Linux 6.17.
    ///
    /// # Errors
    /// [`Error::HwInfoNotOffered`]: the hardware has no such description. [`Error::Unsupported`]
    /// before Linux 6.17. Else as for [`hw_info`](Self::hw_info).
    #[doc(alias = "IOMMU_HW_INFO_FLAG_INPUT_TYPE")]
    pub fn hw_info_of(&self, kind: HwInfoType) -> Result<HwInfo> {
        HwInfo::of_type(&self.inner.iommufd, self.inner.id, kind)
    }

    /// The vendor's description of the type `T`, and no other.
    ///
    /// ```no_run
    /// # fn example(device: &iommufd::Device) -> iommufd::Result<()> {
    /// use iommufd::{Error, Tegra241CmdqvInfo};
    ///
    /// match device.vendor_info::<Tegra241CmdqvInfo>() {
    ///     Ok(cmdqv) => println!("2^{} queues a guest", cmdqv.log2_vcmdqs()),
    ///     Err(Error::HwInfoNotOffered { .. }) => println!("no CMDQV here"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Since Linux 6.17.
    ///
    /// # Errors
    /// [`Error::HwInfoTooShort`]; else as for [`hw_info_of`](Self::hw_info_of).
    pub fn vendor_info<T: VendorDescription>(&self) -> Result<T> {
        hw_info::described(&self.inner.iommufd, self.inner.id)
    }

    /// The IOMMU group, with all its devices of this context.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.inner.group
    }

    /// What tells the device from every other of this process, and does not hold it: for a map of
    /// what is known of devices that does not keep them open.
    ///
    /// ```no_run
    /// # fn example(queue: &iommufd::FaultQueue, device: &iommufd::Device) -> iommufd::Result<()> {
    /// use std::collections::HashMap;
    ///
    /// use iommufd::DeviceKey;
    ///
    /// let mut stream_ids: HashMap<DeviceKey, u32> = HashMap::new();
    /// stream_ids.insert(device.key(), 0x0208);
    /// for group in queue.read()? {
    ///     if let Some(stream_id) = group.device_key().and_then(|key| stream_ids.get(&key)) {
    ///         println!("the guest's device {stream_id:#x} asks for {:?}", group.requests());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key(&self) -> DeviceKey {
        self.inner.key
    }

    /// The context to which it is bound.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        &self.inner.iommufd
    }

    /// Releases the device, now and for certain.
    ///
    /// # Errors
    /// [`Error::InUse`], with the device, if other handles, an attachment, or something of the
    /// driver's such as mapped registers still holds it. [`Error::LeadsGroup`], with the device, if
    /// others of its IOMMU group are attached by way of it. [`Error::Forked`].
    pub fn try_close(self) -> Result<(), Refused<Self>> {
        if let Err(error) = self.inner.iommufd.check_process() {
            return Err(Refused::new(self, error));
        }
        const OBJECT: &str = "device";
        let inner = last_handle(self.inner, OBJECT)
            .map_err(|refused| refused.map(|inner| Self { inner }))?;
        let error = match (inner.driver.holders(), inner.group.anchored(inner.id)) {
            (0, 0) => return Ok(()),
            (0, members) => Error::LeadsGroup { members },
            (holders, _) => Error::InUse {
                object: OBJECT,
                holders,
            },
        };
        Err(Refused::new(Self::enter(inner), error))
    }

    /// Whether there is an [`Attachment`] of the device.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.inner.group.has_attached(self.inner.id)
    }

    /// How many others that are bound to the context are of its IOMMU group, or may be.
    pub(crate) fn siblings(&self) -> Result<usize> {
        self.inner.iommufd.check_process()?;
        let devices = &self.inner.iommufd.context().devices;
        Ok(devices.siblings(self.inner.key, self.inner.group.identity()))
    }

    /// What the IOMMU behind the device is and can do, asked once: it is fixed when the kernel finds
    /// the device.
    pub(crate) fn known(&self) -> Result<&HwInfo> {
        let known = &self.inner.known;
        match known.get() {
            Some(info) => Ok(info),
            None => {
                let info = self.hw_info()?;
                Ok(known.get_or_init(|| info))
            }
        }
    }

    /// How many bits its PASIDs have; 0 if it has none.
    pub(crate) fn pasid_bits(&self) -> Result<u8> {
        self.known().map(|info| info.pasid_bits)
    }

    /// Claims the device for a virtual device.
    pub(crate) fn claim_vdevice(&self) -> Result<VDeviceClaim> {
        if self.inner.has_vdevice.swap(true, Ordering::AcqRel) {
            return Err(Error::HasVDevice);
        }
        Ok(VDeviceClaim {
            device: self.clone(),
            keep: false,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.inner.id
    }

    pub(crate) fn driver(&self) -> &Arc<dyn DeviceDriver> {
        &self.inner.driver
    }
}

impl Drop for DeviceInner {
    fn drop(&mut self) {
        // In a child the lock may be held for ever.
        if self.iommufd.check_process().is_ok() {
            self.iommufd.context().devices.leave(self.id, self.key);
        }
        // Attachments hold the device, so there are none: what is attached still is what the
        // kernel would not detach.
        let kept = self.group.give_up(self.id);
        if !kept.is_empty() {
            self.driver.keep(kept);
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.inner.key == other.inner.key
    }
}

impl Eq for Device {}

impl Hash for Device {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.key.hash(state);
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.inner.id)
            .field("driver", &self.inner.driver)
            .finish_non_exhaustive()
    }
}
