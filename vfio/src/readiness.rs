//! Whether a PCI function can be used through VFIO yet, and if not, what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use iommufd::{GroupId, IovaRange};
use rustix::fs::{Access, access};

use crate::address::PciAddress;
use crate::discovery::{IommuGroup, PciClass, PciFunction, ReservedKind};
use crate::error::Result;
use crate::ids::PciIds;
use crate::sysfs::{self, Roots};

/// Kernel drivers that do no DMA of their own, so they may stay on other devices of a group.
const HARMLESS_DRIVERS: [&str; 2] = ["pcieport", "pci-stub"];

/// What stands between a PCI function and its use through VFIO, as sysfs tells.
///
/// It is a snapshot, made without opening the device; a kernel can still refuse the bind for what
/// sysfs does not show, such as another process that has the device open.
///
/// ```no_run
/// # fn main() -> vfio::Result<()> {
/// let readiness = vfio::Readiness::of("0000:00:04.0".parse().expect("an address"))?;
/// for blocker in readiness.blockers() {
///     println!("{blocker}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Readiness {
    function: PciFunction,
    group: Option<IommuGroup>,
    siblings: Vec<Sibling>,
    cdev: Option<PathBuf>,
    msi_isolation: MsiIsolation,
    blockers: Vec<Blocker>,
}

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

/// Whether a device is kept from raising interrupts that are not its own: without that, a device
/// can upset the machine by writes that look like interrupts, and the kernel refuses the bind.
///
/// No file tells it for one device. What is told here is read off the names of the machine's
/// interrupt controllers; the kernel's answer to the bind is what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MsiIsolation {
    /// Interrupts are remapped, by the IOMMU or, on Arm, by the interrupt controller (ITS).
    Remapped,
    /// They are not, and the administrator accepted it (`iommufd.allow_unsafe_interrupts`).
    Waived,
    /// They are not.
    Missing,
    /// This machine does not tell.
    Unknown,
}

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
    /// Looks at the function at `address`.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`](crate::Error::NoSuchDevice) if there is no such function;
    /// [`Error::Sysfs`](crate::Error::Sysfs) if sysfs is not mounted or cannot be read.
    pub fn of(address: PciAddress) -> Result<Self> {
        Self::within(&Roots::default(), address)
    }

    pub(crate) fn within(roots: &Roots, address: PciAddress) -> Result<Self> {
        let function = PciFunction::within(roots, address)?;
        // In a sandbox the link may be there, and what it leads to not.
        let group = function.group.filter(|group| roots.group(*group).is_dir());
        let group = group
            .map(|group| IommuGroup::within(roots, group))
            .transpose()?;
        let own = address.to_string();
        let siblings = group.iter().flat_map(|group| &group.devices);
        let siblings = siblings.filter(|device| device.name != own);
        let cdev = function.vfio.as_deref().map(|name| roots.vfio_node(name));
        let mut readiness = Self {
            siblings: siblings.cloned().collect(),
            cdev,
            msi_isolation: msi_isolation(roots),
            blockers: Vec::new(),
            function,
            group,
        };
        readiness.blockers = readiness.find_blockers(roots);
        Ok(readiness)
    }

    fn find_blockers(&self, roots: &Roots) -> Vec<Blocker> {
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

    /// The function this is about.
    #[must_use]
    pub fn address(&self) -> PciAddress {
        self.function.address
    }

    /// All that sysfs says of the function: its class, its NUMA node, its physical or virtual
    /// functions, how it can be reset.
    #[must_use]
    pub fn function(&self) -> &PciFunction {
        &self.function
    }

    /// The IOMMU group, with what its addresses are reserved for. `None` also where sysfs hides it.
    #[must_use]
    pub fn iommu_group(&self) -> Option<&IommuGroup> {
        self.group.as_ref()
    }

    /// Whether a bind must show the VF token of the physical function. That is no blocker: who made
    /// the virtual function knows it.
    #[must_use]
    pub fn needs_vf_token(&self) -> bool {
        self.function.needs_vf_token
    }

    /// Vendor and device identifier (PCI Express Base, "Type 0/1 Common Configuration Space").
    #[must_use]
    pub fn ids(&self) -> Option<PciIds> {
        self.function.ids
    }

    /// The driver that is bound to the function.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        self.function.driver.as_deref()
    }

    /// The IOMMU group of the function.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.function.group
    }

    /// The other devices of the group.
    #[must_use]
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// The VFIO character device of the function, for [`Cdev::open`](crate::Cdev::open).
    #[must_use]
    pub fn cdev(&self) -> Option<&Path> {
        self.cdev.as_deref()
    }

    /// Whether interrupts are isolated on this machine.
    #[must_use]
    pub fn msi_isolation(&self) -> MsiIsolation {
        self.msi_isolation
    }

    /// All that has to be dealt with first.
    #[must_use]
    pub fn blockers(&self) -> &[Blocker] {
        &self.blockers
    }

    /// Whether nothing that sysfs shows stands in the way.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.blockers.is_empty()
    }

    pub(crate) fn into_blockers(self) -> Vec<Blocker> {
        self.blockers
    }
}

/// What a user wants to know at a glance, and then every blocker on lines of its own.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address())?;
        if let Some(ids) = self.ids() {
            write!(f, " [{ids}]")?;
        }
        match self.driver() {
            Some(driver) => write!(f, ", driver {driver}")?,
            None => f.write_str(", no driver")?,
        }
        match self.group() {
            Some(group) => write!(f, ", IOMMU group {group}")?,
            None => f.write_str(", no IOMMU group")?,
        }
        match self.siblings.len() {
            0 => {}
            1 => f.write_str(" shared with 1 device")?,
            others => write!(f, " shared with {others} devices")?,
        }
        if let Some(physical) = self.function.physical_function {
            write!(f, ", virtual function of {physical}")?;
        }
        if self.needs_vf_token() {
            f.write_str(", bound with a VF token")?;
        }
        f.write_str(if self.is_ready() {
            ": ready"
        } else {
            ": not ready"
        })?;
        self.blockers
            .iter()
            .try_for_each(|blocker| write!(f, "\n{blocker}"))
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

impl fmt::Display for MsiIsolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Remapped => "isolated by interrupt remapping",
            Self::Waived => "not isolated, by choice of the administrator",
            Self::Missing => "not isolated",
            Self::Unknown => "not told by this machine",
        })
    }
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

/// On x86 the kernel names the chips of remapped interrupts `IR-PCI-MSI`, `IR-IO-APIC` and so on.
/// Elsewhere, and without these names, nothing is known.
fn msi_isolation(roots: &Roots) -> MsiIsolation {
    let interrupts = roots.sys.join("kernel/irq");
    let mut plain = false;
    for number in sysfs::names(&interrupts).unwrap_or_default() {
        let chip = sysfs::line(&interrupts.join(number).join("chip_name")).unwrap_or_default();
        if chip.starts_with("IR-") || chip.starts_with("ITS-") {
            return MsiIsolation::Remapped;
        }
        plain |= chip == "IO-APIC";
    }
    let waiver = roots
        .sys
        .join("module/iommufd/parameters/allow_unsafe_interrupts");
    match (plain, sysfs::line(&waiver).as_deref()) {
        (false, _) => MsiIsolation::Unknown,
        (true, Ok("Y")) => MsiIsolation::Waived,
        (true, _) => MsiIsolation::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::sysfs::fake::Tree;

    const EDU: &str = "0000:00:04.0";

    fn tree() -> Tree {
        let tree = Tree::new();
        tree.function(EDU, 3);
        tree.file("dev/iommu", "");
        tree
    }

    fn readiness(tree: &Tree) -> Readiness {
        Readiness::within(&tree.roots, EDU.parse().unwrap()).unwrap()
    }

    fn words(tree: &Tree) -> String {
        readiness(tree).to_string()
    }

    #[test]
    fn a_bound_device_is_ready() {
        let tree = tree();
        tree.bind(EDU, "vfio-pci");
        tree.cdev(EDU, "vfio0", "511:0");
        let readiness = readiness(&tree);
        assert!(readiness.is_ready(), "{readiness}");
        assert_eq!(readiness.ids().unwrap().to_string(), "1234:11e8");
        assert_eq!(readiness.group(), Some(GroupId::new(3)));
        assert_eq!(readiness.cdev(), Some(&*tree.roots.vfio_node("vfio0")));
        assert_eq!(
            readiness.to_string(),
            "0000:00:04.0 [1234:11e8], driver vfio-pci, IOMMU group 3: ready"
        );
    }

    #[test]
    fn the_commands_name_the_device() {
        let tree = tree();
        assert!(words(&tree).contains(
            "echo vfio-pci > /sys/bus/pci/devices/0000:00:04.0/driver_override\n    \
             echo 0000:00:04.0 > /sys/bus/pci/drivers_probe"
        ));
        tree.bind(EDU, "e1000e");
        let words = words(&tree);
        assert!(words.contains("bound to the driver e1000e"), "{words}");
        assert!(
            words.contains("echo 0000:00:04.0 > /sys/bus/pci/devices/0000:00:04.0/driver/unbind"),
            "{words}"
        );
    }

    #[test]
    fn siblings_block_only_if_their_driver_does_dma() {
        let tree = tree();
        tree.bind(EDU, "vfio-pci");
        tree.cdev(EDU, "vfio0", "511:0");
        for (sibling, driver) in [
            ("0000:00:01.0", "pcieport"),
            ("0000:00:04.2", "other-vfio-pci"),
        ] {
            tree.function(sibling, 3);
            tree.bind(sibling, driver);
        }
        tree.cdev("0000:00:04.2", "vfio1", "511:1");
        tree.function("0000:00:04.3", 3);
        tree.function("0000:00:05.0", 4);
        tree.bind("0000:00:05.0", "nvme");
        assert!(readiness(&tree).is_ready(), "{}", words(&tree));
        assert_eq!(readiness(&tree).siblings().len(), 3);

        tree.function("0000:00:04.1", 3);
        tree.bind("0000:00:04.1", "nvme");
        let readiness = readiness(&tree);
        assert!(matches!(
            readiness.blockers(),
            [Blocker::SiblingInUse { sibling, driver, .. }]
                if sibling == "0000:00:04.1" && driver == "nvme"
        ));
        assert!(words(&tree).contains(
            "echo 0000:00:04.1 > /sys/kernel/iommu_groups/3/devices/0000:00:04.1/driver/unbind"
        ));
    }

    #[test]
    fn a_bridge_and_firmwares_memory_are_blockers() {
        let tree = tree();
        tree.bind(EDU, "vfio-pci");
        tree.cdev(EDU, "vfio0", "511:0");
        tree.file(
            "sys/kernel/iommu_groups/3/reserved_regions",
            "0x000a0000 0x000bffff direct-relaxable\n0xfee00000 0xfeefffff msi\n",
        );
        assert!(readiness(&tree).is_ready(), "{}", words(&tree));
        tree.file(
            "sys/kernel/iommu_groups/3/reserved_regions",
            "0x000a0000 0x000bffff direct\n",
        );
        assert!(matches!(
            readiness(&tree).blockers(),
            [Blocker::FirmwareMemory { .. }]
        ));
        assert!(words(&tree).contains("0xa0000..=0xbffff"));
        tree.file("sys/devices/pci0000:00/0000:00:04.0/class", "0x060400\n");
        assert_eq!(readiness(&tree).blockers(), [Blocker::Bridge]);
    }

    #[test]
    fn a_group_that_sysfs_hides_is_a_group_all_the_same() {
        let tree = tree();
        tree.bind(EDU, "vfio-pci");
        tree.cdev(EDU, "vfio0", "511:0");
        tree.remove_folder("sys/kernel/iommu_groups");
        let readiness = readiness(&tree);
        assert!(readiness.is_ready(), "{readiness}");
        assert_eq!(readiness.group(), Some(GroupId::new(3)));
        assert_eq!(readiness.iommu_group(), None);
    }

    #[test]
    fn a_virtual_function_names_its_physical_one_and_the_token() {
        let tree = tree();
        tree.bind(EDU, "vfio-pci");
        tree.cdev(EDU, "vfio0", "511:0");
        tree.function("0000:01:00.0", 4);
        tree.link(
            "sys/devices/pci0000:00/0000:00:04.0/physfn",
            "sys/devices/pci0000:00/0000:01:00.0",
        );
        let of = "0000:00:04.0 [1234:11e8], driver vfio-pci, IOMMU group 3, virtual function of \
                  0000:01:00.0";
        assert!(!readiness(&tree).needs_vf_token());
        assert_eq!(words(&tree), format!("{of}: ready"));
        tree.cdev("0000:01:00.0", "vfio1", "511:1");
        assert!(readiness(&tree).needs_vf_token());
        assert_eq!(words(&tree), format!("{of}, bound with a VF token: ready"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let tree = Tree::new();
        tree.file("sys/bus/pci/devices/0000:00:04.0/vendor", "garbage");
        let readiness = readiness(&tree);
        assert_eq!(readiness.ids(), None);
        assert!(matches!(
            readiness.blockers(),
            [
                Blocker::NoIommuGroup,
                Blocker::NoDriver { .. },
                Blocker::NoNode { .. }
            ]
        ));
        let other = "00:05.0".parse().unwrap();
        assert!(matches!(
            Readiness::within(&tree.roots, other),
            Err(Error::NoSuchDevice { .. })
        ));
        let nowhere = Roots {
            sys: "/nonexistent".into(),
            ..tree.roots.clone()
        };
        assert!(matches!(
            Readiness::within(&nowhere, other),
            Err(Error::Sysfs { .. })
        ));
    }

    #[test]
    fn a_kernel_without_character_devices_is_named() {
        let tree = tree();
        tree.bind(EDU, "vfio-pci");
        assert_eq!(readiness(&tree).blockers(), [Blocker::NoCharacterDevice]);
        tree.file(
            "sys/devices/pci0000:00/0000:00:04.0/vfio-dev/vfio0/uevent",
            "",
        );
        assert_eq!(readiness(&tree).blockers(), [Blocker::NoCharacterDevice]);
    }

    #[test]
    fn noiommu_is_a_blocker() {
        let tree = tree();
        tree.bind(EDU, "vfio-pci");
        tree.cdev(EDU, "noiommu-vfio0", "511:0");
        assert_eq!(readiness(&tree).blockers(), [Blocker::NoIommu]);
    }

    #[test]
    fn isolation_is_read_off_the_interrupt_chips() {
        let tree = tree();
        assert_eq!(readiness(&tree).msi_isolation(), MsiIsolation::Unknown);
        tree.file("sys/kernel/irq/9/chip_name", "IO-APIC\n");
        assert_eq!(readiness(&tree).msi_isolation(), MsiIsolation::Missing);
        assert!(words(&tree).contains("allow_unsafe_interrupts"));
        tree.file(
            "sys/module/iommufd/parameters/allow_unsafe_interrupts",
            "Y\n",
        );
        assert_eq!(readiness(&tree).msi_isolation(), MsiIsolation::Waived);
        for chip in ["IR-PCI-MSI-0000:00:1f.2\n", "ITS-PCI-MSIX-0000:00:01.0\n"] {
            tree.file("sys/kernel/irq/24/chip_name", chip);
            assert_eq!(readiness(&tree).msi_isolation(), MsiIsolation::Remapped);
        }
    }
}
