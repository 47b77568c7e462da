//! Fails with `unused_must_use`: the device would be woken up at once.
#![deny(unused_must_use)]

use vfio::{Device, Result};

fn case(device: &Device) -> Result<()> {
    #[cfg(feature = "misuse")]
    device.low_power()?;
    #[cfg(not(feature = "misuse"))]
    let _low_power = device.low_power()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
