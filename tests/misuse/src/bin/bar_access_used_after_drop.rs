//! Fails with E0382: registers are accessed by a right that has been given back for a reset.

use vfio::{BarMapping, Device, Result};

fn case(device: &Device, bar: &BarMapping) -> Result<u32> {
    let access = bar.access()?;
    access.write(0, 1_u32)?;
    drop(access);
    device.reset()?;
    #[cfg(feature = "misuse")]
    access.write(0, 1_u32)?;
    bar.read(0)
}

fn main() {
    let _checked = case;
}
