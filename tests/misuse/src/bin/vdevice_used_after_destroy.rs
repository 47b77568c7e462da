//! Fails with E0382: a device is attached by a number that means nothing any more.

use iommufd::format::ViommuKind;
use iommufd::{Attachment, NestedHwPt, Result, VDevice};

fn _case<V: ViommuKind<Stale = ()>>(
    vdevice: VDevice<V>,
    nested: &NestedHwPt<V::Format>,
) -> Result<Option<Attachment>> {
    let device = vdevice.device().clone();
    let attachment = device.attach(vdevice.through(nested, ()))?;
    attachment.detach()?;
    vdevice.try_destroy()?;
    #[cfg(feature = "misuse")]
    return device.attach(vdevice.through(nested, ())).map(Some);
    #[cfg(not(feature = "misuse"))]
    Ok(None)
}

fn main() {
    // Checked for every format: there is nothing to run.
}
