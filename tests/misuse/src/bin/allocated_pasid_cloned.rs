//! Fails with E0599: one PASID is handed out to two.

use iommufd::{AllocatedPasid, Device, Result};

fn case(device: &Device, pasid: AllocatedPasid) -> Result<(AllocatedPasid, AllocatedPasid)> {
    #[cfg(feature = "misuse")]
    let second = pasid.clone();
    #[cfg(not(feature = "misuse"))]
    let second = device.pasids().allocate()?;
    assert!(pasid.device() == device);
    Ok((pasid, second))
}

fn main() {
    let _checked = case;
}
