//! The IOMMUs of a machine.

use std::fmt;
use std::path::Path;

use super::listed;
use crate::error::{Error, Result};
use crate::sysfs::{self, Roots};

/// An IOMMU that the kernel drives.
///
/// What it can do is told by [`iommufd::Device::hw_info`] of a device behind it, which takes a bind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IommuUnit {
    /// Its name in `/sys/class/iommu`, such as `dmar0`.
    pub name: String,
    /// What it is.
    pub kind: IommuKind,
    /// For how many devices it translates.
    pub devices: usize,
}

/// What an IOMMU is, as far as its name in sysfs tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IommuKind {
    /// Intel VT-d.
    VtD,
    /// AMD-Vi.
    Amd,
    /// Arm SMMUv3.
    SmmuV3,
    /// Arm SMMU, version 1 or 2.
    Smmu,
    /// A virtual machine's virtio-iommu.
    Virtio,
    /// One that this crate does not know by its name.
    Other,
}

impl fmt::Display for IommuKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VtD => "Intel VT-d",
            Self::Amd => "AMD-Vi",
            Self::SmmuV3 => "Arm SMMUv3",
            Self::Smmu => "Arm SMMU",
            Self::Virtio => "virtio-iommu",
            Self::Other => "another kind of IOMMU",
        })
    }
}

impl IommuUnit {
    /// All of the machine.
    ///
    /// # Errors
    /// [`Error::Sysfs`] if sysfs is not mounted or cannot be read.
    pub fn all() -> Result<Vec<Self>> {
        Self::all_within(&Roots::default())
    }

    pub(super) fn all_within(roots: &Roots) -> Result<Vec<Self>> {
        let class = roots.sys.join("class/iommu");
        let mut units = Vec::new();
        for name in listed(&roots.sys, &class)? {
            let folder = class.join(&name);
            let devices = sysfs::names(&folder.join("devices"))
                .map_err(|error| Error::sysfs(folder.clone(), error))?;
            units.push(Self {
                kind: kind(&name, &folder),
                name,
                devices: devices.len(),
            });
        }
        Ok(units)
    }
}

/// Intel's and AMD's have a folder of their own, and a virtio-iommu is a device of virtio's; others are
/// known by the names that their drivers give.
fn kind(name: &str, folder: &Path) -> IommuKind {
    if folder.join("intel-iommu").is_dir() {
        return IommuKind::VtD;
    }
    if folder.join("amd-iommu").is_dir() {
        return IommuKind::Amd;
    }
    // Its own name is that of the PCI function by which it comes.
    if matches!(sysfs::bus(&folder.join("device")), Ok(Some(bus)) if bus == "virtio") {
        return IommuKind::Virtio;
    }
    match name {
        _ if name.starts_with("smmu3.") => IommuKind::SmmuV3,
        _ if name.starts_with("smmu.") => IommuKind::Smmu,
        _ => IommuKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;

    #[test]
    fn an_iommu_is_known_by_what_its_driver_shows() {
        let tree = Tree::new();
        tree.file("sys/kernel/x", "");
        assert_eq!(IommuUnit::all_within(&tree.roots).unwrap(), []);
        for (name, inside, kind) in [
            ("dmar0", "intel-iommu/cap", IommuKind::VtD),
            ("ivhd0", "amd-iommu/cap", IommuKind::Amd),
            ("smmu3.0x09050000", "uevent", IommuKind::SmmuV3),
            ("smmu.0x09050000", "uevent", IommuKind::Smmu),
            ("0000:00:02.0", "uevent", IommuKind::Virtio),
            ("0000:00:03.0", "uevent", IommuKind::Other),
            ("new", "uevent", IommuKind::Other),
        ] {
            tree.file(&format!("sys/class/iommu/{name}/{inside}"), "");
            tree.file(&format!("sys/class/iommu/{name}/devices/one"), "");
            let device = format!("sys/devices/{name}/virtio0");
            tree.link(&format!("sys/class/iommu/{name}/device"), &device);
            let bus = match kind {
                IommuKind::Virtio => "virtio",
                _ => "platform",
            };
            tree.link(&format!("{device}/subsystem"), &format!("sys/bus/{bus}"));
            let units = IommuUnit::all_within(&tree.roots).unwrap();
            let unit = units.iter().find(|unit| unit.name == name).unwrap();
            assert_eq!((unit.kind, unit.devices), (kind, 1));
        }
    }
}
