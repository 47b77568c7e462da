//! Fails with `unused_must_use`: the guard is not kept, so the kernel tells nothing.

#![deny(unused_must_use)]

use vfio::{Device, Result, Signal, SignalKind};

fn case(device: &Device) -> Result<Signal> {
    #[cfg(feature = "misuse")]
    device.signal(SignalKind::Request)?;
    let signal = device.signal(SignalKind::Request)?;
    Ok(signal)
}

fn main() {
    let _checked = case;
}
