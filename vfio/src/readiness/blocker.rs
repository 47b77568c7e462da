//! What stands in the way, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use iommufd::{GroupId, IovaRange};
use rustix::fs::{Access, access};

use super::{MsiIsolation, Readiness};
use crate::address::PciAddress;
use crate::discovery::{PciClass, ReservedKind};
use crate::sysfs::{self, Roots};

/// Kernel drivers that do no DMA of their own, so they may stay on other devices of a group.
const HARMLESS_DRIVERS: [&str; 2] = ["pcieport", "pci-stub"];

/// One reason why a device cannot be used yet. Its text says what to do, as commands for root.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blocker {
    /// No driver is bound to the function.
    #[non_exhaustive]
    NoDriver {
        /// The function.
        address: PciAddress,
    },
    /// Another driver than VFIO's is bound to the function.
    #[non_exhaustive]
    OtherDriver {
        /// The function.
        address: PciAddress,
        /// The driver.
        driver: String,
    },
    /// The function is in no IOMMU group: nothing translates its DMA.
    NoIommuGroup,
    /// VFIO offers the function only without an IOMMU, for code that may reach all of memory.
    NoIommu,
    /// A device of the same group is used by a driver that does DMA of its own.
    #[non_exhaustive]
    SiblingInUse {
        /// The name of that device on its bus.
        sibling: String,
        /// Its driver.
        driver: String,
        /// The group.
        group: GroupId,
    },
    /// The function is bound to a VFIO driver, but there is no character device for it.
    NoCharacterDevice,
    /// A device node is missing.
    #[non_exhaustive]
    NoNode {
        /// Where it should be.
        path: PathBuf,
    },
    /// A device node cannot be read and written by this process.
    #[non_exhaustive]
    NotAccessible {
        /// The node.
        path: PathBuf,
    },
    /// Interrupts are not isolated.
    NoMsiIsolation,
    /// The function is a bridge, which VFIO does not take.
    Bridge,
    /// Firmware uses memory through a device of the group, so the kernel gives it to nobody.
    #[non_exhaustive]
    FirmwareMemory {
        /// Where.
        range: IovaRange,
        /// The group.
        group: GroupId,
    },
}

impl Readiness {
    pub(super) fn find_blockers(&self, roots: &Roots) -> Vec<Blocker> {
        // Whatever else there is, nothing can be done about this.
        if self.function.class.is_some_and(PciClass::is_bridge) {
            return vec![Blocker::Bridge];
        }
        let address = self.address();
        let mut blockers = Vec::new();
        if self.function.group.is_none() {
            blockers.push(Blocker::NoIommuGroup);
        }
        if let Some(group) = &self.group {
            let reserved = group.reserved.iter();
            let of_firmware = reserved.filter(|region| region.kind == ReservedKind::Direct);
            blockers.extend(of_firmware.map(|region| Blocker::FirmwareMemory {
                range: region.range,
                group: group.id,
            }));
        }
        match (self.function.vfio.as_deref(), &self.function.driver) {
            (Some(name), _) if sysfs::is_noiommu(name) => blockers.push(Blocker::NoIommu),
            (Some(name), _) => {
                // Without its number the device has no character device, only a group.
                let entry = roots.pci_device(address).join("vfio-dev").join(name);
                if entry.join("dev").exists() {
                    blockers.extend(node(&roots.vfio_node(name)));
                } else {
                    blockers.push(Blocker::NoCharacterDevice);
                }
            }
            (None, None) => blockers.push(Blocker::NoDriver { address }),
            (None, Some(driver)) if driver.ends_with("vfio-pci") => {
                blockers.push(Blocker::NoCharacterDevice);
            }
            (None, Some(driver)) => blockers.push(Blocker::OtherDriver {
                address,
                driver: driver.clone(),
            }),
        }
        for sibling in &self.siblings {
            if let (Some(driver), false, Some(group)) =
                (&sibling.driver, sibling.vfio, self.function.group)
                && !HARMLESS_DRIVERS.contains(&driver.as_str())
            {
                blockers.push(Blocker::SiblingInUse {
                    sibling: sibling.name.clone(),
                    driver: driver.clone(),
                    group,
                });
            }
        }
        if self.msi_isolation == MsiIsolation::Missing {
            blockers.push(Blocker::NoMsiIsolation);
        }
        blockers.extend(node(&roots.dev.join("iommu")));
        blockers
    }
}

fn node(path: &Path) -> Option<Blocker> {
    let path = path.to_owned();
    if !path.exists() {
        Some(Blocker::NoNode { path })
    } else if access(&path, Access::READ_OK | Access::WRITE_OK).is_err() {
        Some(Blocker::NotAccessible { path })
    } else {
        None
    }
}
impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver { address } => {
                write!(f, "no driver is bound to it; bind vfio-pci:{}", Binding(*address))
            }
            Self::OtherDriver { address, driver } => write!(
                f,
                "it is bound to the driver {driver}; make sure that nobody uses it, then move it to \
                 vfio-pci:\n    echo {address} > /sys/bus/pci/devices/{address}/driver/unbind{}",
                Binding(*address)
            ),
            Self::NoIommuGroup => f.write_str(
                "no IOMMU translates its DMA; enable the IOMMU in the firmware's settings (VT-d, \
                 AMD-Vi, SMMU), and for Intel boot the kernel with intel_iommu=on",
            ),
            Self::NoIommu => f.write_str(
                "VFIO offers it in noiommu mode only, where its DMA can reach all of memory; enable \
                 the IOMMU, and bind the device again with \
                 /sys/module/vfio/parameters/enable_unsafe_noiommu_mode at N",
            ),
            Self::SiblingInUse { sibling, driver, group } => write!(
                f,
                "{sibling}, in the same IOMMU group {group}, is used by the driver {driver}; a group \
                 is given away as a whole, so free it first:\n    \
                 echo {sibling} > /sys/kernel/iommu_groups/{group}/devices/{sibling}/driver/unbind"
            ),
            Self::NoCharacterDevice => f.write_str(
                "VFIO has no character device for it; the kernel needs CONFIG_VFIO_DEVICE_CDEV \
                 (Linux 6.6)",
            ),
            Self::NoNode { path } => write!(
                f,
                "the device node {} does not exist; in a container or sandbox it must be passed in, \
                 elsewhere load the module: modprobe {}",
                path.display(),
                if path.ends_with("iommu") { "iommufd" } else { "vfio-pci" }
            ),
            Self::NotAccessible { path } => write!(
                f,
                "this user may not read and write {path}; run as root, or:\n    \
                 chown \"$USER\" {path}",
                path = path.display()
            ),
            Self::NoMsiIsolation => f.write_str(
                "interrupts are not isolated, so the device could raise any of them; enable interrupt \
                 remapping in the firmware's settings (and boot without intremap=off), or, if you trust \
                 the device:\n    echo 1 > /sys/module/iommufd/parameters/allow_unsafe_interrupts",
            ),
            Self::Bridge => f.write_str(
                "it is a bridge, which VFIO does not take; assign what is behind it",
            ),
            Self::FirmwareMemory { range, group } => write!(
                f,
                "firmware has devices of its IOMMU group {group} use memory at {range} at any time \
                 (RMRR, unity map), so the kernel gives them to nobody; see whether the firmware's \
                 settings can switch off what needs that"
            ),
        }
    }
}

/// The commands that bind a free function to vfio-pci.
struct Binding(PciAddress);

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0;
        write!(
            f,
            "\n    modprobe vfio-pci\
             \n    echo vfio-pci > /sys/bus/pci/devices/{address}/driver_override\
             \n    echo {address} > /sys/bus/pci/drivers_probe"
        )
    }
}
