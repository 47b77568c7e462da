//! A virtual function of the lab's network card.

use std::fs;
use std::path::Path;

use vfio::PciAddress;

use crate::edu::{cdev, igb};
use crate::virtual_functions::VirtualFunctions;

/// The card has one virtual function until this is dropped, which waits until nobody has it open.
#[derive(Debug)]
pub struct VirtualFunction {
    address: PciAddress,
    _made: VirtualFunctions,
}

impl VirtualFunction {
    /// Has `vfio-pci` make it, which takes it as well.
    #[must_use]
    pub fn new() -> Self {
        // The card is with `vfio-pci` from now on.
        drop(cdev(igb()));
        let made = VirtualFunctions::one_of(igb());
        let physical = Path::new("/sys/bus/pci/devices").join(igb().to_string());
        let link = fs::read_link(physical.join("virtfn0")).unwrap();
        let name = link.file_name().unwrap().to_str().unwrap();
        Self {
            address: name.parse().unwrap(),
            _made: made,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> PciAddress {
        self.address
    }
}

impl Default for VirtualFunction {
    fn default() -> Self {
        Self::new()
    }
}
