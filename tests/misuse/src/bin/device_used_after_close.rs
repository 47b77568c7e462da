//! Fails with E0382: a device is attached after it was closed.

use iommufd::{Device, Ioas, Result};

fn case(device: Device, ioas: &Ioas) -> Result<()> {
    device.attach(ioas)?.detach()?;
    device.try_close()?;
    #[cfg(feature = "misuse")]
    device.attach(ioas)?.detach()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
