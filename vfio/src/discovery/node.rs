//! The VFIO devices of a machine, of whatever bus.

use std::path::PathBuf;

use iommufd::GroupId;

use super::listed;
use crate::address::PciAddress;
use crate::error::{Error, Result};
use crate::sysfs::{self, Roots};

/// A device that a VFIO driver has: a PCI function, a platform device, a mediated device or another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VfioNode {
    /// What VFIO calls it, such as `vfio0`, or `noiommu-vfio0`.
    pub name: String,
    /// Its character device, for [`Cdev::open`](crate::Cdev::open). `None` if the kernel offers none
    /// (`CONFIG_VFIO_DEVICE_CDEV`, Linux 6.6), but only the group.
    pub path: Option<PathBuf>,
    /// What it is called on its bus: for a PCI function the address, for a mediated device the UUID.
    pub device: String,
    /// Its bus, such as `pci`, `platform` or `mdev`.
    pub bus: Option<String>,
    /// The driver that is bound to it.
    pub driver: Option<String>,
    /// Its IOMMU group. A mediated device may have one of its own, that no IOMMU knows of.
    pub group: Option<GroupId>,
}

impl VfioNode {
    /// All of the machine, in the order of their numbers.
    ///
    /// # Errors
    /// [`Error::Sysfs`] if sysfs is not mounted or cannot be read. Where VFIO is not loaded there are
    /// none.
    pub fn all() -> Result<Vec<Self>> {
        Self::all_within(&Roots::default())
    }

    pub(super) fn all_within(roots: &Roots) -> Result<Vec<Self>> {
        let class = roots.sys.join("class/vfio-dev");
        let mut nodes = Vec::new();
        for name in listed(&roots.sys, &class)? {
            let folder = class.join(&name);
            let told = |error| Error::sysfs(folder.clone(), error);
            // One that has just gone.
            let Ok(device) = std::fs::canonicalize(folder.join("device")) else {
                continue;
            };
            nodes.push(Self {
                path: (folder.join("dev").exists()).then(|| roots.vfio_node(&name)),
                device: sysfs::last_name(&device).unwrap_or_default(),
                bus: sysfs::bus(&device).map_err(told)?,
                driver: sysfs::link_name(&device.join("driver")).map_err(told)?,
                group: sysfs::group_of(&device).map_err(told)?,
                name,
            });
        }
        nodes.sort_by_key(|node| (number(&node.name), node.name.clone()));
        Ok(nodes)
    }

    /// The PCI function that it is, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<PciAddress> {
        (self.bus.as_deref() == Some("pci")).then(|| self.device.parse().ok())?
    }

    /// Whether no IOMMU keeps its DMA from any memory of the machine.
    #[must_use]
    pub fn is_noiommu(&self) -> bool {
        sysfs::is_noiommu(&self.name)
    }
}

fn number(name: &str) -> Option<u32> {
    let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;

    #[test]
    fn devices_of_all_buses_are_listed() {
        let tree = Tree::new();
        tree.file("sys/kernel/x", "");
        assert_eq!(VfioNode::all_within(&tree.roots).unwrap(), []);
        for (address, name) in [
            ("0000:00:04.0", "vfio10"),
            ("0000:00:05.0", "noiommu-vfio2"),
        ] {
            tree.function(address, 3);
            let folder = format!("sys/devices/pci0000:00/{address}");
            tree.cdev(address, name, "511:0");
            tree.remove("sys/dev/char/511:0");
            tree.link(&format!("{folder}/subsystem"), "sys/bus/pci");
            tree.link(
                &format!("sys/class/vfio-dev/{name}"),
                &format!("{folder}/vfio-dev/{name}"),
            );
        }
        let uuid = "00000000-0000-4000-8000-000000000001";
        tree.link(
            &format!("sys/devices/mtty/{uuid}/subsystem"),
            "sys/bus/mdev",
        );
        let node = format!("sys/devices/mtty/{uuid}/vfio-dev/vfio0");
        tree.link(
            &format!("{node}/device"),
            &format!("sys/devices/mtty/{uuid}"),
        );
        tree.link("sys/class/vfio-dev/vfio0", &node);
        tree.link("sys/class/vfio-dev/vfio7", "sys/gone");

        let nodes = VfioNode::all_within(&tree.roots).unwrap();
        let [mediated, bare, edu] = &*nodes else {
            panic!("{nodes:?}")
        };
        assert_eq!((&*mediated.name, &*mediated.device), ("vfio0", uuid));
        assert_eq!(mediated.bus.as_deref(), Some("mdev"));
        assert_eq!((mediated.path.as_ref(), mediated.address()), (None, None));
        assert!(bare.is_noiommu() && !edu.is_noiommu());
        assert_eq!(edu.address(), "00:04.0".parse().ok());
        assert_eq!(edu.path, Some(tree.roots.vfio_node("vfio10")));
        assert_eq!(edu.group, Some(GroupId::new(3)));
    }
}
