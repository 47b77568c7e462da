//! Whatever is in sysfs, it is read or refused: nothing panics.

use super::{IommuGroup, IommuUnit, PciFunction, VfioNode, driver_override};
use crate::readiness::Readiness;
use crate::sysfs::fake::Tree;

const CARD: &str = "0000:01:00.0";
const FOLDER: &str = "sys/devices/pci0000:00/0000:01:00.0";

/// Numbers that look random, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // Marsaglia, "Xorshift RNGs".
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// What a file could have in it, somehow changed, or anything at all.
    fn text(&mut self) -> Vec<u8> {
        let seeds: [&[u8]; 8] = [
            b"0x8086\n",
            b"0x020000\n",
            b"-1\n",
            b"flr pm bus\n",
            b"0x00000000fee00000 0x00000000feefffff msi\n0x0 0xf direct\n",
            b"511:0\n",
            b"(null)\n",
            b"DMA-FQ\n",
        ];
        let mut text = seeds[self.below(seeds.len())].to_vec();
        for _ in 0..self.below(6) {
            let byte = self.next().to_le_bytes()[0];
            match self.below(4) {
                0 => text.truncate(self.below(text.len() + 1)),
                1 => text.insert(self.below(text.len() + 1), byte),
                2 => text.extend_from_within(..),
                _ => {
                    if let Some(place) = text.len().checked_sub(1) {
                        text[self.below(place + 1)] = byte;
                    }
                }
            }
        }
        text
    }
}

#[test]
fn whatever_is_in_the_files_nothing_panics() {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let tree = Tree::new();
    tree.function(CARD, 6);
    tree.bind(CARD, "vfio-pci");
    tree.cdev(CARD, "vfio0", "511:0");
    tree.link(
        "sys/class/vfio-dev/vfio0",
        &format!("{FOLDER}/vfio-dev/vfio0"),
    );
    let files = [
        "vendor",
        "device",
        "subsystem_vendor",
        "subsystem_device",
        "class",
        "numa_node",
        "reset_method",
        "sriov_totalvfs",
        "driver_override",
        "vfio-dev/vfio0/dev",
    ]
    .map(|file| format!("{FOLDER}/{file}"));
    let of_the_group =
        ["type", "reserved_regions"].map(|file| format!("sys/kernel/iommu_groups/6/{file}"));
    let mut understood = 0;
    for _ in 0..150 {
        for file in files.iter().chain(&of_the_group) {
            tree.bytes(file, &numbers.text());
        }
        let function = PciFunction::all_within(&tree.roots).unwrap().pop().unwrap();
        understood += usize::from(function.class.is_some());
        let readiness = Readiness::within(&tree.roots, function.address).unwrap();
        assert!(readiness.to_string().starts_with(CARD));
        driver_override(&tree.roots, function.address).ok();
        assert_eq!(IommuGroup::all_within(&tree.roots).unwrap().len(), 1);
        assert_eq!(VfioNode::all_within(&tree.roots).unwrap().len(), 1);
        IommuUnit::all_within(&tree.roots).unwrap();
    }
    assert!(understood > 0, "all of it was garbage");
}

#[test]
fn wherever_the_links_lead_nothing_panics() {
    let targets = [
        "sys/nothing",
        "sys/bus",
        "",
        "..",
        "sys/kernel/iommu_groups/4294967296",
        "sys/kernel/iommu_groups/-1",
        "sys/devices/pci0000:00/\u{fffd}:01:00.0",
        "sys/devices/pci0000:00/0000:01:00.0/driver",
    ];
    let links = [
        "driver",
        "iommu_group",
        "iommu",
        "physfn",
        "virtfn0",
        "virtfn65536",
        "vfio-dev",
        "subsystem",
    ];
    for link in links {
        for target in targets {
            let tree = Tree::new();
            tree.file(&format!("{FOLDER}/vendor"), "0x1234\n");
            tree.link(&format!("sys/bus/pci/devices/{CARD}"), FOLDER);
            tree.link(&format!("{FOLDER}/{link}"), target);
            // One that makes no sense is an error that names the function, or is left out.
            for error in [
                PciFunction::all_within(&tree.roots).err(),
                Readiness::within(&tree.roots, CARD.parse().unwrap()).err(),
            ]
            .into_iter()
            .flatten()
            {
                assert!(error.to_string().contains("cannot read"), "{error}");
            }
        }
    }
}
