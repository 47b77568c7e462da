//! Fails with E0277: a device is attached to an address instead of an address space.

use iommufd::{Attachment, Device, Ioas, Mapping, Result};

fn case(device: &Device, ioas: &Ioas, mapping: &Mapping) -> Result<(Attachment, u64)> {
    #[cfg(feature = "misuse")]
    let attachment = device.attach(mapping.iova())?;
    #[cfg(not(feature = "misuse"))]
    let attachment = device.attach(ioas)?;
    Ok((attachment, ioas.mapped().bytes + mapping.len()))
}

fn main() {
    let _checked = case;
}
