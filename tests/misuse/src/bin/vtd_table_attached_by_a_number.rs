//! Fails with E0308: devices behind VT-d have no number of the guest's to be attached by.

use iommufd::smmuv3::{Smmuv3, StaleAsids};
use iommufd::vtd::Vtd;
use iommufd::{Attachment, Device, NestedHwPt, Result, VDevice};

fn case(
    vdevice: &VDevice<Smmuv3>,
    device: &Device,
    nested: &NestedHwPt<Vtd>,
) -> Result<Attachment> {
    assert!(vdevice.device() == device);
    #[cfg(feature = "misuse")]
    return vdevice.attach(nested, StaleAsids::GuestInvalidates);
    let _stale = StaleAsids::GuestInvalidates;
    #[cfg(not(feature = "misuse"))]
    device.attach(nested)
}

fn main() {
    let _checked = case;
}
