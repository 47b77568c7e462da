//! Containers: where the devices of VFIO's older interface find memory.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use iommufd::driver::{Space, Watch};
use iommufd::{
    Access, DmaSlice, Ioas, Iommufd, Iova, IovaRange, KernelError, Leaks, Mapped, Observer,
};
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::fs::{Mode, OFlags};

use crate::cause::{self, refusal};
use crate::error::{Error, Result};
use crate::group::Kind;
use crate::ioctl::Audience;
use crate::ioctl::legacy;

mod dirty;
mod info;
#[cfg(fuzzing)]
pub(crate) use self::info::answered;
mod mapping;
#[cfg(test)]
mod tests;
mod type1;

pub use dirty::ContainerDirtyTracking;
pub use info::{ContainerInfo, DirtyLimits};
pub use mapping::ContainerMapping;
use type1::Type1;

/// A container of VFIO's older interface: the address space of the groups that are in it.
///
/// This is for machines where a device has no character device, or `/dev/iommu` is not to be had:
/// elsewhere an [`Ioas`] does the same, and more. There are two kinds, which are used alike:
///
/// - the kernel's own (IOMMU of type 1, second version), [`open`](Self::open)ed as
///   `/dev/vfio/vfio`;
/// - an [`Ioas`] that stands in for one, made by [`compat`](Self::compat). What is mapped in either
///   is mapped in both.
///
/// [`VfioGroup::join`](crate::VfioGroup::join) puts a group into one. Nothing can be mapped in the
/// kernel's own before the first group is in, and **when its last group leaves the kernel unmaps
/// everything**; the guards then find it done.
///
/// Cloning gives another handle. Groups and mappings hold the container. It holds the memory that is
/// mapped in it until the kernel has confirmed the unmap, whatever becomes of the guards.
///
/// A program that is written for character devices falls back so:
///
/// ```no_run
/// use iommufd::{Access, DmaBuffer, Ioas, Iommufd};
/// use vfio::{Cdev, Container, OpenDevice, PciAddress, RegionIndex, VfioGroup};
///
/// /// What the driver is about. It is indifferent to how the device was opened.
/// fn run(device: &OpenDevice, buffer: iommufd::Iova) -> vfio::Result<()> {
///     device.config()?.enable_bus_master()?;
///     device.map_bar(RegionIndex::BAR0)?.write(0x80, buffer.get())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let address: PciAddress = "0000:00:04.0".parse()?;
/// let buffer = DmaBuffer::new(4096)?.share();
/// match Iommufd::open() {
///     Ok(iommufd) => {
///         let ioas = Ioas::new(&iommufd)?;
///         let device = Cdev::open_pci(address)?.bind(&iommufd)?;
///         let attachment = device.attach(&ioas)?;
///         let mapping = ioas.map(&buffer, Access::ReadWrite)?;
///         run(&device, mapping.iova())?;
///     }
///     Err(_) => {
///         let container = Container::open()?;
///         let group = VfioGroup::open_pci(address)?.join(&container)?;
///         let device = group.pci_device(address)?;
///         let mapping = container.map(&buffer, Access::ReadWrite)?;
///         run(&device, mapping.iova())?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// Of the kernel's own: `openat`, `IOMMU_OPTION`, which it refuses, `VFIO_GET_API_VERSION`, `VFIO_CHECK_EXTENSION`, `VFIO_SET_IOMMU`,
/// `VFIO_IOMMU_GET_INFO`, `VFIO_IOMMU_MAP_DMA`, `VFIO_IOMMU_UNMAP_DMA` and
/// `VFIO_IOMMU_DIRTY_PAGES`. Of the other: `IOMMU_VFIO_IOAS`, `VFIO_IOMMU_GET_INFO`, and what an
/// [`Ioas`] makes.
///
/// Since Linux 3.10; an [`Ioas`] can stand in since Linux 6.2.
#[derive(Clone)]
pub struct Container {
    way: Way,
}

/// Whose it is.
#[derive(Clone)]
enum Way {
    /// The kernel's own. The space holds the driver.
    Type1 { space: Space, driver: Arc<Type1> },
    /// An address space stands in for it.
    Compat(Ioas),
}

impl Container {
    /// Opens a container, `/dev/vfio/vfio`.
    ///
    /// Where the kernel has iommufd in its place (`CONFIG_IOMMUFD_VFIO_CONTAINER`, or a link to
    /// `/dev/iommu`), a new [`Ioas`] stands in for the container: [`ioas`](Self::ioas).
    ///
    /// # Errors
    /// [`Error::Open`]: `ENOENT`: the kernel has none (`CONFIG_VFIO_CONTAINER`).
    /// [`Error::NotContainer`]: it is something else, or has no IOMMU of type 1. As for
    /// [`Ioas::new`].
    #[doc(alias = "VFIO_GET_API_VERSION")]
    pub fn open() -> Result<Self> {
        Self::open_at(Path::new("/dev/vfio/vfio"), None)
    }

    /// Opens a container of whose ioctls, and those of its groups and devices, `observer` hears.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_observed(observer: Arc<dyn Observer>) -> Result<Self> {
        Self::open_at(Path::new("/dev/vfio/vfio"), Some(observer))
    }

    /// A container that no kernel has: a script answers for it.
    #[cfg(test)]
    pub(crate) fn scripted() -> Self {
        Self::open_at(Path::new("/dev/null"), None).unwrap()
    }

    fn open_at(path: &Path, observer: Option<Arc<dyn Observer>>) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
            let cause = cause::legacy::of_container_open(errno);
            Error::Open {
                path: path.to_owned(),
                error: KernelError::new("open", errno, cause),
            }
        })?;
        let builder = match &observer {
            Some(observer) => Iommufd::builder().observer(Arc::clone(observer)),
            None => Iommufd::builder(),
        };
        // It answers a container's ioctls, too, but what is mapped in it stays when the groups leave.
        let (fd, error) = match builder.from_fd(fd) {
            Ok(iommufd) => return Self::compat(&Ioas::new(&iommufd)?),
            Err(refused) => refused.into_parts(),
        };
        match error {
            iommufd::Error::NotIommufd => {}
            // It may be one all the same.
            error => return Err(error.into()),
        }
        let (space, driver) = Type1::new(fd, observer)?;
        Ok(Self {
            way: Way::Type1 { space, driver },
        })
    }

    /// Has `ioas` stand in for a container: makes it the
    /// [compatibility address space](iommufd::Iommufd::set_compat_ioas) of its context, which it
    /// stays when the container is gone.
    ///
    /// Groups that join are attached to it, device by device, as each is opened.
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// As for [`iommufd::Iommufd::set_compat_ioas`].
    #[doc(alias = "IOMMU_VFIO_IOAS_SET")]
    pub fn compat(ioas: &Ioas) -> Result<Self> {
        ioas.iommufd().set_compat_ioas(ioas)?;
        Ok(Self {
            way: Way::Compat(ioas.clone()),
        })
    }

    /// The address space that stands in for the container, if one does.
    #[must_use]
    pub fn ioas(&self) -> Option<&Ioas> {
        match &self.way {
            Way::Type1 { .. } => None,
            Way::Compat(ioas) => Some(ioas),
        }
    }

    /// Page sizes, usable addresses and limits.
    ///
    /// Groups that join or leave change the answer.
    ///
    /// # Errors
    /// `EINVAL`: no group is in the container. [`Error::NotCompat`]. [`Error::BrokenChain`] and [`Error::Malformed`], if
    /// the kernel's answer makes no sense; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IOMMU_GET_INFO")]
    pub fn info(&self) -> Result<ContainerInfo> {
        self.watch().check_process()?;
        self.must_stand_in()?;
        ContainerInfo::of(self.fd(), self.watch())
    }

    /// Whether the IOMMU keeps every device of the container from getting past the CPU's caches (PCI's
    /// "no snoop"), which then need not be flushed for them: KVM asks.
    ///
    /// Since Linux 3.14.
    ///
    /// # Errors
    /// [`Error::NotCompat`]; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DMA_CC_IOMMU")]
    pub fn enforces_coherency(&self) -> Result<bool> {
        self.watch().check_process()?;
        self.must_stand_in()?;
        let ioctl = &nr::CHECK_EXTENSION;
        let audience = Audience::Context(self.watch());
        legacy::by_value(self.fd(), audience, ioctl, sys::VFIO_DMA_CC_IOMMU)
            .map(|answer| answer > 0)
            .map_err(|errno| refusal(ioctl.describe(), errno).into())
    }

    /// Maps memory at an address that is free.
    ///
    /// The kernel's own container chooses none: it is asked which are usable, and one of them is taken
    /// at which nothing is mapped, but no address of the first page.
    ///
    /// # Errors
    /// `ENOSPC`: no free range is long enough, or the container has as many mappings as it may. Else
    /// as for [`map_at`](Self::map_at), and for [`info`](Self::info).
    pub fn map(&self, memory: impl Into<DmaSlice>, access: Access) -> Result<ContainerMapping> {
        Ok(match &self.way {
            Way::Type1 { space, .. } => {
                let info = self.info()?;
                let page = info.smallest_page().bytes();
                let usable = info.iova_ranges;
                ContainerMapping::own(space.map(memory, &usable, page, access)?)
            }
            Way::Compat(ioas) => ContainerMapping::compat(ioas.map(memory, access)?),
        })
    }

    /// Maps memory at `iova`.
    ///
    /// # Errors
    /// `EEXIST`: something is mapped there. `ENOSPC`: the container has as many mappings as it may
    /// ([`ContainerInfo::mappings_left`]). `EINVAL`: no group is in the container, the addresses are
    /// not all usable, or address, length or place in memory are not multiples of a page. `EFAULT`:
    /// the memory cannot be pinned. `EOVERFLOW`. [`iommufd::Error::LockedMemory`] (`ENOMEM`);
    /// [`iommufd::Error::Empty`]; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IOMMU_MAP_DMA")]
    pub fn map_at(
        &self,
        iova: Iova,
        memory: impl Into<DmaSlice>,
        access: Access,
    ) -> Result<ContainerMapping> {
        Ok(match &self.way {
            Way::Type1 { space, .. } => ContainerMapping::own(space.map_at(iova, memory, access)?),
            Way::Compat(ioas) => ContainerMapping::compat(ioas.map_at(iova, memory, access)?),
        })
    }

    /// Unmaps everything. Returns how many bytes were mapped. Guards stay, emptied.
    ///
    /// # Errors
    /// [`iommufd::Error::PartlyUnmapped`]; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DMA_UNMAP_FLAG_ALL")]
    pub fn unmap_all(&self) -> Result<u64> {
        Ok(match &self.way {
            Way::Type1 { space, .. } => space.unmap_all()?,
            Way::Compat(ioas) => ioas.unmap_all()?,
        })
    }

    /// Unmaps all that lies in `range`. Returns how many bytes were mapped.
    ///
    /// # Errors
    /// [`iommufd::Error::PartlyCovered`], with nothing done, if a mapping lies in the range only in
    /// part; [`iommufd::Error::NothingMapped`]; else as for [`unmap_all`](Self::unmap_all).
    #[doc(alias = "VFIO_IOMMU_UNMAP_DMA")]
    pub fn unmap_range(&self, range: IovaRange) -> Result<u64> {
        Ok(match &self.way {
            Way::Type1 { space, .. } => space.unmap_range(range)?,
            Way::Compat(ioas) => ioas.unmap_range(range)?,
        })
    }

    /// How much is mapped. Nothing, in a child of a fork.
    #[must_use]
    pub fn mapped(&self) -> Mapped {
        match &self.way {
            Way::Type1 { space, .. } => space.mapped(),
            Way::Compat(ioas) => ioas.mapped(),
        }
    }

    /// What the kernel would not let go of when handles were dropped: of the container, its groups
    /// and their devices; or of all of the context, if an address space stands in for the container.
    #[must_use]
    pub fn leaks(&self) -> Leaks {
        self.watch().leaks()
    }

    pub(crate) fn watch(&self) -> &Watch {
        match &self.way {
            Way::Type1 { driver, .. } => driver.own_watch(),
            Way::Compat(ioas) => ioas.iommufd().watch(),
        }
    }

    /// What answers the ioctls of a container.
    fn fd(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Type1 { driver, .. } => driver.fd(),
            Way::Compat(ioas) => ioas.iommufd().as_fd(),
        }
    }

    /// Puts a group in, and gives the container its IOMMU if it is the first; all of that or
    /// nothing.
    pub(crate) fn enter(&self, group: BorrowedFd<'_>, kind: Kind) -> Result<()> {
        match &self.way {
            Way::Type1 { space, driver } => driver.enter(space, group, kind),
            Way::Compat(_) if kind == Kind::NoIommu => Err(Error::NoIommu),
            // The kernel refuses those that have none only as long as nobody clears the address space.
            Way::Compat(_) if kind == Kind::Unknown => Err(Error::MayBeNoIommu),
            Way::Compat(_) => {
                // Without one the kernel would make one, that nobody has.
                self.must_stand_in()?;
                legacy::set_container(group, Audience::Context(self.watch()), self.fd())
                    .map_err(|errno| refusal(nr::GROUP_SET_CONTAINER.describe(), errno))?;
                Ok(())
            }
        }
    }

    /// Takes a group out.
    pub(crate) fn leave(&self, group: BorrowedFd<'_>) -> Result<()> {
        match &self.way {
            Way::Type1 { space, driver } => driver.leave(space, group),
            Way::Compat(_) => {
                self.watch().check_process()?;
                Ok(type1::unset_container(
                    group,
                    Audience::Context(self.watch()),
                )?)
            }
        }
    }

    /// Refuses to have a device attached elsewhere than to the address space that stands in.
    pub(crate) fn must_stand_in(&self) -> Result<()> {
        match &self.way {
            Way::Compat(ioas) if !ioas.is_compat()? => Err(Error::NotCompat),
            _ => Ok(()),
        }
    }

    /// A device has been opened or closed: the usable addresses may have changed.
    pub(crate) fn devices_changed(&self) {
        if let Way::Compat(ioas) = &self.way {
            iommufd::driver::layout_changed(ioas);
        }
    }
}

/// Handles are equal if they are of the same container.
impl PartialEq for Container {
    fn eq(&self, other: &Self) -> bool {
        match (&self.way, &other.way) {
            (Way::Type1 { driver: one, .. }, Way::Type1 { driver: other, .. }) => {
                Arc::ptr_eq(one, other)
            }
            (Way::Compat(one), Way::Compat(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Container {}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Type1 { driver, .. } => f.debug_tuple("Container").field(driver).finish(),
            Way::Compat(ioas) => f.debug_tuple("Container").field(ioas).finish(),
        }
    }
}
