//! Fails with E0382: a device is opened by way of a group that has left its container.

use vfio::{GroupDevice, MemberGroup, PciAddress, Result};

fn case(member: MemberGroup, address: PciAddress) -> Result<GroupDevice> {
    #[cfg(not(feature = "misuse"))]
    let device = member.pci_device(address);
    #[cfg(feature = "misuse")]
    let device = (member.leave()?, member.pci_device(address)).1;
    device
}

fn main() {
    let _checked = case;
}
