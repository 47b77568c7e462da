//! Fails with `unused_must_use`: the interrupts are not kept, so they are off on the spot.

#![deny(unused_must_use)]

use vfio::{Device, Interrupts, Result};

fn case(device: &Device) -> Result<Interrupts> {
    #[cfg(feature = "misuse")]
    device.msi(1)?;
    let interrupts = device.msi(1)?;
    Ok(interrupts)
}

fn main() {
    let _checked = case;
}
