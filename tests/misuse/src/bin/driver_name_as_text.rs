//! Fails with E0308: a path of sysfs is made of a text that nobody has looked at.

use vfio::{DriverName, Error, PciAddress, Pending, Result, Takeover};

fn case(address: PciAddress, text: &str) -> Result<Pending<Takeover>> {
    #[cfg(feature = "misuse")]
    return Takeover::begin(address, text);
    #[cfg(not(feature = "misuse"))]
    Takeover::begin(address, &text.parse::<DriverName>().map_err(Error::from)?)
}

fn main() {
    let _checked = case;
}
