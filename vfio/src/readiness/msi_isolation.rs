//! Whether a device is kept from raising interrupts that are not its own.

use std::fmt;

use crate::sysfs::{self, Roots};

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

impl MsiIsolation {
    /// On x86 the kernel names the chips of remapped interrupts `IR-PCI-MSI`, `IR-IO-APIC` and so on.
    /// Elsewhere, and without these names, nothing is known.
    pub(super) fn of(roots: &Roots) -> Self {
        let interrupts = roots.sys.join("kernel/irq");
        let mut plain = false;
        for number in sysfs::names(&interrupts).unwrap_or_default() {
            let chip = sysfs::line(&interrupts.join(number).join("chip_name")).unwrap_or_default();
            if chip.starts_with("IR-") || chip.starts_with("ITS-") {
                return Self::Remapped;
            }
            plain |= chip == "IO-APIC";
        }
        let waiver = roots
            .sys
            .join("module/iommufd/parameters/allow_unsafe_interrupts");
        match (plain, sysfs::line(&waiver).as_deref()) {
            (false, _) => Self::Unknown,
            (true, Ok("Y")) => Self::Waived,
            (true, _) => Self::Missing,
        }
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
