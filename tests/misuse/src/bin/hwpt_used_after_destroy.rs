//! Fails with E0382: a device is attached to a page table that was destroyed.

use iommufd::{Device, HwPt, Result};

fn case(hwpt: HwPt, device: &Device) -> Result<()> {
    device.attach(&hwpt)?.detach()?;
    hwpt.try_destroy()?;
    #[cfg(feature = "misuse")]
    device.attach(&hwpt)?.detach()?;
    Ok(())
}

fn main() {
    let _checked = case;
}
