//! Fails with `unused_must_use`: the PASID is not kept, so it is anybody's on the spot.

#![deny(unused_must_use)]

use iommufd::{AllocatedPasid, Device, Result};

fn case(device: &Device) -> Result<AllocatedPasid> {
    #[cfg(feature = "misuse")]
    device.pasids().allocate()?;
    let pasid = device.pasids().allocate()?;
    Ok(pasid)
}

fn main() {
    let _checked = case;
}
