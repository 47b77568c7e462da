//! Fails with E0308: a path is made of a text that nobody has looked at.

use vfio::{Cdev, InvalidPciAddress, Result};

fn case(text: &str) -> Result<Result<Cdev>, InvalidPciAddress> {
    #[cfg(feature = "misuse")]
    return Ok(Cdev::open_pci(text));
    #[cfg(not(feature = "misuse"))]
    Ok(Cdev::open_pci(text.parse()?))
}

fn main() {
    let _checked = case;
}
