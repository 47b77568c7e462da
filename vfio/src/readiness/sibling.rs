//! The other devices of an IOMMU group.

use std::io;

use iommufd::GroupId;

use crate::sysfs::{self, Roots};

/// Another device of the same IOMMU group: the IOMMU cannot tell the two apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sibling {
    /// Its name on its bus; for a PCI function, its address.
    pub name: String,
    /// The driver that is bound to it.
    pub driver: Option<String>,
    /// Whether that is a VFIO driver.
    pub vfio: bool,
}

/// The devices of a group.
pub(crate) fn members(roots: &Roots, group: GroupId) -> io::Result<Vec<Sibling>> {
    let devices = roots.group_devices(group);
    let mut members = Vec::new();
    for name in sysfs::names(&devices)? {
        let folder = devices.join(&name);
        members.push(Sibling {
            driver: sysfs::link_name(&folder.join("driver"))?,
            vfio: sysfs::vfio_name(&folder)?.is_some(),
            name,
        });
    }
    Ok(members)
}
