//! Fails with E0596: somebody who only looks at an attachment moves the device.

use iommufd::{Attachment, Ioas, Result};

fn case(mut attachment: Attachment, ioas: &Ioas) -> Result<Attachment> {
    let looked_at = &attachment;
    let _target = looked_at.target();
    #[cfg(feature = "misuse")]
    looked_at.replace(ioas)?;
    attachment.replace(ioas)?;
    Ok(attachment)
}

fn main() {
    let _checked = case;
}
