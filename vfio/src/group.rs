//! Groups: the older way to devices.

// UNSAFETY: declares an unsafe function; nothing is called.
#![expect(unsafe_code, reason = "the door to devices without an IOMMU")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iommufd::{GroupId, KernelError};
use iommufd_sys::ioctl::{ArgszArg, vfio as nr};
use iommufd_sys::vfio as sys;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::address::PciAddress;
use crate::cause::{self, refusal};
use crate::container::Container;
use crate::discovery;
use crate::error::{Error, Refused, Result};
use crate::ioctl::{self, Audience};
use crate::sysfs::{self, Roots};

mod device;
mod held;
mod member;
mod name;
mod number;

pub use device::GroupDevice;
pub use held::HeldGroup;
pub use member::MemberGroup;
pub(crate) use member::Seat;

/// A VFIO group, `/dev/vfio/GROUP`, that is open and in no container: all the devices of an IOMMU
/// group, by the older interface.
///
/// [`join`](Self::join) puts it into a [`Container`], and then its devices can be opened. While a
/// group is open none of its devices can be bound by its character device ([`Cdev`](crate::Cdev)),
/// and the other way round: `EBUSY`.
///
/// Dropping it closes the file.
///
/// Since Linux 3.10.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::{Access, DmaBuffer};
/// use vfio::{Container, PciAddress, VfioGroup};
///
/// let address: PciAddress = "0000:00:04.0".parse()?;
/// let container = Container::open()?;
/// let group = VfioGroup::open_pci(address)?.join(&container)?;
/// let device = group.pci_device(address)?;
/// let buffer = DmaBuffer::new(4096)?.share();
/// let mapping = container.map(&buffer, Access::ReadWrite)?;
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `openat` and `VFIO_GROUP_GET_STATUS`; `VFIO_GROUP_SET_CONTAINER` and, for the first group of a
/// container, `VFIO_SET_IOMMU`, for others `VFIO_IOMMU_GET_INFO`. `fstat` and `readlink`, of what is in
/// sysfs, if it is there, else of `/proc/self/fd`; only [`open_pci`](Self::open_pci) needs sysfs.
#[derive(Debug)]
pub struct VfioGroup {
    fd: Arc<OwnedFd>,
    kind: Kind,
    id: Option<GroupId>,
}

/// Whether there is an IOMMU, as sysfs, the name of the file or the caller tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One translates what the devices do.
    Translated,
    /// Nothing tells.
    Unknown,
    /// There is none.
    NoIommu,
}

impl VfioGroup {
    /// Opens the group of that number.
    ///
    /// # Errors
    /// As for [`open_at`](Self::open_at).
    pub fn open(group: GroupId) -> Result<Self> {
        let opened = Self::open_at(Roots::default().vfio_group(group))?;
        let id = opened.id.or(Some(group));
        Ok(Self { id, ..opened })
    }

    /// Opens the group of the PCI function at `address`, which sysfs names.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`]; [`Error::NoIommu`]: the function is in no IOMMU group;
    /// [`Error::Sysfs`]; else as for [`open_at`](Self::open_at).
    pub fn open_pci(address: PciAddress) -> Result<Self> {
        Self::open_pci_within(&Roots::default(), address)
    }

    fn open_pci_within(roots: &Roots, address: PciAddress) -> Result<Self> {
        let folder = discovery::folder_of(roots, address)?;
        match sysfs::group_of(&folder) {
            Ok(Some(group)) => Self::open(group),
            Ok(None) => Err(Error::NoIommu),
            Err(error) => Err(Error::sysfs(folder, error)),
        }
    }

    /// Opens the group whose node is at `path`.
    ///
    /// # Errors
    /// [`Error::Open`]: `ENOENT`: none of its devices is bound to a VFIO driver; `EBUSY`: it is open
    /// already, or one of its devices is by its character device; `EACCES`: it is not yours.
    /// [`Error::NoIommu`]: a noiommu group, by its name, which
    /// [`open_noiommu`](Self::open_noiommu) is for. [`Error::NotGroup`]: it is something else.
    pub fn open_at(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if sysfs::is_noiommu(&name) {
            return Err(Error::NoIommu);
        }
        Ok(Self::from_fd(open(path)?)?)
    }

    /// Opens a group of devices without an IOMMU, `/dev/vfio/noiommu-GROUP`. The container that it
    /// [joins](Self::join) has no IOMMU, and nothing can be mapped in it.
    ///
    /// It takes `CAP_SYS_RAWIO`, and the module parameter `vfio.enable_unsafe_noiommu_mode`.
    ///
    /// Since Linux 4.5.
    ///
    /// # Errors
    /// As for [`open_at`](Self::open_at); `EPERM`.
    ///
    /// # Safety
    /// Devices without an IOMMU reach all of memory by its physical addresses. Whatever the devices
    /// of this group are told, by whomever, they read and write only memory that is meant for them,
    /// as long as they can: until they have been reset, or their bus mastering is off.
    #[doc(alias = "VFIO_NOIOMMU_IOMMU")]
    pub unsafe fn open_noiommu(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::adopt(open(path.as_ref())?, |_| Ok(Kind::NoIommu))?)
    }

    /// Takes over an open group that is in no container, as a sandboxed process is given it.
    ///
    /// Whoever else holds the same open file can take the group out of its container, and open its
    /// devices and drive them, and is trusted with it.
    ///
    /// # Errors
    /// The file, with [`Error::GroupInContainer`]; [`Error::NoIommu`]: it is a noiommu group, which no
    /// IOMMU confines; or [`Error::NotGroup`]: it is something else. (Where there is neither a sysfs nor
    /// a procfs that would tell, a noiommu group is refused when it is to [join](Self::join) a
    /// container.)
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Refused<OwnedFd>> {
        Self::adopt(fd, |fd| Kind::of(&Roots::default(), fd))
    }

    fn adopt(
        fd: OwnedFd,
        kind: impl FnOnce(&OwnedFd) -> Result<Kind>,
    ) -> Result<Self, Refused<OwnedFd>> {
        let found = match is_contained(&fd) {
            Ok((false, stat)) => kind(&fd).map(|kind| (kind, stat)),
            Ok((true, _)) => Err(Error::GroupInContainer),
            Err(error) => Err(error),
        };
        match found {
            Ok((kind, stat)) => Ok(Self {
                fd: Arc::new(fd),
                kind,
                id: number::number(&Roots::default(), &stat),
            }),
            Err(error) => Err(Refused::new(fd, error)),
        }
    }

    /// Its number, which is that of the IOMMU group; `None` where sysfs does not tell.
    #[must_use]
    pub fn id(&self) -> Option<GroupId> {
        self.id
    }

    /// A group that no kernel has: a script answers for it.
    #[cfg(test)]
    pub(crate) fn scripted(id: Option<GroupId>) -> Self {
        Self {
            fd: Arc::new(ioctl::script::file()),
            kind: Kind::Translated,
            id,
        }
    }

    /// Whether the group can be used: no device of it is used by a kernel driver or by anybody else.
    ///
    /// Where an address space stands in for the container, the kernel finds out more when a device is
    /// opened.
    ///
    /// # Errors
    /// `ENODEV`: the devices of the group are going away.
    #[doc(alias = "VFIO_GROUP_FLAGS_VIABLE")]
    pub fn is_viable(&self) -> Result<bool> {
        let flags = status(self.as_fd()).map_err(Error::from)?;
        Ok(flags & sys::VFIO_GROUP_FLAGS_VIABLE != 0)
    }

    /// Puts the group into `container`. The first group gives that its IOMMU.
    ///
    /// # Errors
    /// The group, in no container, with the kernel's refusal. `EPERM`: the group is not
    /// [viable](Self::is_viable), or interrupts are not isolated. `EINVAL`: it has joined another
    /// container by a duplicate of its file, or reserves addresses at which something is mapped.
    /// `ENODEV`: no IOMMU of type 1 takes it, as it is one without an IOMMU. `ENOMEM`: what is mapped
    /// cannot be pinned. [`Error::NoIommu`]: no address space stands in for the container of a
    /// noiommu group, and a container of such groups takes none that is not known to be one.
    /// [`Error::MayBeNoIommu`]: nothing tells, and an address space stands in for the container.
    /// [`Error::NotCompat`]. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_GROUP_SET_CONTAINER")]
    #[doc(alias = "VFIO_SET_IOMMU")]
    pub fn join(self, container: &Container) -> Result<MemberGroup, Refused<Self>> {
        match container.enter(self.as_fd(), self.kind) {
            Ok(()) => Ok(MemberGroup::new(self, container)),
            Err(error) => Err(Refused::new(self, error)),
        }
    }
}

/// Lends the file, as for KVM, which must be told of it before a device is opened.
impl AsFd for VfioGroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (*self.fd).as_fd()
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        let cause = cause::legacy::of_group_open(errno);
        Error::Open {
            path: PathBuf::from(path),
            error: KernelError::new("open", errno, cause),
        }
    })
}

impl Kind {
    /// That of an open group of which nobody says that it has no IOMMU.
    fn of(roots: &Roots, fd: &OwnedFd) -> Result<Self> {
        let stat = look_at(fd)?;
        let (major, minor) = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let name = roots.group_name(major, minor);
        match name.or_else(|| roots.file_name(fd)) {
            Some(name) if sysfs::is_noiommu(&name) => Err(Error::NoIommu),
            Some(name) if sysfs::is_group(&name) => Ok(Self::Translated),
            _ => Ok(Self::Unknown),
        }
    }
}

fn look_at(fd: &OwnedFd) -> Result<Stat> {
    let looked = rustix::fs::fstat(fd);
    Ok(looked.map_err(|errno| KernelError::new("fstat", errno, "the file cannot be looked at"))?)
}

/// Whether the file, if it is a group, is in a container.
fn is_contained(fd: &OwnedFd) -> Result<(bool, Stat)> {
    let stat = look_at(fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
        return Err(Error::NotGroup);
    }
    match status(fd.as_fd()) {
        Ok(flags) => Ok((flags & sys::VFIO_GROUP_FLAGS_CONTAINER_SET != 0, stat)),
        // Other files do not know the number; of VFIO's own, a device that is not bound, and a
        // container with no group in it, say that it makes no sense.
        Err(error) if matches!(error.errno, Errno::NOTTY | Errno::INVAL) => Err(Error::NotGroup),
        Err(error) => Err(error.into()),
    }
}

/// What the kernel says of a group.
fn status(fd: BorrowedFd<'_>) -> Result<u32, KernelError> {
    let mut arg = sys::vfio_group_status::sized();
    let ioctl = &nr::GROUP_GET_STATUS;
    ioctl::fixed(fd, Audience::Nobody, ioctl, &mut arg)
        .map(|_| arg.flags)
        .map_err(|errno| refusal(ioctl.describe(), errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;
    use std::fs::File;

    #[test]
    fn what_is_no_group_is_refused_and_given_back() {
        for path in ["/dev/null", "/proc/self/exe"] {
            let refused = VfioGroup::from_fd(File::open(path).unwrap().into()).unwrap_err();
            assert!(matches!(refused.error(), Error::NotGroup), "{path}");
            rustix::io::fcntl_getfd(refused.into_value()).unwrap();
        }
        assert!(matches!(
            VfioGroup::open_at("/dev/null"),
            Err(Error::NotGroup)
        ));
    }

    #[test]
    fn noiommu_is_refused_before_it_is_opened() {
        let refused = VfioGroup::open_at("/dev/vfio/noiommu-0");
        assert!(matches!(refused, Err(Error::NoIommu)));
    }

    #[test]
    fn what_a_group_is_called_tells_whether_it_has_an_iommu() {
        // `/dev/null` plays the group.
        let fd = OwnedFd::from(File::open("/dev/null").unwrap());
        for (name, class, kind) in [
            ("5", "vfio", Ok(Kind::Translated)),
            ("noiommu-5", "vfio", Err(())),
            ("mem", "vfio", Ok(Kind::Unknown)),
            ("5", "mem", Ok(Kind::Unknown)),
        ] {
            let tree = Tree::new();
            let entry = format!("sys/devices/virtual/{class}/{name}");
            tree.link(&format!("{entry}/subsystem"), &format!("sys/class/{class}"));
            tree.link("sys/dev/char/1:3", &entry);
            match Kind::of(&tree.roots, &fd) {
                Err(error) => assert!(kind.is_err() && matches!(error, Error::NoIommu)),
                found => assert_eq!(found.ok(), kind.ok(), "{class}/{name}"),
            }
        }
        // Where there is no sysfs, the file's own name does.
        let tree = Tree::new();
        for (name, kind) in [("12", Some(Kind::Translated)), ("noiommu-12", None)] {
            tree.file(&format!("dev/vfio/{name}"), "");
            let path = tree.roots.dev.join("vfio").join(name);
            let fd = OwnedFd::from(File::open(path).unwrap());
            assert_eq!(Kind::of(&tree.roots, &fd).ok(), kind, "{name}");
        }
    }

    #[test]
    fn where_there_is_no_sysfs_it_is_that_which_is_missing() {
        let address = "0000:00:04.0".parse().unwrap();
        let tree = Tree::new();
        let missing = VfioGroup::open_pci_within(&tree.roots, address);
        assert!(matches!(missing, Err(Error::NoSuchDevice { .. })));
        let nowhere = Roots {
            sys: "/nonexistent".into(),
            ..Roots::default()
        };
        let missing = VfioGroup::open_pci_within(&nowhere, address);
        assert!(matches!(missing, Err(Error::Sysfs { .. })));
    }

    #[test]
    fn a_missing_group_is_named() {
        let error = VfioGroup::open(GroupId::new(u32::MAX)).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert!(error.to_string().contains("/dev/vfio/4294967295: open: "));
    }
}
