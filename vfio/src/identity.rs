//! What an open file is: a VFIO device or not, which one, and whether an IOMMU translates for it.

use std::os::fd::{AsFd, OwnedFd};

use iommufd::{GroupIdentity, KernelError};
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::address::PciAddress;
use crate::cause;
use crate::error::{Error, Result};
use crate::ioctl::{self, Audience};
use crate::sysfs::{self, CharDevice, Roots};

/// What a device shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One that an IOMMU translates, or the kernel emulates; something must tell.
    Iommu,
    /// The same, on the caller's word where nothing tells.
    IommuOnTrust,
    /// One that no IOMMU translates.
    NoIommu,
}

/// What is known of a device from outside.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) address: Option<PciAddress>,
    pub(crate) group: GroupIdentity,
    pub(crate) mediated: Option<bool>,
}

impl Identity {
    /// That of `fd`, if it is a device, and what it shall be, and `bound` or not.
    pub(crate) fn of(roots: &Roots, fd: &OwnedFd, wanted: Wanted, bound: bool) -> Result<Self> {
        let stat = rustix::fs::fstat(fd)
            .map_err(|errno| KernelError::new("fstat", errno, "the file cannot be looked at"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
            return Err(Error::NotVfio);
        }
        let device = stat.st_rdev;
        let known = match roots.char_device(rustix::fs::major(device), rustix::fs::minor(device)) {
            CharDevice::Vfio(node) => {
                wanted.check(!node.is_noiommu())?;
                Some(Self {
                    address: node.address,
                    group: node.group,
                    mediated: node.mediated,
                })
            }
            CharDevice::Other => return Err(Error::NotVfio),
            CharDevice::Unknown => None,
        };
        match (is_bound(fd)?, bound) {
            (true, false) => return Err(Error::AlreadyBound),
            (false, true) => return Err(Error::NotBound),
            _ => {}
        }
        match known {
            Some(known) => Ok(known),
            None => wanted.check_name(roots.file_name(fd)).map(|()| Self {
                address: None,
                group: GroupIdentity::Unknown,
                mediated: None,
            }),
        }
    }
}

/// Before the bind a device refuses everything else, which tells bound from unbound.
pub(crate) fn is_bound(fd: &impl AsFd) -> Result<bool> {
    let mut info = sys::vfio_device_info::sized();
    let ioctl = &nr::DEVICE_GET_INFO;
    match ioctl::fixed(fd.as_fd(), Audience::Nobody, ioctl, &mut info) {
        Ok(_) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(Errno::NOTTY) => Err(Error::NotVfio),
        Err(errno) => Err(cause::refusal(ioctl.describe(), errno).into()),
    }
}

impl Wanted {
    /// Refuses a device that is known to have an IOMMU, or to have none.
    pub(crate) fn check(self, has_iommu: bool) -> Result<()> {
        match (self, has_iommu) {
            (Self::Iommu | Self::IommuOnTrust, true) | (Self::NoIommu, false) => Ok(()),
            (Self::NoIommu, true) => Err(Error::HasIommu),
            (_, false) => Err(Error::NoIommu),
        }
    }

    /// Refuses a character device of which its name does not tell what it shall be.
    fn check_name(self, name: Option<String>) -> Result<()> {
        match name {
            Some(name) if sysfs::is_noiommu(&name) => self.check(false),
            Some(name) if sysfs::is_device(&name) => self.check(true),
            _ if self == Self::Iommu => Err(Error::MayBeNoIommu),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake;
    use std::fs::File;

    /// A file that answers as a device would that nobody has bound cannot be had here: what is asked
    /// after that is asked by itself.
    #[test]
    fn what_sysfs_does_not_tell_is_told_by_the_name_of_the_file() {
        let tree = fake::Tree::new();
        tree.file("dev/vfio/devices/vfio0", "");
        let fd = OwnedFd::from(File::open(tree.roots.vfio_node("vfio0")).unwrap());
        assert_eq!(tree.roots.file_name(&fd).as_deref(), Some("vfio0"));
        Wanted::Iommu.check_name(tree.roots.file_name(&fd)).unwrap();
        std::fs::remove_file(tree.roots.vfio_node("vfio0")).unwrap();
        Wanted::Iommu
            .check_name(tree.roots.file_name(&fd))
            .expect("it was one");
        let nowhere = Roots {
            proc: "/nonexistent".into(),
            ..Roots::default()
        };
        let name = nowhere.file_name(&fd);
        assert!(matches!(
            Wanted::Iommu.check_name(name),
            Err(Error::MayBeNoIommu)
        ));
        for other in ["vfio", "vfio0x", "null", "vfio-0"] {
            let answer = Wanted::Iommu.check_name(Some(other.to_owned()));
            assert!(matches!(answer, Err(Error::MayBeNoIommu)), "{other}");
        }
        for without in ["noiommu-vfio0", "noiommu-vfio0 (deleted)"] {
            let answer = Wanted::Iommu.check_name(Some(without.to_owned()));
            assert!(matches!(answer, Err(Error::NoIommu)), "{without}");
        }
    }

    #[test]
    fn a_device_without_an_iommu_is_wanted_or_not() {
        let name = |name: &str| Some(name.to_owned());
        let wanted = Wanted::NoIommu;
        wanted.check_name(name("noiommu-vfio0")).unwrap();
        // The bind tells.
        wanted.check_name(None).unwrap();
        let refused = wanted.check_name(name("vfio0"));
        assert!(matches!(refused, Err(Error::HasIommu)));
        let trusted = Wanted::IommuOnTrust;
        trusted.check_name(None).unwrap();
        let refused = trusted.check_name(name("noiommu-vfio0"));
        assert!(matches!(refused, Err(Error::NoIommu)));
    }
}
