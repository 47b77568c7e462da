//! Fails with E0382: the attachment of before a replace is still thought to be one.

use iommufd::{Attachment, Ioas, Result};

fn case(attachment: Attachment, ioas: &Ioas) -> Result<()> {
    let replaced = attachment.replace(ioas)?;
    #[cfg(feature = "misuse")]
    attachment.detach()?;
    replaced.detach()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
