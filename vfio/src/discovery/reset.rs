//! The ways in which the kernel can reset a PCI function.

use std::fmt;

/// A way of resetting a PCI function, by the kernel's name for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetMethod {
    /// One that is made for this very device.
    DeviceSpecific,
    /// One that firmware offers (`_RST`).
    Acpi,
    /// A function level reset (PCI Express Base, "Function Level Reset").
    Flr,
    /// The same by Advanced Features, for conventional PCI.
    AfFlr,
    /// A change of power states, from D3hot to D0.
    PowerManagement,
    /// A reset of the bus or slot, where the function is alone on it.
    Bus,
    /// As [`Bus`](Self::Bus), below a CXL port.
    CxlBus,
    /// One that this crate does not know.
    Other(String),
}

impl ResetMethod {
    pub(super) fn from_sysfs(name: &str) -> Self {
        match name {
            "device_specific" => Self::DeviceSpecific,
            "acpi" => Self::Acpi,
            "flr" => Self::Flr,
            "af_flr" => Self::AfFlr,
            "pm" => Self::PowerManagement,
            "bus" => Self::Bus,
            "cxl_bus" => Self::CxlBus,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The kernel's name, as in `reset_method` of sysfs.
impl fmt::Display for ResetMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeviceSpecific => "device_specific",
            Self::Acpi => "acpi",
            Self::Flr => "flr",
            Self::AfFlr => "af_flr",
            Self::PowerManagement => "pm",
            Self::Bus => "bus",
            Self::CxlBus => "cxl_bus",
            Self::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_keeps_its_name() {
        for name in [
            "device_specific",
            "acpi",
            "flr",
            "af_flr",
            "pm",
            "bus",
            "cxl_bus",
            "new",
        ] {
            let method = ResetMethod::from_sysfs(name);
            assert_eq!(method.to_string(), name);
            assert_eq!(
                matches!(method, ResetMethod::Other(_)),
                name == "new",
                "{name}"
            );
        }
    }
}
