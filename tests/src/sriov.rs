//! A virtual function of the lab's network card.

use std::fs;
use std::path::{Path, PathBuf};

use vfio::PciAddress;

use crate::edu::{cdev, igb};

/// Whether `vfio-pci` makes virtual functions, which it does not if it is not told to.
const ALLOWED: &str = "/sys/module/vfio_pci/parameters/enable_sriov";

/// The card has one virtual function until this is dropped, which waits until nobody has it open.
#[derive(Debug)]
pub struct VirtualFunction {
    physical: PathBuf,
    address: PciAddress,
}

impl VirtualFunction {
    /// Has `vfio-pci` make it, which takes it as well.
    #[must_use]
    pub fn new() -> Self {
        fs::write(ALLOWED, "Y").unwrap();
        // The card is with `vfio-pci` when this is dropped.
        drop(cdev(igb()));
        let physical = Path::new("/sys/bus/pci/devices").join(igb().to_string());
        fs::write(physical.join("sriov_numvfs"), "1").unwrap();
        let link = fs::read_link(physical.join("virtfn0")).unwrap();
        let name = link.file_name().unwrap().to_str().unwrap();
        let address = name.parse().unwrap();
        Self { physical, address }
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

impl Drop for VirtualFunction {
    fn drop(&mut self) {
        let gone = fs::write(self.physical.join("sriov_numvfs"), "0");
        let gone = gone.and_then(|()| fs::write(ALLOWED, "N"));
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}
