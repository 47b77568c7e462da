//! Fails with E0624: the driver of a bound device, to adopt the device a second time.

use vfio::Device;

fn case(device: Device) -> vfio::Result<()> {
    #[cfg(feature = "misuse")]
    let _driver = device.bound();
    device.try_close()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
