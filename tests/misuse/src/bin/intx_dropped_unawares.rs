//! Fails with `unused_must_use`: the guard is not kept, so the pin is disabled at once.

#![deny(unused_must_use)]

use vfio::{Device, Intx, Result};

fn case(device: &Device) -> Result<Intx> {
    #[cfg(feature = "misuse")]
    device.intx()?;
    let line = device.intx()?;
    Ok(line)
}

fn main() {
    let _checked = case;
}
