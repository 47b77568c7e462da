//! Fails with E0382: a device is reset after it was closed.

use vfio::{Device, Result};

fn case(device: Device) -> Result<()> {
    device.reset()?;
    device.try_close()?;
    #[cfg(feature = "misuse")]
    device.reset()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
