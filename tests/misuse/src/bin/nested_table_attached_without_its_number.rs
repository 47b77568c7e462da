//! Fails with E0271: a table nested through a virtual IOMMU is attached with nothing that keeps the guest's number known.

use iommufd::format::ViommuKind;
use iommufd::{Attachment, Device, NestedHwPt, Result, VDevice};

fn _case<V: ViommuKind<Stale = ()>>(
    device: &Device,
    vdevice: &VDevice<V>,
    nested: &NestedHwPt<V::Format>,
) -> Result<Attachment> {
    #[cfg(feature = "misuse")]
    return device.attach(nested);
    #[cfg(not(feature = "misuse"))]
    device.attach(vdevice.through(nested, ()))
}

fn main() {
    // Checked for every format: there is nothing to run.
}
