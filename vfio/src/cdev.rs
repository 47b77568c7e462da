//! A VFIO character device that is open, but not bound yet.

// UNSAFETY: declares an unsafe function; nothing is called.
#![expect(unsafe_code, reason = "the door for what cannot be told")]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use iommufd::{GroupIdentity, Iommufd, KernelError};
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::address::PciAddress;
use crate::bound::{self, BindFailure};
use crate::cause;
use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::in_use::InUse;
use crate::ioctl::{self, Audience};
use crate::readiness::Readiness;
use crate::sysfs::{self, CharDevice, Roots};

/// An open VFIO character device, `/dev/vfio/devices/vfioN`, that is not bound to an `iommufd` yet.
///
/// Nothing but [`bind`](Self::bind) can be done with one. Dropping it closes the file.
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
    fd: OwnedFd,
    address: Option<PciAddress>,
    group: GroupIdentity,
    // After the file is closed.
    in_use: InUse,
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
        Self::open_within(&Roots::default(), path.as_ref())
    }

    fn open_within(roots: &Roots, path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if sysfs::is_noiommu(&name) {
            return Err(Error::NoIommu);
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::Open {
            path: PathBuf::from(path),
            error: KernelError::new("open", errno, cause::of_open(errno)),
        })?;
        Self::adopt(roots, fd).map_err(Error::from)
    }

    /// Opens the character device of the PCI function at `address`, which sysfs names.
    ///
    /// # Errors
    /// [`Error::NotReady`] if the function is not bound to a VFIO driver, or VFIO offers it
    /// without an IOMMU only: the text says what to do. [`Error::AnotherDevice`]: the function has
    /// gone meanwhile, and its node is another's. [`Error::NoSuchDevice`] and
    /// [`Error::Sysfs`] as for [`Readiness::of`]. Else as for [`open`](Self::open).
    pub fn open_pci(address: PciAddress) -> Result<Self> {
        let roots = Roots::default();
        let readiness = Readiness::within(&roots, address)?;
        let usable = readiness
            .cdev()
            .filter(|path| path.exists() && !path.to_string_lossy().contains("noiommu-"))
            .map(PathBuf::from);
        match usable {
            Some(path) => Self::open_within(&roots, &path)?.that_is(address),
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
        Self::adopt(&Roots::default(), fd)
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
        Self::take(&Roots::default(), fd, |_| Ok(()))
    }

    fn adopt(roots: &Roots, fd: OwnedFd) -> Result<Self, Refused<OwnedFd>> {
        Self::take(roots, fd, |fd| has_iommu(roots.file_name(fd)))
    }

    /// Takes it over, if it is a device, and one that an IOMMU translates: by what sysfs tells, else
    /// by what `ask` does.
    fn take(
        roots: &Roots,
        fd: OwnedFd,
        ask: impl FnOnce(&OwnedFd) -> Result<()>,
    ) -> Result<Self, Refused<OwnedFd>> {
        let (address, group) = match Self::identify(roots, &fd, ask) {
            Ok(known) => known,
            Err(error) => return Err(Refused::new(fd, error)),
        };
        Ok(Self {
            fd,
            address,
            group,
            in_use: InUse::new(address),
        })
    }

    fn identify(
        roots: &Roots,
        fd: &OwnedFd,
        ask: impl FnOnce(&OwnedFd) -> Result<()>,
    ) -> Result<(Option<PciAddress>, GroupIdentity)> {
        let stat = rustix::fs::fstat(fd)
            .map_err(|errno| KernelError::new("fstat", errno, "the file cannot be looked at"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
            return Err(Error::NotVfio);
        }
        let device = stat.st_rdev;
        let known = match roots.char_device(rustix::fs::major(device), rustix::fs::minor(device)) {
            CharDevice::Vfio(node) if node.is_noiommu() => return Err(Error::NoIommu),
            CharDevice::Vfio(node) => Some((node.address, node.group)),
            CharDevice::Other => return Err(Error::NotVfio),
            CharDevice::Unknown => None,
        };
        // Before the bind a device refuses everything else, which tells bound from unbound.
        let mut info = sys::vfio_device_info::sized();
        let ioctl = &nr::DEVICE_GET_INFO;
        match ioctl::fixed(fd.as_fd(), Audience::Nobody, ioctl, &mut info) {
            Ok(_) => return Err(Error::AlreadyBound),
            Err(Errno::INVAL) => {}
            Err(Errno::NOTTY) => return Err(Error::NotVfio),
            Err(errno) => return Err(cause::refusal(ioctl.describe(), errno).into()),
        }
        match known {
            Some(known) => Ok(known),
            None => ask(fd).map(|()| (None, GroupIdentity::Unknown)),
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
    /// elsewhere, or interrupts are not isolated. `EACCES`: a virtual function that asks for a VF
    /// token. [`iommufd::Error::Forked`].
    ///
    /// [`Error::NoIommu`] is found out only after the kernel has bound the device; the file is
    /// then closed, and there is nothing to give back.
    #[doc(alias = "VFIO_DEVICE_BIND_IOMMUFD")]
    pub fn bind(self, iommufd: &Iommufd) -> Result<Device, BindError> {
        let Self {
            fd,
            address,
            group,
            in_use,
        } = self;
        match bound::bind(fd, iommufd, group) {
            Ok((bound, iommu)) => {
                bound.count(in_use);
                Ok(Device::new(bound, iommu, address))
            }
            Err(BindFailure::Refused(fd, error)) => Err(BindError {
                cdev: Some(Self {
                    fd,
                    address,
                    group,
                    in_use,
                }),
                error,
            }),
            Err(BindFailure::RolledBack(error)) => Err(BindError { cdev: None, error }),
        }
    }
}

/// Refuses a character device of which its name does not tell that an IOMMU translates for it.
fn has_iommu(name: Option<String>) -> Result<()> {
    match name {
        Some(name) if sysfs::is_noiommu(&name) => Err(Error::NoIommu),
        Some(name) if sysfs::is_device(&name) => Ok(()),
        _ => Err(Error::MayBeNoIommu),
    }
}

/// Lends the file, as for KVM, which must be told of it before the bind. A duplicate keeps the
/// device open when this is closed.
impl AsFd for Cdev {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Cdev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fd, address, group, ..
        } = self;
        f.debug_struct("Cdev")
            .field("fd", fd)
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
    use crate::sysfs::fake;
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
            Cdev::adopt(&nowhere, file).unwrap_err().error(),
            Error::NotVfio
        ));

        let regular = OwnedFd::from(File::open("/proc/self/exe").unwrap());
        assert!(matches!(
            Cdev::from_fd(regular).unwrap_err().error(),
            Error::NotVfio
        ));
        assert!(matches!(Cdev::open("/dev/null"), Err(Error::NotVfio)));
    }

    /// A file that answers as a device would that nobody has bound cannot be had here: what is asked
    /// after that is asked by itself.
    #[test]
    fn what_sysfs_does_not_tell_is_told_by_the_name_of_the_file() {
        let tree = fake::Tree::new();
        tree.file("dev/vfio/devices/vfio0", "");
        let fd = OwnedFd::from(File::open(tree.roots.vfio_node("vfio0")).unwrap());
        assert_eq!(tree.roots.file_name(&fd).as_deref(), Some("vfio0"));
        has_iommu(tree.roots.file_name(&fd)).unwrap();
        std::fs::remove_file(tree.roots.vfio_node("vfio0")).unwrap();
        has_iommu(tree.roots.file_name(&fd)).expect("it was one");
        let nowhere = Roots {
            proc: "/nonexistent".into(),
            ..Roots::default()
        };
        let name = nowhere.file_name(&fd);
        assert!(matches!(has_iommu(name), Err(Error::MayBeNoIommu)));
        for other in ["vfio", "vfio0x", "null", "vfio-0"] {
            let answer = has_iommu(Some(other.to_owned()));
            assert!(matches!(answer, Err(Error::MayBeNoIommu)), "{other}");
        }
        for without in ["noiommu-vfio0", "noiommu-vfio0 (deleted)"] {
            let answer = has_iommu(Some(without.to_owned()));
            assert!(matches!(answer, Err(Error::NoIommu)), "{without}");
        }
    }

    #[test]
    fn a_node_that_is_another_devices_by_now_is_refused() {
        let address = "0000:00:04.0".parse().unwrap();
        let cdev = |address| Cdev {
            fd: File::open("/dev/null").unwrap().into(),
            address,
            group: GroupIdentity::Unknown,
            in_use: InUse::new(None),
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
