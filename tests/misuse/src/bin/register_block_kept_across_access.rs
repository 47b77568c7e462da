//! Fails with E0505: registers are accessed by a right that has been given back, so that they may be gone.

use vfio::{BarMapping, Device, Registers, Result};

fn case(device: &Device, bar: &BarMapping) -> Result<u32> {
    let access = bar.access()?;
    let block = access.block(0x40..0x80)?;
    #[cfg(feature = "misuse")]
    drop(access);
    let value = block.read(0)?;
    #[cfg(not(feature = "misuse"))]
    drop(access);
    device.reset()?;
    Ok(value)
}

fn main() {
    let _checked = case;
}
