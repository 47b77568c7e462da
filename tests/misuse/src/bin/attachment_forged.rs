//! Fails with E0624: a guard of an attachment that the driver has not made.

use iommufd::{Attachment, Device, Result, Target};

fn case(device: &Device, target: Target) -> Result<Attachment> {
    #[cfg(feature = "misuse")]
    return Attachment::new(device, target);
    #[cfg(not(feature = "misuse"))]
    device.attach(target)
}

fn main() {
    let _checked = case;
}
