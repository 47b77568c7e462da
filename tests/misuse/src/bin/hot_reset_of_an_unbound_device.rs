//! Fails with E0308: a device is reset along with others that nobody has bound.

use vfio::{Cdev, Device, Result};

fn case(device: &Device, other: &Device, _unbound: &Cdev) -> Result<()> {
    #[cfg(feature = "misuse")]
    device.hot_reset(&[_unbound])?;
    device.hot_reset(&[other])
}

fn main() {
    let _checked = case;
}
