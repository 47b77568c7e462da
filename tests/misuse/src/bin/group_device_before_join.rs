//! Fails with E0599: a device of a group that is in no container, so that its DMA would go nowhere.

use vfio::{Container, GroupDevice, PciAddress, Result, VfioGroup};

fn case(group: VfioGroup, container: &Container, address: PciAddress) -> Result<GroupDevice> {
    #[cfg(feature = "misuse")]
    return group.pci_device(address);
    #[cfg(not(feature = "misuse"))]
    group.join(container)?.pci_device(address)
}

fn main() {
    let _checked = case;
}
