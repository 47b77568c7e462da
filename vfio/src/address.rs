//! Where a PCI function is.

use std::fmt;
use std::str::FromStr;

/// The address of a PCI function: domain, bus, device, function.
///
/// Written as Linux writes it, `0000:00:04.0`; read with or without the domain.
///
/// ```
/// use vfio::PciAddress;
///
/// let address: PciAddress = "00:04.0".parse()?;
/// assert_eq!(address.to_string(), "0000:00:04.0");
/// # Ok::<(), vfio::InvalidPciAddress>(())
/// ```
///
/// # Invariants
/// `device < 32` and `function < 8`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl PciAddress {
    /// The function at these numbers; `None` if `device` is above 31 or `function` above 7, which
    /// no bus has (PCI Express Base, "Requester ID").
    #[must_use]
    pub const fn new(domain: u32, bus: u8, device: u8, function: u8) -> Option<Self> {
        if device < 32 && function < 8 {
            Some(Self {
                domain,
                bus,
                device,
                function,
            })
        } else {
            None
        }
    }

    /// The domain, called segment group by ACPI. Linux makes up numbers above `0xffff` for host
    /// bridges that firmware does not describe.
    #[must_use]
    pub const fn domain(self) -> u32 {
        self.domain
    }

    /// The bus.
    #[must_use]
    pub const fn bus(self) -> u8 {
        self.bus
    }

    /// The device on its bus, 0 to 31.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.device
    }

    /// The function of its device, 0 to 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.function
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl fmt::Debug for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PciAddress({self})")
    }
}

/// Text that is not a PCI address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a PCI address: one looks like 0000:00:04.0, or 00:04.0 in domain 0")]
pub struct InvalidPciAddress {
    text: String,
}

impl FromStr for PciAddress {
    type Err = InvalidPciAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| InvalidPciAddress {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
    PciAddress::new(
        hex(domain, 8)?,
        u8::try_from(hex(bus, 2)?).ok()?,
        u8::try_from(hex(device, 2)?).ok()?,
        u8::try_from(hex(function, 1)?).ok()?,
    )
}

/// One to `digits` hexadecimal digits and nothing else; the standard parser would take a sign.
fn hex(text: &str, digits: usize) -> Option<u32> {
    let right = text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    right.then(|| u32::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_linux_does() {
        for (text, written) in [
            ("0000:00:04.0", "0000:00:04.0"),
            ("00:04.0", "0000:00:04.0"),
            ("0:4.1", "0000:00:04.1"),
            ("10000:E1:1f.7", "10000:e1:1f.7"),
            ("ffffffff:ff:1f.7", "ffffffff:ff:1f.7"),
        ] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ".",
            ":",
            ":.",
            "00:04",
            "04.0",
            "00:20.0",
            "00:04.8",
            "00:04.00",
            "100:04.0",
            "+0:04.0",
            "0000:0x:04.0",
            "0:0:0:04.0",
            "123456789:00:04.0",
            " 00:04.0",
            "00:04.0\n",
            ":00:04.0",
        ] {
            assert!(text.parse::<PciAddress>().is_err(), "{text:?}");
        }
    }
}
