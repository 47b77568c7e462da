//! What is told of a sysfs that is made of files.

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
