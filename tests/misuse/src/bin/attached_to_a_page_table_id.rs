//! Fails with E0277: a driver attaches on its own account to the page table it was told.

use iommufd::driver::PageTableId;
use iommufd::{Attachment, Device, Result, Target};

fn case(device: &Device, id: PageTableId, target: Target) -> Result<(Attachment, u32)> {
    #[cfg(feature = "misuse")]
    let attachment = device.attach(id)?;
    #[cfg(not(feature = "misuse"))]
    let attachment = device.attach(target)?;
    Ok((attachment, id.get()))
}

fn main() {
    let _checked = case;
}
