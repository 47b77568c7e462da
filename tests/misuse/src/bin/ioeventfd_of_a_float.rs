//! Fails with E0277: a register is written with what no register takes.

use std::os::fd::OwnedFd;

use vfio::{Device, IoEventFd, RegionIndex, Result};

fn case(device: &Device, guests: &OwnedFd) -> Result<IoEventFd> {
    #[cfg(feature = "misuse")]
    let doorbell = device.ioeventfd(RegionIndex::BAR0, 0, 1_f32, guests)?;
    #[cfg(not(feature = "misuse"))]
    let doorbell = device.ioeventfd(RegionIndex::BAR0, 0, 1_f32.to_bits(), guests)?;
    Ok(doorbell)
}

fn main() {
    let _checked = case;
}
