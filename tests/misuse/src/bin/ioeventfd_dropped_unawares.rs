//! Fails with `unused_must_use`: the guard is not kept, so nothing is written.

#![deny(unused_must_use)]

use std::os::fd::OwnedFd;

use vfio::{Device, IoEventFd, RegionIndex, Result};

fn case(device: &Device, guests: &OwnedFd) -> Result<IoEventFd> {
    #[cfg(feature = "misuse")]
    device.ioeventfd(RegionIndex::BAR0, 0, 1_u32, guests)?;
    let doorbell = device.ioeventfd(RegionIndex::BAR0, 0, 1_u32, guests)?;
    Ok(doorbell)
}

fn main() {
    let _checked = case;
}
