//! Devices as a guest knows them.

use std::fmt;
use std::sync::Arc;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;

use crate::attachment::Attachment;
use crate::context::Iommufd;
use crate::device::{Device, VDeviceClaim};
use crate::error::{Refused, Result};
use crate::format::{Format, ViommuKind};
use crate::nested::NestedHwPt;
use crate::object::{Object, destroy_last, equal_by};
use crate::target::{Settle, Target};
use crate::viommu::{Viommu, ViommuInner};

/// A device behind a virtual IOMMU, by the number that the guest has for it (on Arm its vSID).
///
/// By that number the guest invalidates what the device has cached, and is told what it did. There
/// is one for a device at most. Make it before the device is attached to the guest's tables; of a
/// group of devices, one for each, before the first is attached: the kernel attaches the group
/// (SMMUv3's driver answers `ENOENT` while one has none). An attachment holds that of its own device:
/// keep that of a device which shares the group and is not attached itself, or what the guest
/// invalidates by its number is refused, and stays in the device's cache.
///
/// ```no_run
/// # use iommufd::format::ViommuKind;
/// # fn example<V: ViommuKind>(
/// #     viommu: &iommufd::Viommu<V>,
/// #     device: &iommufd::Device,
/// #     number: V::VirtualId,
/// #     nested: &iommufd::NestedHwPt<V::Format>,
/// #     stale: V::Stale,
/// # ) -> iommufd::Result<()> {
/// use iommufd::VDevice;
///
/// let vdevice = VDevice::new(viommu, device, number)?;
/// let attachment = vdevice.attach(nested, stale)?;
/// # Ok(())
/// # }
/// ```
///
/// Cloning gives another handle. It holds the virtual IOMMU and the device; an attachment
/// [`through`](Self::through) a guest's tables holds it. Dropping the last handle destroys it;
/// [`try_destroy`](Self::try_destroy) does the same, and tells. The kernel refuses at once (`EBUSY`)
/// while an ioctl of somebody else is using it.
///
/// If the device goes all the same, as when somebody with a duplicate of its file unbinds it, the
/// kernel destroys this with it, and keeps its id from being used again: there is nothing left to
/// destroy, and nothing is reported.
///
/// # System calls
/// `IOMMU_VDEVICE_ALLOC` and `IOMMU_DESTROY`.
///
/// Since Linux 6.13.
#[doc(alias = "IOMMU_VDEVICE_ALLOC")]
pub struct VDevice<V: ViommuKind> {
    inner: Arc<VDeviceInner>,
    /// Those of the virtual IOMMU.
    demands: V::Demands,
}

impl<V: ViommuKind> VDevice<V> {
    /// Makes `device` known behind `viommu` as `number`.
    ///
    /// # Errors
    /// [`Error::ForeignContext`]; [`Error::HasVDevice`]; `EEXIST`: another device has the number;
    /// `EINVAL`: the device is behind another physical IOMMU; `EOPNOTSUPP`: the SMMUv3 driver
    /// demands a device with exactly one stream; `ENOSPC`: the hardware has no more places;
    /// [`Error::Unsupported`] before Linux 6.13; [`Error::Forked`].
    ///
    /// [`Error::ForeignContext`]: crate::Error::ForeignContext
    /// [`Error::HasVDevice`]: crate::Error::HasVDevice
    /// [`Error::Unsupported`]: crate::Error::Unsupported
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn new(viommu: &Viommu<V>, device: &Device, number: V::VirtualId) -> Result<Self> {
        let iommufd = viommu.iommufd();
        iommufd.must_be(device.iommufd(), "device")?;
        iommufd.check_process()?;
        let claim = device.claim_vdevice()?;
        let mut arg = sys::iommu_vdevice_alloc::sized();
        arg.viommu_id = viommu.inner().id();
        arg.dev_id = device.id();
        arg.virt_id = number.into();
        iommufd.context().call(&nr::VDEVICE_ALLOC, &mut arg)?;
        Ok(Self {
            inner: Arc::new(VDeviceInner {
                object: Object::new(iommufd, arg.out_vdevice_id, KIND),
                claim,
                viommu: Arc::clone(viommu.inner()),
            }),
            demands: *viommu.demands(),
        })
    }

    /// Attaches the device to the guest's tables, under this number: that is
    /// [`Device::attach`] with what [`through`](Self::through) makes.
    ///
    /// # Errors
    /// [`Error::ForeignVDevice`], if the tables are behind another virtual IOMMU;
    /// [`Error::StaleTranslations`], with the device detached again; else as for
    /// [`Device::attach`].
    ///
    /// [`Error::ForeignVDevice`]: crate::Error::ForeignVDevice
    /// [`Error::StaleTranslations`]: crate::Error::StaleTranslations
    pub fn attach(&self, nested: &NestedHwPt<V::Format>, stale: V::Stale) -> Result<Attachment> {
        self.device().attach(self.through(nested, stale))
    }

    /// What the device is moved to, from where it is attached, to be attached to the guest's tables
    /// under this number:
    ///
    /// ```no_run
    /// # use iommufd::format::ViommuKind;
    /// # fn example<V: ViommuKind>(
    /// #     attachment: &mut iommufd::Attachment,
    /// #     vdevice: &iommufd::VDevice<V>,
    /// #     nested: &iommufd::NestedHwPt<V::Format>,
    /// #     stale: V::Stale,
    /// # ) -> iommufd::Result<()> {
    /// attachment.replace(vdevice.through(nested, stale))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The attachment holds the virtual device: while the guest's tables translate for the device,
    /// its number stays known.
    ///
    /// The IOMMU tags what it has translated by numbers that are in the guest's tables, such as the
    /// ASIDs of an SMMUv3. Such translations outlive the table that the device leaves, and the kernel
    /// does not invalidate them: in a table that uses the same number for something else, they are
    /// wrong. So `stale` says what becomes of them (for SMMUv3 see
    /// [`StaleAsids`](crate::smmuv3::StaleAsids)). What is to be invalidated is invalidated after the
    /// device has come, each time that it comes by this target.
    #[must_use]
    pub fn through(&self, nested: &NestedHwPt<V::Format>, stale: V::Stale) -> Target {
        let stale = V::stale(&stale, &self.demands);
        let settle = (!stale.is_empty()).then(|| -> Arc<dyn Settle> {
            Arc::new(Invalidations::<V> {
                viommu: Arc::clone(&self.inner.viommu),
                demands: self.demands,
                commands: stale,
            })
        });
        Target::through(nested.table(), Some(&self.inner), settle)
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.inner.device()
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.inner.object.iommufd()
    }

    /// Destroys it: from now on the guest's number means nothing.
    ///
    /// # Errors
    /// [`Error::InUse`], with the handle and without asking the kernel, if other handles or an
    /// attachment hold it; [`Error::Forked`].
    ///
    /// [`Error::InUse`]: crate::Error::InUse
    /// [`Error::Forked`]: crate::Error::Forked
    pub fn try_destroy(self) -> Result<(), Refused<Self>> {
        let Self { inner, demands } = self;
        destroy_last(inner, KIND, |inner| inner.object.destroy_unless_gone())
            .map_err(|refused| refused.map(|inner| Self { inner, demands }))
    }
}

/// What is invalidated when a device has come to a table.
struct Invalidations<V: ViommuKind> {
    viommu: Arc<ViommuInner>,
    demands: V::Demands,
    commands: Vec<<V::Format as Format>::Invalidation>,
}

impl<V: ViommuKind> Settle for Invalidations<V> {
    fn settle(&self) -> Result<()> {
        self.viommu.invalidate::<V>(&self.demands, &self.commands)
    }
}

const KIND: &str = "virtual device";

// By hand: a derive would ask the same of the kind.
impl<V: ViommuKind> Clone for VDevice<V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            demands: self.demands,
        }
    }
}

equal_by!(inner: VDevice<V: ViommuKind>);

impl<V: ViommuKind> fmt::Debug for VDevice<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The virtual device itself, whatever its kind.
///
/// # Invariants
/// `object` is the virtual device of the claimed device behind `viommu`, and nobody else destroys
/// it.
pub(crate) struct VDeviceInner {
    // The order matters: destroyed first, then the device may have another.
    object: Object,
    claim: VDeviceClaim,
    viommu: Arc<ViommuInner>,
}

impl VDeviceInner {
    pub(crate) fn device(&self) -> &Device {
        self.claim.device()
    }

    pub(crate) fn viommu(&self) -> &Arc<ViommuInner> {
        &self.viommu
    }
}

impl Drop for VDeviceInner {
    fn drop(&mut self) {
        if !self.object.destroy_unless_gone_in_drop() {
            // The kernel still has it, and refuses another of the device.
            self.claim.keep();
        }
    }
}

impl fmt::Debug for VDeviceInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VDevice")
            .field("id", &self.object.id())
            .field("device", self.device())
            .field("viommu", &self.viommu.id())
            .finish()
    }
}
