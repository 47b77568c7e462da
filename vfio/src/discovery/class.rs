//! What kind of device a PCI function is.

use std::fmt;

/// The class code of a PCI function (PCI Code and ID Assignment Specification).
///
/// Written as `lspci -n` does, with the programming interface: `0108.02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PciClass {
    /// The base class, such as 1 for mass storage.
    pub base: u8,
    /// The class within the base class, such as 8 for non-volatile memory.
    pub sub: u8,
    /// The programming interface, such as 2 for NVM Express.
    pub interface: u8,
}

impl PciClass {
    /// Reads the text of sysfs, `0x010802`.
    pub(super) fn from_sysfs(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x")?;
        // The standard parser would take a sign.
        if digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let [_, base, sub, interface] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
        Some(Self {
            base,
            sub,
            interface,
        })
    }

    /// Whether it is a bridge to other functions, which is no device to be assigned: VFIO refuses
    /// one. (A host bridge is none in this sense.)
    #[must_use]
    pub fn is_bridge(self) -> bool {
        matches!((self.base, self.sub), (6, 4 | 7 | 9))
    }
}

impl fmt::Display for PciClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            base,
            sub,
            interface,
        } = self;
        write!(f, "{base:02x}{sub:02x}.{interface:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_read_as_sysfs_writes_it() {
        let nvme = PciClass::from_sysfs("0x010802").unwrap();
        assert_eq!((nvme.base, nvme.sub, nvme.interface), (1, 8, 2));
        assert_eq!(nvme.to_string(), "0108.02");
        assert!(!nvme.is_bridge());
        assert!(PciClass::from_sysfs("0x060400").unwrap().is_bridge());
        assert!(!PciClass::from_sysfs("0x060000").unwrap().is_bridge());
        for text in ["", "0x", "010802", "0x+10802", "0x1010802", "0xzz", "0x 1"] {
            assert_eq!(PciClass::from_sysfs(text), None, "{text:?}");
        }
    }
}
