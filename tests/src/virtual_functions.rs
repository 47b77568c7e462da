//! Virtual functions of the lab's network card.

use std::path::{Path, PathBuf};
use std::{fs, thread};

use vfio::PciAddress;

/// Whether `vfio-pci` lets functions have virtual ones.
const ALLOWED: &str = "/sys/module/vfio_pci/parameters/enable_sriov";

/// Virtual functions of a function, until it is dropped.
#[derive(Debug)]
pub struct VirtualFunctions(PathBuf);

impl VirtualFunctions {
    /// One of the function at `address`, which `vfio-pci` has.
    #[must_use]
    pub fn one_of(address: PciAddress) -> Self {
        fs::write(ALLOWED, "Y").unwrap();
        let folder = Path::new("/sys/bus/pci/devices").join(address.to_string());
        let number = folder.join("sriov_numvfs");
        fs::write(&number, "1").unwrap();
        Self(number)
    }
}

impl Drop for VirtualFunctions {
    fn drop(&mut self) {
        let gone = fs::write(&self.0, "0").and_then(|()| fs::write(ALLOWED, "N"));
        assert!(gone.is_ok() || thread::panicking(), "{gone:?}");
    }
}
