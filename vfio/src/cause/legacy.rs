//! What each errno means for the ioctls of groups and containers.

use iommufd_sys::ioctl::{Description, vfio as nr};
use rustix::io::Errno;

/// The cause of a failed open of a group.
pub(crate) fn of_group_open(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => {
            "no such group: none of its devices is bound to a VFIO driver, or the kernel lacks \
             CONFIG_VFIO_GROUP"
        }
        Errno::BUSY => {
            "the group is open already, which it can be once, or one of its devices is, by its \
             character device"
        }
        Errno::ACCESS => {
            "the group's node is not yours; give it to your user with chown or a udev rule"
        }
        Errno::PERM => "a group without an IOMMU, which asks for CAP_SYS_RAWIO",
        Errno::NODEV | Errno::NXIO => "the devices of the group are going away",
        Errno::MFILE | Errno::NFILE => "too many open files",
        _ => "the group could not be opened",
    }
}

/// The cause of a failed open of a container.
pub(crate) fn of_container_open(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "the kernel lacks CONFIG_VFIO_CONTAINER, or there is no device node for it",
        Errno::ACCESS => "the node is not yours to open; by default it is anybody's",
        Errno::NODEV | Errno::NXIO => "the kernel lacks CONFIG_VFIO_CONTAINER",
        Errno::MFILE | Errno::NFILE => "too many open files",
        _ => "the container could not be opened",
    }
}

/// The cause, if it is an ioctl of a group or a container.
pub(super) fn of_ioctl(ioctl: Description, errno: Errno) -> Option<&'static str> {
    type Causes = fn(Errno) -> Option<&'static str>;
    let causes: [(Description, Causes); 10] = [
        (nr::GROUP_GET_STATUS.describe(), status),
        (nr::GROUP_SET_CONTAINER.describe(), set_container),
        (nr::GROUP_UNSET_CONTAINER.describe(), unset_container),
        (nr::GROUP_GET_DEVICE_FD.describe(), device),
        (nr::GET_API_VERSION.describe(), container),
        (nr::SET_IOMMU.describe(), set_iommu),
        (nr::IOMMU_GET_INFO.describe(), container),
        (nr::IOMMU_MAP_DMA.describe(), map),
        (nr::IOMMU_UNMAP_DMA.describe(), unmap),
        (nr::IOMMU_DIRTY_PAGES.describe(), dirty),
    ];
    let (_, of) = causes.iter().find(|(other, _)| *other == ioctl)?;
    of(errno).or_else(|| container(errno))
}

fn status(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NODEV => "the devices of the group are going away",
        Errno::NOTTY | Errno::INVAL => "the file is not a VFIO group",
        _ => return None,
    })
}

fn set_container(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "the group is in a container already; or it reserves addresses at which something is \
             mapped; or the container has groups of the other kind, with or without an IOMMU"
        }
        Errno::PERM => {
            "another device of the IOMMU group is used by a kernel driver, or the group by somebody \
             else; or interrupts are not isolated (no interrupt remapping); or the container has \
             groups of the other kind, with or without an IOMMU"
        }
        Errno::BUSY => "the IOMMU group is in use otherwise",
        Errno::BADF | Errno::BADFD => "neither an open container nor an open /dev/iommu",
        Errno::NODEV => "the devices of the group are going away",
        _ => return None,
    })
}

fn unset_container(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "the group is in no container",
        Errno::BUSY => "a device of the group is open: somebody has a duplicate of its file",
        _ => return None,
    })
}

fn device(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NODEV => "the group has no device of this name, or it is going away",
        Errno::INVAL => {
            "the group's container has no IOMMU, or a VF token was given to a device that has none"
        }
        Errno::ACCESS => "a virtual function whose physical function asks for another VF token",
        Errno::PERM => {
            "another device of the IOMMU group is used by a kernel driver, or the group by somebody \
             else; or interrupts are not isolated (no interrupt remapping)"
        }
        Errno::BUSY => "the device is in use otherwise",
        Errno::ADDRINUSE => "something is mapped where the device has reserved addresses",
        Errno::FAULT => "memory that is mapped already cannot be pinned",
        Errno::MFILE | Errno::NFILE => "too many open files",
        _ => return None,
    })
}

fn set_iommu(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "the container has an IOMMU already, or the kernel none of this kind",
        Errno::NODEV => "the kernel has no IOMMU of this kind that takes the container's groups",
        Errno::PERM => {
            "interrupts are not isolated (no interrupt remapping), or, without an IOMMU, there is \
             no CAP_SYS_RAWIO"
        }
        _ => return None,
    })
}

fn map(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EXIST => "something is mapped there",
        Errno::NOSPC => {
            "the container has as many mappings as it may (the module parameter \
             vfio_iommu_type1.dma_entry_limit)"
        }
        Errno::INVAL => {
            "no group is in the container, the addresses are not all usable, or address, length or \
             place in memory are not multiples of a page"
        }
        Errno::FAULT => "the memory cannot be pinned, as it may not be written, for one",
        Errno::OVERFLOW => "the end passes the end of the address space",
        Errno::NOTTY => "without an IOMMU nothing is mapped",
        _ => return None,
    })
}

fn unmap(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "the range would cut a mapping in two, or is not one of whole pages; with a bitmap: \
             nothing is tracked"
        }
        Errno::OVERFLOW => "the end passes the end of the address space",
        _ => return None,
    })
}

fn dirty(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => {
            "no group is in the container, nothing is tracked, the page size is not the smallest, \
             or the bitmap is too large"
        }
        Errno::NOTTY => "the kernel is older than Linux 5.8, or iommufd plays the container",
        _ => return None,
    })
}

fn container(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::INVAL => "no group is in the container",
        Errno::NODEV => "no address space stands in for the container",
        Errno::NOTTY => "the container's kind of IOMMU does not know this ioctl",
        Errno::NOMEM => "memory cannot be pinned (RLIMIT_MEMLOCK), or the kernel is out of memory",
        Errno::PERM => "the process lacks a privilege, or the groups are in use otherwise",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::refusal;
    use super::*;

    #[test]
    fn causes_of_groups_and_containers_are_their_own() {
        let cause = |ioctl, errno| refusal(ioctl, errno).cause;
        assert!(cause(nr::IOMMU_MAP_DMA.describe(), Errno::NOSPC).contains("dma_entry_limit"));
        assert!(cause(nr::GROUP_UNSET_CONTAINER.describe(), Errno::BUSY).contains("duplicate"));
        assert!(of_ioctl(nr::DEVICE_RESET.describe(), Errno::INVAL).is_none());
        // The same number on another file is another ioctl.
        assert!(of_ioctl(nr::DEVICE_PCI_HOT_RESET.describe(), Errno::EXIST).is_none());
    }
}
