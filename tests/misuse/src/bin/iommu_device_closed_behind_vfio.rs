//! Fails with E0507: the bound device is closed from under the VFIO device that uses it.

use vfio::{Device, Result};

fn case(device: Device) -> Result<()> {
    #[cfg(feature = "misuse")]
    drop(device.iommu().try_close());
    device.try_close()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
