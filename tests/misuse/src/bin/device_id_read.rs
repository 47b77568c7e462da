//! Fails with E0624: the kernel's id of a device is copied out; ids are handed out again.

use iommufd::{Device, Result};

fn case(device: Device) -> Result<()> {
    #[cfg(feature = "misuse")]
    let _id = device.id();
    device.try_close()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
