//! Fails with `unused_must_use`: the guard is not kept, so the device is detached on the spot.

#![deny(unused_must_use)]

use iommufd::{Attachment, Device, Ioas, Result};

fn case(device: &Device, ioas: &Ioas) -> Result<Attachment> {
    #[cfg(feature = "misuse")]
    device.attach(ioas)?;
    let attachment = device.attach(ioas)?;
    Ok(attachment)
}

fn main() {
    let _checked = case;
}
