//! A device file that somebody else has bound.

// UNSAFETY: makes a device of an id that the caller answers for.
#![expect(unsafe_code, reason = "the door for what cannot be told")]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use iommufd::{GroupIdentity, Iommufd};
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;

use crate::address::PciAddress;
use crate::bound::{Behind, Bound, Fresh, Home};
#[cfg(doc)]
use crate::device::OpenDevice;
use crate::device::{AnyDevice, Inner};
use crate::device_file::DeviceFile;
use crate::error::{Error, Refused, Result};
use crate::feature::FeatureError;
use crate::identity::{Identity, Wanted};
use crate::info::{DeviceFlags, DeviceInfo};
use crate::ioctl::feature::Bare;
use crate::irq::set::{Action, Which, set};
use crate::switches;
use crate::sysfs::Roots;

/// The file of a device that a launcher has opened and bound, and now gives away, with the number that
/// the bind answered (`out_devid`).
///
/// Who is to be given a device that is not bound needs none of this:
/// [`Cdev::from_fd`](crate::Cdev::from_fd) is safe.
///
/// ```no_run
/// # fn example(iommu_file: std::os::fd::OwnedFd, device_file: std::os::fd::OwnedFd, id: u32)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::{Ioas, Iommufd};
/// use vfio::{AnyDevice, PreBound};
///
/// let iommufd = Iommufd::from_fd(iommu_file)?;
/// let device = PreBound::from_fd(device_file, id)?;
/// // SAFETY: the launcher has bound the device to this context, under this id, and keeps neither.
/// let device = unsafe { device.adopt(&iommufd) }?;
/// let attachment = device.attach(&Ioas::new(&iommufd)?)?;
/// if let AnyDevice::Device(device) = &device {
///     println!("{:?}", device.iommu().hw_info()?);
/// }
/// # Ok(())
/// # }
/// ```
pub struct PreBound {
    file: DeviceFile,
    id: u32,
    identity: Identity,
}

impl PreBound {
    /// Looks at the file: whether it is a device that is bound, and which one.
    ///
    /// # Errors
    /// The file, with [`Error::NotBound`]; [`Error::NoIommu`]; [`Error::NotVfio`]; `ENODEV`: the device
    /// is going away.
    ///
    /// # System calls
    /// `fstat` and `VFIO_DEVICE_GET_INFO`; sysfs is read where it is there.
    pub fn from_fd(fd: OwnedFd, id: u32) -> Result<Self, Refused<OwnedFd>> {
        // Of a device without an IOMMU the context tells when it is adopted.
        let wanted = Wanted::IommuOnTrust;
        match Identity::of(&Roots::default(), &fd, wanted, true) {
            Ok(identity) => Ok(Self {
                file: DeviceFile::new(fd, identity.address),
                id,
                identity,
            }),
            Err(error) => Err(Refused::new(fd, error)),
        }
    }

    /// Says which IOMMU group the device is in, as [`Cdev::with_group`](crate::Cdev::with_group) does.
    #[must_use]
    pub fn with_group(mut self, group: GroupIdentity) -> Self {
        if self.identity.group == GroupIdentity::Unknown {
            self.identity.group = group;
        }
        self
    }

    /// The PCI function that it is, if it is one and sysfs told.
    #[must_use]
    pub fn address(&self) -> Option<PciAddress> {
        self.identity.address
    }

    /// Takes the device over, from now on as any that this crate has bound.
    ///
    /// What the launcher has attached it to is not known, so it is detached: nothing that was mapped for
    /// it before is reached any more. Interrupts and signals of a PCI function that are enabled are
    /// disabled, and low power and a record of what the device writes end. The rest is as it was left:
    /// PASIDs that are attached stay so until they are attached elsewhere, or the device is closed;
    /// registers, bus mastering and a migration under way are the device's state, which
    /// [`OpenDevice::reset`] ends; eventfds that write registers, and exported BARs, there are until the
    /// device is closed. Registers that are switched off through configuration space are
    /// [`Revoked`](Error::Revoked) until they are switched on.
    ///
    /// KVM must have been told before the bind, by the launcher; it is too late now.
    ///
    /// # Safety
    /// - The file is bound to this very context, under this id.
    /// - Nobody else attaches or detaches the device, or has mapped its registers, from now on: no other
    ///   [`Device`](crate::Device) of it in this process or another, and no launcher that kept the
    ///   file.
    /// - Nobody relies on what it is attached to.
    ///
    /// # Errors
    /// All of it, the device bound as before, with [`Error::NoIommu`]; [`Error::WrongId`]: the context
    /// has no device of this id, or one of another kind; the kernel's refusal of the detach, `EIO` and
    /// `ENODEV`, [`Error::Malformed`]: the device does not answer, or goes away; [`iommufd::Error::Forked`].
    ///
    /// # System calls
    /// `IOMMU_GET_HW_INFO`, `VFIO_DEVICE_GET_INFO`, `VFIO_DEVICE_SET_IRQS`, `VFIO_DEVICE_FEATURE`,
    /// `VFIO_DEVICE_GET_REGION_INFO`, `pread64` and `VFIO_DEVICE_DETACH_IOMMUFD_PT`.
    pub unsafe fn adopt(self, iommufd: &Iommufd) -> Result<AnyDevice, Refused<Self>> {
        // INVARIANT: the caller promises that it is bound.
        let bound = Bound::new(self.file.share(), Home::Context(iommufd.clone()));
        // SAFETY: the caller's promise.
        let adopted = unsafe { Fresh::of(bound, iommufd, self.id, self.identity.group) }
            .map_err(|(_, error)| error)
            .and_then(|fresh| {
                take_over(&fresh, &self.identity)?;
                Ok(fresh)
            });
        match adopted {
            Ok(fresh) => {
                let behind = fresh.behind;
                let inner = Inner::new(fresh, self.identity.address);
                Ok(AnyDevice::new(inner, behind))
            }
            Err(error) => Err(Refused::new(self, error)),
        }
    }
}

/// Brings the device to where one is that has just been bound.
fn take_over(fresh: &Fresh, identity: &Identity) -> Result<()> {
    let mediated = match fresh.behind {
        Behind::Nothing => return Err(Error::NoIommu),
        Behind::Emulation => true,
        Behind::Iommu => false,
    };
    if identity.mediated.is_some_and(|is| is != mediated) {
        return Err(Error::WrongId);
    }
    let bound = &fresh.bound;
    // Refused where there is none. Not every driver ends it with a reset, and none begins another.
    bound.set_bare_feature(Bare::DmaLoggingStop).ok();
    // Interrupts first: they may need what the device is attached to.
    if DeviceInfo::of(bound)?.flags.contains(DeviceFlags::PCI) {
        for index in INTERRUPTS {
            // Refused where there is nothing to disable.
            set(bound, index, 0, Action::Trigger, Which::All(0)).ok();
        }
        // The kernel lets who is in low power end it, and others; a reset does not.
        match bound.set_bare_feature(Bare::LowPowerExit) {
            Ok(()) | Err(Error::Feature(FeatureError::NotThere { .. })) => {}
            Err(error) => return Err(error),
        }
        switches::of_another(bound)?;
    }
    let mut arg = sys::vfio_device_detach_iommufd_pt::sized();
    bound.fixed(&nr::DEVICE_DETACH_IOMMUFD_PT, &mut arg)?;
    Ok(())
}

/// All that a PCI function tells by eventfds.
const INTERRUPTS: [u32; 5] = [
    sys::VFIO_PCI_INTX_IRQ_INDEX,
    sys::VFIO_PCI_MSI_IRQ_INDEX,
    sys::VFIO_PCI_MSIX_IRQ_INDEX,
    sys::VFIO_PCI_ERR_IRQ_INDEX,
    sys::VFIO_PCI_REQ_IRQ_INDEX,
];

/// Lends the file, to be passed on, or duplicated.
impl AsFd for PreBound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for PreBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreBound")
            .field("fd", &self.file)
            .field("id", &self.id)
            .field("identity", &self.identity)
            .finish()
    }
}
