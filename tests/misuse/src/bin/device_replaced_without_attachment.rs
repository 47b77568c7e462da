//! Fails with E0599: a replace goes through the attachment or the group, which know what moves.

use iommufd::{Attachment, Device, Ioas, Result};

fn case(device: &Device, mut attachment: Attachment, ioas: &Ioas) -> Result<Attachment> {
    #[cfg(feature = "misuse")]
    device.replace(ioas)?;
    device.group().replace(ioas)?;
    attachment.replace(ioas)?;
    Ok(attachment)
}

fn main() {
    let _checked = case;
}
