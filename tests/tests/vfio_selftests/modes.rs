//! The ways in which a device comes to memory, by the kernel's names of them.

use std::ops::Deref;

use iommufd::{Access, Attachment, DmaSlice, Ioas, Iommufd, Iova, IovaRange};
use iommufd_sys::vfio as sys;
use tests::raw::compat;
use tests::{edu, groups};
use vfio::{
    Container, ContainerMapping, Device, Error, GroupDevice, MemberGroup, OpenDevice, PciAddress,
    VfToken,
};

/// An address space for devices.
///
/// `vfio_type1_iommu` is missing: the SDK opens no container of the first version of type 1.
#[derive(Debug)]
pub(crate) enum Mode {
    Container(Container),
    Ioas(Ioas),
}

/// A device that reaches it.
#[derive(Debug)]
pub(crate) enum Opened {
    Member {
        device: GroupDevice,
        _group: MemberGroup,
    },
    Bound {
        device: Device,
        _attachment: Attachment,
    },
}

/// Something mapped in it.
#[derive(Debug)]
pub(crate) enum Mapping {
    Container(ContainerMapping),
    Ioas(iommufd::Mapping),
}

impl Mode {
    /// The kernel's own container.
    pub(crate) fn vfio_type1v2_iommu() -> Self {
        Self::Container(Container::open().unwrap())
    }

    /// An address space that stands in for a container of the first version: it has no huge entries.
    pub(crate) fn iommufd_compat_type1() -> Self {
        Self::compat(sys::VFIO_TYPE1_IOMMU)
    }

    /// An address space that stands in for a container.
    pub(crate) fn iommufd_compat_type1v2() -> Self {
        Self::compat(sys::VFIO_TYPE1v2_IOMMU)
    }

    /// An address space.
    pub(crate) fn iommufd() -> Self {
        Self::Ioas(Ioas::new(&Iommufd::open().unwrap()).unwrap())
    }

    fn compat(kind: u32) -> Self {
        let ioas = Ioas::new(&Iommufd::open().unwrap()).unwrap();
        let container = Container::compat(&ioas).unwrap();
        compat::set_iommu(ioas.iommufd(), kind).unwrap();
        Self::Container(container)
    }

    /// The address space that it is, unless it is a container of the kernel's own.
    pub(crate) fn ioas(&self) -> Option<&Ioas> {
        match self {
            Self::Container(container) => container.ioas(),
            Self::Ioas(ioas) => Some(ioas),
        }
    }

    /// Opens the function at `address`, which reaches what is mapped here from now on.
    pub(crate) fn open(&self, address: PciAddress) -> Opened {
        self.try_open(address, None).unwrap()
    }

    /// As [`open`](Self::open), with a token if there is one.
    pub(crate) fn try_open(
        &self,
        address: PciAddress,
        token: Option<VfToken>,
    ) -> Result<Opened, Error> {
        match self {
            Self::Container(container) => {
                let group = groups::group(address)
                    .join(container)
                    .map_err(Error::from)?;
                let device = match token {
                    Some(token) => group.pci_device_with_token(address, token),
                    None => group.pci_device(address),
                };
                Ok(Opened::Member {
                    device: device?,
                    _group: group,
                })
            }
            Self::Ioas(ioas) => {
                let cdev = edu::cdev(address);
                let device = match token {
                    Some(token) => cdev.bind_with_token(ioas.iommufd(), token),
                    None => cdev.bind(ioas.iommufd()),
                };
                let device = device?;
                let attachment = device.attach(ioas)?;
                Ok(Opened::Bound {
                    device,
                    _attachment: attachment,
                })
            }
        }
    }

    /// The addresses that can be mapped.
    pub(crate) fn usable(&self) -> Vec<IovaRange> {
        match self {
            Self::Container(container) => container.info().unwrap().iova_ranges,
            Self::Ioas(ioas) => ioas.iova_ranges().unwrap().iter().collect(),
        }
    }

    pub(crate) fn map_at(&self, iova: Iova, memory: impl Into<DmaSlice>) -> Result<Mapping, Error> {
        Ok(match self {
            Self::Container(container) => {
                Mapping::Container(container.map_at(iova, memory, Access::ReadWrite)?)
            }
            Self::Ioas(ioas) => Mapping::Ioas(ioas.map_at(iova, memory, Access::ReadWrite)?),
        })
    }

    pub(crate) fn unmap_range(&self, range: IovaRange) -> Result<u64, Error> {
        match self {
            Self::Container(container) => container.unmap_range(range),
            Self::Ioas(ioas) => Ok(ioas.unmap_range(range)?),
        }
    }

    pub(crate) fn unmap_all(&self) -> Result<u64, Error> {
        match self {
            Self::Container(container) => container.unmap_all(),
            Self::Ioas(ioas) => Ok(ioas.unmap_all()?),
        }
    }
}

impl Deref for Opened {
    type Target = OpenDevice;

    fn deref(&self) -> &OpenDevice {
        match self {
            Self::Member { device, .. } => device,
            Self::Bound { device, .. } => device,
        }
    }
}

impl Mapping {
    pub(crate) fn unmap(self) {
        match self {
            Self::Container(mapping) => mapping.unmap().unwrap(),
            Self::Ioas(mapping) => mapping.unmap().unwrap(),
        }
    }
}
