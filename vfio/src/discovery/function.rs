//! The PCI functions of a machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use iommufd::GroupId;

use super::{PciClass, ResetMethod, listed};
use crate::address::PciAddress;
use crate::error::{Error, Result};
use crate::ids::PciIds;
use crate::sysfs::{self, Roots};

/// A PCI function, as sysfs describes it.
///
/// ```no_run
/// # fn main() -> vfio::Result<()> {
/// for function in vfio::PciFunction::all()? {
///     let driver = function.driver.as_deref().unwrap_or("no driver");
///     println!("{} {driver}", function.address);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `openat`, `read`, `readlink`, `getdents64` and `statx`, below `/sys`. Reading none of these files
/// waits for a device or its driver, or wakes the device up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PciFunction {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor and device identifier.
    pub ids: Option<PciIds>,
    /// Subsystem vendor and subsystem identifier.
    pub subsystem: Option<PciIds>,
    /// What kind of device it is.
    pub class: Option<PciClass>,
    /// The driver that is bound to it. A driver that is being unbound, which can take for ever, does
    /// not show any more.
    pub driver: Option<String>,
    /// Its IOMMU group; `None` if no IOMMU translates for it.
    pub group: Option<GroupId>,
    /// The IOMMU that translates for it, by its name in `/sys/class/iommu`.
    pub iommu: Option<String>,
    /// The NUMA node that it is next to; `None` where the machine has none, or does not tell.
    pub numa_node: Option<u32>,
    /// The name of its VFIO device, such as `vfio0`, or `noiommu-vfio0`. The character device, if
    /// there is one, has the same name.
    pub vfio: Option<String>,
    /// Of a virtual function, the physical one.
    pub physical_function: Option<PciAddress>,
    /// The virtual functions that it has now, in their order.
    pub virtual_functions: Vec<PciAddress>,
    /// How many virtual functions it can have; `None` if it has no SR-IOV.
    pub total_virtual_functions: Option<u16>,
    /// How the kernel can reset it, in the order in which it tries. Since Linux 5.15.
    pub reset_methods: Vec<ResetMethod>,
    /// Whether it is a virtual function of a physical one that is with a VFIO driver. Such a pair
    /// shares a secret, the VF token, and the kernel refuses a bind without it.
    pub needs_vf_token: bool,
}

impl PciFunction {
    /// All of the machine, by their addresses. One that is unplugged meanwhile is left out.
    ///
    /// # Errors
    /// [`Error::Sysfs`] if sysfs is not mounted or cannot be read. A machine without PCI has none.
    pub fn all() -> Result<Vec<Self>> {
        Self::all_within(&Roots::default())
    }

    pub(crate) fn all_within(roots: &Roots) -> Result<Vec<Self>> {
        let names = listed(&roots.sys, &roots.pci_devices())?;
        let mut functions = Vec::new();
        for address in names.iter().filter_map(|name| name.parse().ok()) {
            match Self::within(roots, address) {
                Ok(function) => functions.push(function),
                Err(Error::NoSuchDevice { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        functions.sort_by_key(|function| function.address);
        Ok(functions)
    }

    /// The one at `address`.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if there is none; [`Error::Sysfs`] if sysfs is not mounted or cannot
    /// be read.
    pub fn at(address: PciAddress) -> Result<Self> {
        Self::within(&Roots::default(), address)
    }

    pub(crate) fn within(roots: &Roots, address: PciAddress) -> Result<Self> {
        let folder = folder_of(roots, address)?;
        Self::read(address, &folder).map_err(|error| Error::sysfs(folder, error))
    }

    fn read(address: PciAddress, folder: &Path) -> io::Result<Self> {
        let text = |name: &str| sysfs::line(&folder.join(name)).ok();
        let physical = folder.join("physfn");
        let physical_function = linked_function(&physical)?;
        Ok(Self {
            address,
            ids: ids(folder, "vendor", "device"),
            subsystem: ids(folder, "subsystem_vendor", "subsystem_device"),
            class: text("class").and_then(|text| PciClass::from_sysfs(&text)),
            driver: sysfs::link_name(&folder.join("driver"))?,
            group: sysfs::group_of(folder)?,
            iommu: sysfs::link_name(&folder.join("iommu"))?,
            // -1 is for none, and no number here.
            numa_node: text("numa_node").and_then(|text| text.parse().ok()),
            vfio: sysfs::vfio_name(folder)?,
            needs_vf_token: physical_function.is_some() && sysfs::vfio_name(&physical)?.is_some(),
            physical_function,
            // Their number is in `sriov_numvfs`, too, but reading that waits while the driver is
            // unbound.
            virtual_functions: virtual_functions(folder)?,
            total_virtual_functions: text("sriov_totalvfs").and_then(|text| text.parse().ok()),
            reset_methods: text("reset_method")
                .unwrap_or_default()
                .split_whitespace()
                .map(ResetMethod::from_sysfs)
                .collect(),
        })
    }

    /// The character device that VFIO has for it, for [`Cdev::open`](crate::Cdev::open). Whether it
    /// is there, and may be used, tells [`Readiness`](crate::Readiness).
    #[must_use]
    pub fn node(&self) -> Option<PathBuf> {
        let name = self.vfio.as_deref()?;
        Some(Roots::default().vfio_node(name))
    }

    /// The one driver that may be bound to it, if somebody has said so in `driver_override`.
    ///
    /// This is no part of the snapshot: older kernels than 7.3 may answer only when no driver is being
    /// unbound from the function, and that can wait for its users.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], [`Error::Sysfs`].
    pub fn driver_override(&self) -> Result<Option<String>> {
        driver_override(&Roots::default(), self.address)
    }
}

/// The folder of the function at `address`.
pub(crate) fn folder_of(roots: &Roots, address: PciAddress) -> Result<PathBuf> {
    let folder = roots.pci_device(address);
    if folder.exists() {
        return Ok(folder);
    }
    let bus = roots.pci_devices();
    Err(match fs::metadata(&bus) {
        Ok(_) => Error::NoSuchDevice { address },
        Err(error) => Error::sysfs(bus, error),
    })
}

pub(crate) fn driver_override(roots: &Roots, address: PciAddress) -> Result<Option<String>> {
    let file = roots.pci_device(address).join("driver_override");
    match sysfs::line(&file) {
        // What the kernel prints for none.
        Ok(text) => Ok((!text.is_empty() && text != "(null)").then_some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::NoSuchDevice { address })
        }
        Err(error) => Err(Error::sysfs(file, error)),
    }
}

fn ids(folder: &Path, vendor: &str, device: &str) -> Option<PciIds> {
    Some(PciIds {
        vendor: sysfs::hex(&folder.join(vendor))?,
        device: sysfs::hex(&folder.join(device))?,
    })
}

/// The function that a link leads to.
fn linked_function(link: &Path) -> io::Result<Option<PciAddress>> {
    Ok(sysfs::link_name(link)?.and_then(|name| name.parse().ok()))
}

/// Those that the links `virtfn0`, `virtfn1` … lead to.
fn virtual_functions(folder: &Path) -> io::Result<Vec<PciAddress>> {
    let mut numbered = Vec::new();
    for name in sysfs::names(folder)? {
        let Some(number) = name.strip_prefix("virtfn") else {
            continue;
        };
        if let (Ok(number), Some(function)) =
            (number.parse::<u16>(), linked_function(&folder.join(&name))?)
        {
            numbered.push((number, function));
        }
    }
    numbered.sort_unstable();
    Ok(numbered.into_iter().map(|(_, function)| function).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::fake::Tree;

    const CARD: &str = "0000:01:00.0";
    const FOLDER: &str = "sys/devices/pci0000:00/0000:01:00.0";

    fn card(tree: &Tree) -> PciFunction {
        PciFunction::within(&tree.roots, CARD.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_function_is_described() {
        let tree = Tree::new();
        tree.function(CARD, 6);
        tree.bind(CARD, "vfio-pci");
        tree.cdev(CARD, "vfio3", "511:3");
        for (file, text) in [
            ("class", "0x020000\n"),
            ("subsystem_vendor", "0x8086\n"),
            ("subsystem_device", "0xa02b\n"),
            ("numa_node", "1\n"),
            ("reset_method", "flr pm bus\n"),
            ("sriov_totalvfs", "8\n"),
        ] {
            tree.file(&format!("{FOLDER}/{file}"), text);
        }
        tree.link(
            &format!("{FOLDER}/iommu"),
            "sys/devices/virtual/iommu/dmar0",
        );
        for (number, name) in [
            (10, "0000:01:11.2"),
            (2, "0000:01:10.2"),
            (0, "0000:01:10.0"),
        ] {
            tree.function(name, 7);
            let folder = format!("sys/devices/pci0000:00/{name}");
            tree.link(&format!("{FOLDER}/virtfn{number}"), &folder);
            if number != 10 {
                tree.link(&format!("{folder}/physfn"), FOLDER);
            }
        }
        let function = card(&tree);
        assert_eq!(function.ids.unwrap().to_string(), "1234:11e8");
        assert_eq!(function.subsystem.unwrap().to_string(), "8086:a02b");
        assert_eq!(function.class.unwrap().to_string(), "0200.00");
        assert_eq!(function.driver.as_deref(), Some("vfio-pci"));
        assert_eq!(function.group, Some(GroupId::new(6)));
        assert_eq!(function.iommu.as_deref(), Some("dmar0"));
        assert_eq!(function.numa_node, Some(1));
        assert_eq!(function.vfio.as_deref(), Some("vfio3"));
        assert_eq!(
            function.node().unwrap(),
            Path::new("/dev/vfio/devices/vfio3")
        );
        assert_eq!(function.total_virtual_functions, Some(8));
        let names: Vec<_> = function
            .virtual_functions
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["0000:01:10.0", "0000:01:10.2", "0000:01:11.2"]);
        let [first, second, third] = &*function.reset_methods else {
            panic!("{:?}", function.reset_methods)
        };
        assert_eq!(
            (first, second, third),
            (
                &ResetMethod::Flr,
                &ResetMethod::PowerManagement,
                &ResetMethod::Bus
            )
        );
        assert!(!function.needs_vf_token);

        let virtual_function =
            PciFunction::within(&tree.roots, "01:10.0".parse().unwrap()).unwrap();
        assert_eq!(virtual_function.physical_function, CARD.parse().ok());
        assert!(virtual_function.needs_vf_token);
        assert_eq!(PciFunction::all_within(&tree.roots).unwrap().len(), 4);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let tree = Tree::new();
        tree.function(CARD, 6);
        let plain = card(&tree);
        assert_eq!(plain.numa_node, None);
        for garbage in [
            "",
            "\n",
            "-1\n",
            "0x\n",
            "99999999999999999999\n",
            "\u{fffd}\0\n",
            "0x-1\n",
        ] {
            for file in [
                "vendor",
                "class",
                "numa_node",
                "sriov_totalvfs",
                "subsystem_vendor",
            ] {
                tree.file(&format!("{FOLDER}/{file}"), garbage);
            }
            let function = card(&tree);
            assert_eq!(function.ids, None, "{garbage:?}");
            assert_eq!(function.class, None, "{garbage:?}");
            assert_eq!(function.numa_node, None, "{garbage:?}");
            assert_eq!(function.total_virtual_functions, None, "{garbage:?}");
            assert_eq!(function.subsystem, None, "{garbage:?}");
        }
        // Not even text.
        tree.bytes(&format!("{FOLDER}/class"), &[0xff, 0xfe, 0]);
        tree.bytes(&format!("{FOLDER}/reset_method"), &[0xff]);
        assert_eq!(card(&tree).class, None);
        assert_eq!(card(&tree).reset_methods, []);
        // Folders where files should be, files where links should be.
        tree.file(&format!("{FOLDER}/numa_node_/x"), "");
        tree.link(&format!("{FOLDER}/virtfn0"), "sys/nothing");
        tree.link(&format!("{FOLDER}/virtfnx"), FOLDER);
        assert_eq!(card(&tree).virtual_functions, []);
        // A group that is no number is an error that names the function.
        tree.remove(&format!("{FOLDER}/iommu_group"));
        tree.link(&format!("{FOLDER}/iommu_group"), "sys/kernel/garbage");
        let address = CARD.parse().unwrap();
        let error = PciFunction::within(&tree.roots, address).unwrap_err();
        assert!(matches!(error, Error::Sysfs { .. }));
        assert!(error.to_string().contains(CARD), "{error}");
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        let tree = Tree::new();
        assert_eq!(PciFunction::all_within(&tree.roots).unwrap(), []);
        // Of a machine without PCI there is no folder.
        tree.remove_folder("sys/bus/pci");
        tree.file("sys/kernel/x", "");
        assert_eq!(PciFunction::all_within(&tree.roots).unwrap(), []);
        let nowhere = Roots {
            sys: "/nonexistent".into(),
            ..tree.roots.clone()
        };
        let error = PciFunction::all_within(&nowhere).unwrap_err();
        assert!(matches!(error, Error::Sysfs { .. }), "{error}");
        assert!(error.to_string().contains("sysfs"), "{error}");
    }

    #[test]
    fn an_override_is_read_as_the_kernel_writes_it() {
        let tree = Tree::new();
        tree.function(CARD, 6);
        let address = CARD.parse().unwrap();
        let read = || driver_override(&tree.roots, address);
        assert!(matches!(read(), Err(Error::NoSuchDevice { .. })));
        for (text, answer) in [
            ("(null)\n", None),
            ("\n", None),
            ("vfio-pci\n", Some("vfio-pci")),
        ] {
            tree.file(&format!("{FOLDER}/driver_override"), text);
            assert_eq!(read().unwrap().as_deref(), answer);
        }
    }
}
