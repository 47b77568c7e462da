//! Fails with E0382: an attachment is used after the device was detached.

use iommufd::{Attachment, Ioas, Result};

fn case(attachment: Attachment, ioas: &Ioas) -> Result<Attachment> {
    let device = attachment.device().clone();
    attachment.detach()?;
    #[cfg(feature = "misuse")]
    let _target = attachment.target();
    device.attach(ioas)
}

fn main() {
    let _checked = case;
}
