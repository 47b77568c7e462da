//! Who made a PCI function, and which one it is.

use std::fmt;

/// The identifiers of a PCI function, as `lspci -n` prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PciIds {
    /// The vendor identifier (PCI Express Base, "Vendor ID Register").
    pub vendor: u16,
    /// The device identifier (PCI Express Base, "Device ID Register").
    pub device: u16,
}

impl fmt::Display for PciIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}
