//! A VFIO character device that is open, but not bound yet.

// UNSAFETY: declares an unsafe function; nothing is called.
#![expect(unsafe_code, reason = "the door for what cannot be told")]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use iommufd::{GroupIdentity, Iommufd, KernelError};
use rustix::fs::{Mode, OFlags};

use crate::address::PciAddress;
use crate::bound::{self, Behind, BindFailure};
use crate::cause;
use crate::device::{AnyDevice, Device, Inner, MediatedDevice, NoIommuDevice};
use crate::device_file::DeviceFile;
use crate::error::{Error, Refused, Result};
use crate::identity::{Identity, Wanted};
use crate::readiness::Readiness;
use crate::sysfs::{self, Roots};
use crate::vf_token::VfToken;

/// An open VFIO character device, `/dev/vfio/devices/vfioN`, that is not bound to an `iommufd` yet.
///
/// Nothing can be done with one but to tell KVM of it ([`with_kvm`](Self::with_kvm)) and to bind it: as
/// what it is, which is a [`Device`] behind an IOMMU ([`bind`](Self::bind)) or a [`MediatedDevice`].
/// Dropping it closes the file.
///
/// Since Linux 6.6.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::{Ioas, Iommufd};
/// use vfio::Cdev;
///
/// let iommufd = Iommufd::open()?;
/// let device = Cdev::open_pci("0000:00:04.0".parse()?)?.bind(&iommufd)?;
/// let ioas = Ioas::new(&iommufd)?;
/// let attachment = device.attach(&ioas)?;
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `openat` and `fstat`, and `readlink` of `/proc/self/fd` where there is no sysfs;
/// `VFIO_DEVICE_GET_INFO`, which a device that is not bound refuses;
/// `VFIO_DEVICE_BIND_IOMMUFD` and `IOMMU_GET_HW_INFO`. Sysfs is read (`openat`, `readlink`, `read`,
/// `getdents64`, `faccessat`) where it is there; only [`open_pci`](Self::open_pci) needs it.
pub struct Cdev {
    pub(crate) file: DeviceFile,
    address: Option<PciAddress>,
    group: GroupIdentity,
    /// Whether the kernel emulates it, if sysfs told.
    mediated: Option<bool>,
}

impl Cdev {
    /// Opens the character device at `path`.
    ///
    /// # Errors
    /// [`Error::Open`]: `ENOENT`: there is no such node; `EACCES`: it is not yours; `ENODEV`: the
    /// device is going away. [`Error::NotVfio`]: it is something else. [`Error::NoIommu`]: a
    /// noiommu device, whose DMA nothing confines; [`Error::MayBeNoIommu`]: nothing tells whether it is
    /// one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_within(&Roots::default(), path.as_ref(), Wanted::Iommu)
    }

    fn open_within(roots: &Roots, path: &Path, wanted: Wanted) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if sysfs::is_noiommu(&name) {
            wanted.check(false)?;
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::Open {
            path: PathBuf::from(path),
            error: KernelError::new("open", errno, cause::of_open(errno)),
        })?;
        Self::adopt(roots, fd, wanted).map_err(Error::from)
    }

    /// Opens the character device of the PCI function at `address`, which sysfs names.
    ///
    /// # Errors
    /// [`Error::NotReady`] if the function is not bound to a VFIO driver, or VFIO offers it
    /// without an IOMMU only: the text says what to do. [`Error::AnotherDevice`]: the function has
    /// gone meanwhile, and its node is another's. [`Error::NoSuchDevice`] and
    /// [`Error::Sysfs`] as for [`Readiness::of`]. Else as for [`open`](Self::open).
    pub fn open_pci(address: PciAddress) -> Result<Self> {
        Self::open_pci_if(address, Wanted::Iommu)
    }

    fn open_pci_if(address: PciAddress, wanted: Wanted) -> Result<Self> {
        let roots = Roots::default();
        let readiness = Readiness::within(&roots, address)?;
        let is_other =
            |path: &Path| wanted != Wanted::NoIommu && path.to_string_lossy().contains("noiommu-");
        let usable = readiness
            .cdev()
            .filter(|path| path.exists() && !is_other(path))
            .map(PathBuf::from);
        match usable {
            Some(path) => Self::open_within(&roots, &path, wanted)?.that_is(address),
            None => Err(Error::NotReady {
                address,
                blockers: readiness.into_blockers(),
            }),
        }
    }

    /// Itself, if it is the function at `address`: the kernel may have given its node's name to
    /// another when it was opened.
    fn that_is(self, address: PciAddress) -> Result<Self> {
        match self.address {
            Some(found) if found == address => Ok(self),
            found => Err(Error::AnotherDevice { address, found }),
        }
    }

    /// Takes over an open character device that nobody has bound, as a sandboxed process is given
    /// it.
    ///
    /// Whoever else holds the same open file can drive the device as well, and is trusted with it.
    ///
    /// The IOMMU group is read from sysfs if that is there; where it is not,
    /// [`with_group`](Self::with_group) says it.
    ///
    /// # Errors
    /// The file, with [`Error::AlreadyBound`]: what it is attached to cannot be told;
    /// [`Error::NoIommu`]: it is a noiommu device; [`Error::MayBeNoIommu`]: there is neither a sysfs
    /// nor a procfs that would tell: see [`from_fd_with_iommu`](Self::from_fd_with_iommu);
    /// [`Error::NotVfio`]: it is something else.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Refused<OwnedFd>> {
        Self::adopt(&Roots::default(), fd, Wanted::Iommu)
    }

    /// As [`from_fd`](Self::from_fd), where nothing tells of a device that no IOMMU translates.
    ///
    /// Of such a device [`bind`](Self::bind) finds out, when the kernel has bound it: it closes the
    /// file then, but who has a duplicate can drive the device, which reaches all memory.
    ///
    /// # Safety
    /// It is no noiommu device: its node is not named `noiommu-vfioN`.
    ///
    /// # Errors
    /// As for [`from_fd`](Self::from_fd), but for [`Error::MayBeNoIommu`].
    pub unsafe fn from_fd_with_iommu(fd: OwnedFd) -> Result<Self, Refused<OwnedFd>> {
        Self::adopt(&Roots::default(), fd, Wanted::IommuOnTrust)
    }

    /// Takes it over, if it is a device that nobody has bound, and what it shall be.
    fn adopt(roots: &Roots, fd: OwnedFd, wanted: Wanted) -> Result<Self, Refused<OwnedFd>> {
        match Identity::of(roots, &fd, wanted, false) {
            Ok(identity) => Ok(Self {
                file: DeviceFile::new(fd, identity.address),
                address: identity.address,
                group: identity.group,
                mediated: identity.mediated,
            }),
            Err(error) => Err(Refused::new(fd, error)),
        }
    }

    /// Says which IOMMU group the device is in, where there is no sysfs that tells; what sysfs has
    /// told stands.
    ///
    /// Without it, in a context with several such devices, a device cannot be moved from one page
    /// table to another: it could take others with it. (A wrong statement lets that happen to the
    /// devices that really share the group. No device gets at memory that is not mapped where it
    /// then is: the kernel counts who uses a page table, and refuses to let go of one in use.)
    ///
    /// And without it a device that is closed stays open, unknown to its user, as long as another
    /// such device is attached: see [`iommufd::Error::LeadsGroup`].
    #[must_use]
    pub fn with_group(mut self, group: GroupIdentity) -> Self {
        if self.group == GroupIdentity::Unknown {
            self.group = group;
        }
        self
    }

    /// What is known of the IOMMU group.
    #[must_use]
    pub fn group(&self) -> GroupIdentity {
        self.group
    }

    /// The PCI function that it is, if it is one and sysfs told.
    #[must_use]
    pub fn address(&self) -> Option<PciAddress> {
        self.address
    }

    /// Binds the device to `iommufd`: from now on it can be used.
    ///
    /// A device is bound once; it is released when it is closed.
    ///
    /// # Errors
    /// The device, with the kernel's refusal. `EINVAL`: the file is bound already, the device is
    /// open and bound elsewhere, or its DMA is not coherent with the CPU's caches. `EBUSY`: its
    /// group is open (`/dev/vfio/GROUP`). `EPERM`: another device of the IOMMU group is in use
    /// elsewhere, or interrupts are not isolated. [`Error::VfTokenNeeded`]: see
    /// [`bind_with_token`](Self::bind_with_token). [`Error::Mediated`]: see
    /// [`bind_mediated`](Self::bind_mediated). [`iommufd::Error::Forked`].
    ///
    /// [`Error::NoIommu`], and [`Error::Mediated`] where there is no sysfs, is found out only after
    /// the kernel has bound the device; the file is then closed, and there is nothing to give back.
    #[doc(alias = "VFIO_DEVICE_BIND_IOMMUFD")]
    pub fn bind(self, iommufd: &Iommufd) -> Result<Device, BindError> {
        self.bind_if(iommufd, None, &[Behind::Iommu])
            .map(|(device, _)| Device::new(device))
    }

    /// Binds a PCI function that asks for a VF token: a virtual function whose physical function a
    /// VFIO driver has, so that whoever drives that has agreed. Its user sets the token.
    ///
    /// A physical function, bound with a token while none of its virtual functions is in use, gets
    /// this token; while one is, it asks for the one that it has.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use iommufd::Iommufd;
    /// use vfio::{Cdev, VfToken};
    ///
    /// let token: VfToken = "14d63f20-8445-11ea-8900-1f9ce7d5650d".parse()?;
    /// let physical = Cdev::open_pci("01:00.0".parse()?)?;
    /// let physical = physical.bind_with_token(&Iommufd::open()?, token)?;
    /// // In another program, which was told the token:
    /// let virtual_one = Cdev::open_pci("01:10.0".parse()?)?;
    /// let virtual_one = virtual_one.bind_with_token(&Iommufd::open()?, token)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Since Linux 6.17. A bind that is refused by `EINVAL` is asked for again with a token that cannot
    /// be read, which tells whether tokens are known.
    ///
    /// # Errors
    /// The device, with [`Error::VfTokenWrong`]; `EINVAL`: nobody asks for a token (no physical or
    /// virtual function, or a virtual one whose physical function no VFIO driver has), or one of the
    /// causes without a token; [`Error::NoVfTokens`]: the kernel or the device's driver knows none;
    /// [`Error::AlreadyBound`]: somebody else who has the file has bound it meanwhile; else as for [`bind`](Self::bind).
    #[doc(alias = "VFIO_DEVICE_BIND_FLAG_TOKEN")]
    pub fn bind_with_token(self, iommufd: &Iommufd, token: VfToken) -> Result<Device, BindError> {
        self.bind_if(iommufd, Some(token), &[Behind::Iommu])
            .map(|(device, _)| Device::new(device))
    }

    /// Binds a mediated device, one that the kernel's driver emulates: there is no IOMMU behind it.
    ///
    /// # Errors
    /// The device, with [`Error::NotMediated`], which is found out only after the bind where there is
    /// no sysfs; the file is then closed. The kernel's refusal, as for [`bind`](Self::bind), but
    /// for `EPERM`.
    #[doc(alias = "VFIO_DEVICE_BIND_IOMMUFD")]
    pub fn bind_mediated(self, iommufd: &Iommufd) -> Result<MediatedDevice, BindError> {
        self.bind_if(iommufd, None, &[Behind::Emulation])
            .map(|(device, _)| MediatedDevice::new(device))
    }

    /// Binds a device, mediated or not: for who is given a file, and no sysfs that would tell.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind), but for [`Error::Mediated`].
    #[doc(alias = "VFIO_DEVICE_BIND_IOMMUFD")]
    pub fn bind_any(self, iommufd: &Iommufd) -> Result<AnyDevice, BindError> {
        let known = [Behind::Iommu, Behind::Emulation];
        let (device, behind) = self.bind_if(iommufd, None, &known)?;
        Ok(AnyDevice::new(device, behind))
    }

    fn bind_if(
        self,
        iommufd: &Iommufd,
        token: Option<VfToken>,
        wanted: &[Behind],
    ) -> Result<(Inner, Behind), BindError> {
        let refused = |behind| match behind {
            behind if wanted.contains(&behind) => None,
            Behind::Iommu => Some(match wanted {
                [Behind::Nothing] => Error::HasIommu,
                _ => Error::NotMediated,
            }),
            Behind::Emulation => Some(Error::Mediated),
            Behind::Nothing => Some(Error::NoIommu),
        };
        let expected = self.mediated.map(|mediated| match mediated {
            true => Behind::Emulation,
            false => Behind::Iommu,
        });
        // What sysfs calls no mediated device may have an IOMMU or not.
        let expected = expected.filter(|_| !wanted.contains(&Behind::Nothing));
        if let Some(error) = expected.and_then(refused) {
            let cdev = Some(self);
            return Err(BindError { cdev, error });
        }
        let Self {
            file,
            address,
            group,
            mediated,
        } = self;
        match bound::bind(file, iommufd, group, token) {
            Ok(fresh) => match refused(fresh.behind) {
                None => {
                    let behind = fresh.behind;
                    Ok((Inner::new(fresh, address), behind))
                }
                // Dropped, it is closed.
                Some(error) => Err(BindError { cdev: None, error }),
            },
            Err(BindFailure::Refused(file, error)) => Err(BindError {
                cdev: Some(Self {
                    file,
                    address,
                    group,
                    mediated,
                }),
                error,
            }),
            Err(BindFailure::RolledBack(error)) => Err(BindError { cdev: None, error }),
        }
    }
}

/// Devices that no IOMMU translates: for [`NoIommuDevice`], whose functions are unsafe.
impl Cdev {
    pub(crate) fn open_noiommu(path: &Path) -> Result<Self> {
        Self::open_within(&Roots::default(), path, Wanted::NoIommu)
    }

    pub(crate) fn open_noiommu_pci(address: PciAddress) -> Result<Self> {
        Self::open_pci_if(address, Wanted::NoIommu)
    }

    pub(crate) fn from_noiommu_fd(fd: OwnedFd) -> Result<Self, Refused<OwnedFd>> {
        Self::adopt(&Roots::default(), fd, Wanted::NoIommu)
    }

    pub(crate) fn bind_noiommu(self, iommufd: &Iommufd) -> Result<NoIommuDevice, BindError> {
        self.bind_if(iommufd, None, &[Behind::Nothing])
            .map(|(device, _)| NoIommuDevice::new(device))
    }

    #[cfg(test)]
    pub(crate) fn of_nothing(fd: OwnedFd) -> Self {
        Self {
            file: DeviceFile::new(fd, None),
            address: None,
            group: GroupIdentity::Unknown,
            mediated: None,
        }
    }
}

/// Lends the file, as for who tells KVM of it by means of its own: before the bind, and it takes it
/// back before the device is closed ([`with_kvm`](Cdev::with_kvm) does both). A duplicate keeps the device
/// open when this is closed.
impl AsFd for Cdev {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for Cdev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            address,
            group,
            mediated: _,
        } = self;
        f.debug_struct("Cdev")
            .field("fd", file)
            .field("address", address)
            .field("group", group)
            .finish_non_exhaustive()
    }
}

/// A bind that failed.
#[derive(Debug)]
pub struct BindError {
    cdev: Option<Cdev>,
    error: Error,
}

impl BindError {
    /// Why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The device as it was, if the kernel refused to bind it; `None` if it had been bound, and
    /// was closed when a later step failed.
    #[must_use]
    pub fn into_cdev(self) -> Option<Cdev> {
        self.cdev
    }

    /// The file alone, with the reason: for what was made of a file, of which KVM was not told.
    pub(crate) fn into_refused_fd(self) -> Refused<Option<OwnedFd>> {
        let fd = self.cdev.and_then(|cdev| cdev.file.into_fd());
        Refused::new(fd, self.error)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl From<BindError> for Error {
    fn from(failed: BindError) -> Self {
        failed.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::fs::File;

    #[test]
    fn what_is_not_a_vfio_device_is_refused_and_given_back() {
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        let refused = Cdev::from_fd(file).unwrap_err();
        assert!(matches!(refused.error(), Error::NotVfio));
        rustix::io::fcntl_getfd(refused.into_value()).unwrap();

        // Without sysfs the kernel's answer tells.
        let nowhere = Roots {
            sys: "/nonexistent".into(),
            ..Roots::default()
        };
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        assert!(matches!(
            Cdev::adopt(&nowhere, file, Wanted::Iommu)
                .unwrap_err()
                .error(),
            Error::NotVfio
        ));

        let regular = OwnedFd::from(File::open("/proc/self/exe").unwrap());
        assert!(matches!(
            Cdev::from_fd(regular).unwrap_err().error(),
            Error::NotVfio
        ));
        assert!(matches!(Cdev::open("/dev/null"), Err(Error::NotVfio)));
    }

    #[test]
    fn a_node_that_is_another_devices_by_now_is_refused() {
        let address = "0000:00:04.0".parse().unwrap();
        let cdev = |address| Cdev {
            address,
            ..Cdev::of_nothing(File::open("/dev/null").unwrap().into())
        };
        assert!(cdev(Some(address)).that_is(address).is_ok());
        for found in ["0000:00:05.0".parse().ok(), None] {
            let error = cdev(found).that_is(address).unwrap_err();
            assert!(
                matches!(&error, Error::AnotherDevice { found: is, .. } if *is == found),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_node_is_named() {
        let error = Cdev::open("/dev/vfio/devices/vfio-nonexistent").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert!(
            error.to_string().contains("vfio-nonexistent: open: "),
            "{error}"
        );
    }

    #[test]
    fn noiommu_is_refused_before_it_is_opened() {
        assert!(matches!(
            Cdev::open("/dev/vfio/devices/noiommu-vfio0"),
            Err(Error::NoIommu)
        ));
    }
}
