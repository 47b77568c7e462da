//! Fails with `unused_must_use`: the record would end where it begins.
#![deny(unused_must_use)]

use iommufd::{Granule, IovaRange};
use vfio::{Device, Result};

fn case(device: &Device, ram: IovaRange) -> Result<()> {
    #[cfg(feature = "misuse")]
    device.log_dma(Granule::KIB_4, &[ram])?;
    #[cfg(not(feature = "misuse"))]
    let _log = device.log_dma(Granule::KIB_4, &[ram])?;
    Ok(())
}

fn main() {
    let _checked = case;
}
